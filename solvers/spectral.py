"""Spectral tools: cosine bases (zero-flux walls) and Fourier bases (periodic), on uniform grids.

A semi-linear equation ``u_t = L u + N(u)`` is one short file on top of this one and :mod:`solvers.etdrk`: give ``L``
as an array of eigenvalues, ``N`` as a function of spectral coefficients.

On the grids used here a transform as a matrix product takes less time than a fast one on a CPU, and it computes only
the modes that are kept. Fields are ``[*space, C]``; coefficients have the channels in front, which suits the matrix
products.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

_HIGHEST = jax.lax.Precision.HIGHEST
MATRIX_GRID = {1: 128, 2: 256}  # by dimension: the finest periodic grid transformed by matrix products, not by FFT


def cosine_wavenumbers(n: int, length: float) -> np.ndarray:
    """Wavenumbers of the zero-flux basis ``cos(kappa_j (x - x_left))``: ``kappa_j = pi j / length``, ``[n]``."""
    return np.pi * np.arange(n) / length


def cosine_matrix(n: int) -> np.ndarray:
    """Orthonormal DCT-II matrix ``M [n, n]``: ``M @ u`` are cosine coefficients, ``M.T @ c`` is the field.

    The samples sit at cell centres, so a cosine series satisfies zero flux at both walls exactly.
    """
    j, i = np.arange(n)[:, None], np.arange(n)[None, :]
    matrix = np.sqrt(2.0 / n) * np.cos(np.pi * j * (i + 0.5) / n)
    matrix[0] /= np.sqrt(2.0)
    return matrix


def to_cosine(u: Array) -> Array:
    """Cosine coefficients of a field: ``[*space, C] -> [C, *space]`` (channels in front suit the matrix products)."""
    matrices = [jnp.asarray(cosine_matrix(n), u.dtype) for n in u.shape[:-1]]
    return _along_axes(matrices, jnp.moveaxis(u, -1, 0))


def from_cosine(coefficients: Array) -> Array:
    """The field of a cosine series: ``[C, *space] -> [*space, C]``; inverse of :func:`to_cosine`."""
    matrices = [jnp.asarray(cosine_matrix(n), coefficients.dtype) for n in coefficients.shape[1:]]
    return jnp.moveaxis(_along_axes([matrix.T for matrix in matrices], coefficients), 0, -1)


def _along_axes(matrices: Sequence[Array], x: Array) -> Array:
    """A matrix ``[k, n]`` along each space axis of ``x [C, *space]``, at full precision on every device."""
    space = "hwd"[: len(matrices)]
    for name, matrix in reversed(list(zip(space, matrices, strict=True))):
        into = f"c{space.replace(name, 'k')}"
        if name == space[-1]:
            x = jnp.einsum(f"c{space},k{name}->{into}", x, matrix, precision=_HIGHEST)
        else:
            x = jnp.einsum(f"k{name},c{space}->{into}", matrix, x, precision=_HIGHEST)
    return x


def resample_cosine(u: Array, shape: Sequence[int]) -> Array:
    """Evaluates the cosine series of a zero-flux field on another cell-centred grid, truncating or padding it.

    Args:
        u: field ``[*space, C]``.
        shape: the new grid.

    Returns:
        ``[*shape, C]``; exact for a field that both grids resolve.
    """
    c = to_cosine(u)
    keep = tuple(min(old, new) for old, new in zip(c.shape[1:], shape, strict=True))
    scale = float(np.sqrt(np.prod(shape) / np.prod(c.shape[1:])))
    pad = [(0, 0)] + [(0, new - k) for k, new in zip(keep, shape, strict=True)]
    return from_cosine(jnp.pad(c[:, *(slice(k) for k in keep)], pad) * scale)


def dealiased_modes(n: int) -> int:
    """The 2/3 rule: with waves up to this one on ``n`` points, products of two fields alias onto none of them."""
    return (n - 1) // 3


def fourier_wavenumbers(modes: Sequence[int], length: float) -> list[np.ndarray]:
    """Angular wavenumbers of :func:`to_fourier`'s coefficients, one array an axis, that broadcast against them.

    ``2 pi / length`` times ``0 .. m, -m .. -1`` on all axes but the last and ``0 .. m`` on the last, whose negative
    half is the mirror image of the positive one because fields are real.
    """
    last = len(modes) - 1
    signed = [np.r_[0 : m + 1, -m:0] if axis < last else np.arange(m + 1) for axis, m in enumerate(modes)]
    shapes = [[1, *(-1 if a == axis else 1 for a in range(len(modes)))] for axis in range(len(modes))]
    return [2 * np.pi / length * k.reshape(s) for k, s in zip(signed, shapes, strict=True)]


def to_fourier(u: Array, modes: Sequence[int]) -> Array:
    """Fourier coefficients of a periodic field, means against ``exp(-i k x)``, of the low modes only.

    Args:
        u: real field ``[N, C]`` or ``[H, W, C]``.
        modes: modes per axis, each below half the grid; see :func:`fourier_wavenumbers` for their order.

    Returns:
        Complex ``[C, m + 1]`` or ``[C, 2 m_1 + 1, m_2 + 1]``.

    Raises:
        ValueError: if the grid does not hold the modes.
    """
    _check_modes("to_fourier", modes, u.shape[:-1])
    u = jnp.moveaxis(u, -1, 0)
    if max(u.shape[1:]) > MATRIX_GRID[len(modes)]:
        return _keep(jnp.fft.rfftn(u, axes=range(1, u.ndim), norm="forward"), modes)
    y = jnp.einsum("...w,lw->...l", u, _waves(u.shape[-1], modes[-1], u.dtype, mean=True), precision=_HIGHEST)
    if len(modes) == 1:
        cos, sin = jnp.split(y, 2, axis=-1)
        return jax.lax.complex(cos, -sin)
    z = jnp.einsum("kh,chl->ckl", _waves(u.shape[1], modes[0], u.dtype, mean=True), y, precision=_HIGHEST)
    # Products of cosines and sines, [cc cs; sc ss], hold the waves of both signs.
    (cc, cs), (sc, ss) = (jnp.split(half, 2, axis=-1) for half in jnp.split(z, 2, axis=1))
    positive, negative = jax.lax.complex(cc - ss, -cs - sc), jax.lax.complex(cc + ss, sc - cs)
    return jnp.concatenate([positive, negative[:, :0:-1]], axis=1)


def from_fourier(c: Array, shape: Sequence[int]) -> Array:
    """The real field ``[*shape, C]`` of Fourier coefficients: the inverse of :func:`to_fourier`, on any grid.

    Raises:
        ValueError: if the grid does not hold the modes.
    """
    modes = [*((n - 1) // 2 for n in c.shape[1:-1]), c.shape[-1] - 1]
    _check_modes("from_fourier", modes, shape)
    if max(shape) > MATRIX_GRID[len(modes)]:
        return jnp.moveaxis(_inverse_fft(c, modes, shape), 0, -1)
    if len(modes) == 2:
        positive = c[:, : modes[0] + 1]
        negative = jnp.concatenate([jnp.zeros_like(c[:, :1]), c[:, : modes[0] : -1]], axis=1)
        even, odd = positive + negative, positive - negative
        cos = jnp.concatenate([even.real, -even.imag], axis=-1)
        sin = jnp.concatenate([-odd.imag, -odd.real], axis=-1)
        rows = _waves(shape[0], modes[0], cos.dtype)
        y = jnp.einsum("kh,ckl->chl", rows, jnp.concatenate([cos, sin], axis=1), precision=_HIGHEST)
    else:
        y = jnp.concatenate([c.real, -c.imag], axis=-1)
    # Each wave of the last axis stands for its mirror image too, but the mean does not.
    waves = _waves(shape[-1], modes[-1], y.dtype, mirror=True)
    return jnp.moveaxis(jnp.einsum("...l,lw->...w", y, waves, precision=_HIGHEST), 0, -1)


def resample_fourier(u: Array, shape: Sequence[int]) -> Array:
    """Evaluates the Fourier series of a periodic field on another grid, truncating what that cannot hold.

    Args:
        u: field ``[*space, C]``.
        shape: the new grid.

    Returns:
        ``[*shape, C]``; exact for a field without waves at or beyond the coarser grid's Nyquist wave.
    """
    modes = [(min(old, new) - 1) // 2 for old, new in zip(u.shape[:-1], shape, strict=True)]
    return from_fourier(to_fourier(u, modes), shape)


def _waves(n: int, m: int, dtype: jnp.dtype, *, mean: bool = False, mirror: bool = False) -> Array:
    """:func:`real_waves` as an array of the device."""
    return jnp.asarray(real_waves(n, m, mean=mean, mirror=mirror), dtype)


def real_waves(n: int, m: int, *, mean: bool = False, mirror: bool = False) -> np.ndarray:
    """Rows ``cos(2 pi k x), k = 0 .. m``, then ``sin``, at ``n`` points: ``[2 (m + 1), n]``."""
    angle = 2 * np.pi * np.arange(m + 1)[:, None] * np.arange(n) / n
    weight = np.where(np.arange(m + 1) == 0, 1.0, 2.0)[:, None] if mirror else np.ones((m + 1, 1))
    waves = np.concatenate([weight * np.cos(angle), weight * np.sin(angle)])
    return waves / n if mean else waves


def _check_modes(function: str, modes: Sequence[int], shape: Sequence[int]) -> None:
    if len(modes) != len(shape) or len(shape) not in (1, 2):
        raise ValueError(f"{function}: {len(modes)} modes for a grid {tuple(shape)}, expected one per axis, on 1 or 2.")
    for axis, (m, n) in enumerate(zip(modes, shape, strict=True)):
        if 2 * m >= n:
            raise ValueError(
                f"{function}: {m} modes on axis {axis} need more than {2 * m} grid points, got {n}; use a finer grid."
            )


def _keep(full: Array, modes: Sequence[int]) -> Array:
    full = full[..., : modes[-1] + 1]
    if len(modes) == 2:
        full = jnp.concatenate([full[:, : modes[0] + 1], full[:, full.shape[1] - modes[0] :]], axis=1)
    return full


def _inverse_fft(c: Array, modes: Sequence[int], shape: Sequence[int]) -> Array:
    if len(modes) == 2:
        gap = jnp.zeros((c.shape[0], shape[0] - c.shape[1], c.shape[2]), c.dtype)
        c = jnp.concatenate([c[:, : modes[0] + 1], gap, c[:, modes[0] + 1 :]], axis=1)
        # Two one-dimensional transforms: cuFFT's irfftn leaves artefacts where the spectrum is not Hermitian.
        c = jnp.fft.ifft(c, axis=1, norm="forward")
    return jnp.fft.irfft(c, n=shape[-1], norm="forward")
