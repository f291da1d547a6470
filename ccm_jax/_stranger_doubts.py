"""Observed frames that a chart explains badly, by their p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from ccm_jax._checks import is_traced
from ccm_jax._doubts import warn
from ccm_jax._shown import shown_p
from ccm_jax._stride import Clue
from ccm_jax.membership import ALARM, STRANGE

if TYPE_CHECKING:
    from ccm_jax.coordinate import Estimate


def warn_of_strangers(function: str, found: Estimate, clue: Clue, gaps: bool) -> bool:
    """Warns of frames that no point of the chart explains; of a batch, if most are such: a wrong unit concerns all.

    Frames that it explains worse than nearly all of validation are warned of where another time step fits clearly
    better. So are they in the terminal.

    Args:
        function: name in the warnings.
        found: with coordinates and p-values of the trajectories.
        clue: what the time step of these frames seems to be.
        gaps: whether points were filled in, on which validation was not.

    Returns:
        Whether no point explains them.
    """
    if found.p_value is None or is_traced(found) or jax.process_count() > 1:
        return False
    p = np.asarray(found.p_value)
    if stranger := bool(np.median(p) < STRANGE):
        which = which_frames(p < STRANGE)
        reason = "validation had no gaps, so a bad fill (choose_fill) may be the reason; " * gaps
        warn(
            f"{function}: no point of the chart explains {which} ({shown_p(float(p.min()))}); {reason}check the time "
            "step, units, channels and equation, and the error on held-out frames before you use the merge"
            f"{clue(np.flatnonzero(p < STRANGE)) or '.'}"
        )
    elif np.median(p) < ALARM and (step := clue(np.flatnonzero(p < ALARM))):
        which = which_frames(p < ALARM)
        warn(f"{function}: the chart explains {which} worse than most of validation ({shown_p(float(p.min()))}){step}")
    return stranger


def which_frames(lost: np.ndarray) -> str:
    """Frames of those trajectories of a batch, in words."""
    return "these frames" if len(lost) == 1 else f"the frames of {which_of(np.flatnonzero(lost), len(lost))}"


def which_of(lost: np.ndarray, total: int) -> str:
    """Trajectories of a batch, in words."""
    if total == 1:
        return "the network"
    return f"trajectory {lost[0]}" if len(lost) == 1 else f"{len(lost)} of {total} trajectories"
