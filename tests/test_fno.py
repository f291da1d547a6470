from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from ccm_jax.models import Model, make_model, spectral
from ccm_jax.models.fno import ACTIVATIONS, FNO, SpectralConv


def reverse(x: jax.Array, modes: tuple[int, ...]) -> jax.Array:
    """Space axes the other way round, as the transforms take them."""
    d = len(modes)
    return jnp.transpose(x, (*range(d - 1, -1, -1), *range(d, x.ndim)))


def dense_fourier_conv(x: np.ndarray, weight: np.ndarray, modes: tuple[int, ...]) -> np.ndarray:
    """The spectral convolution as its definition: a direct sum over kept modes and all points, in double precision."""
    grid = x.shape[: len(modes)]
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), -1)
    kept = [list(range(-m, m)) for m in modes[:-1]] + [list(range(modes[-1] + 1))]
    out = np.zeros((*x.shape[:-1], weight.shape[-1]))
    for where in itertools.product(*(range(len(k)) for k in kept)):
        frequency = np.array([k[i] for k, i in zip(kept, where, strict=True)])
        wave = np.exp(2j * np.pi * points @ frequency)
        coefficient = np.tensordot(np.conj(wave), x, axes=len(modes)) / np.prod(grid)  # [N, C]
        mixed = coefficient @ (weight[0][where] + 1j * weight[1][where])
        last = frequency[-1]
        mirrored = 1.0 if last == 0 or 2 * last == grid[-1] else 2.0
        out += mirrored * (wave[..., None, None] * mixed).real
    return out


@pytest.mark.parametrize(
    ("grid", "modes"),
    [((16,), (5,)), ((8, 10), (3, 4)), ((9, 7), (4, 3)), ((8, 8), (4, 4)), ((6, 5, 8), (2, 2, 3))],
)
def test_fourier_convolution_is_the_direct_sum(grid: tuple[int, ...], modes: tuple[int, ...]) -> None:
    layer = SpectralConv(modes)
    x = jax.random.normal(jax.random.key(0), (*grid, 2, 3))
    variables = jax.jit(layer.init)(jax.random.key(1), reverse(x, modes))
    weight = np.asarray(variables["params"]["weight"], np.float64)
    assert weight.shape == (2, modes[-1] + 1, *(2 * m for m in modes[-2::-1]), 3, 3)
    weight = weight.transpose(0, *range(len(modes), 0, -1), -2, -1)
    expected = dense_fourier_conv(np.asarray(x, np.float64), weight, modes)
    np.testing.assert_allclose(reverse(jax.jit(layer.apply)(variables, reverse(x, modes)), modes), expected, atol=2e-5)


@pytest.mark.parametrize("grid", [(12, 10), (9, 11)])
def test_fourier_convolution_is_the_fast_transform_cut_to_its_modes(grid: tuple[int, int]) -> None:
    modes = (4, 4)
    layer = SpectralConv(modes)
    x = jax.random.normal(jax.random.key(0), (*grid, 2, 3))
    variables = jax.jit(layer.init)(jax.random.key(1), reverse(x, modes))
    w = np.asarray(variables["params"]["weight"], np.float64)
    w = (w[0] + 1j * w[1]).swapaxes(0, 1)
    spectrum = np.fft.rfft2(np.asarray(x, np.float64), axes=(0, 1))
    out = np.zeros_like(spectrum)
    for row, f in enumerate(range(-4, 4)):
        out[f, :5] = np.einsum("kni,kio->kno", spectrum[f, :5], w[row])
    # The transform back in two steps: the column of the mean is no longer Hermitian, and its mirror image is not kept.
    back = np.fft.irfft(np.fft.ifft(out, axis=0), n=grid[1], axis=1)
    np.testing.assert_allclose(reverse(jax.jit(layer.apply)(variables, reverse(x, modes)), modes), back, atol=2e-5)


