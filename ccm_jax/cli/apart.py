"""Whether validation holds the trajectories that are to be judged with what it decides, or is in another unit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ccm_jax._frames import other_unit, sizes_of
from ccm_jax.cli.frames import Regimes


def check_apart(
    option: str, path: Path, chosen: Sequence[int], frames: np.ndarray, regimes: Regimes, mask: np.ndarray | None = None
) -> None:
    """Raises ValueError if one of the observed trajectories is among those of validation, in whatever file.

    Args:
        option: that names the file of the observed ones.
        path: that file.
        chosen: their numbers in it.
        frames: the observed ones, ``[N, T, *space, C]``; 0 where they were not observed.
        regimes: of validation.
        mask: where they were observed, ``[N, T, *space]``; None is everywhere.
    """
    for i, x in enumerate(frames):
        where = np.ones(x.shape[:-1], bool) if mask is None else mask[i]
        for name, trajectories in regimes.trajectories.items():
            if any(_same(x, other, where) for other in trajectories):
                raise ValueError(
                    f"--validation {regimes.path} holds sample {chosen[i]} of {option} {path} (regime {name}): "
                    "settings would be chosen on the frames that they are then judged by; use trajectories of other "
                    "regimes."
                )


def _same(x: np.ndarray, other: np.ndarray, where: np.ndarray) -> bool:
    """Whether two trajectories begin with the same frames, where the first is observed."""
    count = min(len(x), len(other))
    x, other, where = x[:count], other[:count], where[:count]
    return bool(x.shape == other.shape and where.any() and np.array_equal(x[where], other[where]))


def unit_unlike(
    regimes: Regimes, path: Path, frames: np.ndarray, mask: np.ndarray | None = None, *, far: float | None = None
) -> str:
    """What is said of observed frames ``[N, T, *space, C]`` in another unit than validation's; empty for others."""
    said = other_unit(sizes_of(regimes.trajectories.values(), frames.shape[1]), frames, mask, far=far)
    return said and f"{path}: {said}"


def sizes_in(frames: np.ndarray, mask: np.ndarray | None, regimes: Regimes | None) -> list[float]:
    """Lowest and highest root mean square of the frames that decide on a coordinate; empty where it is not known.

    Those of validation, or without it the observed ones, if every point of them is.
    """
    if regimes is None and mask is not None and not mask.all():
        return []
    known = [frames] if regimes is None else list(regimes.trajectories.values())
    return [float(size) for size in sizes_of(known, frames.shape[1])]
