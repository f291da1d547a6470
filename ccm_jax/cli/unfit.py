"""Observed frames that no network fits: refused before the readout is fitted where its candidates already tell."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax._trivial import HOPELESS, ZEROS
from ccm_jax.cli.fitting import Opened
from ccm_jax.cli.persistence import check_persistence
from ccm_jax.cli.predicts import Reading, reading_of
from ccm_jax.cli.readings import other_axes
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.waiting import waiting
from ccm_jax.fit_readout import fit_prefix_readout
from ccm_jax.io.recordings import Recording
from ccm_jax.io.weights import open_weights
from ccm_jax.observed import observations
from ccm_jax.readout import coarse_errors


class Blamed:
    """What is to blame where no network fits the frames; looked at when it is asked for, as that takes a while."""

    def __init__(self, recipe: Recipe, model: str | None, recording: Recording) -> None:
        self.anchor, self.model, self.recording = recipe.anchor, model, recording

    def axes(self) -> str:
        """How the axes are read, if the network takes them otherwise, too."""
        return other_axes(open_weights(self.anchor), self.model, self.recording)

    def check(
        self, persistence: float, best: float, frames: np.ndarray, mask: np.ndarray | None, unit: str, axes: str
    ) -> None:
        """Raises ValueError where the best network is no better than a trivial forecast, and says what to look at."""
        whole = frames if mask is None or mask.all() else None
        reading = Reading() if unit else reading_of(open_weights(self.anchor), self.model, whole)
        check_persistence("calibrate", persistence, best, accept=False, axes=axes, unit=unit, reading=reading)


def check_first(
    opened: Opened, count: int, frames: np.ndarray, mask: np.ndarray | None, blamed: Blamed, unit: str
) -> None:
    """Raises ValueError, before anything is fitted, for frames that anchor and candidates do not fit.

    Args:
        opened: the chart.
        count: the K observed frames after the model's window.
        frames: the observed ones, ``[N, T, *space, C]``.
        mask: where they were observed, ``[N, T, *space]``; None is everywhere.
        blamed: what is to blame then.
        unit: what is said of frames in another unit than validation's; empty for others.
    """
    chart, surrogate = opened
    if frames.shape[1] < surrogate.history + count:
        return
    readout = fit_prefix_readout(chart, surrogate.rollout_fn, history=surrogate.history, frames=count)
    with waiting("compiling, and comparing with the last frame repeated"):
        tried = coarse_errors(readout, observations("calibrate", readout, jnp.asarray(frames), mask), None)
        each = np.concatenate([np.asarray(tried.anchor)[None], np.asarray(tried.candidates)]).mean(axis=(1, 2))
    best, persistence = float(np.min(np.where(np.isfinite(each), each, np.inf))), float(np.mean(tried.persistence))
    if unit or not best <= min(ZEROS, HOPELESS * persistence):
        more: dict[str, Any] = {"unit": unit, "axes": "" if unit else blamed.axes()}
        blamed.check(persistence, best, frames, mask, **more)
