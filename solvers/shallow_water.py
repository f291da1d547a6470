"""Shallow water on a square, flat bed: finite volumes, because a dam break has bores.

    h_t + (hu)_x + (hv)_y = 0
    (hu)_t + (hu^2 + g h^2 / 2)_x + (huv)_y = 0,    and the same with x and y exchanged

Limited linear reconstruction of depth and velocities (monotonised central), HLLC fluxes with Einfeldt's wave speeds,
Heun's strong-stability-preserving step: second order where the flow is smooth. The number of steps is fixed, so one
compilation serves every regime and reverse mode works; :func:`substeps_needed` gives it from a bound on the wave
speed. A spectral method would oscillate at the bores, at any resolution.

Reference: Toro, Shock-Capturing Methods for Free-Surface Shallow Flows (2001). PDEBench's radial dam break
(Takamoto et al., 2022) is this equation on [-2.5, 2.5]^2 with outflow at the edges.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from solvers._checks import check_sign, check_state, check_time

Array = jax.Array

WALLS = ("outflow", "reflecting")
MAX_CFL = 0.5  # of a wave that runs along a diagonal, both directions together stay below one
_DRY = 1e-6  # depth below which a velocity means nothing


class _Water(NamedTuple):
    """Depth and momenta, each ``[H, W]``: separate arrays, so that the innermost loop runs along a row."""

    h: Array
    hu: Array
    hv: Array


def speed_bound(height: float, gravity: float, *, outer: float = 1.0) -> float:
    """A bound on ``|velocity| + sqrt(g h)`` after a dam of ``height`` over ``outer`` breaks.

    Between the two still states ``u + 2 c`` is at most ``2 c_in`` and ``c`` at least ``c_out``, so ``u + c`` is at
    most ``2 c_in - c_out``.
    """
    inside, outside = (math.sqrt(gravity * max(a, b)) for a, b in ((height, outer), (outer, 0.0)))
    return 2 * inside - outside


def substeps_needed(dt: float, cell: float, speed: float, *, cfl: float = MAX_CFL) -> int:
    """Steps within ``dt`` that keep ``speed * step / cell`` below ``cfl``."""
    return max(1, math.ceil(dt * speed / (cfl * cell) - 1e-9))


def cfl_number(states: Array, *, dt: float, substeps: int, gravity: float | Array, length: float = 5.0) -> Array:
    """The largest ``(|velocity| + sqrt(g h)) * step / cell`` of states ``[..., H, W, 3]``."""
    h = jnp.maximum(states[..., 0], _DRY)
    speed = jnp.abs(states[..., 1:]).max(axis=-1) / h + jnp.sqrt(gravity * h)
    return speed.max() * dt / substeps * states.shape[-3] / length


def dam(
    shape: tuple[int, int],
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
    *, dt: float, substeps: int, gravity: float | Array = 1.0, length: float = 5.0, walls: str = "outflow"
) -> Callable[[Array], Array]:
    """Returns the map of a state ``[H, W, 3]`` (depth and two momenta) at time t to the state at ``t + dt``.

    Args:
        dt: time between two states.
        substeps: steps within ``dt``, see :func:`substeps_needed`.
        gravity: length / time^2; may be traced.
        length: extent of the first axis; cells are square.
        walls: ``"outflow"``, waves leave; or ``"reflecting"``.

    Raises:
        ValueError: for a gravity that is not positive, a non-positive ``dt``, fewer than one substep, or unknown walls.

    Example:
        >>> step = make_step(dt=0.05, substeps=2)
        >>> step(dam((16, 16), height=2.0, radius=0.5)).shape
        (16, 16, 3)
    """
    check_time("shallow_water.make_step", dt, substeps)
    check_sign("shallow_water.make_step", positive=True, gravity=gravity)
    if walls not in WALLS:
        raise ValueError(f"shallow_water.make_step: walls is {walls!r}, expected one of {WALLS}.")

    def step(state: Array) -> Array:
        check_state("shallow_water", state, ("H", "W"), 3)
        ratio = dt / substeps * state.shape[0] / length
        g = jnp.asarray(gravity, state.dtype)

        def heun(w: _Water, _: None) -> tuple[_Water, None]:
            once = _add(w, _rate(w, g, walls), ratio)
            twice = _add(once, _rate(once, g, walls), ratio)
            return _Water(*(0.5 * (a + b) for a, b in zip(w, twice, strict=True))), None

        w, _ = jax.lax.scan(heun, _Water(*jnp.moveaxis(state, -1, 0)), None, length=substeps)
        return jnp.stack(w, axis=-1)

    return step


def _add(w: _Water, rate: _Water, scale: float) -> _Water:
    return _Water(*(a + scale * b for a, b in zip(w, rate, strict=True)))


def _rate(w: _Water, g: Array, walls: str) -> _Water:
    """What flows into each cell, per ratio of time step to cell."""
    h = jnp.maximum(w.h, _DRY)
    u, v = w.hu / h, w.hv / h
    along_x = _inflow(h, u, v, g, walls, axis=0)
    along_y = _inflow(h, v, u, g, walls, axis=1)
    return _Water(along_x[0] + along_y[0], along_x[1] + along_y[2], along_x[2] + along_y[1])


def _inflow(h: Array, u: Array, v: Array, g: Array, walls: str, axis: int) -> tuple[Array, Array, Array]:
    """Inflow of mass, normal and transverse momentum along one axis; ``u`` is the velocity along it."""
    sign = -1.0 if walls == "reflecting" else 1.0
    left, right = zip(*(_faces(q, s, axis) for q, s in ((h, 1.0), (u, sign), (v, 1.0))), strict=True)
    fluxes = _hllc(left, right, g)
    n = h.shape[axis]
    mass, normal, transverse = (_part(f, 0, n, axis) - _part(f, 1, n, axis) for f in fluxes)
    return mass, normal, transverse


def _part(a: Array, start: int, count: int, axis: int) -> Array:
    return jax.lax.slice_in_dim(a, start, start + count, axis=axis)


def _faces(q: Array, sign: float, axis: int) -> tuple[Array, Array]:
    """Values on either side of the ``n + 1`` faces, from limited slopes; ``sign`` mirrors ``q`` at the walls."""
    n = q.shape[axis]
    part = functools.partial(_part, axis=axis)
    first, second = part(q, 0, 1), part(q, 1, 1)
    last, before = part(q, n - 1, 1), part(q, n - 2, 1)
    # Two ghost cells a side: the nearest cell again, or the two nearest as a mirror shows them.
    below, above = ((-second, -first), (-last, -before)) if sign < 0 else ((first, first), (last, last))
    q = jnp.concatenate([*below, q, *above], axis=axis)  # [n + 4]
    d = part(q, 1, n + 3) - part(q, 0, n + 3)
    slope = _monotonised_central(part(d, 0, n + 2), part(d, 1, n + 2))
    middle = part(q, 1, n + 2)
    high, low = middle + 0.5 * slope, middle - 0.5 * slope
    return part(high, 0, n + 1), part(low, 1, n + 1)


def _monotonised_central(a: Array, b: Array) -> Array:
    """The central slope, unless twice either one-sided slope is smaller; zero at an extremum."""
    size = jnp.minimum(0.5 * jnp.abs(a + b), 2 * jnp.minimum(jnp.abs(a), jnp.abs(b)))
    return jnp.where(a * b > 0, jnp.sign(a) * size, 0.0)


def _hllc(left: tuple[Array, ...], right: tuple[Array, ...], g: Array) -> tuple[Array, Array, Array]:
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
    scale, product = 1.0 / (sr - sl), sl * sr
    mass = (sr * ml - sl * mr + product * (hr - hl)) * scale
    momentum = (sr * pl - sl * pr + product * (mr - ml)) * scale
    return mass, momentum, mass * jnp.where(mass > 0, vl, vr)
