"""neuraloperator's names, and ours; its own code is the oracle where it is installed (extra `bench`)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.interop import fno_from_neuraloperator, fno_to_neuraloperator
from ccm_jax.models import make_model


def random_params(**arguments: Any) -> tuple[dict[str, Any], Any]:
    full = {"modes": (3, 4), "width": 6, "depth": 2, "out_channels": 3, "residual": False}
    full |= {"activation": "gelu_exact", "twice": "channel_mlp" not in arguments} | arguments
    params = make_model("fno", **full).init(jax.random.key(0), jnp.zeros((1, 1, 12, 10, 2)))
    return full, jax.tree.map(np.asarray, params)


@pytest.mark.parametrize("arguments", [{}, {"lifting": 2}, {"lifting": 2, "channel_mlp": 0.5}])
def test_there_and_back_again(arguments: dict[str, Any]) -> None:
    full, params = random_params(**arguments)
    state = fno_to_neuraloperator(params)
    got, again = fno_from_neuraloperator(state | {"_metadata": {"anything": 1}})
    jax.tree.map(np.testing.assert_array_equal, again, params)
    assert {key: got[key] for key in full} == full
    assert state["fno_blocks.convs.0.weight.tensor"].shape == (6, 6, 6, 5)
    assert state["fno_blocks.convs.0.weight.tensor"].dtype == np.complex64


@pytest.mark.parametrize("arguments", [{"use_channel_mlp": False}, {}, {"lifting_channel_ratio": 0}])
def test_the_same_weights_give_the_same_numbers(arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("neuralop.models")
    torch.manual_seed(0)
    theirs = models.FNO((6, 8), 2, 3, 6, n_layers=3, **arguments)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(2, 2, 12, 10)
    state = {key: value.detach().numpy() for key, value in theirs.state_dict().items() if hasattr(value, "detach")}
    full, params = fno_from_neuraloperator(state)
    window = jnp.asarray(np.moveaxis(x.numpy(), 1, -1))[:, None]
    ours = np.moveaxis(np.asarray(make_model("fno", **full).apply(params, window)), -1, 1)
    np.testing.assert_allclose(ours, theirs(x).detach().numpy(), atol=1e-5)


def test_parts_that_have_no_place_are_named() -> None:
    _, params = random_params()
    state = fno_to_neuraloperator(params)
    with pytest.raises(ValueError, match=r"has no place for fno_blocks.norm.0.weight"):
        fno_from_neuraloperator(state | {"fno_blocks.norm.0.weight": np.ones(6)})
    with pytest.raises(ValueError, match="expected a dense FNO; it may be factorised"):
        fno_from_neuraloperator({"fno_blocks.convs.0.weight.core": np.ones(6)})
