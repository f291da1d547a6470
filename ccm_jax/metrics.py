"""Errors of trajectories, per frame. Arrays are ``[..., T, *space, C]`` with one or more batch axes before T.

The main metric is the relative L2 error over all channels in physical units, per frame, averaged over frames and then
over trajectories. Non-finite errors are kept: divergence is a value and never dropped.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["fourier_error", "gain", "max_error", "nrmse", "over", "relative_l2", "rmse"]

Array = jax.Array


def __dir__() -> list[str]:
    return sorted(__all__)


def _event_axes(x: Array) -> tuple[int, ...]:
    """The axes of one frame in ``[N, T, *space, C]``."""
    return tuple(range(2, x.ndim))


def _check_shapes(function: str, predicted: Array, true: Array) -> None:
    """Raises ValueError for arrays of different shapes, which would be broadcast without a word."""
    if predicted.shape != true.shape:
        raise ValueError(
            f"{function}: predicted has shape {list(predicted.shape)}, true {list(true.shape)}, expected the same; cut "
            "both to the same frames."
        )


def relative_l2(predicted: Array, true: Array, mask: Array | None = None) -> Array:
    """``sqrt(sum (p - t)^2) / sqrt(sum t^2)`` of each frame: ``[N, T, *space, C] -> [N, T]``.

    The gradient of a frame without error is 0 instead of NaN.

    Args:
        predicted: frames, ``[N, T, *space, C]``.
        true: what they are compared with.
        mask: ``[N, T, *space]``, True at the points that both sums are taken over; a frame without any has error NaN.

    Raises:
        ValueError: for frames of different shapes, as for every metric of this module.
    """
    _check_shapes("relative_l2", predicted, true)
    axes = _event_axes(true)
    if mask is None:
        ratio = jnp.sum((predicted - true) ** 2, axes) / jnp.sum(true**2, axes)
    else:
        size = jnp.sum(jnp.where(mask[..., None], true, 0) ** 2, axes)
        ratio = jnp.sum(masked_difference(predicted, true, mask) ** 2, axes) / size
    positive = ratio > 0  # neither where the error is 0, with its infinite slope, nor where it is NaN
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, ratio, 1.0)), ratio)


def masked_difference(predicted: Array, true: Array, mask: Array) -> Array:
    """``predicted - true`` where the mask ``[N, T, *space]`` is True, 0 elsewhere; NaN in a frame that is not finite.

    A rollout that diverges anywhere counts as diverged, whatever the mask.
    """
    finite = jnp.isfinite(predicted).all(axis=_event_axes(predicted), keepdims=True)
    return jnp.where(finite, jnp.where(mask[..., None], predicted - true, 0), jnp.nan)


def rmse(predicted: Array, true: Array) -> Array:
    """Root mean square error of each frame and channel, averaged over channels: ``[N, T]``."""
    _check_shapes("rmse", predicted, true)
    space = _event_axes(true)[:-1]
    return jnp.sqrt(jnp.mean((predicted - true) ** 2, space)).mean(-1)


def nrmse(predicted: Array, true: Array) -> Array:
    """PDEBench's nRMSE: the RMSE of each channel over the root mean square of the truth, ``[N, T]``."""
    _check_shapes("nrmse", predicted, true)
    space = _event_axes(true)[:-1]
    ratio = jnp.mean((predicted - true) ** 2, space) / jnp.mean(true**2, space)
    return jnp.sqrt(ratio).mean(-1)


def max_error(predicted: Array, true: Array) -> Array:
    """Largest absolute error of each frame: ``[N, T]``."""
    _check_shapes("max_error", predicted, true)
    return jnp.max(jnp.abs(predicted - true), _event_axes(true))


def fourier_error(predicted: Array, true: Array, *, low: int = 4, high: int = 12) -> Array:
    """PDEBench's banded Fourier RMSE, for low, middle and high wavenumbers.

    The un-normalized transform of the error is summed over shells ``floor(|k|)`` of the waves with no negative
    component; ``F_s = sqrt(mean_N E_s) / P`` with ``P`` points on a unit domain; bands are means over shells
    ``[0, low)``, ``[low, high)`` and ``[high, n / 2)``, with ``n`` points along the shortest axis.

    Args:
        predicted: ``[N, T, *space, C]``.
        true: the same.
        low: first shell of the middle band.
        high: first shell of the high band.

    Returns:
        ``[3, T]``: bands by frames, averaged over channels.

    Source: the definition in PDEBench (Takamoto et al., 2022), section on metrics.
    """
    _check_shapes("fourier_error", predicted, true)
    axes, grid = _event_axes(true)[:-1], true.shape[2:-1]
    halves = tuple(n // 2 for n in grid)
    error = jnp.abs(jnp.fft.fftn(predicted - true, axes=axes))[:, :, *(slice(half) for half in halves)] ** 2
    shell = np.floor(np.sqrt(sum(k**2 for k in np.ogrid[tuple(slice(half) for half in halves)]))).astype(int)
    member = jnp.asarray(shell.ravel() == np.arange(min(halves))[:, None], error.dtype)
    energy = jnp.einsum("sp,ntpc->stnc", member, error.reshape(*error.shape[:2], -1, error.shape[-1]))
    spectrum = jnp.sqrt(energy.mean(axis=2)) / math.prod(grid)  # [shells, T, C]
    bands = (spectrum[:low], spectrum[low:high], spectrum[high:])
    return jnp.stack([b.mean(axis=0) if len(b) else jnp.zeros_like(spectrum[0]) for b in bands]).mean(-1)


def over(error: Any, reference: Any) -> float:
    """``mean(error) / mean(reference)``, for ranking: divergence ranks last.

    Args:
        error: errors of a method, of any shape; None and what is not finite stand for a divergence.
        reference: errors of the reference, likewise.

    Returns:
        The ratio; infinity where ``error`` diverged, 0 where only ``reference`` did.

    Example:
        >>> over([0.1, 0.3], [0.4, 0.4]), over(None, 0.4), over(0.1, float("inf"))
        (0.5, inf, 0.0)
    """
    ours, theirs = _mean(error), _mean(reference)
    if math.isinf(ours) or math.isinf(theirs):
        return math.inf if math.isinf(ours) else 0.0
    if theirs == 0:  # a reference without error is met, or not
        return 1.0 if ours == 0 else math.inf
    return ours / theirs


def gain(error: Any, reference: Any) -> float:
    """``1 - mean(error) / mean(reference)``, for reporting: the fraction of the error removed.

    Args:
        error: errors of a method, of any shape; None and what is not finite stand for a divergence.
        reference: errors of the reference, likewise.

    Returns:
        The gain; NaN if ``reference`` diverged, -infinity if only ``error`` did.

    Example:
        >>> gain([0.1, 0.3], [0.4, 0.4]), gain(float("nan"), 0.4), gain(0.1, None)
        (0.5, -inf, nan)
    """
    return 1 - over(error, reference) if math.isfinite(_mean(reference)) else math.nan


def _mean(errors: Any) -> float:
    """The mean of errors; infinite as soon as one is None or not finite, so that divergence never wins."""
    mean = float(np.mean(np.asarray(errors, float)))  # where None is NaN
    return mean if math.isfinite(mean) else math.inf
