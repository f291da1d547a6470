"""Frames that are refused before a network is loaded: too few of them, or with numbers that are not finite."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ccm_jax._checks import counted
from ccm_jax.cli.frames import assumed_axes, read_observations, read_samples
from ccm_jax.io.recordings import Recording

WINDOW = 1  # frames that every network's window has at least


def read_first(
    recording: Recording, chosen: list[int], missing: str, mask: Path | None, count: int | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The observed frames for a network with the smallest window, and their mask, as of ``read_observations``.

    Args:
        recording: the file.
        chosen: numbers of the samples.
        missing: as in :func:`~ccm_jax.cli.frames.read_observations`.
        mask: file that says where frames were observed, or None.
        count: observed frames after the model's window; None is all that there are.

    Raises:
        ValueError: for frames that no network can be calibrated on.
    """
    if count is not None:
        check_count(
            recording, WINDOW + count, f"1 or more of the model's window and {count} after it", "observe more frames"
        )
    return read_observations(recording, chosen, missing, mask, None if count is None else WINDOW + count)


def check_scored(recording: Recording, chosen: list[int], count: int) -> None:
    """Raises ValueError for trajectories on which no network can be evaluated; ``count`` frames are the prefix.

    Of the numbers, the first frame of each is looked at: the others are read once, when they are needed.
    """
    of = f"1 or more of the model's window, {count} of the prefix (--frames), and a future to score"
    check_count(recording, WINDOW + count + 1, of, "use longer trajectories")
    for number in chosen:
        read_samples(recording, [number], 1)


def check_count(recording: Recording, needed: int, of: str, remedy: str) -> None:
    """Raises ValueError for trajectories that are shorter than any network needs."""
    if recording.shape[1] < needed:
        raise ValueError(
            f"{recording.path} has {counted(recording.shape[1], 'frame')}, expected at least {needed}: {of}; "
            f"{remedy}, or lower --frames{assumed_axes(recording)}."
        )
