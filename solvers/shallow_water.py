"""Shallow water on a square with a flat bed, by finite volumes, because a dam break has shocks.

    h_t + (hu)_x + (hv)_y = 0
    (hu)_t + (hu^2 + g h^2 / 2)_x + (huv)_y = 0,    and the same with x and y exchanged

Limited linear reconstruction of depth and velocities (monotonised central), HLLC fluxes with Einfeldt's wave speeds,
Heun's strong-stability-preserving step: second order where the flow is smooth. The number of steps is fixed, so one
compilation serves every regime and reverse mode works; :func:`substeps_needed` gives it from a bound on the wave speed.
A spectral method would oscillate at the shocks, at any resolution.

``scheme="splitting"`` sweeps one axis after the other instead, x y y x, each with Hancock's half step: twice the step,
one flux where Heun's takes four, and less diffusion. It is faster for the same error, but its result is symmetric under
rotations only up to the splitting error.

Reference: Toro, Shock-Capturing Methods for Free-Surface Shallow Flows (2001). PDEBench's radial dam break
(Takamoto et al., 2022) is this equation on [-2.5, 2.5]^2 with outflow at the edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from solvers._checks import check_sign, check_state, check_time
from solvers.system import Parameters, Settings, System, cell_averages

Array = jax.Array
Fields = tuple[Array, ...]

WALLS = ("outflow", "reflecting")
SCHEMES = ("runge-kutta", "splitting")
# Of a wave that runs along a diagonal, both directions together stay below one; swept in turn, each of them does.
MAX_CFL = 0.5
MAX_CFL_SPLITTING = 1.0
_DRY = 1e-6  # depth below which a velocity means nothing


def speed_bound(height: float, gravity: float, *, outer: float = 1.0) -> float:
    """A bound on ``|velocity| + sqrt(g h)`` after a dam of ``height`` over ``outer`` breaks.

    Between two still states, the deeper with wave speed ``c_deep``, ``u + 2 c`` is at most ``2 c_deep`` and ``c`` at
    least ``c_shallow``, so ``u + c`` is at most ``2 c_deep - c_shallow``. Exact for a planar dam; the waves of a round
    one are weaker, but those of a round pit meet in its middle and may exceed it.
    """
    deep, shallow = (math.sqrt(gravity * depth) for depth in (max(height, outer), min(height, outer)))
    return 2 * deep - shallow


def substeps_needed(
    dt: float, cell: float, speed: float, *, cfl: float | None = None, scheme: str = "runge-kutta"
) -> int:
    """Steps within ``dt`` that keep ``speed * step / cell`` below ``cfl``; by default, the scheme's limit."""
    if scheme not in SCHEMES:
        raise ValueError(f"shallow_water.substeps_needed: scheme is {scheme!r}, expected one of {SCHEMES}.")
    if cfl is None:
        cfl = MAX_CFL if scheme == "runge-kutta" else MAX_CFL_SPLITTING
    check_sign("shallow_water.substeps_needed", positive=True, cfl=cfl)
    return max(1, math.ceil(dt * speed / (cfl * cell) - 1e-9))


def cfl_number(states: Array, *, dt: float, substeps: int, gravity: float | Array, length: float = 5.0) -> Array:
    """The largest ``(|velocity| + sqrt(g h)) * step / cell`` of states ``[..., H, W, 3]``."""
    h = jnp.maximum(states[..., 0], _DRY)
    speed = jnp.abs(states[..., 1:]).max(axis=-1) / h + jnp.sqrt(gravity * h)
    return speed.max() * dt / substeps * states.shape[-3] / length


