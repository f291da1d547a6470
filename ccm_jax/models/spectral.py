"""Truncated spectral transforms, as matrix products or by FFT, on any grid, in one to three dimensions.

A transform keeps the low modes only. As matrix products it never forms the others, so on the grids of neural
operators it is cheaper than a fast transform followed by a cut; it needs no complex numbers, which suits TPUs; and
its reverse mode is two more matrix products. On fine grids the FFT overtakes it: :func:`choose_transform` is the
rule, ``docs/performance.md`` the measurement. Both give the same numbers to rounding. Arrays are ``[*space, ...]``:
whatever follows the space axes rides along, which keeps every product a plain matrix product in memory order.

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

# The longest axis that is transformed by matrix products, per backend. TPUs have no good FFT at any size.
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


def along(matrix: Array | np.ndarray, x: Array, axis: int) -> Array:
    """Applies ``matrix [k, n]`` along one axis of ``x``."""
    shape = x.shape
    head, tail = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    m = jnp.asarray(matrix, x.dtype)
    if head == 1:
        y = jnp.dot(m, x.reshape(shape[axis], tail), precision=_HIGHEST)
    else:
        y = jnp.einsum("kn,hnt->hkt", m, x.reshape(head, shape[axis], tail), precision=_HIGHEST)
    return y.reshape(*shape[:axis], m.shape[0], *shape[axis + 1 :])


def cosine_basis(n: int, modes: int) -> np.ndarray:
    """Orthonormal cosines at cell centres, ``[modes, n]``: rows have unit mean square."""
    j, i = np.arange(modes)[:, None], np.arange(n)
    basis = np.sqrt(2.0) * np.cos(np.pi * j * (i + 0.5) / n)
    basis[0] = 1.0
    return basis


def cosine_analysis(x: Array, modes: Sequence[int], transform: str = "matrix") -> Array:
    """Cosine coefficients ``[*modes, ...]`` of a field ``[*space, ...]`` with zero-flux walls."""
    for axis, m in enumerate(modes):
        n = x.shape[axis]
        if transform == "fft":
            kept = jax.lax.slice_in_dim(jax.scipy.fft.dct(x, axis=axis), 0, m, axis=axis)
            x = kept * _cosine_scale(m, 1 / (2 * n), x, axis)
        else:
            x = along(cosine_basis(n, m) / n, x, axis)
    return x


def cosine_synthesis(c: Array, grid: Sequence[int], transform: str = "matrix") -> Array:
    """The field ``[*grid, ...]`` of cosine coefficients ``[*modes, ...]``."""
    for axis, n in enumerate(grid):
        m = c.shape[axis]
        if transform == "fft":
            c = _pad_to(c / _cosine_scale(m, 1 / (2 * n), c, axis), n, axis)
            c = jax.scipy.fft.idct(c, axis=axis)
        else:
            c = along(cosine_basis(n, m).T, c, axis)
    return c


def _cosine_scale(modes: int, scale: float, like: Array, axis: int) -> Array:
    """From SciPy's DCT-II to means against :func:`cosine_basis`, shaped to multiply along one axis."""
    factors = np.where(np.arange(modes) == 0, 1.0, np.sqrt(2.0)) * scale
    return jnp.asarray(factors, like.dtype).reshape([-1 if i == axis else 1 for i in range(like.ndim)])


def _pad_to(x: Array, n: int, axis: int) -> Array:
    return jnp.pad(x, [(0, n - x.shape[i] if i == axis else 0) for i in range(x.ndim)])


def fourier_analysis(x: Array, modes: Sequence[int], transform: str = "matrix") -> tuple[Array, Array]:
    """Real and imaginary part of the kept Fourier coefficients of a real field.

    Args:
        x: real field ``[*space, ...]``.
        modes: modes per side and axis; see :func:`kept_frequencies`.
        transform: ``"matrix"`` or ``"fft"``.

    Returns:
        Two arrays ``[2 m_1, ..., m_d + 1, ...]``: means of the field against ``exp(-2 pi i f . x)``.
    """
    frequencies = kept_frequencies(modes)
    last = len(modes) - 1
    if transform == "fft":
        z = jnp.fft.rfft(x, axis=last, norm="forward")[(slice(None),) * last + (frequencies[last],)]
        for axis in range(last - 1, -1, -1):
            z = jnp.fft.fft(z, axis=axis, norm="forward")[(slice(None),) * axis + (frequencies[axis],)]
        return z.real, z.imag
    cos, sin = _waves(frequencies[last], x.shape[last])
    n = x.shape[last]
    re, im = along(cos / n, x, last), along(-sin / n, x, last)
    for axis in range(last - 1, -1, -1):
        n = x.shape[axis]
        cos, sin = (w / n for w in _waves(frequencies[axis], n))
        re, im = _rotate(cos, -sin, re, im, axis)
    return re, im


def fourier_synthesis(
    re: Array, im: Array, modes: Sequence[int], grid: Sequence[int], transform: str = "matrix"
) -> Array:
    """The real field ``[*grid, ...]`` of kept Fourier coefficients; the inverse of :func:`fourier_analysis`."""
    frequencies = kept_frequencies(modes)
    last = len(modes) - 1
    if transform == "fft":
        z = jax.lax.complex(re, im)
        for axis in range(last):
            m = modes[axis]  # frequencies 0 .. m-1, zeros, then -m .. -1: the order of the FFT
            low, high = jax.lax.slice_in_dim(z, m, 2 * m, axis=axis), jax.lax.slice_in_dim(z, 0, m, axis=axis)
            z = jnp.concatenate([_pad_to(low, grid[axis] - m, axis), high], axis=axis)
            z = jnp.fft.ifft(z, axis=axis, norm="forward")
        # One axis at a time: irfftn of spectra that are not Hermitian differs between CPU and GPU before jax 0.10.
        return jnp.fft.irfft(_pad_to(z, grid[last] // 2 + 1, last), grid[last], axis=last, norm="forward")
    for axis in range(last):
        cos, sin = (w.T for w in _waves(frequencies[axis], grid[axis]))
        re, im = _rotate(cos, sin, re, im, axis)
    n = grid[last]
    cos, sin = (w.T for w in _waves(frequencies[last], n))
    # Each kept mode stands for its mirror image too, but the mean and the Nyquist mode are their own.
    weight = np.where((frequencies[last] == 0) | (2 * frequencies[last] == n), 1.0, 2.0)
    pair = jnp.concatenate([re, im], axis=last)
    return along(np.concatenate([cos * weight, -sin * weight], axis=1), pair, last)


def _waves(frequencies: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    angle = 2 * np.pi * frequencies[:, None] * np.arange(n) / n
    return np.cos(angle), np.sin(angle)


def _rotate(cos: np.ndarray, sin: np.ndarray, re: Array, im: Array, axis: int) -> tuple[Array, Array]:
    """``(cos + i sin) (re + i im)`` along an axis, as one real block product."""
    block = np.block([[cos, -sin], [sin, cos]])
    out = along(block, jnp.concatenate([re, im], axis=axis), axis)
    re, im = jnp.split(out, 2, axis=axis)
    return re, im
