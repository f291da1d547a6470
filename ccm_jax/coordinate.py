"""Coordinate readouts: where on a chart a regime lies, from metadata, a calibrated map, or observed frames.

Every readout returns the same small :class:`Readout`.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_traced
from ccm_jax.chart import Chart
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.metrics import relative_l2
from ccm_jax.rollout import RolloutFn

Array = jax.Array

PAPER_CLIP = 1.5


class Readout(NamedTuple):
    """Where a regime lies on a chart, and the evidence.

    Attributes:
        coordinate: the chosen coordinate, ``[d]``; NaN if no candidate had a finite rollout.
        candidates: what was tried, ``[n, d]``; empty for a readout that tries nothing.
        losses: the loss of each candidate, ``[n]``; infinite where its rollout was not finite.
    """

    coordinate: Array
    candidates: Array
    losses: Array


def paper_bank() -> Array:
    """The paper's candidates: -1.5, -1.25, ..., 1.5, as ``[13, 1]``."""
    return jnp.linspace(-1.5, 1.5, 13)[:, None]


def _untried(coordinate: Array, clip: float | None) -> Readout:
    coordinate = jnp.atleast_1d(coordinate)
    coordinate = coordinate if clip is None else jnp.clip(coordinate, -clip, clip)
    return Readout(coordinate, jnp.zeros((0, coordinate.shape[-1])), jnp.zeros((0,)))


def normalised_coordinate(
    value: float | Array, low: float, high: float, *, scale: Literal["linear", "log"] = "linear"
) -> Array:
    """The paper's ``s(value) = 2 (value - middle) / (high - low)``: -1 at ``low``, +1 at ``high``.

    With ``scale="log"`` the same of the logarithms. Raises ValueError as :func:`coordinate_from_metadata`.
    """
    name = "coordinate_from_metadata"
    if scale not in ("linear", "log"):
        raise ValueError(f"{name}: scale is {scale!r}, expected 'linear' or 'log'.")
    if not low < high:
        raise ValueError(
            f"{name}: low is {low} and high is {high}, expected low < high; "
            "for experts given in the other order, swap them as well."
        )
    if scale == "log":
        if low <= 0 or (not is_traced(value) and np.any(np.asarray(value) <= 0)):
            raise ValueError(f"{name}: a log scale needs positive values, got {value} with low {low}.")
        return normalised_coordinate(jnp.log(value), float(np.log(low)), float(np.log(high)))
    if not is_traced(value) and not np.all(np.isfinite(np.asarray(value))):
        raise ValueError(f"{name}: value is {value}, expected a finite number.")
    return 2 * (jnp.asarray(value, float) - (low + high) / 2) / (high - low)


def coordinate_from_metadata(
    value: float | Array,
    low: float,
    high: float,
    *,
    scale: Literal["linear", "log"] = "linear",
    clip: float | None = PAPER_CLIP,
) -> Readout:
    """CCM-Coord: reads the coordinate off the known physical parameter, ``clip(s(value))``.

    Args:
        value: the physical parameter of the regime, in the unit of ``low`` and ``high``.
        low: its value where the low expert was fine-tuned.
        high: its value where the high expert was fine-tuned.
        scale: ``"linear"`` or ``"log"``.
        clip: largest absolute coordinate, or None; the default is the paper's.

    Raises:
        ValueError: if ``low < high`` does not hold, or a log scale meets a value that is not positive.

    Example:
        >>> coordinate_from_metadata(4e-3, 1e-3, 3e-3, clip=None).coordinate.round(3).tolist()
        [2.0]
    """
    return _untried(normalised_coordinate(value, low, high, scale=scale), clip)


def coordinate_from_map(
    value: float | Array,
    low: float,
    high: float,
    fitted: CoordinateMap,
    *,
    scale: Literal["linear", "log"] = "linear",
    clip: float | None = PAPER_CLIP,
) -> Readout:
    """CCM-Scale: the coordinate of the metadata, corrected by a map fitted on validation regimes."""
    return _untried(fitted(normalised_coordinate(value, low, high, scale=scale)), clip)


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames", "chunk"))
def prefix_errors(
    chart: Chart,
    rollout_fn: RolloutFn,
    prefix: Array,
    candidates: Array,
    *,
    history: int = 1,
    frames: int = 4,
    chunk: int | None = None,
) -> Array:
    """Rolls every candidate over the observed frames of every trajectory, in one compiled call.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: ``(params, window [N, history, ...], steps) -> [N, steps, ...]``; compiled once per object,
            so make it once and keep it.
        prefix: observed frames ``[N, T, *space, C]`` with ``T >= history + frames``: the first ``history``
            start the model, the next ``frames`` are scored.
        candidates: coordinates ``[n, d]``.
        history: frames in the model's window.
        frames: the K scored frames.
        chunk: candidates that run side by side (each with weights of its own); by default one on a CPU, which
            is fastest there, and all of them on an accelerator.

    Returns:
        Relative L2 error ``[n, N, frames]``; NaN or infinite where a rollout diverged.
    """
    window, truth = prefix[:, :history], prefix[:, history : history + frames]

    def error(candidate: Array) -> Array:
        return relative_l2(rollout_fn(chart(candidate), window, frames), truth)

    if chunk is None:
        chunk = 1 if jax.default_backend() == "cpu" else len(candidates)
    return jax.lax.map(error, candidates, batch_size=chunk if chunk > 1 else None)


