"""DPOT and U-Net: published sizes, exact mixing, other grids; and the library merges them unchanged."""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import make_rollout, merge_pytree
from ccm_jax.models import is_real_pair, make_model
from ccm_jax.models.dpot import SIZES, FourierAttention, TimeAggregation
from ccm_jax.models.registry import Model

SMALL: dict[str, dict[str, Any]] = {
    "dpot": {"patch": 4, "width": 16, "mlp": 16, "depth": 1, "heads": 2, "out_width": 8, "positions": (4, 4)},
    "unet": {"widths": (8, 16)},
}
# Millions of parameters by the published code and configurations, with its class head. They state 7, 30, 122, 509 and
# 1030; the last is that of an MLP of 8192, where the configuration says 8092.
PUBLISHED = {"tiny": 7.53, "small": 30.8, "medium": 122.1, "large": 509.0, "huge": 1020.0}


@pytest.mark.parametrize("size", SIZES)
def test_the_published_sizes_have_their_parameters(size: str) -> None:
    def millions(depth: int) -> float:
        how = SIZES[size]._asdict() | {"depth": depth}
        model = make_model("dpot", out_channels=4, patch=8, classes=12, **how)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 10, 128, 128, 4)))
        return sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) / 1e6

    # All blocks are alike, so two depths tell the rest: tracing 27 of them takes seconds.
    whole = millions(1) + (SIZES[size].depth - 1) * (millions(2) - millions(1))
    assert whole == pytest.approx(PUBLISHED[size], rel=2e-3)


@functools.cache
def small(name: str) -> tuple[Model, Any, Any, jax.Array]:
    """A model, its compiled ``init`` and ``apply``, and a window: shared, as compiling is what these tests take."""
    model = make_model(name, out_channels=2, **SMALL[name])
    return model, jax.jit(model.init), jax.jit(model.apply), jax.random.normal(jax.random.key(0), (2, 3, 16, 16, 2))


@pytest.mark.parametrize("name", SMALL)
def test_any_divisible_grid_and_history_and_gradients_reach_every_leaf(name: str) -> None:
    model, init, apply, window = small(name)
    params = init(jax.random.key(1), window)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(apply(p, window) ** 2)))(params)
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))
    assert jax.eval_shape(model.apply, params, jnp.ones((1, 3, 24, 32, 2))).shape == (1, 24, 32, 2)
    assert np.isfinite(jax.jit(make_rollout(model.apply), static_argnums=2)(params, window, 4)).all()


@pytest.mark.parametrize("name", SMALL)
def test_the_library_merges_them_unchanged(name: str) -> None:
    _, init, apply, window = small(name)
    anchor, low, high = (init(jax.random.key(i), window) for i in range(3))
    chex.assert_trees_all_close(merge_pytree(anchor, low, high, 1.0), high, atol=1e-6)
    assert np.isfinite(apply(merge_pytree(anchor, low, high, 1.7), window)).all()


def test_fourier_attention_is_a_block_diagonal_complex_map_of_each_frequency() -> None:
    layer = FourierAttention(heads=2)
    x = jax.random.normal(jax.random.key(0), (1, 6, 5, 4))
    params = jax.jit(layer.init)(jax.random.key(1), x)
    p = params["params"]
    assert [p[k].shape for k in ("w1", "b1", "w2", "b2")] == [(2, 2, 2, 2), (2, 2, 2), (2, 2, 2, 2), (2, 2, 2)]
    spectrum = np.fft.rfft2(np.asarray(x), axes=(1, 2), norm="ortho")
    out = np.zeros_like(spectrum)
    for k in range(2):
        z = spectrum[..., 2 * k : 2 * k + 2]
        for i in (1, 2):
            w, b = (np.asarray(p[f"{name}{i}"][0, k] + 1j * p[f"{name}{i}"][1, k]) for name in "wb")
            z = z @ w + b
            if i == 1:
                z = np.asarray(jax.nn.gelu(z.real, approximate=False) + 1j * jax.nn.gelu(z.imag, approximate=False))
        out[..., 2 * k : 2 * k + 2] = z
    columns = np.fft.ifft(out, axis=1, norm="ortho")
    expected = np.asarray(x) + np.fft.irfft(columns, n=5, axis=2, norm="ortho")
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected, atol=1e-5)
    assert is_real_pair((jax.tree_util.DictKey("attention_0"), jax.tree_util.DictKey("w1")), p["w1"])


def test_time_aggregation_weighs_every_frame() -> None:
    layer = TimeAggregation()
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    params = jax.jit(layer.init)(jax.random.key(1), x)
    w, gamma = params["params"]["w"], params["params"]["gamma"][0]
    expected = sum((x[:, t] * jnp.cos(gamma * t / 2)[None]) @ w[t] for t in range(3))
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected, atol=1e-5)


def test_a_periodic_u_net_moves_with_its_input() -> None:
    _, init, apply, window = small("unet")
    params = init(jax.random.key(1), window)
    moved = apply(params, jnp.roll(window, 4, axis=2))
    np.testing.assert_allclose(moved, jnp.roll(apply(params, window), 4, axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "change", "grid", "message"),
    [
        ("dpot", {"patch": 5}, (16, 16), "patches of 5 do not divide the grid 16 x 16"),
        ("dpot", {"heads": 3}, (16, 16), "width is 16, expected a multiple of heads, 3, and of 8"),
        ("unet", {"boundary": "ice"}, (16, 16), "boundary is 'ice', expected one of"),
        ("unet", {"widths": (8, 8, 8)}, (18, 16), "the grid 18 x 16 is not divisible by 4; use fewer widths"),
    ],
)
def test_bad_input_is_refused(name: str, change: dict[str, Any], grid: tuple[int, int], message: str) -> None:
    model = make_model(name, out_channels=1, **(SMALL[name] | change))
    with pytest.raises(ValueError, match=message):
        jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1, *grid, 1)))
