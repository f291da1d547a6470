"""neuraloperator's names, and ours; its own code is the oracle where it is installed (extra `bench`)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.interop import fno_from_neuraloperator, fno_to_neuraloperator
from ccm_jax.io.parts import state_dict_of
from ccm_jax.io.torchfile import open_torch
from ccm_jax.models import make_model


@functools.cache
def random_params(**arguments: Any) -> tuple[dict[str, Any], Any]:
    full = {"modes": (3, 4), "width": 6, "depth": 2, "out_channels": 3, "residual": False}
    full |= {"activation": "gelu_exact", "twice": "channel_mlp" not in arguments} | arguments
    params = jax.jit(make_model("fno", **full).init)(jax.random.key(0), jnp.zeros((1, 1, 12, 10, 2)))
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


COMBINATIONS: list[tuple[int, dict[str, Any]]] = [
    (2, {}),
    (2, {"use_channel_mlp": False}),
    (2, {"lifting_channel_ratio": 0}),
    (2, {"lifting_channel_ratio": 3, "projection_channel_ratio": 4}),
    (2, {"channel_mlp_expansion": 1.5}),
    (2, {"positional_embedding": None}),
    (2, {"n_layers": 1}),
    (2, {"n_modes": (5, 7)}),
    (2, {"n_modes": (7, 8), "use_channel_mlp": False}),
    (2, {"positional_embedding": None, "lifting_channel_ratio": 0, "use_channel_mlp": False}),
    (1, {}),
    (1, {"use_channel_mlp": False, "n_modes": (5,)}),
    (3, {}),
    (3, {"n_modes": (3, 4, 5), "lifting_channel_ratio": 0, "n_layers": 2}),
]


@pytest.mark.parametrize("dim, arguments", COMBINATIONS)
def test_the_same_weights_give_the_same_numbers(dim: int, arguments: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("neuralop.models")
    torch.manual_seed(0)
    settings = {"n_modes": (6, 8, 4)[:dim], "n_layers": 3} | arguments
    theirs = models.FNO(in_channels=2, out_channels=3, hidden_channels=6, **settings)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(2, 2, *(12, 10, 9)[:dim])
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    state = open_torch(tmp_path / "theirs.pt")
    assert "_metadata" in state
    grid_channels = settings.get("positional_embedding", "grid") is not None
    full, params = fno_from_neuraloperator(
        state_dict_of(state) | {"_metadata": state["_metadata"]}, grid_channels=grid_channels
    )
    window = jnp.asarray(np.moveaxis(x.numpy(), 1, -1))[:, None]
    ours = np.moveaxis(np.asarray(jax.jit(make_model("fno", **full).apply)(params, window)), -1, 1)
    expected = theirs(x).detach().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())
    back = fno_to_neuraloperator(params)
    if all(m % 2 == 0 for m in settings["n_modes"][:-1]):
        again = models.FNO(in_channels=2, out_channels=3, hidden_channels=6, **settings)
        again.load_state_dict({k: torch.as_tensor(np.array(v)) for k, v in back.items()}, strict=False)
        np.testing.assert_allclose(again(x).detach().numpy(), expected, atol=1e-6)


REFUSED: list[dict[str, Any]] = [
    {"norm": "instance_norm"},
    {"stabilizer": "tanh"},
    {"preactivation": True},
    {"domain_padding": 0.2},
    {"channel_mlp_skip": "identity"},
    {"fno_skip": "soft-gating"},
    {"non_linearity": "relu"},
    {"factorization": "Tucker"},
    {"separable": True},
]


@pytest.mark.parametrize("option", REFUSED)
def test_every_option_that_has_no_counterpart_is_named(option: dict[str, Any]) -> None:
    _, params = random_params()
    state = fno_to_neuraloperator(params)
    with pytest.raises(ValueError, match=next(iter(option))):
        fno_from_neuraloperator(state | {"_metadata": {"hidden_channels": 6} | option})


@pytest.mark.parametrize("option", [o for o in REFUSED if o.keys() - {"non_linearity"}])
def test_neuraloperator_s_own_files_name_their_options(option: dict[str, Any], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("neuralop.models")
    theirs = models.FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=4, **option)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    with pytest.raises(ValueError, match=next(iter(option))):
        fno_from_neuraloperator(open_torch(tmp_path / "theirs.pt"))


def test_parts_that_have_no_place_are_named() -> None:
    _, params = random_params()
    state = fno_to_neuraloperator(params)
    with pytest.raises(ValueError, match=r"has no place for fno_blocks.norm.0.weight"):
        fno_from_neuraloperator(state | {"fno_blocks.norm.0.weight": np.ones(6)})
    with pytest.raises(ValueError, match="expected a dense FNO of neuraloperator; this one may be factorised"):
        fno_from_neuraloperator({"fno_blocks.convs.0.weight.core": np.ones(6)})
