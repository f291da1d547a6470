"""Whether a network of one's own gives the next frame or an increment: where frames fit badly, the other is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ccm_jax._trivial import worse_than_trivial
from ccm_jax.cli.checkpoints import warn
from ccm_jax.io.description import describe
from ccm_jax.io.weights import Weights
from ccm_jax.metrics import relative_l2
from ccm_jax.models import is_registered
from ccm_jax.surrogate import surrogate_of

CLEARLY = 0.5  # of the error as it is read: below it, the other reading is meant
STEPS = 8  # of each trajectory, and trajectories, that are compared
JUMP = 2.0  # a first step that changes a state by more than so many times its size is no step of a solution
UNITS = "check that channels come in the order of the training data and in its units, and the network's mean and std"
HOW = {"increment": "if its output is added to the last frame", "frame": "if its output is taken as the next frame"}


class Reading(NamedTuple):
    """How the output of a network is read.

    Attributes:
        own: whether the network is one's own, whose description says what it predicts.
        better: that the other reading fits the frames clearly better, with the remedy; empty if it does not.
    """

    own: bool = False
    better: str = ""


def reading_of(weights: Weights, model: str | None, frames: np.ndarray | None) -> Reading:
    """Tries the other reading of a network's output one step ahead on frames that it fits badly as it is read.

    Args:
        weights: of the network.
        model: its description, as it was given.
        frames: trajectories ``[N, T, *space, C]``, all of them observed; None tries nothing.
    """
    said = describe(weights, model)
    name = str(said["model"])
    if ":" not in name or is_registered(name):
        return Reading()
    if frames is None:
        return Reading(True)
    surrogate = surrogate_of(weights, model, frames.shape[2:])
    history, x = surrogate.history, np.asarray(frames[:STEPS], np.float32)
    starts = range(min(STEPS, x.shape[1] - history))
    if not len(starts):
        return Reading(True)
    windows = jnp.asarray(np.concatenate([x[:, t : t + history] for t in starts]))
    real = np.concatenate([x[:, t + history] for t in starts])
    given = np.asarray(surrogate.rollout_fn(surrogate.to_params(weights.arrays), windows, 1))[:, 0]
    last, mean = np.asarray(windows[:, -1]), np.asarray(said.get("mean", 0.0), np.float32)
    read = str(said.get("predicts", "frame"))
    other = "increment" if read == "frame" else "frame"
    # A frame is std * output + mean, and an increment is added as std * output.
    moved = last + given - mean if read == "frame" else (given - last) / float(said.get("time_step", 1)) + mean
    as_read, as_other, still = (_error(each, real) for each in (given, moved, last))
    if not as_other < CLEARLY * as_read or worse_than_trivial(as_other, still):
        return Reading(True)
    return Reading(
        True,
        f"{name} seems to predict {other}s: one step ahead, its error is {as_read:.2g} now, and {as_other:.2g} "
        f"{HOW[other]}; {_remedy(model, name, read, other)}",
    )


def what_to_check(weights: Weights, model: str | None, frames: np.ndarray) -> str:
    """What may be wrong with a network that is worse than the last frame repeated on trajectories."""
    reading = reading_of(weights, model, frames)
    return reading.better or UNITS + (", and predicts (frame or increment)" if reading.own else "")


def _error(predicted: np.ndarray, real: np.ndarray) -> float:
    """Mean relative L2 error of frames ``[N, *space, C]``; infinite where one is not finite."""
    error = float(np.mean(np.asarray(relative_l2(jnp.asarray(predicted)[:, None], jnp.asarray(real)[:, None]))))
    return error if np.isfinite(error) else float("inf")


def _remedy(model: Any, name: str, read: str, other: str) -> str:
    if model is not None and Path(model).is_file():
        instead = f", in place of predicts: {read}" if read != "frame" else ""
        return f"write the line 'predicts: {other}' into {model}{instead}"
    return f"write the lines 'model: {name}' and 'predicts: {other}' into a file network.yaml, and pass it as --model"


def say_jump(predicted: np.ndarray, start: np.ndarray) -> None:
    """Warns if the first predicted frame has little to do with the last given one ``[*space, C]``."""
    jump = float(np.linalg.norm(predicted[0] - start)) / max(float(np.linalg.norm(start)), 1e-30)
    if jump > JUMP:
        warn(f"the first predicted frame differs from the last given one by {jump:.1f} times its size; {UNITS}.")
