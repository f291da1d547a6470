"""Truncated spectral transforms, as matrix products or by FFT, on any grid, in one to three dimensions.

A transform keeps the low modes only. As matrix products it never forms the others, so on the grids of neural
operators it is cheaper than a fast transform followed by a cut; it needs no complex numbers, which suits TPUs; and
its reverse mode is two more matrix products. On fine grids the FFT overtakes it; :func:`choose_transform` is the rule.
Both give the same numbers to rounding.

Fields have their space axes in reverse, ``[n_d, ..., n_1, ...]``, and coefficients in order, ``[k_1, ..., k_d, ...]``;
whatever follows rides along. So each product is one plain matrix product with the leading axis, and only coefficients,
which are small, are ever transposed.

Coefficients are means against the basis functions, so they belong to the *function*, not to the grid: the
same weights act on every resolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

_HIGHEST = jax.lax.Precision.HIGHEST

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


def leading(matrix: np.ndarray, x: Array) -> Array:
    """Applies ``matrix [k, n]`` along the first axis of ``x``."""
    y = jnp.dot(jnp.asarray(matrix, x.dtype), x.reshape(x.shape[0], -1), precision=_HIGHEST)
    return y.reshape(-1, *x.shape[1:])


def cosine_basis(n: int, modes: int) -> np.ndarray:
    """Orthonormal cosines at cell centres, ``[modes, n]``: rows have unit mean square."""
    j, i = np.arange(modes)[:, None], np.arange(n)
    basis = np.sqrt(2.0) * np.cos(np.pi * j * (i + 0.5) / n)
    basis[0] = 1.0
    return basis


def cosine_analysis(x: Array, modes: Sequence[int], transform: str = "matrix") -> Array:
    """Cosine coefficients ``[*modes, ...]`` of a field ``[n_d, ..., n_1, ...]`` with zero-flux walls."""
    d = len(modes)
    for axis in reversed(range(d)):
        m = modes[axis]
        x = jnp.moveaxis(x, d - 1 - axis, 0)
        n = x.shape[0]
        if transform == "fft":
            x = jax.scipy.fft.dct(x, axis=0)[:m] * _cosine_scale(m, n, x)
        else:
            x = leading(cosine_basis(n, m) / n, x)
    return x


def cosine_synthesis(c: Array, grid: Sequence[int], transform: str = "matrix") -> Array:
    """The field ``[n_d, ..., n_1, ...]`` of cosine coefficients ``[*modes, ...]``; ``grid`` is ``(n_1, ..., n_d)``."""
    d = len(grid)
    for axis, n in enumerate(grid):
        m = c.shape[0]
        if transform == "fft":
            c = jax.scipy.fft.idct(_pad_to(c / _cosine_scale(m, n, c), n), axis=0)
        else:
            c = leading(cosine_basis(n, m).T, c)
        c = jnp.moveaxis(c, 0, d - 1 - axis)
    return c


def _cosine_scale(modes: int, n: int, like: Array) -> Array:
    """From SciPy's DCT-II to means against :func:`cosine_basis`, shaped to multiply along the first axis."""
    factors = np.where(np.arange(modes) == 0, 1.0, np.sqrt(2.0)) / (2 * n)
    return jnp.asarray(factors, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


def _pad_to(x: Array, n: int) -> Array:
    return jnp.pad(x, [(0, n - x.shape[0])] + [(0, 0)] * (x.ndim - 1))


def fourier_analysis(x: Array, modes: Sequence[int], transform: str = "matrix") -> tuple[Array, Array]:
    """Real and imaginary part of the kept Fourier coefficients of a real field.

    Args:
        x: real field ``[n_d, ..., n_1, ...]``.
        modes: modes per side and axis; see :func:`kept_frequencies`.
        transform: ``"matrix"`` or ``"fft"``.

    Returns:
        Two arrays ``[2 m_1, ..., m_d + 1, ...]``: means of the field against ``exp(-2 pi i f . x)``.
    """
    frequencies, d = kept_frequencies(modes), len(modes)
    if transform == "fft":
        z = jnp.fft.rfft(x, axis=0, norm="forward")[frequencies[-1]]
        for axis in reversed(range(d - 1)):
            z = jnp.moveaxis(z, d - 1 - axis, 0)
            z = jnp.fft.fft(z, axis=0, norm="forward")[frequencies[axis]]
        return z.real, z.imag
    cos, sin = waves(frequencies[-1], x.shape[0])
    pair = leading(np.concatenate([cos, -sin]), x).reshape(2, len(cos), *x.shape[1:])
    for axis in reversed(range(d - 1)):
        pair = jnp.moveaxis(pair, d - axis, 1)
        cos, sin = waves(frequencies[axis], pair.shape[1])
        pair = _rotate(np.block([[cos, sin], [-sin, cos]]), pair)
    pair = pair / np.prod(x.shape[:d]).astype(x.dtype)
    return pair[0], pair[1]


def fourier_synthesis(
    re: Array, im: Array, modes: Sequence[int], grid: Sequence[int], transform: str = "matrix"
) -> Array:
    """The real field ``[n_d, ..., n_1, ...]`` of kept Fourier coefficients; ``grid`` is ``(n_1, ..., n_d)``."""
    frequencies, d = kept_frequencies(modes), len(modes)
    if transform == "fft":
        z = jax.lax.complex(re, im)
        for axis, n in enumerate(grid[:-1]):
            m = modes[axis]  # frequencies 0 .. m-1, zeros, then -m .. -1: the order of the FFT
            z = jnp.concatenate([_pad_to(z[m:], n - m), z[:m]])
            z = jnp.moveaxis(jnp.fft.ifft(z, axis=0, norm="forward"), 0, d - 1 - axis)
        # One axis at a time: irfftn of spectra that are not Hermitian differs between CPU and GPU before jax 0.10.
        return jnp.fft.irfft(_pad_to(z, grid[-1] // 2 + 1), grid[-1], axis=0, norm="forward")
    pair = jnp.stack([re, im])
    for axis, n in enumerate(grid[:-1]):
        cos, sin = (w.T for w in waves(frequencies[axis], n))
        pair = jnp.moveaxis(_rotate(np.block([[cos, -sin], [sin, cos]]), pair), 1, d - axis)
    n = grid[-1]
    cos, sin = (w.T for w in waves(frequencies[-1], n))
    # Each kept mode stands for its mirror image too, but the mean and the Nyquist mode are their own.
    weight = np.where((frequencies[-1] == 0) | (2 * frequencies[-1] == n), 1.0, 2.0)
    both = np.concatenate([cos * weight, -sin * weight], axis=1)
    return leading(both, pair.reshape(-1, *pair.shape[2:]))


def waves(frequencies: np.ndarray, n: int) -> np.ndarray:
    """Cosines and sines of integer frequencies at ``n`` points, ``[2, k, n]``."""
    angle = 2 * np.pi * frequencies[:, None] * np.arange(n) / n
    return np.stack([np.cos(angle), np.sin(angle)])


def _rotate(block: np.ndarray, pair: Array) -> Array:
    """A complex matrix, as a real block matrix ``[2 k, 2 n]``, along the second axis of ``[2, n, ...]``."""
    out = leading(block, pair.reshape(-1, *pair.shape[2:]))
    return out.reshape(2, -1, *pair.shape[2:])
