"""Coordinates from metadata: from the physical parameter, with or without a calibrated map.

Every readout, including those from observed frames (:mod:`ccm_jax.prefix`), returns an :class:`Estimate`.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import check_level, check_real, is_traced
from ccm_jax._doubts import is_far, warn
from ccm_jax._interval_doubts import warn_cut, warn_extrapolated, warn_flat
from ccm_jax._shown import shown, shown_estimate
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.posterior import Posterior

Array = jax.Array

PAPER_CLIP = 1.5  # largest absolute coordinate of the paper's readouts: pass it as `clip`


class Estimate(NamedTuple):
    """The coordinate of a regime, and the evidence for it; for a batch, every field has a leading axis.

    Attributes:
        coordinate: the chosen coordinate, ``[d]``; NaN if no candidate had a finite rollout.
        candidates: coordinates evaluated first, before any refinement, ``[n, d]``; empty for a readout of known values.
        losses: the loss of each candidate, ``[n]``; infinite where its rollout was not finite.
        loss: the loss at the chosen coordinate; where its rollout grew too much, at the coordinate before it moved
            toward the anchor.
        anchor_loss: the loss of the anchor's own weights.
        persistence_loss: the loss of repeating the last frame of the window, which every model should beat.
        rollouts: number of prefix rollouts, one for each value and one for each derivative along an axis.
        posterior: the posterior of the physical value; None before :func:`ccm_jax.fit_uncertainty`.
        p_value: small if no point of the chart explains the frames, so they belong to another family; None before
            :func:`ccm_jax.fit_uncertainty`, which has an example of :meth:`value` and :meth:`interval`.
    """

    coordinate: Array
    candidates: Array
    losses: Array
    loss: Array | None = None
    anchor_loss: Array | None = None
    persistence_loss: Array | None = None
    rollouts: Array | None = None
    posterior: Posterior | None = None
    p_value: Array | None = None

    def __repr__(self) -> str:
        if any(is_traced(a) or not hasattr(a, "__array__") for a in (self.coordinate, self.loss, self.anchor_loss)):
            return shown(self)
        if not getattr(self.loss, "is_fully_addressable", True):
            return shown(self)
        return shown_estimate(self)

    @property
    def keeps_anchor(self) -> Array:
        """Whether the anchor's own weights fit best, so no merge is made: coordinate and gate are 0."""
        if self.loss is None or self.anchor_loss is None:
            return jnp.zeros(jnp.shape(self.coordinate)[:-1], bool)
        return (self.coordinate == 0).all(axis=-1) & (self.loss == self.anchor_loss)

    def value(self) -> Array:
        """The physical value on each axis: the median of the posterior, ``[d]``.

        Warns:
            UserWarning: if the frames do not constrain it, so it is only the middle of the values considered.
        """
        posterior = self._sure("value")
        warn_flat("Estimate.value", posterior)
        return posterior.value()

    def interval(self, level: float = 0.9) -> Array:
        """The central credible interval of the physical value on each axis, ``[d, 2]``.

        Outside the validation regimes, where ``posterior.beyond()`` is True, the interval is extrapolated and probably
        too narrow, above all with few regimes.

        Warns:
            UserWarning: if the frames do not constrain the value; of an end that is cut off, because the values that
                are considered end there; and of a value outside the validation regimes if none of them lies beyond the
                expert on that side.
        """
        posterior = self._sure("interval")
        check_level("Estimate.interval", level)
        warn_flat("Estimate.interval", posterior)
        warn_cut(posterior)
        warn_extrapolated(posterior)
        return posterior.interval(level)

    def sample(self, key: Array, n: int) -> Array:
        """Coordinates drawn from the posterior, ``[n, D]``, for a predictive distribution of the rollout."""
        return self._sure("sample").sample(key, n)

    def _sure(self, name: str) -> Posterior:
        if self.posterior is None:
            raise ValueError(
                f"Estimate.{name}: this readout has no fitted uncertainty; fit it on validation trajectories with "
                "fit_uncertainty(readout, validation, values)."
            )
        return self.posterior


def _untried(function: str, coordinate: Array, clip: float | None) -> Estimate:
    if coordinate.size != 1:
        raise ValueError(
            f"{function}: value has shape {coordinate.shape}, expected one number; for several regimes use jax.vmap."
        )
    coordinate = jnp.atleast_1d(coordinate)
    coordinate = coordinate if clip is None else jnp.clip(coordinate, -clip, clip)
    return Estimate(coordinate, jnp.zeros((0, coordinate.shape[-1])), jnp.zeros((0,)))


