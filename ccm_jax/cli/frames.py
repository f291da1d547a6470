"""Observed frames from any file of trajectories."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ccm_jax.io.recordings import open_recording


def read_frames(path: Path, samples: str | None) -> np.ndarray:
    """Trajectories ``[N, T, *space, C]`` of the samples ``"0"``, ``"0,3"`` or ``"0:8"``; None is all of them.

    Raises:
        ValueError: for samples that are not there, or numbers that are not finite.
    """
    recording = open_recording(path)
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
        raise ValueError(f"--sample {samples}: there are none; {path} has {count}.")
    frames = np.stack([recording.trajectory(i) for i in chosen])
    if not np.isfinite(frames).all():
        where = np.argwhere(~np.isfinite(frames))[0]
        raise ValueError(f"{path}: sample {chosen[where[0]]} holds NaN or infinite values, first in frame {where[1]}.")
    return frames
