"""What looks wrong with a map from values to coordinates, as warnings: units, order, ends of the search, the scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ccm_jax._doubts import warn
from ccm_jax._given import RIM

NAME = "fit_scale_readout"
POOR = 0.5  # an error of the coordinate, where experts are 2 apart, with which a merge is no better than the nearest
CLEARLY = 0.7  # of the default scale's leave-one-out error: below it, the other scale is named
DISORDER = 0.2  # of the range of coordinates: a step back by more is no scatter
VISIBLE = 0.02  # a difference of coordinates that changes a rollout; best coordinates are not known more exactly


def warn_of_units(values: Sequence[float], low: float, high: float) -> None:
    """Warns of validation values all of which lie on one side of both experts', as if they had another unit."""
    if min(values) > max(low, high) or max(values) < min(low, high):
        warn(
            f"{NAME}: validation values are {min(values):g} to {max(values):g}, and those of the experts {low:g} and "
            f"{high:g}: none lies between them, so the curve is extrapolated there; check their unit."
        )


def warn_of_map(values: Sequence[float], best: Sequence[float], tried: np.ndarray, error: float) -> None:
    """Warns of best coordinates that no curve through a physical parameter has; the first reason is said.

    Args:
        values: of the validation regimes.
        best: their best coordinates.
        tried: the bank, ``[n]``.
        error: of the coordinate of a regime left out of the fit.
    """
    ends = np.minimum(np.abs(np.subtract(best, tried.min())), np.abs(np.subtract(best, tried.max()))) < RIM
    if ends.any():
        warn(
            f"{NAME}: at {int(ends.sum())} of {len(best)} values, the best coordinate is at the edge of the search "
            f"range, {tried.min():g} or {tried.max():g}; check that trajectories are [N, T, *space, C], and that grid, "
            "time step, units and the order of channels are those of the training data."
        )
    elif np.ptp(best) > 0 and np.polyfit(values, best, 1)[0] < 0:
        warn(
            f"{NAME}: the best coordinate falls as the value rises; check that values are in the order of validation, "
            "and that low and high belong to the low and the high expert."
        )
    elif rises_and_falls(np.asarray(best)[np.argsort(values, kind="stable")], VISIBLE):
        warn(
            f"{NAME}: the best coordinate rises and falls with the value; check that values are in the order of "
            "validation, and that all regimes are of the experts' equation."
        )
    elif POOR < error < np.inf:  # infinite where too few values are left to fit
        warn(
            f"{NAME}: the curve misses the coordinate of a value left out of the fit by {error:.2g}, where the experts "
            "are 2 apart; check values and trajectories, and do not rely on it."
        )


def rises_and_falls(places: Any, least: Any) -> bool:
    """Whether coordinates ``[n]``, in the order of their values, move clearly in both directions.

    Args:
        places: the coordinates.
        least: step that is clear whatever their range, one number or ``[n - 1]``.
    """
    steps = np.diff(places)
    clear = steps[np.abs(steps) > np.maximum(DISORDER * np.ptp(places), least)]
    return bool((clear > 0).any() and (clear < 0).any())


def warn_of_scale(errors: Mapping[Any, float]) -> None:
    """Warns of the default scale where left-out regimes are predicted clearly better on the other one."""
    if better_scale(errors, "linear"):
        warn(
            f'{NAME}: the map predicts the coordinates of left-out regimes better with scale="log" (error '
            f'{errors["log"]:.2g}) than with the default scale="linear" (error {errors["linear"]:.2g}); pass '
            'scale="log", or scale="auto", which takes the better one.'
        )


def better_scale(errors: Mapping[Any, float], taken: str) -> str:
    """The scale that predicts left-out regimes clearly better than the one that is taken; empty where none does."""
    other = "linear" if taken == "log" else "log"
    mine, its = errors[taken], errors.get(other, float("inf"))
    return other if its < CLEARLY * mine and mine - its > VISIBLE else ""