def normalised_coordinate(
    value: float | Array,
    low: float,
    high: float,
    *,
    scale: Literal["linear", "log"] = "linear",
    name: str = "coordinate_from_metadata",
) -> Array:
    """The paper's ``s(value) = 2 (value - middle) / (high - low)``: -1 at ``low``, +1 at ``high``.

    With ``scale="log"``, the same for logarithms. Raises ValueError as :func:`coordinate_from_metadata`, by ``name``.
    """
    if scale not in ("linear", "log"):
        raise ValueError(f"{name}: scale is {scale!r}, expected 'linear' or 'log'.")
    check_real(f"{name}: value is", value)
    check_real(f"{name}: low is", low)
    check_real(f"{name}: high is", high)
    if not low < high:
        raise ValueError(
            f"{name}: low is {low} and high is {high}, expected low < high; "
            "for experts given in the other order, swap them as well."
        )
    if scale == "log":
        if low <= 0 or (not is_traced(value) and np.any(np.asarray(value) <= 0)):
            raise ValueError(
                f"{name}: a log scale needs positive values: value is {value}, low {low}; check the sign, or take a "
                "linear scale."
            )
        logarithm: Any = jnp.log(jnp.asarray(value, float)) if is_traced(value) else np.log(np.asarray(value, float))
        return normalised_coordinate(logarithm, float(np.log(low)), float(np.log(high)), name=name)
    if not is_traced(value) and not np.all(np.isfinite(np.asarray(value))):
        raise ValueError(f"{name}: value is {value}, expected a finite number.")
    if is_traced(value, low, high):
        return 2 * (jnp.asarray(value, float) - (low + high) / 2) / (high - low)
    exact = np.asarray(value, np.float64)  # so that experts are at -1 and 1 to the last bit
    return jnp.asarray((exact - low - (high - exact)) / (high - low), float)


def coordinate_from_metadata(
    value: float | Array,
    low: float,
    high: float,
    *,
    scale: Literal["linear", "log"] = "linear",
    clip: float | None = None,
) -> Estimate:
    """CCM-Coord: the coordinate of a known physical parameter, ``s(value)``.

    Args:
        value: the physical parameter of the regime, in the unit of ``low`` and ``high``.
        low: its value where the low expert was fine-tuned.
        high: its value where the high expert was fine-tuned.
        scale: ``"linear"`` or ``"log"``; ``--log`` in the terminal is ``scale="log"`` here.
        clip: largest absolute coordinate, for instance ``PAPER_CLIP``; None clips nothing.

    Returns:
        An :class:`Estimate` with the coordinate ``[1]`` alone, which a chart takes.

    Raises:
        ValueError: unless ``low < high``, for several values, or for a non-positive one on a log scale.

    Warns:
        UserWarning: for a value so far outside ``low`` to ``high`` that it must have another unit.

    Example:
        >>> coordinate_from_metadata(4e-3, 1e-3, 3e-3).coordinate.round(3).tolist()
        [2.0]
        >>> coordinate_from_metadata(4e-3, 1e-3, 3e-3, clip=PAPER_CLIP).coordinate.tolist()
        [1.5]
    """
    coordinate = normalised_coordinate(value, low, high, scale=scale)
    found = _untried("coordinate_from_metadata", coordinate, clip)
    if is_far(coordinate):
        warn(
            f"coordinate_from_metadata: value {value} is at coordinate {float(coordinate.reshape(())):+.4g}, far "
            f"outside the experts' range {low:g} to {high:g}: check its unit."
        )
    return found


def coordinate_from_map(
    value: float | Array,
    low: float,
    high: float,
    fitted: CoordinateMap,
    *,
    scale: Literal["linear", "log"] = "linear",
    clip: float | None = None,
) -> Estimate:
    """CCM-Scale: the coordinate of the metadata, corrected by a map fitted on validation regimes: ``map(s(value))``.

    Args:
        value: the physical parameter of the regime, in the unit of ``low`` and ``high``.
        low: its value where the low expert was fine-tuned.
        high: its value where the high expert was fine-tuned.
        fitted: the map, of :func:`fit_coordinate_map`.
        scale: ``"linear"`` or ``"log"``; ``--log`` in the terminal is ``scale="log"`` here.
        clip: largest absolute coordinate, for instance ``PAPER_CLIP``; None clips nothing.

    Raises:
        ValueError: as :func:`coordinate_from_metadata`, or for a value beyond the map's reach.
    """
    name = "coordinate_from_map"
    return _untried(name, fitted(normalised_coordinate(value, low, high, scale=scale, name=name)), clip)


def fit_coordinate_map(
    values: Any, coordinates: Any, *, degree: int = 1, intercept: bool = False, reach: float = 1.0
) -> CoordinateMap:
    """See :meth:`CoordinateMap.fit`: a calibrated map from normalized metadata to chart coordinates."""
    return CoordinateMap.fit(values, coordinates, degree=degree, intercept=intercept, reach=reach)
