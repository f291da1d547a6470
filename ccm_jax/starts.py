"""Averages readouts that start from several observed frames, for noisy frames.

A rollout starts from one observed window, and that window's noise biases the coordinate. Rollouts that start one frame
later have different noise:

    c = 1 / |B| sum_{b in B} argmin_c sum_t w_t loss(rollout from frame b, frame t)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax._plain import plain
from ccm_jax.readout import PrefixReadout

Array = Any


def starting_at(readout: PrefixReadout, begins: Sequence[int]) -> tuple[PrefixReadout, ...]:
    """The same readout with rollouts that begin at other frames, and all frames after the window of equal weight.

    Args:
        readout: from :func:`~ccm_jax.fit_prefix_readout`.
        begins: numbers of the first frames of the windows; 0 is the first observed frame.

    Raises:
        ValueError: if ``begins`` is empty, or one leaves no frame to compare with.

    Example:
        >>> from ccm_jax import fit_chart, fit_prefix_readout, make_rollout
        >>> chart = fit_chart({"a": jnp.ones(())}, [{"a": jnp.zeros(())}, {"a": 2 * jnp.ones(())}], [-1.0, 1.0])
        >>> readout = fit_prefix_readout(chart, make_rollout(lambda params, window: params["a"] * window[:, -1]))
        >>> [(r.begin, r.weights.shape) for r in starting_at(readout, (0, 1))]
        [(0, (4,)), (1, (3,))]
    """
    frames = readout.begin + readout.weights.shape[-1]
    if not begins or not all(0 <= b < frames for b in begins):
        raise ValueError(
            f"starting_at: begins are {list(begins)}, expected one or more of 0 to {frames - 1}; with "
            f"{frames} predicted frames a later one leaves none to compare with."
        )
    return tuple(plain(readout, begin=b, weights=jnp.full(frames - b, 1 / (frames - b), jnp.float32)) for b in begins)


def mean_over_starts(readouts: Sequence[PrefixReadout], frames: Any, **how: Any) -> Array:
    """The mean coordinate of several readouts of each trajectory, ``[N, d]``.

    A readout that finds no finite coordinate is left out of the mean; if none does, the result is NaN.

    Args:
        readouts: from :func:`starting_at`.
        frames: observed trajectories ``[N, T, *space, C]``.
        **how: further arguments of the readouts, for instance ``mask`` or ``missing``.

    Raises:
        ValueError: if there is no readout.

    Example:
        >>> from ccm_jax import fit_chart, fit_prefix_readout, make_rollout
        >>> chart = fit_chart({"a": jnp.ones(())}, [{"a": jnp.zeros(())}, {"a": 2 * jnp.ones(())}], [-1.0, 1.0])
        >>> readout = fit_prefix_readout(chart, make_rollout(lambda params, window: params["a"] * window[:, -1]))
        >>> frames = 0.5 ** jnp.arange(5.0)[None, :, None, None, None] * jnp.ones((1, 5, 4, 4, 1))
        >>> mean_over_starts(starting_at(readout, (0, 1, 2)), frames).round(3).tolist()
        [[-0.5]]
    """
    if not readouts:
        raise ValueError("mean_over_starts: no readouts, expected those of starting_at(readout, begins).")
    found = np.stack([np.asarray(read(frames, batch="each", **how).coordinate) for read in readouts])
    return jnp.asarray(mean_of_known(found), jnp.float32)


def mean_of_known(found: np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is finite; NaN where nothing is."""
    known = np.isfinite(found)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, found, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
