"""Noise, missing pixels and sensors: fills are exact where they can be, masked readouts see only what was observed."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Chart, Choices, Gated, PrefixReadout, fit_chart, fit_prefix_readout, make_rollout, sensor_mask
from ccm_jax.fill import METHODS, Fill, choose_fill, complete_frames, fills_with_noise
from ccm_jax.fit_readout import prefix_readout
from ccm_jax.observed import Observed, observations
from ccm_jax.parallel import make_mesh

N = 12


def smooth(shape: tuple[int, ...], seed: int = 0, *, periodic: bool = True) -> np.ndarray:
    """A field of the lowest wavenumbers, ``[*space]``."""
    rng, total = np.random.default_rng(seed), np.zeros(shape)
    for _ in range(4):
        wave = np.ones(shape)
        for axis, n in enumerate(shape):
            k, x = rng.integers(0, 3), np.arange(n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            wave = wave * (np.cos(2 * np.pi * k * x / n + 1) if periodic else np.cos(np.pi * k * (x + 0.5) / n))
        total += rng.standard_normal() * wave
    return total


def apply(params: Any, window: jax.Array) -> jax.Array:
    """Heat conduction on a ring in both directions."""
    u = window[:, -1]
    around = sum(jnp.roll(u, shift, axis) for shift in (-1, 1) for axis in (1, 2))
    return u + params["nu"] * (around - 4 * u)


rollout_fn = make_rollout(apply)


def family(gated: bool = False) -> Chart:
    trees = [{"nu": jnp.float32(nu)} for nu in (0.13, 0.04, 0.16)]
    return fit_chart(trees[0], trees[1:], [-1.0, 1.0], features=Gated() if gated else None)


def observe(planted: float, count: int = 2) -> jax.Array:
    start = jnp.asarray(np.stack([smooth((N, N), seed) for seed in range(count)]), jnp.float32)[:, None, ..., None]
    return jnp.concatenate([start, rollout_fn(family()(planted), start, 6)], axis=1)


def mask_of(share: float, shape: tuple[int, ...] = (2, 7, N, N)) -> np.ndarray:
    return np.random.default_rng(5).random(shape) < share


READOUT = dataclasses.replace(prefix_readout(family(), rollout_fn, begin=0), fill=Fill(boundary="periodic"))


@pytest.mark.parametrize("boundary", ["walls", "periodic"])
@pytest.mark.parametrize("shape", [(16,), (9, 12), (5, 6, 7)])
def test_fills_are_exact_where_observed_and_know_constants(shape: tuple[int, ...], boundary: Any) -> None:
    mask = mask_of(0.6, shape)
    frame = np.random.default_rng(2).standard_normal((*shape, 2)).astype(np.float32)
    constant = np.where(mask[..., None], np.float32(3.0), np.nan) * np.ones(2, np.float32)
    for method in METHODS:
        fill = Fill(method, boundary)  # type: ignore[arg-type]
        filled = complete_frames(fill, jnp.stack([frame, constant])[None], jnp.stack([mask, mask])[None])[0]
        np.testing.assert_array_equal(filled[0][mask], frame[mask])
        np.testing.assert_allclose(filled[1], 3.0, atol=2e-2)
        whole = jax.jit(fill)(frame, np.ones(shape, bool))
        np.testing.assert_array_equal(whole, frame)


def test_each_fill_does_what_its_name_says() -> None:
    points = np.array([True, False, False, False, True, False, False])
    ramp = jnp.arange(7.0)[:, None]
    walls = Fill("harmonic")(ramp, points)[:, 0]
    np.testing.assert_allclose(walls, [0, 1, 2, 3, 4, 4, 4], atol=1e-4)  # no flux through the end
    around = Fill("harmonic", "periodic")(ramp, points)[:, 0]
    np.testing.assert_allclose(around, [0, 1, 2, 3, 4, 8 / 3, 4 / 3], atol=1e-4)
    assert Fill("nearest")(ramp, points)[:, 0].tolist() == [0, 0, 0, 4, 4, 4, 4]
    assert Fill("nearest", "periodic")(ramp, points)[6, 0] == 0
    mask, values = mask_of(0.15, (9, 11)), np.arange(99.0).reshape(9, 11)
    seen, at = np.argwhere(mask), np.stack(np.indices((9, 11)), axis=-1)
    away, nearest = ((at[:, :, None] - seen) ** 2).sum(axis=-1), np.asarray(Fill("nearest")(values[..., None], mask))
    found = away[values[mask] == nearest]
    np.testing.assert_array_equal(found, away.min(axis=-1).ravel())


@pytest.mark.parametrize("periodic", [False, True])
def test_the_spectral_fill_is_best_on_smooth_fields_and_smooths_noise(periodic: bool) -> None:
    x = np.stack([smooth((24, 24), seed, periodic=periodic) for seed in range(3)])[None, ..., None].astype(np.float32)
    boundary: Any = "periodic" if periodic else "walls"
    mask, errors = mask_of(0.5, x.shape[:-1]), {}
    for method in METHODS:
        found = complete_frames(Fill(method, boundary), x, mask)  # type: ignore[arg-type]
        errors[method] = float(np.linalg.norm(found - x) / np.linalg.norm(x))
    assert errors["spectral"] < errors["harmonic"] / 3 < errors["nearest"] / 4
    assert choose_fill([x], mask, fills=fills_with_noise(boundary)[:3]) == Fill("spectral", boundary)
    chosen = choose_fill([x], mask, noise=0.3, fills=fills_with_noise(boundary))
    assert chosen.cutoff is not None and 2 <= chosen.cutoff <= 12


def test_without_gaps_the_program_is_the_plain_one_and_with_a_full_mask_it_finds_the_same() -> None:
    x, readout = observe(0.7), dataclasses.replace(READOUT, begin=2, weights=READOUT.weights[:2] * 2)
    seen = observations("test", readout, x)
    assert isinstance(seen, jax.Array)
    np.testing.assert_array_equal(seen, x[:, :5])
    plain, full = readout(x, batch="each"), readout(x, batch="each", mask=jnp.ones((N, N), bool))
    for a, b in zip(plain[:6], full[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_losses_are_those_of_observed_points() -> None:
    x, mask = np.asarray(observe(0.7)), mask_of(0.5)
    mask[:, 0] = True  # a whole frame to start from
    found = READOUT(x, batch="each", mask=mask)
    m = mask[:, 1:5, ..., None]

    def loss(predicted: Any) -> np.ndarray:
        size = np.sqrt((m * x[:, 1:5] ** 2).sum(axis=(2, 3, 4)))
        return np.mean(np.sqrt((m * (predicted - x[:, 1:5]) ** 2).sum(axis=(2, 3, 4))) / size, axis=1)

    np.testing.assert_allclose(found.persistence_loss, loss(x[:, :1]), rtol=1e-4)
    np.testing.assert_allclose(found.anchor_loss, loss(rollout_fn(family().origin, x[:, :1], 4)), rtol=1e-4)
    np.testing.assert_allclose(found.losses[:, 0], loss(rollout_fn(family()(-2.5), x[:, :1], 4)), rtol=1e-4)
    np.testing.assert_allclose(found.coordinate, 0.7, atol=2e-3)


@pytest.mark.parametrize("search", ["continuous", "parabola", "bank"])
def test_a_planted_coordinate_is_found_from_frames_with_gaps(search: Any) -> None:
    x, mask = np.asarray(observe(0.625)), mask_of(0.8)
    readout, near = dataclasses.replace(READOUT, search=search), {"bank": 1e-6}.get(search, 0.15)
    each = readout(x, batch="each", mask=mask)
    np.testing.assert_allclose(each.coordinate, 0.625, atol=near)
    if search != "continuous":
        return
    with_nan = np.where(mask[..., None], x, np.nan)
    for frames, how in ((with_nan, {"missing": "nan"}), (with_nan, {"mask": mask}), (x, {"mask": mask})):
        again = readout(frames, batch="each", **how)  # what was not observed does not matter
        for a, b in zip(each[:6], again[:6], strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(readout(x[1], mask=mask[1]).coordinate, each.coordinate[1], atol=1e-5)
    np.testing.assert_allclose(readout(x, batch="pooled", mask=mask).coordinate, [0.625], atol=near)
    fixed = readout(x, batch="each", mask=mask[0, 0])
    np.testing.assert_allclose(fixed.coordinate, 0.625, atol=3 * near)
    spread = readout(x, batch="each", mask=mask, mesh=make_mesh())
    np.testing.assert_allclose(spread.coordinate, each.coordinate, atol=1e-4)
    mapped = jax.jit(jax.vmap(lambda x, m: readout(x, mask=m).coordinate))(x, mask)
    np.testing.assert_allclose(mapped, each.coordinate, atol=1e-4)


def test_a_frame_without_a_point_has_no_weight() -> None:
    x, mask = observe(0.3), mask_of(0.8)
    mask[:, 2:4] = False
    found = READOUT(x, batch="each", mask=mask)
    others = dataclasses.replace(READOUT, weights=jnp.array([0.5, 0.0, 0.0, 0.5]))(x, batch="each", mask=mask)
    for a, b in zip(found[:6], others[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    mask[:, 1:] = False  # under jit nothing can be refused, and nothing is found
    nothing = jax.jit(lambda x, m: READOUT(x, batch="each", mask=m))(x, mask)
    assert np.isnan(nothing.coordinate).all() and np.isinf(nothing.losses).all()


def test_the_growth_bound_and_the_gate_take_completed_frames() -> None:
    chart = family(gated=True)
    readout = prefix_readout(chart, rollout_fn, begin=0, growth=jnp.float32(1.5), horizon=3, fill=READOUT.fill)
    x, mask = observe(-0.5), mask_of(0.8)
    np.testing.assert_allclose(readout(x, batch="each", mask=mask).coordinate, [[-0.5, 1.0]] * 2, atol=0.15)
    tight = dataclasses.replace(readout, growth=jnp.float32(1e-3))
    assert np.isfinite(tight(x, batch="each", mask=mask).coordinate).all()


def test_a_rollout_that_is_not_finite_where_nothing_was_observed_diverges_all_the_same() -> None:
    def broken(params: Any, window: jax.Array) -> jax.Array:
        return apply(params, window).at[:, 0, 0].multiply(jnp.where(params["nu"] > 0.1, jnp.nan, 1.0))

    mask = np.ones((N, N), bool)
    mask[0, 0] = False
    one_step = {"begin": 3, "weights": jnp.ones(1)}
    readout: PrefixReadout = dataclasses.replace(READOUT, rollout_fn=make_rollout(broken), **one_step)
    found = readout(observe(1.0), batch="each", mask=mask)
    assert (found.coordinate < 1e-3).all() and np.isinf(found.losses[:, -1]).all()


def test_a_cutoff_smooths_the_start_and_not_what_is_compared_with() -> None:
    x, fill = observe(0.5), Fill("spectral", "periodic", 4.0)
    found = dataclasses.replace(READOUT, fill=fill)(x, batch="each")
    start = complete_frames(fill, x[:, :1], jnp.ones((2, 1, N, N), bool))
    away, true = (np.asarray(a) for a in (rollout_fn(family().origin, start, 4) - x[:, 1:5], x[:, 1:5]))
    errors = np.sqrt((away**2).sum(axis=(2, 3, 4)) / (true**2).sum(axis=(2, 3, 4)))
    np.testing.assert_allclose(found.anchor_loss, errors.mean(axis=1), rtol=1e-4)
    assert 0.01 < float(jnp.linalg.norm(start - x[:, :1]) / jnp.linalg.norm(x[:, :1])) < 0.2


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"mask": np.zeros((N, N), bool)}, "leaves no point observed"),
        ({"mask": np.ones((N, N), int)}, "expected booleans"),
        ({"mask": np.ones((N, N, 1), bool)}, "no axis of channels"),
        ({"mask": np.ones(N, bool)}, "expected [*space]"),
        ({"mask": np.arange(7)[:, None, None] > 0 * np.ones((N, N))}, "frame 0 of trajectory 0, from which the model"),
        ({"mask": np.arange(7)[:, None, None] < 1 + 0 * np.ones((N, N))}, "Choices(begin=(0,))"),
        ({"missing": "zero"}, "'refuse' or 'nan'"),
        ({"hole": np.nan}, "pass missing='nan'"),
        ({"hole": np.inf, "missing": "nan"}, "NaN or infinite"),
        ({"hole": np.nan, "mask": np.ones((N, N), bool)}, "pass missing='nan'"),
    ],
)
def test_masks_that_cannot_be_are_named(how: dict[str, Any], message: str) -> None:
    x = observe(0.0)
    if "hole" in how:
        x = x.at[0, 1, 2, 3].set(how.pop("hole"))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        READOUT(x, batch="each", **how)
    assert str(error.value).startswith("PrefixReadout: ")


def test_sensors_stand_on_the_grid() -> None:
    axes = [np.linspace(0.5, 7.5, 8), np.linspace(-1, 1, 5)]
    mask = sensor_mask([[0.1, 0.9], [3.4, -0.2]], axes)
    assert np.argwhere(mask).tolist() == [[0, 4], [3, 2]]
    assert sensor_mask([[8.6, 0.0]], axes, periodic=True)[0, 2]
    for sensors, grid, message in (
        ([[9.0, 0.0]], axes, "sensor 0 at [9.0, 0.0] is outside the grid along axis 0, which goes from 0.5 to 7.5"),
        ([[0, 0], [0, -1]], (4, 4), "sensor 1"),
        ([[0.5, 1.0]], (4, 4), "whole numbers"),
        ([0, 1], (4, 4), "expected [P, 2]"),
        (np.zeros((0, 2), int), (4, 4), "one row or more"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            sensor_mask(sensors, grid)


def test_fills_that_are_none_are_refused() -> None:
    for how, message in (({"method": "cubic"}, "nearest, harmonic, spectral"), ({"cutoff": 0.0}, "above 0")):
        with pytest.raises(ValueError, match=message):
            Fill(**how)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one of each"):
        choose_fill([], True)


def test_a_fitted_readout_takes_a_fill() -> None:
    regimes = [observe(c) for c in (-0.5, 0.7)]
    fitted = fit_prefix_readout(family(), rollout_fn, regimes, choices=Choices(free_gate=(False,), begin=(0,)))
    readout = dataclasses.replace(fitted, fill=READOUT.fill)
    mask = mask_of(0.8)
    assert isinstance(observations("test", readout, regimes[0], mask), Observed)
    np.testing.assert_allclose(readout(regimes[1], batch="each", mask=mask).coordinate, 0.7, atol=0.15)
