"""What is wrong with the intervals of a posterior: ends that are not known, and values that nothing checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from ccm_jax._checks import counted, is_traced
from ccm_jax._doubts import warn

if TYPE_CHECKING:
    from ccm_jax.posterior import Posterior

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
            f"Estimate.interval: the posterior is cut off at {at:.4g} on axis {axis}, where the values that it "
            f"considers end, so that the {('lower', 'upper')[end]} end of the interval is not known; give "
            "fit_uncertainty a larger reach, or regimes nearer to this one."
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
            "on that side: the interval is extrapolated, and may be far too narrow; give fit_uncertainty regimes "
            "beyond both experts."
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
            f"{values}): nothing is known of how sure it is there. Compare experts and anchor on them "
            "(ccm_jax.evaluate.future_error); an expert that was trained too little is the usual reason."
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
                "all lie between the experts at -1 and +1, so that nothing checks intervals beyond them; add regimes "
                "of values beyond both experts'. If some are already, check that these experts are those of the ends."
            )
