"""Bores and still water: exact planar solutions, symmetry, conservation, a radial reference."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from ccm_jax.rollout import rollout
from solvers import shallow_water
from solvers.shallow_water import cfl_number, dam, make_step, speed_bound, substeps_needed

both_schemes = pytest.mark.parametrize("scheme", shallow_water.SCHEMES)


def run(
    state: np.ndarray,
    t: float,
    *,
    length: float = 5.0,
    speed: float = 2.0,
    scheme: str = "runge-kutta",
    walls: str = "outflow",
    gravity: float = 1.0,
) -> np.ndarray:
    substeps = substeps_needed(t, length / state.shape[0], speed, scheme=scheme)
    step = make_step(dt=t, substeps=substeps, length=length, scheme=scheme, walls=walls, gravity=gravity)
    return np.asarray(jax.jit(step)(jnp.asarray(state)))


def stoker(x: np.ndarray, t: float, high: float, low: float, g: float) -> np.ndarray:
    """Exact depth after a planar dam at ``x = 0`` broke (Stoker, 1957)."""
    c = np.sqrt(g * high)

    def mismatch(h: float) -> float:
        bore = (h - low) * np.sqrt(0.5 * g * (h + low) / (h * low))
        return 2 * (c - np.sqrt(g * h)) - bore

    h = scipy.optimize.brentq(mismatch, low, high)
    u = 2 * (c - np.sqrt(g * h))
    shock = h * u / (h - low)
    fan = (2 * c - x / t) ** 2 / (9 * g)
    return np.select([x < -c * t, x < (u - np.sqrt(g * h)) * t, x < shock * t], [high, fan, h], low)


@both_schemes
def test_a_planar_dam_converges_to_stokers_solution_at_order_one(x64: None, scheme: str) -> None:
    errors = []
    for n in (64, 128, 256):
        x = (np.arange(n) + 0.5) / n * 5 - 2.5
        state = np.zeros((n, 3, 3))
        state[..., 0] = np.where(x < 0, 2.0, 0.5)[:, None]
        h = run(state, 1.0, scheme=scheme)[:, 1, 0]
        errors.append(np.abs(h - stoker(x, 1.0, 2.0, 0.5, 1.0)).mean())
    order = -np.polyfit(np.log([64, 128, 256]), np.log(errors), 1)[0]
    assert 0.8 < order < 1.3 and errors[-1] < 4e-3


@both_schemes
def test_a_fast_bore_over_shallow_water_keeps_its_depth_positive(scheme: str) -> None:
    """A transonic fan: without the entropy-satisfying speeds an expansion shock would stand at the dam."""
    n = 256
    x = (np.arange(n) + 0.5) / n * 5 - 2.5
    state = np.zeros((n, 3, 3), np.float32)
    state[..., 0] = np.where(x < 0, 2.0, 0.01)[:, None]
    out = run(state, 0.5, speed=speed_bound(2.0, 1.0, outer=0.01), scheme=scheme)
    assert out[..., 0].min() > 0
    assert np.abs(out[:, 1, 0] - stoker(x, 0.5, 2.0, 0.01, 1.0)).mean() < 1e-2
    assert np.abs(np.diff(out[:, 1, 0]))[np.abs(x[1:]) < 0.2].max() < 0.05


@both_schemes
@pytest.mark.parametrize("walls", shallow_water.WALLS)
def test_a_still_lake_stays_still(walls: str, scheme: str) -> None:
    state = np.zeros((16, 16, 3), np.float32)
    state[..., 0] = 1.7
    np.testing.assert_allclose(run(state, 1.0, walls=walls, scheme=scheme), state, atol=1e-6)


@both_schemes
def test_order_two_where_the_flow_is_smooth(x64: None, scheme: str) -> None:
    """Against the finest of four grids, by cell averages. Smooth, and no extremum at rest to limit for long."""

    def depth(n: int) -> np.ndarray:
        # Averages over cells, by Gauss points, so that the start itself is not the error.
        nodes, weights = np.polynomial.legendre.leggauss(4)
        x = ((np.arange(n)[:, None] + 0.5 + 0.5 * nodes) / n) * 5 - 2.5
        state = np.zeros((n, 2, 3))
        state[..., 0] = (1.0 + 0.2 * (np.exp(-2 * x**2) @ weights) / 2)[:, None]
        return run(state, 0.5, speed=1.5, scheme=scheme)[:, 0, 0]

    fine = depth(1024)
    errors = [np.abs(depth(n) - fine.reshape(n, -1).mean(axis=1)).mean() for n in (64, 128, 256)]
    assert -np.polyfit(np.log([64, 128, 256]), np.log(errors), 1)[0] > 1.7


def test_mass_is_kept_and_grids_turn_with_the_problem(x64: None) -> None:
    start = np.asarray(dam((48, 48), height=2.0, radius=0.5, center=(0.4, -0.2)))
    out = run(start, 0.8)
    np.testing.assert_allclose(out[..., 0].sum(), start[..., 0].sum(), rtol=1e-12)
    # A quarter turn: rows become columns, and (u, v) becomes (-v, u).
    turned = run(np.rot90(start), 0.8)
    back = np.rot90(turned, -1)[..., [0, 2, 1]] * np.array([1.0, 1.0, -1.0])
    np.testing.assert_allclose(back, out, atol=1e-12)
    np.testing.assert_allclose(run(np.swapaxes(start, 0, 1), 0.8).swapaxes(0, 1)[..., [0, 2, 1]], out, atol=1e-12)


def test_mass_in_single_precision_until_the_wave_meets_the_edge() -> None:
    start = dam((64, 64), height=2.5, radius=0.7)
    step = make_step(dt=0.05, substeps=substeps_needed(0.05, 5 / 64, speed_bound(2.5, 1.0)))
    mass = np.asarray(jax.jit(rollout(step, 20))(start), np.float64)[..., 0].sum(axis=(1, 2))
    np.testing.assert_allclose(mass, np.asarray(start, np.float64)[..., 0].sum(), rtol=1e-6)


def test_rough_states_stay_finite_in_sweeps() -> None:
    """Depths that differ by factors of forty from cell to cell: a limited slope reaches nearly to the ground."""
    rng = np.random.default_rng(0)
    step = make_step(dt=0.9, substeps=1, length=16.0, walls="reflecting", scheme="splitting")
    for _ in range(20):
        h = np.exp(rng.normal(-0.5, 1.2, (16, 16))).astype(np.float32)
        u, v = rng.normal(0, 1, (2, 16, 16)).astype(np.float32)
        speed = (np.maximum(np.abs(u), np.abs(v)) + np.sqrt(h)).max()
        h, u, v = h / speed**2, u / speed, v / speed  # one length of the step serves all: the fastest wave has speed 1
        state = np.stack([h, h * u, h * v], axis=-1)
        reached = cfl_number(jnp.asarray(state), dt=0.9, substeps=1, gravity=1.0, length=16.0)
        np.testing.assert_allclose(reached, 0.9, rtol=1e-5)
        out = step(state)
        assert np.isfinite(out).all()
        np.testing.assert_allclose(out[..., 0].sum(), h.sum(), rtol=1e-5)


def test_the_two_schemes_agree_to_their_error(x64: None) -> None:
    differences = []
    for n in (32, 64):
        start = np.asarray(dam((n, n), height=2.0, radius=0.5, center=(0.4, -0.2)))
        first, second = (run(start, 0.8, scheme=scheme, walls="reflecting") for scheme in shallow_water.SCHEMES)
        np.testing.assert_allclose(second[..., 0].sum(), first[..., 0].sum(), rtol=1e-12)
        differences.append(np.abs(first - second).mean())
    assert differences[1] < 0.65 * differences[0] < 1e-2


@both_schemes
def test_walls_reflect_or_let_go(x64: None, scheme: str) -> None:
    start = np.asarray(dam((40, 40), height=2.0, radius=0.6, center=(1.5, 0.0)))
    kept, gone = (run(start, 3.0, walls=walls, scheme=scheme) for walls in ("reflecting", "outflow"))
    total = start[..., 0].sum()
    np.testing.assert_allclose(kept[..., 0].sum(), total, rtol=1e-12)
    assert gone[..., 0].sum() < total - 5
    # A wall is a mirror: the same as two mirrored dams in a basin twice as long.
    double = np.concatenate([start, start[::-1] * np.array([1.0, -1.0, 1.0])])
    long = run(double, 3.0, length=10.0, walls="reflecting", scheme=scheme)
    np.testing.assert_allclose(long[:40], kept, atol=1e-10)


def radial_reference(t: float, cells: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Radii and depth of the same dam by the one-dimensional equations of a growing circle, on a very fine grid."""
    dr = 2.5 / cells
    face = np.arange(cells + 1) * dr
    r = 0.5 * (face[1:] + face[:-1])
    h, m, now = np.where(r < 0.5, 2.0, 1.0), np.zeros(cells), 0.0
    while now < t:
        speed = np.abs(m / h) + np.sqrt(h)
        dt = min(0.9 * dr / speed.max(), t - now)
        a = 0.5 * np.maximum(speed[1:], speed[:-1])
        mass, momentum = np.zeros(cells + 1), np.zeros(cells + 1)
        push = m * m / h + 0.5 * h * h
        mass[1:-1] = 0.5 * (m[1:] + m[:-1]) - a * (h[1:] - h[:-1])
        momentum[1:-1] = 0.5 * (push[1:] + push[:-1]) - a * (m[1:] - m[:-1])
        momentum[0], momentum[-1] = push[0], push[-1]
        # What leaves a ring, and the pressure on the sides of its sector.
        h, m = (
            h - dt * np.diff(mass * face) / (r * dr),
            m - dt * np.diff(momentum * face) / (r * dr) + dt * 0.5 * h * h / r,
        )
        now += dt
    return r, h


