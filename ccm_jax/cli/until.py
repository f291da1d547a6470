"""How many observed frames it takes: more of them, one by one, until the coordinate is known well enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax.cli.console import say
from ccm_jax.cli.fitting import Opened, check_grids
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.prefix import Found
from ccm_jax.cli.sure import LEVEL
from ccm_jax.cli.waiting import waiting
from ccm_jax.sequential import fit_sequential


def check_until(width: float, validation: Path | None, *, incomplete: bool) -> None:
    """Raises ValueError for a width that is not above 0, frames with gaps, or without validation."""
    if not 0 < width < np.inf:
        raise ValueError(f"--until is {width:g}, expected a width above 0; the experts are 2 apart.")
    if validation is None:
        raise ValueError("--until needs --validation FILE, whose trajectories calibrate the intervals.")
    if incomplete:
        raise ValueError(
            "--until needs complete frames, without --missing nan and --mask; leave it out, and set the number of "
            "frames by --frames."
        )


def find_until(
    opened: Opened, x: np.ndarray, validation: Regimes, width: float, find_with: Callable[[int], Found]
) -> tuple[Found, dict[str, Any]]:
    """What the readout finds on as many frames as make its 90 % interval of the coordinate narrow enough.

    A filter, which is fast, says after how many frames it is worth fitting the readout. The interval of the readout
    decides, which is the one that is reported; as long as it is too wide, the readout is fitted on one frame more.
    Where validation does not tell enough for an interval of the readout, that of the filter decides.

    Args:
        opened: the chart.
        x: trajectories ``[N, T, *space, C]``; frames are looked at one by one, and none ahead.
        validation: regimes on which intervals are made to cover.
        width: of the 90 % interval of the coordinate.
        find_with: what is found on this number of observed frames.

    Returns:
        What is found, and what is reported of the number of frames.

    Raises:
        ValueError: for trajectories that are too short.
    """
    check_grids(validation, x.shape[2:])
    history = opened.surrogate.history
    most, why = _most(x, validation, history)
    with waiting("filtering frame by frame"):
        coordinates, widths = _filtered(opened, x, list(validation.trajectories.values()), most)
    narrow = np.flatnonzero(widths <= width)
    first = int(narrow[0]) + 1 if len(narrow) else most
    say("Estimates by a filter; where one is narrow enough, the readout is calibrated on the frames up to there:")
    for k in range(first):
        middle = ", ".join(f"{c:+.2f}" for c in coordinates[k])
        say(f"  {_after(k + 1)}: coordinate {middle}, {widths[k]:.3f} wide")
    intervals: dict[int, float] = {}
    for count in range(first, most + 1):
        found = find_with(count)
        if found.sure is None:
            reached, said, by = bool(len(narrow)), float(widths[count - 1]), "filter's 90 % interval"
            break
        said, by = max(high - low for low, high in (a.coordinate_interval for a in found.sure.axes)), "90 % interval"
        reached, intervals[count] = said <= width, said
        if reached or found.sure.stranger or found.refuted:
            break
        if count < most:
            say(f"Calibrated on {_after(count)}: the 90 % interval is {said:.3f} wide; one frame more.")
    if found.sure is None or not (found.sure.stranger and found.keeps_anchor):  # whose interval is shown
        wide = f"With {_after(count)}, the {by} is {said:.3f} wide"
        say(f"{wide}; no more are used." if reached else f"{wide}, not {width:g} or narrower; {why}.")
    facts = {"width": width, "reached": reached, "intervals": intervals, "filter": widths[:first].tolist()}
    return found, facts


def _after(count: int) -> str:
    return f"{counted(count, 'frame')} after the window"


def _most(x: np.ndarray, validation: Regimes, history: int) -> tuple[int, str]:
    """The largest number of observed frames that can be used, and what limits it."""
    # The readout is fitted on as many validation frames, and judged on one more.
    length = min(regime.shape[1] for regime in validation.trajectories.values())
    there, fitted = x.shape[1] - history, length - history - 1
    if min(there, fitted) < 1:
        raise ValueError(
            f"--until: expected more than {counted(history, 'observed frame')}, and one more of validation."
        )
    if there <= fitted:
        return there, "the file has no more"
    limit = f"{counted(length, 'frame')} of --validation allow no more, although the file has {there}"
    return fitted, limit


def _filtered(opened: Opened, x: np.ndarray, regimes: list[np.ndarray], most: int) -> tuple[np.ndarray, np.ndarray]:
    """The filter's coordinate after each frame, ``[K, d]``, and the widest interval of all trajectories, ``[K]``."""
    history = opened.surrogate.history
    read = fit_sequential(opened.chart, opened.surrogate.rollout_fn, regimes, history=history, level=LEVEL)
    track = read(jnp.asarray(x[:, : history + most]), batch="each")
    ends = np.asarray(track.interval(LEVEL), float)
    return np.asarray(track.coordinate, float).mean(axis=0), (ends[..., 1] - ends[..., 0]).max(axis=(0, 2))
