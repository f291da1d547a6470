"""How many observed frames it takes: the coordinate after each of them, until it is known well enough."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax.cli.console import say
from ccm_jax.cli.fitting import Opened, check_grids
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.sure import LEVEL
from ccm_jax.sequential import fit_sequential


def frames_until(
    opened: Opened, x: np.ndarray, validation: Regimes | None, width: float, mask: Any = None
) -> tuple[int, dict[str, Any]]:
    """The number of observed frames after which the coordinate of every trajectory is known, said frame by frame.

    Args:
        opened: the chart.
        x: trajectories ``[N, T, *space, C]``; frames are looked at one by one, and none ahead.
        validation: regimes on which intervals are made to cover.
        width: of the 90 % interval of the coordinate.
        mask: where the frames were observed; None is everywhere.

    Returns:
        K, and what is reported of it.

    Raises:
        ValueError: for a width that is not above 0, frames with gaps, or without validation.
    """
    if not 0 < width < np.inf:
        raise ValueError(f"--until is {width:g}, expected a width above 0; the experts are 2 apart.")
    if validation is None:
        raise ValueError("--until needs --validation FILE, whose trajectories calibrate the intervals.")
    if mask is not None:
        raise ValueError("--until needs complete frames; omit it, and set the number of frames with --frames.")
    check_grids(validation, x.shape[2:])
    history, regimes = opened.surrogate.history, list(validation.trajectories.values())
    # The readout that follows is fitted on as many validation frames, and judged on one more.
    most = min([x.shape[1] - history, *(len(regime[0]) - history - 1 for regime in regimes)])
    if most < 1:
        raise ValueError(
            f"--until: expected more than {counted(history, 'observed frame')}, and one more of validation."
        )
    read = fit_sequential(opened.chart, opened.surrogate.rollout_fn, regimes, history=history, level=LEVEL)
    track = read(jnp.asarray(x[:, : history + most]), batch="each")
    ends = np.asarray(track.interval(LEVEL), float)
    widths = (ends[..., 1] - ends[..., 0]).max(axis=(0, 2))  # the widest of all trajectories and axes
    narrow = np.flatnonzero(widths <= width)
    count = int(narrow[0]) + 1 if len(narrow) else most
    for k in range(count):
        middle = ", ".join(f"{c:+.2f}" for c in np.asarray(track.coordinate[:, k], float).mean(axis=0))
        say(f"  after frame {k + 1}: coordinate {middle}, interval {widths[k]:.3f} wide")
    if len(narrow):
        said = f"{width:g} wide or narrower after {counted(count, 'observed frame')}; no more are used"
    else:
        said = f"still wider than {width:g} after {counted(count, 'observed frame')}; there are no more"
    say(f"The 90 % interval is {said}.")
    return count, {"width": width, "reached": bool(len(narrow)), "widths": widths[:count].tolist()}
