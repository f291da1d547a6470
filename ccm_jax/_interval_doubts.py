"""What is wrong with the intervals of a posterior: ends that are not known, and values that nothing checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted, is_traced
from ccm_jax._doubts import warn
from ccm_jax._scale_doubts import rises_and_falls

if TYPE_CHECKING:
    from ccm_jax.curve import Curve
    from ccm_jax.fit_uncertainty import Read
    from ccm_jax.posterior import Posterior

ROUGH = 0.3  # relative standard error of the scatter from which on intervals are called rough
NEAR = 0.05  # a regime found at most so far beyond an expert is at the expert: its own trajectories scatter


def warn_cut(posterior: Posterior) -> None:
    """Warns of intervals of a posterior that end where its grid does, where numbers are known."""
    if is_traced(posterior) or jax.process_count() > 1:
        return
    lost = np.argwhere(np.asarray(posterior.cut()) & ~np.asarray(posterior.flat())[..., None])
    if len(lost):
        *_, axis, end = (int(i) for i in lost[0])
        at = float(np.asarray(posterior.values)[..., axis, :].reshape(-1, posterior.values.shape[-1])[0, -end])
        warn(
            f"Estimate.interval: the posterior is cut off at {at:.4g} on axis {axis}, the end of the values that it "
            f"considers, so the {('lower', 'upper')[end]} end of the interval is not known; pass a larger reach to "
            "fit_uncertainty, or regimes nearer to this one."
        )


def warn_flat(function: str, posterior: Posterior) -> None:
    """Warns of a posterior that frames leave as wide as its grid, where numbers are known."""
    if is_traced(posterior) or jax.process_count() > 1:
        return
    if len(lost := np.argwhere(np.asarray(posterior.flat()))):
        # Always the same words for an axis: Python then says it once for each line that asks.
        warn(
            f"{function}: the frames do not constrain the value on axis {lost[0][-1]} (the anchor is kept, or they do "
            "not depend on it): the posterior is as wide as the grid of values; use more frames, or pass a prior."
        )


def warn_extrapolated(posterior: Posterior) -> None:
    """Warns of intervals outside the validation regimes that rest on none beyond the expert on that side."""
    if posterior.known is None or posterior.reached is None or is_traced(posterior) or jax.process_count() > 1:
        return
    value = np.asarray(posterior.value())[..., None]
    outside = np.concatenate([value < posterior.known[..., :1], value > posterior.known[..., 1:]], axis=-1)
    if np.any(outside & (np.abs(np.asarray(posterior.reached)) < 1 + NEAR)):
        # Always the same words: Python then says it once for each line that asks.
        warn(
            "Estimate.interval: the value lies outside the validation regimes, and none of them lies beyond the expert "
            "on that side, so the interval is probably too narrow; pass regimes beyond both experts to fit_uncertainty."
        )


def warn_if_left_out(function: str, regime: np.ndarray, told: np.ndarray, labels: np.ndarray) -> None:
    """Warns of regimes of the lowest or highest values on none of whose trajectories the readout finds a coordinate.

    Args:
        function: name in the warning.
        regime: number of the regime of each trajectory, ``[N]``.
        told: whether a coordinate was found on it, ``[N]``.
        labels: physical values of the regimes, ``[R, axes]``.
    """
    kept = np.unique(regime[told])
    low, high = labels[kept].min(axis=0), labels[kept].max(axis=0)
    lost = [r for r in np.setdiff1d(regime, kept) if np.any(labels[r] < low) or np.any(labels[r] > high)]
    if lost:
        values = "; ".join(", ".join(f"{value:g}" for value in labels[r]) for r in lost)
        warn(
            f"{function}: the readout keeps the anchor on all of {counted(len(lost), 'validation regime')} (values "
            f"{values}): its uncertainty there cannot be estimated. Compare experts and anchor on them "
            "(ccm_jax.evaluate.future_error); the usual reason is an undertrained expert."
        )


def warn_if_few(function: str, regime: np.ndarray) -> None:
    """Warns of a scatter within regimes that so few trajectories hardly tell."""
    count = len(np.unique(regime))
    if len(regime) - count < 1 / (2 * ROUGH**2):  # the degrees of freedom for that error
        warn(
            f"{function}: {len(regime)} trajectories of {count} values are too few to estimate the scatter of a "
            "coordinate; intervals are rough, and probably too narrow: add trajectories of each value."
        )


def warn_if_falling(
    function: str, curves: tuple[Curve, ...], logarithmic: tuple[bool, ...], labels: np.ndarray
) -> None:
    """Warns of a coordinate that falls as the value rises, as it does for swapped experts."""
    for axis, (curve, log) in enumerate(zip(curves, logarithmic, strict=True)):
        ends = np.array([labels[:, axis].min(), labels[:, axis].max()])
        low, high = np.asarray(curve(jnp.asarray(np.log(ends) if log else ends))[0])
        if high < low:
            warn(
                f"{function}: the coordinate falls as the value rises on axis {axis}; unless the experts are meant to "
                "be in this order, the low and the high one are swapped."
            )


def warn_if_disordered(function: str, axis: int, read: Read) -> None:
    """Warns of coordinates that rise and fall as the value rises: of values in another order than the regimes."""
    values = np.unique(read.value)
    found = [read.found[read.value == value] for value in values]
    mean = np.array([one.mean() for one in found])
    error = np.sqrt([one.var() / max(len(one) - 1, 1) for one in found])
    if rises_and_falls(mean, 4 * (error[1:] + error[:-1])):
        places = ", ".join(f"{at:+.2f} at {value:g}" for value, at in zip(values, mean, strict=True))
        warn(
            f"{function}: the coordinate rises and falls with the value on axis {axis} ({places}); check that values "
            "are in the order of validation, and that all regimes are of the experts' equation."
        )


def warn_if_exchanged(function: str, found: np.ndarray, labels: np.ndarray) -> None:
    """Warns of values of two axes whose columns are exchanged: each coordinate then follows the other's values.

    Args:
        function: name in the warning.
        found: coordinates of all trajectories, ``[N, 2]``; of other numbers of axes nothing is said.
        labels: their physical values, ``[N, 2]``.
    """
    if found.shape[1] != 2 or not (np.ptp(found, axis=0).all() and np.ptp(labels, axis=0).all()):
        return
    follows = np.abs(np.corrcoef(found.T, labels.T)[:2, 2:])  # [axis, column]
    if follows[0, 1] > follows[0, 0] and follows[1, 0] > follows[1, 1]:
        warn(
            f"{function}: the first coordinate follows the second column of values, and the second coordinate the "
            "first; check that the columns of values are in the order of the chart's axes."
        )


def warn_if_within(function: str, found: np.ndarray, regime: np.ndarray) -> None:
    """Warns of validation regimes that all lie between the experts, along an axis of coordinates ``[N, d]``."""
    finite = np.isfinite(found).all(axis=-1)
    rows = [found[finite & (regime == r)].mean(axis=0) for r in np.unique(regime[finite])]
    mean = np.reshape(rows, (len(rows), found.shape[1]))
    for axis, column in enumerate(mean.T):
        if np.all(np.abs(column) < 1 + NEAR):
            where = "" if len(mean.T) == 1 else f" on axis {axis}"
            warn(
                f"{function}: the coordinates found on validation, {column.min():+.2f} to {column.max():+.2f}{where}, "
                "all lie between the experts at -1 and +1, so nothing checks intervals beyond them; add regimes "
                "of values beyond both experts'. If some are already, check that these experts are those of the ends."
            )