def dam(
    shape: Sequence[int],
    *,
    height: float | Array,
    radius: float | Array,
    center: Array | tuple[float, float] = (0.0, 0.0),
    outer: float = 1.0,
    length: float = 5.0,
) -> Array:
    """Water at rest, ``height`` deep inside a circle and ``outer`` deep outside: ``[H, W, 3]``.

    Cells on the circle hold about the share that is inside, so the start depends smoothly on radius and centre, and
    its volume hardly on the grid.

    Args:
        shape: cells ``(H, W)``, square ones, around the origin.
        height: depth inside; may be traced.
        radius: of the circle; may be traced.
        center: of the circle, ``(x, y)``; may be traced.
        outer: depth outside.
        length: extent of the first axis.

    Raises:
        ValueError: for a depth that is not positive or a negative radius.
    """
    check_sign("shallow_water.dam", positive=True, height=height, outer=outer)
    check_sign("shallow_water.dam", radius=radius)
    cell = length / shape[0]
    x, y = (cell * (np.arange(n) + 0.5 - n / 2) for n in shape)
    distance = jnp.hypot(x[:, None] - center[0], y[None, :] - center[1])
    inside = jnp.clip((radius - distance) / cell + 0.5, 0.0, 1.0)
    h = outer + (height - outer) * inside
    return jnp.stack([h, jnp.zeros_like(h), jnp.zeros_like(h)], axis=-1)