@both_schemes
def test_a_radial_dam_approaches_the_radial_equations(scheme: str) -> None:
    r, exact = radial_reference(0.8)
    errors = []
    for n in (64, 128):
        h = run(np.asarray(dam((n, n), height=2.0, radius=0.5)), 0.8, scheme=scheme)[..., 0]
        x = (np.arange(n) + 0.5) / n * 5 - 2.5
        distance = np.hypot(x[:, None], x)
        inside = distance < 2.3
        errors.append(np.abs(h - np.interp(distance, r, exact))[inside].mean())
        # And it is round: what turning and mirroring map onto each other agrees.
        np.testing.assert_allclose(h, h.T, atol=1e-5 if scheme == "runge-kutta" else 1e-2)
        np.testing.assert_allclose(h, h[::-1], atol=1e-5)
    assert errors[1] < 6e-3 and errors[1] < 0.65 * errors[0]


def test_the_speed_bound_holds_and_the_courant_number_is_reported() -> None:
    dt, n = 0.05, 64
    for height, gravity in ((1.25, 1.0), (3.5, 1.0), (2.0, 2.0)):
        substeps = substeps_needed(dt, 5 / n, speed_bound(height, gravity))
        step = make_step(dt=dt, substeps=substeps, gravity=gravity)
        frames = jax.jit(rollout(step, 20))(dam((n, n), height=height, radius=0.6))
        reached = cfl_number(frames, dt=dt, substeps=substeps, gravity=gravity)
        assert 0.2 < float(reached) < shallow_water.MAX_CFL


