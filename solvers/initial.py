"""Random initial fields, reproducible per sample and independent of the resolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from solvers.spectral import cosine_matrix, cosine_wavenumbers

Array = jax.Array


def smooth_zero_flux(
    key: Array, shape: tuple[int, int], channels: int, *, length: float, scale: float, modes: int = 16
) -> Array:
    """Gaussian random field with zero-flux walls, unit variance and correlation length ``scale``.

    A cosine series with independent normal coefficients of variance proportional to
    ``exp(-(scale * kappa)^2 / 2)``. The coefficients are drawn for a fixed number of modes, so the same key
    gives the same *function* on every grid.

    Args:
        key: PRNG key of this sample.
        shape: grid ``(H, W)`` of cell centres, each at least ``modes``.
        channels: number of independent fields ``C``.
        length: side of the square domain.
        scale: correlation length, in the unit of ``length``.
        modes: cosine modes per axis.

    Returns:
        ``[H, W, C]``.

    Raises:
        ValueError: if the grid is too coarse for ``modes``.
    """
    if min(shape) < modes:
        raise ValueError(f"smooth_zero_flux: grid {shape} cannot hold {modes} modes per axis; use fewer modes.")
    kappa = cosine_wavenumbers(modes, length)
    amplitude = np.exp(-((scale * kappa) ** 2) / 4)
    amplitude = amplitude[:, None] * amplitude[None, :]
    amplitude[0, 0] = 0.0
    amplitude /= np.sqrt((amplitude**2).sum())
    c = jax.random.normal(key, (channels, modes, modes)) * amplitude[None]
    # Rows of sqrt(n) * DCT are cosines of unit mean square, whatever the grid.
    bases = [jnp.asarray(np.sqrt(n) * cosine_matrix(n)[:modes], c.dtype) for n in shape]
    return jnp.einsum("ckl,kh,lw->hwc", c, *bases, precision=jax.lax.Precision.HIGHEST)


def white_noise(key: Array, shape: tuple[int, int], channels: int) -> Array:
    """Independent standard normal numbers per cell and channel: PDEBench's start. Its statistics depend on the grid."""
    return jax.random.normal(key, (*shape, channels))
