"""Quadratic transport of periodic fields, in the basis in which it costs least: real cosines and sines by matrices.

With real coefficients a transform is a real product, and derivatives go into the matrices; fine grids use FFTs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from solvers.spectral import MATRIX_GRID, dealiased_modes, fourier_wavenumbers, from_fourier, real_waves, to_fourier

Array = jax.Array

MATRIX_LINE = 256  # the finest line transformed by real matrices: faster than an FFT at 128 and at 192 points
_HIGHEST = jax.lax.Precision.HIGHEST


class Line(NamedTuple):
    """A periodic interval for equations ``u_t + (u^2 / 2)_x = L u``, with the 2/3 rule.

    Attributes:
        wavenumbers: of the coefficients, each as often as it appears among them, in double precision.
        to_modes: field ``[N]`` -> coefficients.
        to_field: coefficients -> field ``[N]``.
        transport: coefficients of ``u`` -> those of ``-(u^2 / 2)_x``.
    """

    wavenumbers: np.ndarray
    to_modes: Callable[[Array], Array]
    to_field: Callable[[Array], Array]
    transport: Callable[[Array], Array]


def periodic_line(n: int, length: float, dtype: jnp.dtype) -> Line:
    """A periodic interval of ``n`` points: real cosines and sines up to ``MATRIX_LINE`` points, beyond it by FFT.

    The even and the odd part of ``u`` are known from half the points, and so are those of its square, ``e^2 + o^2`` and
    ``2 e o``: half the work.
    """
    m = dealiased_modes(n)
    k = fourier_wavenumbers([m], length)[0][0]
    if n > MATRIX_LINE:
        waves = jnp.asarray(k, dtype)

        def to_modes(u: Array) -> Array:
            return jnp.fft.rfft(u, norm="forward")[: m + 1]

        def to_field(c: Array) -> Array:
            return jnp.fft.irfft(c, n=n, norm="forward")

        return Line(k, to_modes, to_field, lambda c: -0.5j * waves * to_modes(to_field(c) ** 2))
    synthesis, analysis = real_waves(n, m, mirror=True), real_waves(n, m, mean=True)  # rows: cosines, then sines
    half = n // 2 + 1
    mirrored = np.full(half, 2.0)
    mirrored[0] = 1.0
    if n % 2 == 0:
        mirrored[-1] = 1.0
    (even, odd), (means, sines) = (np.split(waves[:, :half], 2) for waves in (synthesis, analysis))

    def product(matrix: np.ndarray) -> Callable[[Array], Array]:
        return lambda x: _dot(x, jnp.asarray(matrix, dtype))

    to_even, to_odd = product(even), product(odd)
    slope = 0.5 * k[:, None] * mirrored
    from_odd, from_even = product((-slope * sines).T), product((slope * means).T)

    def transport(c: Array) -> Array:
        e, o = to_even(c[: m + 1]), to_odd(c[m + 1 :])
        return jnp.concatenate([from_odd(2 * e * o), from_even(e * e + o * o)])

    return Line(np.concatenate([k, k]), product(analysis.T), product(synthesis), transport)


class Plane(NamedTuple):
    """A periodic square for equations of vorticity, ``w_t + u . grad(w) = L w``, with the 2/3 rule.

    Attributes:
        squares: ``kx^2 + ky^2`` of the coefficients, in double precision.
        to_modes: field ``[H, W]`` -> coefficients.
        to_field: coefficients -> field ``[H, W]``.
        convection: coefficients of the vorticity ``w`` -> those of ``-u . grad(w)``, with ``u`` its velocity.
    """

    squares: np.ndarray
    to_modes: Callable[[Array], Array]
    to_field: Callable[[Array], Array]
    convection: Callable[[Array], Array]


def periodic_plane(shape: tuple[int, int], length: float, dtype: jnp.dtype) -> Plane:
    """A periodic square: real cosines and sines up to the grids of ``MATRIX_GRID``, beyond them by FFT.

    The convection is ``-(dxx - dyy)(u v) - dxy(v^2 - u^2)``, which takes two fields to the grid and two back.
    """
    modes = [dealiased_modes(n) for n in shape]
    if max(shape) > MATRIX_GRID[2]:
        return _plane_by_fft(shape, modes, length, dtype)
    k = [2 * np.pi / length * np.tile(np.arange(m + 1), 2) for m in modes]  # of the cosines, then of the sines
    kx, ky = k[0][:, None], k[1][None, :]
    squares = kx**2 + ky**2
    to_stream = jnp.asarray(np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0), dtype)
    synthesis = [real_waves(n, m) for n, m in zip(shape, modes, strict=True)]
    analysis = [real_waves(n, m, mean=True, mirror=True) for n, m in zip(shape, modes, strict=True)]
    # The slopes of the waves, and the coefficients of a field's slope: a cosine has minus a sine, and the other way.
    slopes, of_slopes = ([_slope(*part) for part in zip(rows, k, strict=True)] for rows in (synthesis, analysis))
    x, y, dx, dy = (jnp.asarray(a, dtype) for a in (*synthesis, *slopes))
    to_x, to_y, to_dx, to_dy = (jnp.asarray(a, dtype) for a in (*analysis, *(-a for a in of_slopes)))
    both, difference = jnp.concatenate([dy, y], axis=1), jnp.asarray(kx**2 - ky**2, dtype)

    def convection(c: Array) -> Array:
        stream_y, stream = jnp.split(_dot(to_stream * c, both), 2, axis=1)
        u, v = _dot(x.T, stream_y), -_dot(dx.T, stream)
        uv, squared = _dot(u * v, to_y.T), _dot(v * v - u * u, to_dy.T)
        return difference * _dot(to_x, uv) - _dot(to_dx, squared)

    def to_modes(field: Array) -> Array:
        return _dot(_dot(to_x, field), to_y.T)

    return Plane(squares, to_modes, lambda c: _dot(_dot(x.T, c), y), convection)


def _plane_by_fft(shape: tuple[int, int], modes: list[int], length: float, dtype: jnp.dtype) -> Plane:
    kx, ky = (k[0] for k in fourier_wavenumbers(modes, length))
    squares = kx**2 + ky**2
    inverse = np.divide(1.0, squares, out=np.zeros_like(squares), where=squares > 0)
    to_u, to_v = (jnp.asarray(a, dtype) for a in (ky * inverse, -kx * inverse))
    of_uv, of_difference = (jnp.asarray(a, dtype) for a in (kx**2 - ky**2, kx * ky))

    def convection(c: Array) -> Array:
        velocity = from_fourier(1j * jnp.stack([to_u * c, to_v * c]), shape)
        u, v = velocity[..., 0], velocity[..., 1]
        uv, difference = to_fourier(jnp.stack([u * v, v * v - u * u], axis=-1), modes)
        return of_uv * uv + of_difference * difference

    def to_modes(field: Array) -> Array:
        return to_fourier(field[..., None], modes)[0]

    return Plane(squares, to_modes, lambda c: from_fourier(c[None], shape)[..., 0], convection)


def _slope(waves: np.ndarray, k: np.ndarray) -> np.ndarray:
    """The derivatives of rows of cosines, then sines: ``-k sin``, then ``k cos``."""
    cos, sin = np.split(k[:, None] * waves, 2)
    return np.concatenate([-sin, cos])


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision=_HIGHEST)