def test_gradients_reach_height_radius_and_gravity() -> None:
    def wet(parameters: jax.Array) -> jax.Array:
        height, radius, gravity = parameters
        step = make_step(dt=0.4, substeps=8, gravity=gravity)
        h = step(dam((24, 24), height=height, radius=radius))[..., 0]
        return jnp.sum((h - 1.0) ** 2)

    point = jnp.array([2.0, 0.8, 1.0])
    gradient = jax.jit(jax.grad(wet))(point)
    nudged = jax.jit(wet)
    rise = [(nudged(point + d) - nudged(point - d)) / 2e-2 for d in 1e-2 * jnp.eye(3)]
    np.testing.assert_allclose(gradient, rise, rtol=0.1)


def test_a_batch_is_its_members() -> None:
    start = jax.vmap(lambda r: dam((24, 24), height=2.0, radius=r))(jnp.array([0.4, 0.9]))
    step = make_step(dt=0.2, substeps=4)
    np.testing.assert_allclose(jax.vmap(step)(start)[1], step(start[1]), atol=1e-6)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="shallow_water.dam: height is -1.0, expected a number > 0"):
        dam((8, 8), height=-1.0, radius=0.5)
    with pytest.raises(ValueError, match="gravity is 0.0, expected a number > 0"):
        make_step(dt=0.1, substeps=1, gravity=0.0)
    with pytest.raises(ValueError, match="walls is 'wood', expected one of"):
        make_step(dt=0.1, substeps=1, walls="wood")
    with pytest.raises(ValueError, match="substeps_needed: scheme is 'euler', expected one of"):
        substeps_needed(0.1, 0.1, 1.0, scheme="euler")
    with pytest.raises(ValueError, match="cfl is 0.0, expected a number > 0"):
        substeps_needed(0.1, 0.1, 1.0, cfl=0.0)
    with pytest.raises(ValueError, match="make_step: scheme is 'euler', expected one of"):
        make_step(dt=0.1, substeps=1, scheme="euler")
    with pytest.raises(ValueError, match=r"shallow_water: state has shape \(8, 8\), expected \[H, W, 3\]"):
        make_step(dt=0.1, substeps=1)(jnp.zeros((8, 8)))


@both_schemes
def test_it_approaches_pyclaws_own_solution(scheme: str) -> None:
    """PDEBench's solver on a very fine grid, stored with the script that ran it (tests/references)."""
    stored = np.load(Path(__file__).parent / "references" / "dam_pyclaw.npz")
    how = {name: float(stored[name]) for name in ("height", "radius")} | {"center": tuple(stored["center"].tolist())}
    speed = speed_bound(float(stored["height"]), float(stored["gravity"]))
    errors = []
    for n in (50, 100, 200):
        how_long = {"speed": speed, "gravity": float(stored["gravity"]), "scheme": scheme}
        state = run(np.asarray(dam((n, n), **how)), float(stored["time"]), **how_long)
        averages = state.reshape(50, n // 50, 50, n // 50, 3).mean(axis=(1, 3))
        errors.append(np.abs(averages - stored["state"]).mean(axis=(0, 1)))
    assert np.all(errors[2] < 2e-3)
    assert np.all(errors[1] < 0.6 * errors[0]) and np.all(errors[2] < 0.6 * errors[1])
