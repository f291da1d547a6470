"""Random initial fields, reproducible per sample and independent of the resolution."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from solvers.spectral import cosine_matrix, cosine_wavenumbers, from_fourier

Array = jax.Array


def smooth_zero_flux(
    key: Array, shape: Sequence[int], channels: int, *, length: float, scale: float, modes: int = 16
) -> Array:
    """Gaussian random field with zero-flux walls, unit variance and correlation length ``scale``.

    A cosine series with independent normal coefficients of variance proportional to
    ``exp(-(scale * kappa)^2 / 2)``. The coefficients are drawn for a fixed number of modes, so the same key
    gives the same *function* on every grid.

    Args:
        key: PRNG key of this sample.
        shape: grid of cell centres along one to three axes, each at least ``modes``.
        channels: number of independent fields ``C``.
        length: side of the domain.
        scale: correlation length, in the unit of ``length``.
        modes: cosine modes per axis.

    Returns:
        ``[*shape, C]``.

    Raises:
        ValueError: if the grid is too coarse for ``modes``.
    """
    if min(shape) < modes:
        raise ValueError(f"smooth_zero_flux: grid {shape} cannot hold {modes} modes per axis; use fewer modes.")
    kappa = cosine_wavenumbers(modes, length)
    amplitude = functools.reduce(np.multiply.outer, [np.exp(-((scale * kappa) ** 2) / 4)] * len(shape))
    amplitude.flat[0] = 0.0
    amplitude /= np.sqrt((amplitude**2).sum())
    # Drawn in single precision whatever the mode: other bits would be another field.
    c = jax.random.normal(key, (channels, *amplitude.shape), jnp.float32) * jnp.asarray(amplitude, jnp.float32)[None]
    # Rows of sqrt(n) * DCT are cosines of unit mean square, whatever the grid.
    bases = [jnp.asarray(np.sqrt(n) * cosine_matrix(n)[:modes], c.dtype) for n in shape]
    waves, points = "klm"[: len(shape)], "hwd"[: len(shape)]
    factors = ",".join([f"c{waves}", *map("".join, zip(waves, points, strict=True))])
    return jnp.einsum(f"{factors}->{points}c", c, *bases, precision=jax.lax.Precision.HIGHEST)


def smooth_periodic(
    key: Array, shape: Sequence[int], channels: int, *, length: float, scale: float, modes: int = 16
) -> Array:
    """Gaussian random field on a periodic interval or square, ``[*shape, C]``: zero mean, unit variance, any grid.

    Raises:
        ValueError: if the grid is too coarse for ``modes``.
    """
    return _periodic(key, shape, channels, lambda k2: np.exp(-(scale**2) * k2 / 4), length, modes)


def fno_vorticity(key: Array, shape: Sequence[int], *, alpha: float = 2.5, tau: float = 7.0, modes: int = 20) -> Array:
    """The start of the Fourier neural operator's Navier-Stokes data on the unit square, ``[H, W, 1]``.

    A Gaussian field with covariance ``tau^(2 alpha - 2) (-lap + tau^2)^-alpha``: standard deviation 0.185 at the
    default parameters. As their code does it; their paper has another exponent of ``tau``. Waves beyond ``modes``,
    which hold less than a ten-thousandth of the variance at the defaults, are left out, so that the same key gives the
    same function on every grid. Source: Li et al. (2021).
    """
    waves = 4 * np.pi**2 * sum(np.meshgrid(*[np.arange(-256, 257) ** 2] * 2))
    covariance = tau ** (2 * alpha - 2) * (waves + tau**2) ** -alpha
    deviation = float(np.sqrt(covariance.sum() - covariance[256, 256]))
    return deviation * _periodic(key, shape, 1, lambda k2: (k2 + tau**2) ** (-alpha / 2), 1.0, modes)


def _periodic(
    key: Array,
    shape: Sequence[int],
    channels: int,
    amplitude: Callable[[np.ndarray], np.ndarray],
    length: float,
    modes: int,
) -> Array:
    """A Gaussian field of unit variance whose waves have standard deviations in proportion to ``amplitude(k^2)``."""
    side = np.arange(-modes, modes + 1)
    k2 = sum(np.meshgrid(*[(2 * np.pi / length * side) ** 2] * len(shape), indexing="ij"))
    deviation = np.where(k2 > 0, amplitude(np.asarray(k2)), 0.0)
    deviation /= np.sqrt((deviation**2).sum())
    real, imaginary = jax.random.normal(key, (2, channels, *deviation.shape), jnp.float32)
    c = jax.lax.complex(real, imaginary) * jnp.asarray(deviation, real.dtype)[None]
    # The real part of the sum of all waves, by its half spectrum, in the order of the transform.
    axes = tuple(range(1, c.ndim))
    half = 0.5 * (c + jnp.conj(jnp.flip(c, axes)))[..., modes:]
    if len(shape) == 2:
        half = jnp.roll(half, -modes, axis=1)
    return from_fourier(half, shape)


def white_noise(key: Array, shape: Sequence[int], channels: int) -> Array:
    """Independent standard normal numbers per cell and channel: PDEBench's start. Its statistics depend on the grid."""
    return jax.random.normal(key, (*shape, channels), jnp.float32)
