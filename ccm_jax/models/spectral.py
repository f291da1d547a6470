"""Truncated spectral transforms, as matrix products or by FFT, on any grid, in one to three dimensions.

A transform keeps the low modes only. As matrix products it never forms the others, so on the grids of neural
operators it is cheaper than a fast transform followed by a cut; it needs no complex numbers, which suits TPUs; and
its reverse mode is two more matrix products. On fine grids the FFT overtakes it; :func:`choose_transform` is the rule.
Both give the same numbers to rounding.

Fields and coefficients have their space axes in reverse, ``[n_d, ..., n_1, ...]`` and ``[k_d, ..., k_1, ...]``;
whatever follows rides along. The first product is one plain matrix product with the leading axis, each further one a
stack of them over the frequencies that are there already: nothing is ever transposed.

Coefficients are means against the basis functions, so they belong to the *function*, not to the grid: the
same weights act on every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.models.products import constant_product

Array = jax.Array

TRANSFORMS = ("auto", "matrix", "fft")

# The longest axis that is transformed by matrix products, per backend: estimates, not measured on each device. TPUs
# have no good FFT at any size.
MATRIX_POINTS = {"cpu": 256, "gpu": 256, "tpu": 4096}


def choose_transform(transform: str, grid: Sequence[int]) -> str:
    """``"matrix"`` or ``"fft"``: what ``transform`` says, or for ``"auto"`` the faster on this device and grid."""
    if transform not in TRANSFORMS:
        raise ValueError(f"choose_transform: transform is {transform!r}, expected one of {TRANSFORMS}.")
    if transform != "auto":
        return transform
    return "matrix" if max(grid) <= MATRIX_POINTS.get(jax.default_backend(), 256) else "fft"


def kept_frequencies(modes: Sequence[int]) -> list[np.ndarray]:
    """Integer frequencies kept per axis: ``-m .. m-1`` on all but the last axis, ``0 .. m`` on the last.

    The negative half of the last axis is the mirror image of the positive one, for real fields. This is the
    window of neuraloperator's ``n_modes = 2 m``.
    """
    return [np.arange(-m, m) for m in modes[:-1]] + [np.arange(modes[-1] + 1)]


def check_modes(function: str, modes: Sequence[int], grid: Sequence[int], per_axis: int) -> None:
    """Raises ValueError unless every axis of ``grid`` has at least ``per_axis`` points a mode."""
    for axis, (m, n) in enumerate(zip(modes, grid, strict=True)):
        if per_axis * m > n:
            raise ValueError(
                f"{function}: {m} modes on axis {axis} need at least {per_axis * m} grid points, got {n}; "
                "use fewer modes or a finer grid."
            )


def _leading(matrix: np.ndarray, x: Array) -> Array:
    """Applies ``matrix [k, n]`` along the first axis of ``x``."""
    return constant_product(matrix, x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])


def _stacked(matrix: np.ndarray, x: Array) -> Array:
    """Applies ``matrix [k, n]`` along the second axis of ``x [K, n, m]``."""
    return _leading(matrix, x[0])[None] if x.shape[0] == 1 else constant_product(matrix, x)


def cosine_basis(n: int, modes: int) -> np.ndarray:
    """Orthonormal cosines at cell centres, ``[modes, n]``: rows have unit mean square."""
    j, i = np.arange(modes)[:, None], np.arange(n)
    basis = np.sqrt(2.0) * np.cos(np.pi * j * (i + 0.5) / n)
    basis[0] = 1.0
    return basis


def cosine_analysis(x: Array, modes: Sequence[int], transform: str = "matrix") -> Array:
    """Cosine coefficients ``[k_d, ..., k_1, ...]`` of a field ``[n_d, ..., n_1, ...]`` with zero-flux walls."""
    for axis, m in enumerate(reversed(modes)):
        n, before, after = x.shape[axis], x.shape[:axis], x.shape[axis + 1 :]
        if transform == "fft":
            c = jnp.moveaxis(jax.scipy.fft.dct(x, axis=axis), axis, 0)[:m]
            x = jnp.moveaxis(c * _cosine_scale(m, n, x), 0, axis)
        else:
            y = _stacked(cosine_basis(n, m) / n, x.reshape(math.prod(before), n, -1))
            x = y.reshape(*before, m, *after)
    return x


def cosine_synthesis(c: Array, grid: Sequence[int], transform: str = "matrix") -> Array:
    """The field ``[n_d, ..., n_1, ...]`` of such coefficients; ``grid`` is ``(n_1, ..., n_d)``."""
    d = len(grid)
    for axis, n in zip(reversed(range(d)), grid, strict=True):
        m, before, after = c.shape[axis], c.shape[:axis], c.shape[axis + 1 :]
        if transform == "fft":
            first = jnp.moveaxis(c, axis, 0)
            padded = _pad_to(first / _cosine_scale(m, n, c), n, 0)
            c = jnp.moveaxis(jax.scipy.fft.idct(padded, axis=0), 0, axis)
        else:
            y = _stacked(cosine_basis(n, m).T, c.reshape(math.prod(before), m, -1))
            c = y.reshape(*before, n, *after)
    return c


def _cosine_scale(modes: int, n: int, like: Array) -> Array:
    """From SciPy's DCT-II to means against :func:`cosine_basis`, shaped to multiply along the first axis."""
    factors = np.where(np.arange(modes) == 0, 1.0, np.sqrt(2.0)) / (2 * n)
    return jnp.asarray(factors, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _pad_to(x: Array, n: int, axis: int) -> Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, n - x.shape[axis])
    return jnp.pad(x, widths)


