"""Every argument of neuraloperator's FNO: the same numbers here, or a refusal that names it (extra `bench`)."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.interop import fno_from_neuraloperator
from ccm_jax.io.torchfile import open_torch
from ccm_jax.models import make_model

torch = pytest.importorskip("torch")
models = pytest.importorskip("neuralop.models")
layers = pytest.importorskip("neuralop.layers.spectral_convolution")
embeddings = pytest.importorskip("neuralop.layers.embeddings")


class OtherConv(layers.SpectralConv):  # type: ignore[misc, name-defined]
    """A convolution of one's own."""


def grid_to_two() -> Any:
    return embeddings.GridEmbeddingND(in_channels=2, dim=2, grid_boundaries=[[0.0, 2.0], [0.0, 2.0]])


PLAIN: dict[str, Any] = {"n_modes": (4, 6), "in_channels": 2, "out_channels": 2, "hidden_channels": 6, "n_layers": 2}
# What is tried of each argument: values that must give the same numbers, and values that may be refused by name.
SAME: dict[str, list[Any]] = {
    "n_modes": [(5, 7)],
    "in_channels": [3],
    "out_channels": [1],
    "hidden_channels": [4],
    "n_layers": [1],
    "lifting_channel_ratio": [0],
    "projection_channel_ratio": [1],
    "positional_embedding": [None],
    "use_channel_mlp": [False],
    "channel_mlp_dropout": [0.3],
    "channel_mlp_expansion": [0.3],
    "rank": [0.5],
    "fixed_rank_modes": [True],
    "implementation": ["reconstructed"],
    "decomposition_kwargs": [{}],
    "resolution_scaling_factor": [1],
}
OTHERS: dict[str, list[Any]] = {
    "lifting_channel_ratio": [1.3],
    "projection_channel_ratio": [1.3],
    "positional_embedding": [grid_to_two()],
    "non_linearity": [torch.nn.functional.relu, torch.tanh],
    "norm": ["group_norm", "instance_norm"],
    "complex_data": [True],
    "channel_mlp_skip": ["linear", "identity"],
    "fno_skip": ["soft-gating", "identity"],
    "resolution_scaling_factor": [2],
    "domain_padding": [0.25],
    "fno_block_precision": ["mixed"],
    "stabilizer": ["tanh"],
    "max_n_modes": [(8, 8)],
    "factorization": ["Tucker", "CP"],
    "separable": [True],
    "preactivation": [True],
    "conv_module": [OtherConv],
}


def test_no_argument_is_left_out() -> None:
    arguments = set(inspect.signature(models.FNO.__init__).parameters) - {"self"}
    assert arguments == set(SAME) | set(OTHERS)


def saved(settings: dict[str, Any], path: Path) -> Any:
    """A module with weights that matter, and its file."""
    torch.manual_seed(0)
    module = models.FNO(**settings).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(module.state_dict(), path)
    return module


@pytest.mark.parametrize("name, value", [(name, value) for name, values in SAME.items() for value in values])
def test_the_same_numbers(name: str, value: Any, tmp_path: Path) -> None:
    module = saved(PLAIN | {name: value}, tmp_path / "net.pt")
    x = torch.randn(2, module.in_channels, 12, 10)
    arguments, params = fno_from_neuraloperator(open_torch(tmp_path / "net.pt"))
    window = jnp.asarray(np.moveaxis(x.numpy(), 1, -1))[:, None]
    got = np.moveaxis(np.asarray(make_model("fno", **arguments).apply(params, window)), -1, 1)
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name, value", [(name, value) for name, values in OTHERS.items() for value in values])
def test_a_refusal_by_name(name: str, value: Any, tmp_path: Path) -> None:
    saved(PLAIN | {name: value}, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=name):
        fno_from_neuraloperator(open_torch(tmp_path / "net.pt"))
