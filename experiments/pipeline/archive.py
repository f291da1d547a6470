"""Trajectories of an experiment as an archive of numpy's, which ``ccm`` and ``open_recording`` read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io.atomic import replacing
from experiments.pipeline.systems import stored_channels

LARGEST = 2**28  # bytes of frames that a run leaves beside its weights


def write_frames(
    file: Path, config: ConfigDict, values: Sequence[float], x: np.ndarray, save: Callable[..., None] = np.savez
) -> Path:
    """Writes trajectories ``[R, N, T, *space, C]`` of R regimes, with the values on the experiment's axis.

    Args:
        file: name of the archive, which is replaced.
        config: the experiment.
        values: of the regimes, ``[R]``.
        x: in the precision that is stored.
        save: ``numpy.savez`` or ``numpy.savez_compressed``.
    """
    regimes, count, frames = x.shape[:3]
    arrays = {
        "frames": x.reshape(regimes * count, *x.shape[2:]),
        "times": config.solver.dt * (config.solver.burn_in + np.arange(frames)),
        "dim": np.array(x.ndim - 4),  # says which axes are space
        "fields": np.array(stored_channels(config)),
        name_of(config.axis): np.repeat(np.asarray(values, float), count),
    }
    with replacing(file) as partial:
        save(partial, **arrays)
    return file


def name_of(axis: Any) -> str:
    """The name of the values on an axis: that of the parameter, or ``factor`` where they multiply it."""
    return str(axis.parameters[0]) if axis.kind == "value" else "factor"


def most_within(shape: Sequence[int], limit: int = LARGEST) -> int:
    """How many of N trajectories of each regime, ``[R, N, T, *space, C]``, stay within a number of bytes; at least one.

    Example:
        >>> most_within((6, 16, 21, 32, 32, 2)), most_within((6, 16, 101, 128, 128, 2))
        (16, 3)
    """
    regimes, count, *frame = shape
    return max(1, min(count, limit // (4 * regimes * int(np.prod(frame)))))