def fourier_analysis(x: Array, modes: Sequence[int], transform: str = "matrix") -> Array:
    """The kept Fourier coefficients of a real field, as real pairs.

    Args:
        x: real field ``[n_d, ..., n_1, ...]``.
        modes: modes per side and axis; see :func:`kept_frequencies`.
        transform: ``"matrix"`` or ``"fft"``.

    Returns:
        ``[m_d + 1, ..., 2 m_1, 2, ...]``, real and imaginary part of means of the field against ``exp(-2 pi i f . x)``.
    """
    frequencies, d = kept_frequencies(modes)[::-1], len(modes)
    if transform == "fft":
        z = jnp.fft.rfft(x, axis=0, norm="forward")[frequencies[0]]
        for axis in range(1, d):
            z = jnp.take(jnp.fft.fft(z, axis=axis, norm="forward"), frequencies[axis], axis=axis)
        return jnp.stack([z.real, z.imag], axis=d)
    rest = x.shape[d:]
    cos, sin = waves(frequencies[0], x.shape[0]) / np.prod(x.shape[:d])
    y = _leading(np.stack([cos, -sin], axis=1).reshape(-1, x.shape[0]), x)  # rows: frequency, then part
    for axis in range(1, d):
        cos, sin = waves(frequencies[axis], x.shape[axis])
        turn = np.stack([np.concatenate([cos, sin], axis=1), np.concatenate([-sin, cos], axis=1)], axis=1)
        turn = turn.reshape(-1, 2 * x.shape[axis])
        y = _stacked(turn, y.reshape(math.prod(map(len, frequencies[:axis])), turn.shape[1], -1))
    return y.reshape(*map(len, frequencies), 2, *rest)


def fourier_synthesis(c: Array, modes: Sequence[int], grid: Sequence[int], transform: str = "matrix") -> Array:
    """The real field ``[n_d, ..., n_1, ...]`` of kept Fourier coefficients; ``grid`` is ``(n_1, ..., n_d)``."""
    frequencies, d = kept_frequencies(modes)[::-1], len(modes)
    if transform == "fft":
        z = jax.lax.complex(jnp.take(c, 0, axis=d), jnp.take(c, 1, axis=d))
        for axis, n in zip(reversed(range(1, d)), grid, strict=False):
            m = len(frequencies[axis]) // 2  # frequencies 0 .. m-1, zeros, then -m .. -1: the order of the FFT
            low, high = jnp.split(z, [m], axis=axis)
            z = jnp.concatenate([_pad_to(high, n - m, axis), low], axis=axis)
            z = jnp.fft.ifft(z, axis=axis, norm="forward")
        # One axis at a time: irfftn of spectra that are not Hermitian differs between CPU and GPU before jax 0.10.
        return jnp.fft.irfft(_pad_to(z, grid[-1] // 2 + 1, 0), grid[-1], axis=0, norm="forward")
    rest = c.shape[d + 1 :]
    y = c
    for axis, n in zip(reversed(range(1, d)), grid, strict=False):
        cos, sin = (w.T for w in waves(frequencies[axis], n))
        turn = np.concatenate([np.stack([cos, -sin], axis=2), np.stack([sin, cos], axis=2)]).reshape(2 * n, -1)
        y = _stacked(turn, y.reshape(math.prod(map(len, frequencies[:axis])), turn.shape[1], -1))
    n = grid[-1]
    cos, sin = (w.T for w in waves(frequencies[0], n))
    # Each kept mode stands for its mirror image too, but the mean and the Nyquist mode are their own.
    weight = np.where((frequencies[0] == 0) | (2 * frequencies[0] == n), 1.0, 2.0)
    both = np.stack([cos * weight, -sin * weight], axis=2).reshape(n, -1)
    return _leading(both, y.reshape(both.shape[1], -1)).reshape(*grid[::-1], *rest)


def waves(frequencies: np.ndarray, n: int) -> np.ndarray:
    """Cosines and sines of integer frequencies at ``n`` points, ``[2, k, n]``."""
    angle = 2 * np.pi * frequencies[:, None] * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)])