def coordinate_from_prefix(
    chart: Chart,
    rollout_fn: RolloutFn,
    prefix: Array,
    candidates: Array | None = None,
    *,
    history: int = 1,
    frames: int = 4,
    batch: Literal["each", "pooled"] | None = None,
    chunk: int | None = None,
) -> Readout:
    """CCM-Prefix: the candidate whose rollout best fits the first K observed frames.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: ``(params, window [N, history, ...], steps) -> [N, steps, ...]``, for instance
            ``make_rollout(apply)``.
        prefix: observed frames of one trajectory, ``[T, *space, C]``, or of a batch, ``[N, T, *space, C]``, with
            ``T >= history + frames``.
        candidates: coordinates ``[n, d]``; the default is the paper's bank.
        history: frames in the model's window.
        frames: the K frames scored after the window.
        batch: None for one trajectory; ``"each"`` for one coordinate per trajectory of a batch (the fields of
            the readout get a leading axis ``N``); ``"pooled"`` for one coordinate of a batch that is known
            to come from one regime.
        chunk: candidates that run side by side; see :func:`prefix_errors`.

    Returns:
        A :class:`Readout` with the mean relative L2 error over the K frames as losses. A candidate whose
        rollout is not finite is never chosen.

    Raises:
        ValueError: for a prefix that is too short or holds NaN, or for misshapen candidates.
    """
    name = "coordinate_from_prefix"
    if batch not in (None, "each", "pooled"):
        raise ValueError(f"{name}: batch is {batch!r}, expected None, 'each' or 'pooled'.")
    candidates = paper_bank() if candidates is None else jnp.asarray(candidates)
    candidates = candidates[:, None] if candidates.ndim == 1 else candidates
    if candidates.ndim != 2 or not len(candidates) or candidates.shape[1] != chart.features.dim:
        raise ValueError(
            f"{name}: candidates have shape {candidates.shape}, expected [n, {chart.features.dim}] with n >= 1."
        )
    prefix = jnp.asarray(prefix)
    prefix = prefix[None] if batch is None else prefix
    if frames < 1 or history < 1 or prefix.ndim < 3 or prefix.shape[1] < history + frames or not len(prefix):
        raise ValueError(
            f"{name}: prefix has {prefix.shape[1] if prefix.ndim > 1 else 0} frames (shape {prefix.shape} with its "
            f"batch axis), expected at least {history} for the model's window and {frames} to score; observe "
            "more frames, or score fewer."
        )
    if not is_traced(prefix) and not bool(jnp.all(jnp.isfinite(prefix))):
        frame = int(np.argwhere(~np.isfinite(np.asarray(prefix)))[0, 1])
        raise ValueError(f"{name}: prefix holds NaN or infinite values, first in frame {frame}; mend or drop it.")
    errors = prefix_errors(chart, rollout_fn, prefix, candidates, history=history, frames=frames, chunk=chunk)
    losses = errors.mean(axis=-1).T  # [N, n]
    if batch == "each":
        return jax.vmap(select, in_axes=(None, 0))(candidates, losses)
    return select(candidates, losses.mean(axis=0))


def select(candidates: Array, losses: Array) -> Readout:
    """The readout of the smallest finite loss among candidates ``[n, d]`` with losses ``[n]``."""
    losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
    best = candidates[jnp.argmin(losses)]
    coordinate = jnp.where(jnp.any(jnp.isfinite(losses)), best, jnp.nan)
    return Readout(coordinate, candidates, losses)


def refine_readout(readout: Readout) -> Readout:
    """Moves a readout on a sorted, even, one-dimensional bank to the vertex of the parabola around its best.

    The bank's step is coarser than what the losses tell: the best candidate and its two neighbours fix a
    parabola, and its vertex lies within half a step. At the rim of the bank, or beside a candidate that
    diverged, nothing moves.
    """
    c, losses = readout.candidates[:, 0], readout.losses
    i = jnp.clip(jnp.argmin(losses), 1, len(c) - 2)
    left, mid, right = losses[i - 1], losses[i], losses[i + 1]
    curvature = left - 2 * mid + right
    usable = jnp.isfinite(curvature) & (curvature > 0) & (jnp.argmin(losses) == i)
    shift = jnp.where(usable, 0.5 * (left - right) / jnp.where(usable, curvature, 1.0), 0.0)
    moved = readout.coordinate + shift * (c[i] - c[i - 1])
    return readout._replace(coordinate=moved)


def fit_coordinate_map(
    values: Any, coordinates: Any, *, degree: int = 1, intercept: bool = False, reach: float = 1.0
) -> CoordinateMap:
    """See :meth:`CoordinateMap.fit`: a calibrated map from normalised metadata to chart coordinates."""
    return CoordinateMap.fit(values, coordinates, degree=degree, intercept=intercept, reach=reach)
