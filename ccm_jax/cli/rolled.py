"""Predicted frames: their file, their errors, and how many of them are finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax._trivial import trivial, worse_than_trivial
from ccm_jax.cli.checkpoints import new_folder, warn
from ccm_jax.cli.console import say
from ccm_jax.cli.predicts import UNITS
from ccm_jax.cli.showing import number
from ccm_jax.io.atomic import together
from ccm_jax.metrics import relative_l2


def write(output: Path, draw: Callable[[Path], None] | None, frames: np.ndarray, **more: np.ndarray) -> dict[str, Any]:
    """The file of frames ``[T, *space, C]``, with what goes beside them, and the pictures that ``draw`` makes.

    Returns:
        What ``--json`` says of it.
    """
    made = new_folder(output)
    with together(output) as place:
        np.savez(place(output), allow_pickle=False, frames=frames, dim=frames.ndim - 2, **more)
        if draw is not None:
            draw(place(output))
    say(f"Wrote {output}{made}: {counted(len(frames), 'frame')} of shape {list(frames.shape[1:])}.")
    return {"output": output, "frames": len(frames), "shape": list(frames.shape[1:])}


def said_errors(
    predicted: np.ndarray, truth: np.ndarray, start: np.ndarray, check: Callable[[], str] = lambda: UNITS
) -> tuple[np.ndarray, float]:
    """Relative L2 errors of frames, ``[T]``, and the mean of those of the last frame before them: both are said.

    Where the network is worse than that, ``check`` tells what to look at.
    """
    repeated, real = np.broadcast_to(start, truth.shape), jnp.asarray(truth)[None]
    errors, still = (np.asarray(relative_l2(jnp.asarray(x)[None], real))[0] for x in (predicted, repeated))
    errors = np.where(np.isfinite(errors), errors, np.inf)
    mean, last, repeating = (number(e) for e in (errors.mean(), errors[-1], still.mean()))
    say(f"relative L2 error: mean {mean}, last frame {last} (the last given frame repeated: mean {repeating})")
    if worse_than_trivial(float(errors.mean()), float(still.mean())):
        what, error = trivial(float(still.mean()))
        warn(f"{what} has error {number(error)}, less than the network; {check()}.")
    return errors, float(still.mean())


def finite_frames(frames: np.ndarray) -> int:
    """How many frames ``[T, *space, C]`` come before the first that is not finite."""
    finite = np.isfinite(frames).all(axis=tuple(range(1, frames.ndim)))
    return len(frames) if finite.all() else int(np.argmin(finite))


def errors_as_json(errors: np.ndarray | None, persistence: float | None = None) -> dict[str, Any]:
    """What ``--json`` says of the errors of frames; None where the truth is not known."""
    if errors is None:
        return {"error": None, "errors": None, "persistence_error": None}
    return {"error": float(errors.mean()), "errors": errors.tolist(), "persistence_error": persistence}
