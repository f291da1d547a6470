"""Observed frames from any file of trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ccm_jax.io.recordings import Recording, open_recording


def choose_samples(recording: Recording, samples: str | None) -> list[int]:
    """The numbers of the samples ``"0"``, ``"0,3"`` or ``"0:8"``; None is all of them.

    Raises:
        ValueError: for a text of another form, or if there are none.
    """
    count = recording.shape[0]
    try:
        if samples is None:
            chosen = list(range(count))
        elif ":" in samples:
            begin, end = samples.split(":")
            chosen = list(range(int(begin or 0), int(end or count)))
        else:
            chosen = [int(i) for i in samples.split(",")]
    except ValueError as error:
        raise ValueError(f"--sample {samples}: expected 0, or 0,3, or 0:8.") from error
    if not chosen:
        asked = "" if samples is None else f"--sample {samples}: "
        raise ValueError(f"{asked}no samples to read; {recording.path} has {count}.")
    return chosen


def read_samples(recording: Recording, chosen: list[int]) -> np.ndarray:
    """Trajectories ``[N, T, *space, C]`` of the samples of these numbers.

    Raises:
        ValueError: for samples that are not there, or numbers that are not finite.
    """
    frames = np.stack([recording.trajectory(i) for i in chosen])
    if not np.isfinite(frames).all():
        where = np.argwhere(~np.isfinite(frames))[0]
        raise ValueError(
            f"{recording.path}: sample {chosen[where[0]]} holds NaN or infinite values, first in frame {where[1]}."
        )
    return frames


def read_frames(path: Path, samples: str | None) -> np.ndarray:
    """Trajectories ``[N, T, *space, C]`` of a file's samples; see :func:`choose_samples`."""
    recording = open_recording(path)
    return read_samples(recording, choose_samples(recording, samples))


def read_regimes(path: Path) -> dict[str, np.ndarray]:
    """All trajectories of a file by their physical parameters, in words; one regime if the file tells none."""
    recording = open_recording(path)
    groups: dict[str, list[int]] = {}
    for i, known in enumerate(recording.parameters):
        name = ", ".join(f"{key} = {value:.6g}" for key, value in sorted(known.items()))
        groups.setdefault(name or "all", []).append(i)
    return {name: read_samples(recording, chosen) for name, chosen in groups.items()}
