"""The spectral toolbox: cosine transforms, truncation and exponential time differencing.

A semi-linear equation ``u_t = L u + N(u)`` with a diagonal linear part in some basis is one short file on
top of this one: give ``L`` as an array, ``N`` as a function of spectral coefficients, and step with
:func:`etdrk_step`. Reference: Cox & Matthews (2002); Kassam & Trefethen (2005).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def cosine_wavenumbers(n: int, length: float) -> np.ndarray:
    """Wavenumbers of the zero-flux basis ``cos(kappa_j (x - x_left))``: ``kappa_j = pi j / length``, ``[n]``."""
    return np.pi * np.arange(n) / length


def cosine_matrix(n: int) -> np.ndarray:
    """Orthonormal DCT-II matrix ``M [n, n]``: ``M @ u`` are cosine coefficients, ``M.T @ c`` is the field.

    The samples sit at cell centres, so a cosine series satisfies zero flux at both walls exactly. As a
    matrix product the transform costs more operations than a fast one, and far less time on the grids
    used here, on CPU, GPU and TPU alike.
    """
    j, i = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = np.sqrt(2.0 / n) * np.cos(np.pi * j * (i + 0.5) / n)
    matrix[0] /= np.sqrt(2.0)
    return matrix


def to_cosine(u: Array) -> Array:
    """Cosine coefficients of a field: ``[H, W, C] -> [C, H, W]`` (channels in front suit the matrix products)."""
    mh, mw = (jnp.asarray(cosine_matrix(n), u.dtype) for n in u.shape[:2])
    return _sandwich(mh, jnp.moveaxis(u, -1, 0), mw)


def from_cosine(coefficients: Array) -> Array:
    """The field of a cosine series: ``[C, H, W] -> [H, W, C]``; inverse of :func:`to_cosine`."""
    mh, mw = (jnp.asarray(cosine_matrix(n), coefficients.dtype) for n in coefficients.shape[1:])
    return jnp.moveaxis(_sandwich(mh.T, coefficients, mw.T), 0, -1)


def _sandwich(left: Array, x: Array, right: Array) -> Array:
    """``left @ x[c] @ right.T`` for every channel, at full precision on every device."""
    highest = jax.lax.Precision.HIGHEST
    x = jnp.einsum("chw,lw->chl", x, right, precision=highest)
    return jnp.einsum("kh,chl->ckl", left, x, precision=highest)


def resample_cosine(u: Array, shape: tuple[int, int]) -> Array:
    """Evaluates the cosine series of a zero-flux field on another cell-centred grid, truncating or padding it.

    Args:
        u: field ``[H, W, C]``.
        shape: the new ``(H, W)``.

    Returns:
        ``[*shape, C]``; exact for a field that both grids resolve.
    """
    c = to_cosine(u)
    keep = tuple(min(old, new) for old, new in zip(c.shape[1:], shape, strict=True))
    scale = np.sqrt(np.prod(shape) / np.prod(c.shape[1:]))
    pad = [(0, 0)] + [(0, new - k) for k, new in zip(keep, shape, strict=True)]
    return from_cosine(jnp.pad(c[:, : keep[0], : keep[1]], pad) * scale)


class ETDRK(NamedTuple):
    """Coefficients of an exponential Runge-Kutta step, each of the shape of the linear operator."""

    decay: Array  # exp(h L)
    half_decay: Array  # exp(h L / 2); unused at order 2
    weights: tuple[Array, ...]


def etdrk_coefficients(linear: Array, dt: float, *, order: int = 4, points: int = 16) -> ETDRK:
    """Stable coefficients of ETDRK2 or ETDRK4 for a diagonal real linear operator.

    The functions ``phi_k(z)`` lose all digits to cancellation near ``z = 0``; Kassam & Trefethen's mean
    over a circle around ``z = h L`` does not. ``linear`` may be traced, so a physical parameter may be, too.

    Args:
        linear: eigenvalues of ``L``, real, any shape, in 1/time.
        dt: step size, in time.
        order: 2 or 4.
        points: points on the upper half of the circle.

    Raises:
        ValueError: if ``order`` is neither 2 nor 4.
    """
    if order not in (2, 4):
        raise ValueError(f"etdrk_coefficients: order is {order!r}, expected 2 or 4.")
    # Upper half of the unit circle: the lower half is its mirror image, and L is real.
    circle = np.exp(1j * np.pi * (np.arange(points) + 0.5) / points)
    z = dt * linear

    def mean(f: Callable[[Array], Array]) -> Array:
        def add(total: Array, point: Array) -> tuple[Array, None]:
            return total + f(z + point).real, None

        dtype = jnp.result_type(z.dtype, jnp.complex64)
        total, _ = jax.lax.scan(add, jnp.zeros_like(z), jnp.asarray(circle, dtype))
        return (dt / points) * total

    if order == 2:
        phi1 = mean(lambda r: (jnp.exp(r) - 1) / r)
        phi2 = mean(lambda r: (jnp.exp(r) - 1 - r) / r**2)
        return ETDRK(jnp.exp(z), jnp.exp(z / 2), (phi1, phi2))
    half = mean(lambda r: (jnp.exp(r / 2) - 1) / r)
    first = mean(lambda r: (-4 - r + jnp.exp(r) * (4 - 3 * r + r**2)) / r**3)
    middle = mean(lambda r: 2 * (2 + r + jnp.exp(r) * (r - 2)) / r**3)
    last = mean(lambda r: (-4 - 3 * r - r**2 + jnp.exp(r) * (4 - r)) / r**3)
    return ETDRK(jnp.exp(z), jnp.exp(z / 2), (half, first, middle, last))


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
