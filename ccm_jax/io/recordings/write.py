"""A family of trajectories to HDF5, in the layout of PDEBench: one group a sample."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from ccm_jax.io.atomic import replacing


def write_recording(
    path: str | Path,
    trajectories: np.ndarray,
    parameters: Sequence[Mapping[str, float]],
    *,
    fields: Sequence[str],
    times: np.ndarray,
    axes: Sequence[np.ndarray],
) -> Path:
    """Writes trajectories ``[N, T, *space, C]`` to a path that does not exist yet.

    Args:
        path: file to make.
        trajectories: frames, axes in the order x, y, z.
        parameters: physical parameters of each trajectory; they go into the attribute ``config``, as YAML.
        fields: names of the channels.
        times: ``[T]``.
        axes: coordinates of the points along x, y and z, as many as there are.

    Raises:
        ValueError: if ``path`` exists, or the numbers of things do not agree.
    """
    import h5py  # frames are read from other files without it

    path, shape = Path(path), trajectories.shape
    if os.path.lexists(path):
        raise ValueError(f"write_recording: {path} exists, and nothing is overwritten; choose a new path or remove it.")
    expected = (len(parameters), len(times), *(len(a) for a in axes), len(fields))
    if shape != expected:
        raise ValueError(f"write_recording: trajectories are {list(shape)}, expected {list(expected)} by the rest.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, h5py.File(partial, "w") as file:
        for i, (trajectory, known) in enumerate(zip(trajectories, parameters, strict=True)):
            group = file.create_group(f"{i:04d}")
            data = group.create_dataset("data", data=np.asarray(trajectory, np.float32), compression="lzf")
            data.attrs["fields"] = list(fields)
            for name, values in zip("txyz"[: 1 + len(axes)], (times, *axes), strict=True):
                group[f"grid/{name}"] = np.asarray(values, np.float32)
            group.attrs["config"] = yaml.safe_dump({"sim": {k: float(v) for k, v in known.items()}})
    return path
