"""One, two and three space axes through the same code: solvers, networks, masks, metrics, pictures, rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from ccm_jax import metrics
from ccm_jax.models import make_model
from experiments.beyond.equations import on_either_side
from experiments.beyond.rows import rows_of
from experiments.beyond.study import MEASURES
from experiments.configs import burgers, ks, rd_3d
from experiments.pipeline import data
from experiments.pipeline.systems import grid_points, stored_shape
from experiments.report.frame_figure import frames
from experiments.study.ablations import filled, noisy, observed_pixels
from solvers import initial, reaction_diffusion, spectral


def test_a_field_that_is_flat_along_an_axis_moves_as_without_it(x64: None) -> None:
    n, length = 5, 1.0
    line, plane, box = (reaction_diffusion.make_step(dt=0.5, length=length, dimension=d) for d in (1, 2, 3))

    def flat(field: jax.Array, axis: int) -> jax.Array:
        return jnp.repeat(jnp.expand_dims(field, axis), n, axis=axis)

    u = jax.random.normal(jax.random.key(0), (n, n, 2))
    for axis in range(3):
        np.testing.assert_allclose(box(flat(u, axis)), flat(plane(u), axis), atol=1e-12)
    np.testing.assert_allclose(plane(flat(u[0], 1)), flat(line(u[0]), 1), atol=1e-12)
    # Nor does it matter which axis is which where none is flat.
    u = jax.random.normal(jax.random.key(1), (n, n, n, 2))
    np.testing.assert_allclose(box(jnp.transpose(u, (2, 0, 1, 3))), jnp.transpose(box(u), (2, 0, 1, 3)), atol=1e-12)


@pytest.mark.parametrize("shape", [(9,), (4, 5, 6)])
def test_cosines_of_a_line_and_of_a_box_are_scipy_s(x64: None, shape: tuple[int, ...]) -> None:
    u = np.random.default_rng(0).normal(size=(*shape, 2))
    c = spectral.to_cosine(jnp.asarray(u))
    expected = scipy.fft.dctn(u, type=2, norm="ortho", axes=range(len(shape)))
    np.testing.assert_allclose(c, np.moveaxis(expected, -1, 0), atol=1e-12)
    np.testing.assert_allclose(spectral.from_cosine(c), u, atol=1e-12)


@pytest.mark.parametrize("d", [1, 3])
def test_a_start_is_one_function_on_every_grid(d: int) -> None:
    coarse, fine = (initial.smooth_zero_flux(jax.random.key(2), (n,) * d, 2, length=1.0, scale=0.3) for n in (16, 24))
    np.testing.assert_allclose(spectral.resample_cosine(fine, (16,) * d), coarse, atol=1e-4)
    assert 0.2 < float(fine.std()) < 3


def test_a_batch_or_another_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(8, 8, 2\), expected \[H, W, D, 2\]; for a batch use jax.vmap"):
        reaction_diffusion.make_step(dt=0.1, dimension=3)(jnp.zeros((8, 8, 2)))
    with pytest.raises(ValueError, match="reaction_diffusion.make_step: dimension is 4, expected 1, 2 or 3"):
        reaction_diffusion.make_step(dt=0.1, dimension=4)


@pytest.mark.parametrize("d", [1, 3])
def test_a_network_that_is_not_told_the_place_moves_with_its_input(d: int) -> None:
    model = make_model("fno", modes=(2,) * d, width=4, depth=1, out_channels=1, grid_channels=False)
    window = jax.random.normal(jax.random.key(0), (1, 2, *(6,) * d, 1))
    params = jax.jit(model.init)(jax.random.key(1), window)
    apply, axes = jax.jit(model.apply), tuple(range(-1 - d, -1))
    moved = apply(params, jnp.roll(window, (1,) * d, axes))
    np.testing.assert_allclose(moved, jnp.roll(apply(params, window), (1,) * d, axes), atol=1e-5)
    kept = [2, 3, *[4] * (d - 1)]  # parts of a complex number, frequencies 0 to 2 of the last axis, -2 to 1 of others
    assert params["spectral_0"]["weight"].shape == (*kept, 4, 4)


@pytest.mark.parametrize("module", [burgers, ks, rd_3d])
def test_trajectories_of_the_experiments_are_finite_and_move(module: Any) -> None:
    config = module.get_config("smoke")
    assert tuple(len(points) for points in grid_points(config)) == stored_shape(config)[:-1]
    for value in (min(config.regimes.test), max(config.regimes.test)):
        x = data.simulate(config, value, 2, "test")
        assert x.shape == (2, config.solver.frames + 1, *stored_shape(config))
        assert 0.05 < np.linalg.norm(x[:, 5] - x[:, 6]) / np.linalg.norm(x[:, 6]) < 1
        assert np.abs(x).max() < 10


@pytest.mark.parametrize("shape", [(40,), (6, 5, 8)])
def test_missing_points_take_their_nearest_neighbour(shape: tuple[int, ...]) -> None:
    mask = observed_pixels(shape, 0.5, 0)
    assert mask.shape == (*shape, 1) and mask.sum() == np.prod(shape) // 2
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).astype(float)
    back, seen = filled(place[None], mask)[0], mask[..., 0] > 0
    np.testing.assert_array_equal(back[seen], place[seen])
    gaps = np.linalg.norm(place[~seen][:, None] - place[seen][None], axis=-1).min(axis=1)
    np.testing.assert_allclose(np.linalg.norm(back - place, axis=-1)[~seen], gaps)
    x = np.random.default_rng(0).normal(size=(3, 4, *shape, 2)) * [1.0, 10.0]
    added = (noisy(x, 0.1, 0) - x).std(axis=tuple(range(len(shape) + 2)))
    np.testing.assert_allclose(added, [0.1, 1.0], rtol=0.2)


@pytest.mark.parametrize("d", [1, 3])
def test_a_wave_along_an_axis_falls_into_its_band(d: int) -> None:
    n = 16
    true = jnp.zeros((2, 1, *(n,) * d, 1))
    wave = np.cos(2 * np.pi * 5 * np.arange(n) / n).reshape(n, *[1] * d)
    error = metrics.fourier_error(true + jnp.asarray(wave)[None, None], true, low=2, high=6)
    np.testing.assert_allclose(error[:, 0], [0.0, 0.5 / 4, 0.0], atol=1e-5)  # of the four shells 2 to 5


def test_a_line_is_drawn_over_time_and_a_box_by_its_middle_slice() -> None:
    regime = {"value": 1.0, "coordinate": 0.0}
    config = {"axis": {"label": "viscosity"}, "model": {"history": 1}, "calibration": {"frames": 4}}
    results = {"config": config, "regimes": [regime]}
    line, box = "frames 6 to 12, from left to right", "frame 12"  # counted from 1
    for shape, drawn, when in (((7, 12), (12, 7), line), ((7, 4, 6, 8), (6, 4), box)):
        arrays = {
            f"frames/{who}": np.random.default_rng(0).normal(size=(1, *shape, 1))
            for who in ("truth", "anchor", "ccm_prefix")
        }
        figure = frames(results, arrays, 0, ("u",))
        assert [ax.images[0].get_array().shape for ax in figure.axes[:5]] == [drawn] * 5
        assert when in figure.get_suptitle()


def test_rows_have_their_measure_and_errors_their_side() -> None:
    rows = {row.name: row for row in rows_of("") if row.kind == "equation"}
    assert {name: row.seeds for name, row in rows.items()} == {"burgers": (0, 1, 2), "ks": (0, 1, 2), "rd_3d": (0,)}
    assert MEASURES["equation"] == "equations"
    found = on_either_side({"a": [1.0, 2.0, 6.0], "b": [1.0, float("nan"), 3.0]}, [False, True, True])
    assert found == {"inside": {"a": 1.0, "b": 1.0}, "outside": {"a": 4.0, "b": np.inf}}