def test_cosine_convolution_is_a_fourier_convolution_of_the_mirrored_field() -> None:
    """Zero-flux walls are mirrors: on the doubled, even field, cosine weights are real, even Fourier weights."""
    n, m = 8, 3
    layer = SpectralConv((m,), cosine=True)
    x = jax.random.normal(jax.random.key(0), (n, 1, 2))
    variables = jax.jit(layer.init)(jax.random.key(1), x)
    w = np.asarray(variables["params"]["weight"], np.float64)
    doubled = np.concatenate([x, x[::-1]], axis=0).astype(np.float64)
    spectrum = np.fft.rfft(doubled, axis=0)
    out = np.zeros_like(spectrum)
    out[: 2 * m] = np.einsum("kni,kio->kno", spectrum[: 2 * m], w)
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), np.fft.irfft(out, axis=0)[:n], atol=1e-5)


@pytest.mark.parametrize("kind", ["fourier", "cosine"])
def test_analysis_then_synthesis_keeps_resolved_fields(kind: str) -> None:
    grid, modes = (11, 12), (4, 5)
    if kind == "fourier":
        c = jax.random.normal(jax.random.key(0), (6, 8, 2, 2))
        x = spectral.fourier_synthesis(c, modes, grid)
        again = spectral.fourier_synthesis(spectral.fourier_analysis(x, modes), modes, grid)
        # One pass through a real field removes what a real field cannot hold; the lone -m row loses half.
        third = spectral.fourier_synthesis(spectral.fourier_analysis(again, modes), modes, grid)
        inner = [
            np.fft.fft2(np.asarray(reverse(f, modes)), axes=(0, 1))[[0, 1, 2, 3, -3, -2, -1], 1:5]
            for f in (x, again, third)
        ]
        np.testing.assert_allclose(inner[1], inner[0], atol=1e-3)
        np.testing.assert_allclose(inner[2], inner[0], atol=1e-3)
    else:
        c = jax.random.normal(jax.random.key(0), (5, 4, 2))
        x = spectral.cosine_synthesis(c, grid)
        np.testing.assert_allclose(spectral.cosine_analysis(x, modes), c, atol=1e-5)


@pytest.mark.parametrize("boundary", ["periodic", "padded", "zero-flux"])
@pytest.mark.parametrize("grid", [(8, 8), (9, 13), (10, 12, 8)])
def test_both_transforms_give_the_same_numbers_and_gradients(boundary: str, grid: tuple[int, ...]) -> None:
    how = {"modes": (4, 4, 2)[: len(grid)], "width": 4, "depth": 1, "out_channels": 1, "boundary": boundary}
    matrix, fft = (make_model("fno", transform=name, **how) for name in ("matrix", "fft"))
    window = jax.random.normal(jax.random.key(0), (2, 1, *grid, 1))
    params = jax.jit(matrix.init)(jax.random.key(1), window)

    def loss(model: Model, p: Any) -> jax.Array:
        return jnp.sum(jax.jit(model.apply)(p, window) ** 2)

    (a, da), (b, db) = (jax.jit(jax.value_and_grad(partial(loss, model)))(params) for model in (matrix, fft))
    np.testing.assert_allclose(a, b, rtol=1e-5)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(da))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=2e-5 * scale), da, db)


def test_the_transform_is_chosen_by_the_grid() -> None:
    assert spectral.choose_transform("auto", (32, 64)) == "matrix"
    assert spectral.choose_transform("auto", (32, 2048)) == "fft"
    assert spectral.choose_transform("fft", (32, 32)) == "fft"
    with pytest.raises(ValueError, match="transform is 'dft', expected one of"):
        FNO(modes=(2, 2), transform="dft").init(jax.random.key(0), jnp.zeros((1, 1, 8, 8, 1)))


def test_bfloat16_fields_stay_near_float32_and_leave_weights_and_frames_alone() -> None:
    exact, mixed = (make_model("fno", modes=(3, 3), width=8, depth=2, dtype=d) for d in ("float32", "bfloat16"))
    window = jax.random.normal(jax.random.key(0), (2, 1, 12, 12, 1))
    params = jax.jit(mixed.init)(jax.random.key(1), window)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
    a, b = jax.jit(exact.apply)(params, window), jax.jit(mixed.apply)(params, window)
    assert b.dtype == jnp.float32 and float(jnp.abs(a - b).max()) > 0
    np.testing.assert_allclose(b, a, atol=0.05 * float(jnp.abs(a).max()))