def make_step(
    *,
    dt: float,
    substeps: int,
    gravity: float | Array = 1.0,
    length: float = 5.0,
    walls: str = "outflow",
    scheme: str = "runge-kutta",
) -> Callable[[Array], Array]:
    """Returns the map of a state ``[H, W, 3]`` (depth and two momenta) at time t to the state at ``t + dt``.

    Args:
        dt: time between two states.
        substeps: steps within ``dt``, see :func:`substeps_needed`.
        gravity: length / time^2; may be traced.
        length: extent of the first axis; cells are square.
        walls: ``"outflow"``, waves leave; or ``"reflecting"``.
        scheme: ``"runge-kutta"`` or ``"splitting"``, see above; the latter is of first order if ``substeps`` is 1.

    Raises:
        ValueError: for a gravity that is not positive, a non-positive ``dt``, fewer than one substep, or unknown walls
            or schemes.

    Example:
        >>> step = make_step(dt=0.05, substeps=2)
        >>> step(dam((16, 16), height=2.0, radius=0.5)).shape
        (16, 16, 3)
    """
    check_time("shallow_water.make_step", dt, substeps)
    check_sign("shallow_water.make_step", positive=True, length=length)
    check_sign("shallow_water.make_step", positive=True, gravity=gravity)
    if walls not in WALLS:
        raise ValueError(f"shallow_water.make_step: walls is {walls!r}, expected one of {WALLS}.")
    if scheme not in SCHEMES:
        raise ValueError(f"shallow_water.make_step: scheme is {scheme!r}, expected one of {SCHEMES}.")

    def step(state: Array) -> Array:
        check_state("shallow_water", state, ("H", "W"), 3)
        ratio = dt / substeps * state.shape[0] / length
        g = jnp.asarray(gravity, state.dtype)

        def heun(q: Fields, _: None) -> tuple[Fields, None]:
            once = tuple(a + ratio * b for a, b in zip(q, _inflow(q, g, walls), strict=True))
            twice = tuple(a + ratio * b for a, b in zip(once, _inflow(once, g, walls), strict=True))
            return tuple(0.5 * (a + b) for a, b in zip(q, twice, strict=True)), None

        def sweeps(q: Fields, axes: tuple[int, ...]) -> Fields:
            for axis in axes:
                q = _sweep(q, g, walls, ratio, axis)
            return q

        # Three fields, not one array: XLA joins and cuts arrays element by element, which costs a quarter of the time.
        q: Fields = tuple(state[..., i] for i in range(3))
        if scheme == "runge-kutta":
            q, _ = jax.lax.scan(heun, q, None, length=substeps)
        else:
            q, _ = jax.lax.scan(lambda q, _: (sweeps(q, (0, 1, 1, 0)), None), q, None, length=substeps // 2)
            q = sweeps(q, (0, 1)) if substeps % 2 else q
        return jnp.stack(q, axis=-1)

    return jax.jit(step)  # else each call would compile its scan anew


def _inflow(q: Fields, g: Array, walls: str) -> Fields:
    """What flows into each cell, of depth and momenta ``[H, W]`` each, per ratio of time step to cell."""
    h = jnp.maximum(q[0], _DRY)
    u, v = q[1] / h, q[2] / h
    mass_x, momentum_x, shear_x = _inflow_along(h, u, v, g, walls, 0)
    mass_y, momentum_y, shear_y = _inflow_along(h, v, u, g, walls, 1)
    return mass_x + mass_y, momentum_x + shear_y, shear_x + momentum_y


def _sweep(q: Fields, g: Array, walls: str, ratio: float, axis: int) -> Fields:
    """One step along one axis alone; ``ratio`` is that of time step to cell."""
    h = jnp.maximum(q[0], _DRY)
    momenta = (1, 2) if axis == 0 else (2, 1)
    normal, transverse = (q[i] / h for i in momenta)
    mass, *moved = _inflow_along(h, normal, transverse, g, walls, axis, half_step=0.5 * ratio)
    after = dict(zip(momenta, moved, strict=True))
    return q[0] + ratio * mass, q[1] + ratio * after[1], q[2] + ratio * after[2]


def _inflow_along(
    h: Array, normal: Array, transverse: Array, g: Array, walls: str, axis: int, half_step: float = 0.0
) -> Fields:
    """Inflow of mass, normal and transverse momentum along one axis of depth and velocities ``[H, W]``."""
    n = h.shape[axis]
    middles, halves = zip(
        _slopes(h, walls, axis, 1.0),
        _slopes(normal, walls, axis, -1.0),  # the mirrored water beyond a wall runs the other way
        _slopes(transverse, walls, axis, 1.0),
        strict=True,
    )
    if half_step:  # Hancock: the cell's own equations carry it to the middle of the step
        (h, u, v), (dh, du, dv) = middles, tuple(2 * half_step * half for half in halves)
        least = jnp.abs(halves[0]) + _DRY  # so that the depth is positive on both faces
        middles = (jnp.maximum(h - u * dh - h * du, least), u - u * du - g * dh, v - u * dv)
    left = tuple(_part(m + d, 0, n + 1, axis) for m, d in zip(middles, halves, strict=True))
    right = tuple(_part(m - d, 1, n + 1, axis) for m, d in zip(middles, halves, strict=True))
    return tuple(_part(f, 0, n, axis) - _part(f, 1, n, axis) for f in _hllc(left, right, g))


def _slopes(q: Array, walls: str, axis: int, mirrored: float) -> tuple[Array, Array]:
    """A field in ``n + 2`` cells along an axis, one beyond either end, and half its limited difference across each."""
    n = q.shape[axis]
    width = [(2, 2) if a == axis else (0, 0) for a in range(2)]
    if walls == "reflecting":
        sign = np.ones(n + 4)
        sign[[0, 1, -2, -1]] = mirrored
        padded = jnp.pad(q, width, mode="symmetric") * jnp.asarray(np.expand_dims(sign, 1 - axis), q.dtype)
    else:
        padded = jnp.pad(q, width, mode="edge")
    difference = _part(padded, 1, n + 3, axis) - _part(padded, 0, n + 3, axis)
    half = 0.5 * _monotonised_central(_part(difference, 0, n + 2, axis), _part(difference, 1, n + 2, axis))
    return _part(padded, 1, n + 2, axis), half


def _part(a: Array, start: int, count: int, axis: int) -> Array:
    return jax.lax.slice_in_dim(a, start, start + count, axis=axis)


def _monotonised_central(a: Array, b: Array) -> Array:
    """The central slope, unless twice either one-sided slope is smaller; zero at an extremum."""
    size = jnp.minimum(0.5 * jnp.abs(a + b), 2 * jnp.minimum(jnp.abs(a), jnp.abs(b)))
    return jnp.where(a * b > 0, jnp.sign(a) * size, 0.0)


def _hllc(left: Fields, right: Fields, g: Array) -> Fields:
    """Fluxes of mass, normal and transverse momentum between states ``(h, u, v)``; the shear wave is kept sharp."""
    (hl, ul, vl), (hr, ur, vr) = left, right
    cl, cr = jnp.sqrt(g * hl), jnp.sqrt(g * hr)
    # Roe's averages bound the speed of a single shock, which keeps rarefactions free of expansion shocks.
    mean_u = (cl * ul + cr * ur) / (cl + cr)
    mean_c = jnp.sqrt(0.5 * g * (hl + hr))
    sl = jnp.minimum(jnp.minimum(ul - cl, mean_u - mean_c), 0.0)
    sr = jnp.maximum(jnp.maximum(ur + cr, mean_u + mean_c), 0.0)
    ml, mr = hl * ul, hr * ur
    pl, pr = ml * ul + 0.5 * g * hl * hl, mr * ur + 0.5 * g * hr * hr
    # With speeds clipped at zero the middle flux is the upwind one outside the fan as well.
    width, product = sr - sl, sl * sr
    mass = (sr * ml - sl * mr + product * (hr - hl)) / width
    momentum = (sr * pl - sl * pr + product * (mr - ml)) / width
    return mass, momentum, mass * jnp.where(mass > 0, vl, vr)


def _random_dam(settings: Settings, parameters: Parameters, key: Array) -> Array:
    low, high = settings.initial["radius"]
    u = jax.random.uniform(key, (3,), jnp.float32)
    height, outer, length = (parameters[name] for name in ("height", "outer", "length"))
    radius, center = low + (high - low) * u[0], settings.initial["center"] * (2 * u[1:] - 1)
    return dam(settings.grid, height=height, radius=radius, center=center, outer=outer, length=length)


def _step(settings: Settings, parameters: Parameters) -> Callable[[Array], Array]:
    physics = {name: parameters[name] for name in ("gravity", "length", "walls")}
    return make_step(dt=settings.dt, substeps=settings.substeps, **physics)


def _points(settings: Settings, parameters: Parameters) -> tuple[np.ndarray, ...]:
    """Cell centres around the origin; the cells of the simulation are square, and its first axis has the length."""
    sides = [parameters["length"] * n / settings.grid[0] for n in settings.grid]
    return tuple(side * ((np.arange(n) + 0.5) / n - 0.5) for side, n in zip(sides, settings.stored, strict=True))


def _check(settings: Settings, regimes: Sequence[Parameters]) -> None:
    """Frames are averages over whole cells; steps are stable in every regime, by the bound on the wave speed."""
    if any(n % m for n, m in zip(settings.grid, settings.stored, strict=True)):
        what = f"data.grid is {settings.stored}, expected divisors of solver.grid, {settings.grid}"
        raise ValueError(f"{what}: frames are stored as averages over whole cells.")
    for p in regimes:
        speed = speed_bound(p["height"], p["gravity"], outer=p["outer"])
        needed = substeps_needed(settings.dt, p["length"] / settings.grid[0], speed)
        if settings.substeps < needed:
            raise ValueError(
                f"solver.substeps is {settings.substeps}, expected at least {needed}: waves of height {p['height']:g} "
                f"and gravity {p['gravity']:g} run at up to {speed:.3g}, and a longer step is unstable."
            )


def _courant(settings: Settings, parameters: Parameters, states: Array) -> Array:
    gravity, length = parameters["gravity"], parameters["length"]
    return cfl_number(states, dt=settings.dt, substeps=settings.substeps, gravity=gravity, length=length)


SYSTEM = System(
    channels=("h", "hu", "hv"),
    dimension=2,
    starts={"dam": _random_dam},
    make_step=_step,
    store=cell_averages,
    points=_points,
    check=_check,
    courant=_courant,
)
