"""Frames that are refused before a network is loaded: too few of them, or with numbers that are not finite."""

from __future__ import annotations

from pathlib import Path

from ccm_jax._checks import counted
from ccm_jax.cli.frames import assumed_axes, read_observations, read_samples
from ccm_jax.io.recordings import Recording

WINDOW = 1  # frames that every network's window has at least


def check_observed(recording: Recording, chosen: list[int], missing: str, mask: Path | None, count: int | None) -> None:
    """Raises ValueError for frames that no network can be calibrated on.

    Args:
        recording: the file.
        chosen: numbers of the samples.
        missing: as in :func:`~ccm_jax.cli.frames.read_observations`.
        mask: file that says where frames were observed, or None.
        count: observed frames after the model's window; None is all that there are.
    """
    if count is not None:
        check_count(recording, WINDOW + count, f"1 or more of the model's window and {count} after it", "observe more")
    read_observations(recording, chosen, missing, mask, None if count is None else WINDOW + count)


def check_scored(recording: Recording, chosen: list[int], count: int) -> None:
    """Raises ValueError for trajectories on which no network can be evaluated; ``count`` frames are the prefix."""
    of = f"1 or more of the model's window, {count} of the prefix (--frames), and a future to score"
    check_count(recording, WINDOW + count + 1, of, "use longer trajectories")
    for number in chosen:  # one at a time, as memory may not hold all
        read_samples(recording, [number])


def check_count(recording: Recording, needed: int, of: str, remedy: str) -> None:
    """Raises ValueError for trajectories that are shorter than any network needs."""
    if recording.shape[1] < needed:
        raise ValueError(
            f"{recording.path} has {counted(recording.shape[1], 'frame')}, expected at least {needed}: {of}; "
            f"{remedy}, or lower --frames{assumed_axes(recording)}."
        )
