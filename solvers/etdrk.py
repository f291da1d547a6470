"""Exponential time differencing: stiff linear parts exactly, the rest by Runge-Kutta of order 2 or 4.

For ``c_t = L c + N(c)`` with ``L`` diagonal in some basis. Reference: Cox & Matthews (2002); Kassam & Trefethen (2005).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class ETDRK(NamedTuple):
    """Coefficients of an exponential Runge-Kutta step, each of the shape of the linear operator."""

    decay: Array  # exp(h L)
    half_decay: Array  # exp(h L / 2); unused at order 2
    weights: tuple[Array, ...]


def etdrk_coefficients(
    linear: Array | np.ndarray, dt: float, *, order: int = 4, points: int = 16, dtype: Any = None
) -> ETDRK:
    """Stable coefficients of ETDRK2 or ETDRK4 for a diagonal linear operator, real (diffusion) or complex (dispersion).

    The functions ``phi_k(z)`` lose all digits to cancellation near ``z = 0``; Kassam & Trefethen's mean
    over a circle around ``z = h L`` does not (in single precision it keeps about four digits). ``linear`` may be
    traced, so a physical parameter may be, too. Of a numpy array the coefficients are known, in double precision,
    before anything runs.

    Args:
        linear: eigenvalues of ``L``, any shape that broadcasts against the coefficients, in 1/time.
        dt: step size, in time.
        order: 2 or 4.
        points: points on half the circle.
        dtype: of the coefficients, or of their parts if they are complex; the widest that jax has here if None.

    Raises:
        ValueError: if ``order`` is neither 2 nor 4.
    """
    if order not in (2, 4):
        raise ValueError(f"etdrk_coefficients: order is {order!r}, expected 2 or 4.")
    known = isinstance(linear, np.ndarray)
    xp: Any = np if known else jnp
    z = dt * linear if known else dt * jnp.asarray(linear, jnp.result_type(linear, jnp.float32))
    real = not xp.iscomplexobj(z)
    dtype = dtype if real or dtype is None else jnp.result_type(dtype, jnp.complex64)
    # For a real L the lower half of the circle is the mirror image of the upper one.
    count = points if real else 2 * points
    circle = np.exp(1j * np.pi * (np.arange(count) + 0.5) / points)

    def functions(r: Any) -> tuple[Any, ...]:
        e = xp.exp(r)
        if order == 2:
            return (e - 1) / r, (e - 1 - r) / r**2
        half, first = (xp.exp(r / 2) - 1) / r, (-4 - r + e * (4 - 3 * r + r**2)) / r**3
        return half, first, 2 * (2 + r + e * (r - 2)) / r**3, (-4 - 3 * r - r**2 + e * (4 - r)) / r**3

    def add(totals: tuple[Any, ...], point: Any) -> tuple[tuple[Any, ...], None]:
        values = functions(z + point)
        return tuple(t + (v.real if real else v) for t, v in zip(totals, values, strict=True)), None

    totals: tuple[Any, ...] = (xp.zeros_like(z),) * (2 if order == 2 else 4)
    if known:
        for point in circle:
            totals, _ = add(totals, point)
    else:
        totals, _ = jax.lax.scan(add, totals, jnp.asarray(circle, jnp.result_type(z.dtype, jnp.complex64)))
    found = ETDRK(xp.exp(z), xp.exp(z / 2), tuple(dt / count * total for total in totals))
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), found)


def integrate(scheme: ETDRK, nonlinear: Callable[[Array], Array], c: Array, steps: int) -> Array:
    """``steps`` applications of :func:`etdrk_step`, in one scan, so that reverse mode works."""
    return jax.lax.scan(lambda c, _: (etdrk_step(scheme, nonlinear, c), None), c, None, length=steps)[0]


def etdrk_step(scheme: ETDRK, nonlinear: Callable[[Array], Array], c: Array) -> Array:
    """One step of ``c_t = L c + N(c)``; the order is that of ``scheme`` (2 or 4)."""
    n0 = nonlinear(c)
    if len(scheme.weights) == 2:
        phi1, phi2 = scheme.weights
        a = scheme.decay * c + phi1 * n0
        return a + phi2 * (nonlinear(a) - n0)
    half, first, middle, last = scheme.weights
    a = scheme.half_decay * c + half * n0
    na = nonlinear(a)
    b = scheme.half_decay * c + half * na
    nb = nonlinear(b)
    d = scheme.half_decay * a + half * (2 * nb - n0)
    return scheme.decay * c + first * n0 + middle * (na + nb) + last * nonlinear(d)
