"""Observed frames from any file of trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

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


def read_samples(
    recording: Recording, chosen: list[int], *, mask: np.ndarray | None = None, remedy: str = ""
) -> np.ndarray:
    """Trajectories ``[N, T, *space, C]`` of the samples of these numbers, 0 outside of a mask ``[N, T, *space]``.

    Raises:
        ValueError: for samples that are not there, or numbers that are not finite, with the remedy.
    """
    frames = np.stack([recording.trajectory(i) for i in chosen])
    frames = frames if mask is None else np.where(mask[..., None], frames, 0)
    if not np.isfinite(frames).all():
        where = np.argwhere(~np.isfinite(frames))[0]
        raise ValueError(
            f"{recording.path}: sample {chosen[where[0]]} holds NaN or infinite values, first in frame {where[1]}"
            f"{remedy}."
        )
    return frames


def read_frames(path: Path, samples: str | None) -> np.ndarray:
    """Trajectories ``[N, T, *space, C]`` of a file's samples; see :func:`choose_samples`."""
    recording = open_recording(path)
    return read_samples(recording, choose_samples(recording, samples))


def read_observations(
    path: Path, samples: str | None, missing: str, mask: Path | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Trajectories ``[N, T, *space, C]`` of a file's samples, and where they were observed, ``[N, T, *space]``.

    Args:
        path: file of trajectories.
        samples: see :func:`choose_samples`.
        missing: ``"nan"`` takes NaN for what was not observed; ``"refuse"`` refuses it.
        mask: file of booleans, or of zeros and ones, see :func:`read_mask`.

    Returns:
        The mask is None if nothing is said of one.
    """
    recording = open_recording(path)
    chosen = choose_samples(recording, samples)
    if missing == "refuse" and mask is None:
        remedy = "; mend or drop it, or give --missing nan if NaN marks what was not observed"
        return read_samples(recording, chosen, remedy=remedy), None
    where = np.ones(recording.shape, bool) if mask is None else read_mask(mask, recording.shape)
    where = where[chosen]
    if missing == "nan":
        for i, number in enumerate(chosen):
            where[i] &= ~np.isnan(recording.trajectory(number)).any(axis=-1)
    remedy = "" if missing == "nan" else " where the mask says that it was observed; correct it, or give --missing nan"
    return read_samples(recording, chosen, mask=where, remedy=remedy), where


def read_mask(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The mask in a .npy file, ``[*space]``, ``[T, *space]`` or ``[N, T, *space]``, as one of all samples.

    Raises:
        ValueError: for a file that cannot be read, or that holds other numbers or another shape.
    """
    try:
        mask = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"--mask {path}: {error}; expected a .npy file, as numpy.save writes it.") from error
    if not isinstance(mask, np.ndarray) or mask.dtype.kind not in "buif" or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"--mask {path}: expected booleans, or zeros and ones, with 1 where a point was observed.")
    leading = mask.ndim - len(shape[2:])
    if not 0 <= leading <= 2 or mask.shape != shape[2 - leading :]:
        raise ValueError(
            f"--mask {path} has shape {list(mask.shape)}, expected that of the grid, {list(shape[2:])}, of all frames, "
            f"{list(shape[1:])}, or of all samples, {list(shape)}; it has no axis of channels."
        )
    return np.broadcast_to(mask.astype(bool), shape).copy()


class Regimes(NamedTuple):
    """Trajectories of several regimes.

    Attributes:
        trajectories: ``[N, T, *space, C]`` of each, by its physical parameters in words.
        parameters: of each, by name; empty where the file tells none.
    """

    trajectories: dict[str, np.ndarray]
    parameters: list[Mapping[str, float]]


def read_regimes(path: Path) -> Regimes:
    """All trajectories of a file by their physical parameters; one regime if the file tells none."""
    recording = open_recording(path)
    groups: dict[str, list[int]] = {}
    for i, known in enumerate(recording.parameters):
        name = ", ".join(f"{key} = {value:.6g}" for key, value in sorted(known.items()))
        groups.setdefault(name or "all", []).append(i)
    trajectories = {name: read_samples(recording, chosen) for name, chosen in groups.items()}
    return Regimes(trajectories, [recording.parameters[chosen[0]] for chosen in groups.values()])