@pytest.mark.parametrize(("boundary", "coarse", "fine"), [("periodic", 48, 72), ("zero-flux", 48, 72)])
def test_the_same_parameters_act_at_another_resolution(boundary: str, coarse: int, fine: int) -> None:
    model = make_model("fno", modes=(3, 3), width=8, depth=2, out_channels=1, boundary=boundary)

    def field(n: int) -> jax.Array:
        shift = 0.0 if boundary == "periodic" else 0.5
        x = (np.arange(n) + shift) / n
        base = 2 * np.pi if boundary == "periodic" else np.pi
        u = np.cos(base * x)[:, None] * np.cos(2 * base * x) + 0.3
        return jnp.asarray(u[None, None, :, :, None], jnp.float32)

    params = jax.jit(model.init)(jax.random.key(0), field(coarse))
    low, high = (
        jax.jit(model.apply)(params, field(coarse))[0, ..., 0],
        jax.jit(model.apply)(params, field(fine))[0, ..., 0],
    )
    if boundary == "periodic":
        shared = np.asarray(high)[:: fine // 8, :: fine // 8], np.asarray(low)[:: coarse // 8, :: coarse // 8]
    else:  # cell centres of 72 and 48 cells do not meet; means over eighths of the side do
        shared = tuple(np.asarray(f).reshape(8, len(f) // 8, 8, len(f) // 8).mean((1, 3)) for f in (high, low))
    # GELUs make frequencies that 48 points alias a little.
    np.testing.assert_allclose(*shared, atol=0.005 * float(np.abs(low).max()))


@pytest.mark.parametrize(
    ("grid", "modes", "boundary"),
    [
        ((16,), (4,), "periodic"),
        ((8, 12), (3, 3), "padded"),
        ((8, 9), (3, 3), "zero-flux"),
        ((6, 6, 8), (2, 2, 2), "periodic"),
    ],
)
def test_history_grid_channels_and_dimensions(grid: tuple[int, ...], modes: tuple[int, ...], boundary: str) -> None:
    model = make_model("fno", modes=modes, width=4, depth=2, out_channels=2, boundary=boundary)
    window = jax.random.normal(jax.random.key(0), (3, 4, *grid, 2))
    params = jax.jit(model.init)(jax.random.key(1), window)
    out, back = jax.jit(jax.value_and_grad(lambda p: jnp.sum(jax.jit(model.apply)(p, window) ** 2)))(params)
    assert jax.eval_shape(model.apply, params, window).shape == (3, *grid, 2) and out.dtype == jnp.float32
    assert params["lift"]["kernel"].shape[0] == 4 * 2 + len(grid)
    assert all(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(back))


def test_batch_members_do_not_meet() -> None:
    model = make_model("fno", modes=(3, 3), width=4, depth=2, out_channels=1)
    window = jax.random.normal(jax.random.key(0), (3, 1, 8, 8, 1))
    params = jax.jit(model.init)(jax.random.key(1), window)
    together = jax.jit(model.apply)(params, window)
    np.testing.assert_allclose(together[1:2], jax.jit(model.apply)(params, window[1:2]), atol=1e-6)
    mapped = jax.jit(jax.vmap(lambda w: model.apply(params, w[None])[0]))(window)
    np.testing.assert_allclose(mapped, together, atol=1e-6)


def test_periodic_model_without_coordinates_commutes_with_translation() -> None:
    model = make_model("fno", modes=(3, 3), width=4, depth=2, out_channels=1, grid_channels=False)
    window = jax.random.normal(jax.random.key(0), (1, 1, 10, 10, 1))
    params = jax.jit(model.init)(jax.random.key(1), window)
    moved = jax.jit(model.apply)(params, jnp.roll(window, (3, 5), (2, 3)))
    # The lone row -m has no mirror image, and breaks nothing here: each mode is multiplied, whatever the shift.
    np.testing.assert_allclose(moved, jnp.roll(jax.jit(model.apply)(params, window), (3, 5), (1, 2)), atol=1e-5)


def test_zero_flux_model_without_coordinates_may_be_extended_by_mirrors() -> None:
    walls = {"width": 4, "depth": 2, "out_channels": 1, "boundary": "zero-flux", "grid_channels": False}
    model, doubled = (make_model("fno", modes=modes, **walls) for modes in ((3, 3), (6, 3)))
    x = jax.random.normal(jax.random.key(0), (1, 1, 8, 8, 1))
    params = jax.jit(model.init)(jax.random.key(1), x)

    def spread(path: tuple[jax.tree_util.DictKey, ...], leaf: jax.Array) -> jax.Array:
        if "spectral" not in path[0].key:
            return leaf
        return jnp.zeros((6, 12, 4, 4)).at[:, ::2].set(leaf)  # mode j of a wall is mode 2 j of two of them

    mirrored = jnp.concatenate([x, x[:, :, ::-1]], axis=2)
    out = jax.jit(doubled.apply)(jax.tree_util.tree_map_with_path(spread, params), mirrored)
    np.testing.assert_allclose(out[:, :8], jax.jit(model.apply)(params, x), atol=1e-5)


@pytest.mark.parametrize(("name", "approximate"), [("gelu", True), ("gelu_exact", False)])
def test_activations_and_their_slopes_are_those_of_jax(x64: None, name: str, approximate: bool) -> None:
    """In double precision: how well jax's own slopes are rounded in single depends on how XLA is told to compile."""
    x = jnp.linspace(-50.0, 50.0, 20_001, dtype=jnp.float32)
    ours, wide = ACTIVATIONS[name], x.astype(jnp.float64)
    expected = partial(jax.nn.gelu, approximate=approximate)
    assert ours(x).dtype == jnp.float32
    rounding = np.abs(jax.jit(ours)(x) - jax.jit(expected)(wide)) / (1 + np.abs(x))  # Phi is to 1e-7 what it should be
    assert rounding.max() < 4e-7
    slope, expected_slope = jax.grad(ours), jax.grad(expected)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(slope))(x), jax.jit(jax.vmap(expected_slope))(wide), rtol=1e-5, atol=5e-6
    )
    second = jax.jit(jax.vmap(jax.grad(slope)))(x)
    expected_second = jax.jit(jax.vmap(jax.grad(expected_slope)))(wide)
    np.testing.assert_allclose(second, expected_second, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("name", ["gelu", "gelu_exact"])
def test_activations_and_their_slopes_are_finite_wherever_their_argument_is(name: str) -> None:
    x = jnp.asarray([-1e6, -1e3, -20.0, 0.0, 20.0, 1e3, 1e6])
    slope = jax.grad(ACTIVATIONS[name])
    size = 1 + np.abs(x)
    np.testing.assert_allclose(jax.jit(ACTIVATIONS[name])(x) / size, np.maximum(x, 0) / size, atol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(slope))(x), [0, 0, 0, 0.5, 1, 1, 1], atol=1e-6)


def test_spectral_weights_are_real_pairs() -> None:
    init = FNO(modes=(2, 2), width=4, depth=1).init
    params = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 1, 8, 8, 1)))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_bad_input_names_what_to_change() -> None:
    with pytest.raises(ValueError, match="5 modes on axis 1 need at least 10 grid points, got 8; use fewer modes"):
        FNO(modes=(4, 5)).init(jax.random.key(0), jnp.zeros((1, 1, 8, 8, 1)))
    with pytest.raises(ValueError, match=r"window has shape \(1, 8, 8, 1\), expected \[N, history, \*space, C\]"):
        FNO(modes=(2, 2)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    with pytest.raises(ValueError, match="boundary is 'wall', expected one of"):
        FNO(modes=(2, 2), boundary="wall").init(jax.random.key(0), jnp.zeros((1, 1, 8, 8, 1)))
    with pytest.raises(ValueError, match="no model 'fnoo'; there are: fno"):
        make_model("fnoo")
    with pytest.raises(ValueError, match="unexpected keyword argument 'widht'"):
        make_model("fno", modes=(2, 2), widht=3)
