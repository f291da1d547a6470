"""What is wrong with frames that a tracker is given, as warnings: their unit, the ends of its range, no skill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_traced
from ccm_jax._doubts import warn
from ccm_jax._frames import warn_of_unit
from ccm_jax._given import RIM
from ccm_jax._trivial import trivial, worse_than_trivial

if TYPE_CHECKING:
    from ccm_jax.track import Tracker
    from ccm_jax.tracked import Track

MANY = 0.5  # of the frames: a coordinate that is at the edge for longer is not there for a moment


def warn_of_track(function: str, tracker: Tracker, x: Any, track: Track) -> None:
    """Warns of trajectories ``[N, T, *space, C]`` in another unit, or whose track is doubtful, where numbers are known.

    Args:
        function: name in the warnings.
        tracker: that found it.
        x: the trajectories.
        track: theirs.
    """
    if is_traced(x, track, tracker) or jax.process_count() > 1 or warn_of_unit(function, tracker.sizes, x):
        return
    steps = min(tracker.steps, x.shape[1] - 1)
    fields = tuple(range(2, x.ndim))
    size, change = (jnp.sqrt(jnp.sum(a**2, axis=fields)) for a in (x[:, steps:], x[:, steps:] - x[:, :-steps]))
    still, errors = float(jnp.mean(change / size)), np.asarray(track.error)
    best = float(errors[np.isfinite(errors)].mean()) if np.isfinite(errors).any() else np.inf
    check = "check that axes are [T, *space, C], the order of channels, units, normalization and the time step"
    if not np.isfinite(best):
        warn(f"{function}: every rollout diverges on these frames; {check}.")
        return
    if worse_than_trivial(best, still):
        what, error = trivial(still)
        warn(
            f"{function}: {what} has error {error:.3g} on these frames, no more than the network ({best:.3g}); {check}."
        )
    c = np.asarray(track.coordinate)
    low, high = (np.asarray(end)[: c.shape[-1]] for end in (tracker.low, tracker.high))
    ends = ((np.abs(c - low) < RIM) | (np.abs(c - high) < RIM)).any(axis=-1)
    if ends.mean() > MANY:
        warn(
            f"{function}: in {int(ends.sum())} of {ends.size} frames, the coordinate is at the edge of the search "
            f"range, {low.tolist()} to {high.tolist()}; check units, the order of channels, the time step and the "
            "experts' coordinates (reach=... searches further)."
        )
