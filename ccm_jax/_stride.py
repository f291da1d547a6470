"""Whether frames that no merge fits have another time step than the network."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._plain import plain
from ccm_jax.chart import Gated
from ccm_jax.metrics import relative_l2
from ccm_jax.rollout import call_rollout

if TYPE_CHECKING:
    from ccm_jax.readout import PrefixReadout

MOST = 3  # steps of a network from each frame to the next, or frames in one of its steps
FINE = 33  # coordinates of one axis at which each time step is tried
LOOKED_AT = 8  # doubtful trajectories that are looked at
CLEARLY = 0.5  # of the error of a time step nearer to the network's: below it, another one explains the frames


def stride_clue(readout: PrefixReadout, frames: Any) -> str:
    """What the time step of frames seems to be, in words; empty where no other one fits clearly better.

    The anchor and the candidates run from the first frame with several steps per frame, and with one step per several
    frames. A window of several frames would have a wrong step itself; then nothing is said.

    Args:
        readout: of the chart.
        frames: trajectories ``[N, T, *space, C]``; the first is the window, and the K observed ones come next.

    Returns:
        A sentence that ends with a question mark, or nothing.
    """
    count = readout.frames
    if readout.history != 1 or frames.shape[1] <= count:
        return ""
    candidates = np.asarray(readout.candidates)
    if isinstance(readout.chart.features, Gated):
        candidates = candidates[candidates[:, -1] == 1]
    places = np.concatenate([np.zeros_like(candidates[:1]), candidates])
    window, seen = jnp.asarray(frames[:, :1]), jnp.asarray(frames[:, 1 : count + 1])
    readout = plain(readout)
    strides = [(n, 1) for n in range(1, MOST + 1)] + [(1, m) for m in range(2, min(MOST, count) + 1)]
    strides.sort(key=max)  # the nearest to one step per frame first

    def least(places: np.ndarray) -> dict[tuple[int, int], float]:
        every = np.asarray(_errors(readout, jnp.asarray(places), window, seen, tuple(strides)), float)
        return dict(zip(strides, np.where(np.isfinite(every), every, np.inf).min(axis=0).tolist(), strict=True))

    def nearest(best: dict[tuple[int, int], float], of: list[tuple[int, int]]) -> tuple[int, int]:
        return functools.reduce(lambda a, b: b if best[b] < CLEARLY * best[a] else a, of)

    best = least(places)
    n, m = chosen = nearest(best, strides)
    if chosen == (1, 1):
        return ""
    if fine := _between(candidates):  # another step it is; which one is told by the best coordinate of each
        best = least(np.concatenate([places, *fine]))
        n, m = chosen = nearest(best, [s for s in strides if (s[0] > 1) == (n > 1) and s != (1, 1)])
    better = f"(error {best[chosen]:.2g} instead of {best[1, 1]:.2g})"
    if n > 1:
        return f"{n} steps of the network per frame fit better {better}: are the frames {n} time steps apart?"
    return f"one step of the network per {m} frames fits better {better}: is their time step 1/{m} of the network's?"


def _between(candidates: np.ndarray) -> list[np.ndarray]:
    """Coordinates between those of one axis; none for several axes."""
    axes = np.flatnonzero(np.ptp(candidates, axis=0) > 0)
    if len(axes) != 1:
        return []
    low, high = (candidates[i] for i in (candidates[:, axes[0]].argmin(), candidates[:, axes[0]].argmax()))
    return [np.linspace(low, high, FINE)]


@functools.partial(jax.jit, static_argnames=("strides",))
def _errors(readout: PrefixReadout, places: Any, window: Any, seen: Any, strides: tuple[tuple[int, int], ...]) -> Any:
    """Errors of rollouts at coordinates ``[n, d]`` for each of the time steps, ``[n, strides]``."""

    def errors(place: Any) -> Any:
        rolled = call_rollout(readout.rollout_fn, readout.chart(place), window, MOST * seen.shape[1], None, 1)
        return jnp.stack([relative_l2(*_alike(rolled, seen, n, m)).mean() for n, m in strides])

    return jax.lax.map(errors, places)


def _alike(rolled: Any, seen: Any, n: int, m: int) -> tuple[Any, Any]:
    """Predicted and observed frames at the same times, if n steps of the network are m frames."""
    those = seen[:, m - 1 :: m]
    return rolled[:, n - 1 :: n][:, : those.shape[1]], those


class Clue:
    """What the time step of doubtful frames seems to be; looked for when the first warning asks, and told once."""

    def __init__(self, readout: PrefixReadout, frames: Any) -> None:
        self.readout, self.frames = readout, frames

    def __call__(self, which: np.ndarray) -> str:
        """The end of a warning about some of the trajectories, or nothing."""
        frames, self.frames = self.frames, None
        if frames is None or not len(which):
            return ""
        try:
            clue = stride_clue(self.readout, frames[which[:LOOKED_AT]])
        except ValueError:  # a rollout that takes no other number of steps tells nothing
            return ""
        return f"; {clue}" if clue else ""
