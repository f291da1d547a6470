"""Trajectories in numpy's own files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax.io.archive import Archive
from ccm_jax.io.numpyfile import read_array
from ccm_jax.io.recordings import parameters
from ccm_jax.io.recordings.contents import (
    CHANNEL,
    FEW,
    ONE,
    SAMPLE,
    SPACE,
    TIME,
    Contents,
    Variable,
    listed,
    recording_of,
    with_axes,
)
from ccm_jax.io.recordings.recording import TIMES, Recording
from ccm_jax.io.recordings.registry import register_layout

NAMES = ("fields", "channels")  # lists of text that name the channels
# What a rollout of ours stores beside its frames, which are no parameters of trajectories.
BESIDE = ("low", "high", "samples", "coordinates", "errors", "covered")


@register_layout(".npy", ".npz")
def read_numpy(path: Path, *, axes: str | None = None) -> Recording | None:
    """Frames ``[T, *space, C]``, or several trajectories ``[N, T, *space, C]``, of one, two or three space axes.

    Where both readings are possible, four axes are one trajectory of a plane and five are several; ``dim`` in an
    ``.npz``, the number of space axes, says otherwise, and ``axes`` says everything. In an ``.npz`` the array is called
    ``frames``, or is alone; with ``axes``, there may also be one array for each field. Numbers are physical parameters
    of all samples, and lists of as many numbers as there are trajectories, of each. Such a list also tells four axes of
    several trajectories of a line from one of a plane. ``fields`` or ``channels``, a list of text, names the channels.
    """
    if path.suffix not in (".npy", ".npz"):
        return None
    try:
        arrays = _npz(path) if path.suffix == ".npz" else {"frames": np.load(path, mmap_mode="r", allow_pickle=False)}
        big = [k for k, v in arrays.items() if v.ndim >= (3 if axes is None else 2)]
        if "frames" not in arrays and (len(big) < 1 if axes else len(big) != 1):
            raise ValueError(f"it has {listed(arrays)}, and none is called frames{_stacked(arrays, big)}")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        why = "it is empty" if not path.stat().st_size else str(error).rstrip(".")
        if "allow_pickle" in why or "Python objects" in why:
            raise ValueError(
                f"open_recording: {path} has an array of dtype object, expected numbers; store x.astype(numpy.float32) "
                "there, and trajectories of different lengths in files of their own."
            ) from error
        writer = "numpy.savez" if path.suffix == ".npz" else "numpy.save"
        raise ValueError(f"open_recording: {path} cannot be read: {why}; write it again with {writer}.") from error
    taken = ["frames"] if "frames" in arrays else big
    fields = {name: arrays.pop(name) for name in taken}
    for name, array in fields.items():
        if array.dtype.kind not in "fiu" and array.dtype != jnp.bfloat16:
            raise ValueError(
                f"open_recording: {path}: {name} is {array.dtype}{list(array.shape)}, expected real frames."
            )
        if not array.size:
            raise ValueError(
                f"open_recording: {path}: {name} is empty: shape {list(array.shape)} holds no frames; write the file "
                "again with frames in it."
            )
    dim, times = arrays.pop("dim", None), next((arrays.pop(name) for name in TIMES if name in arrays), None)
    variables: tuple[Variable, ...]
    unfit: list[str] = []
    if axes is None:
        fields = {"frames": fields[taken[0]]}
        variable, assumed = _variable(path, fields["frames"], dim, _per_sample(fields["frames"], arrays))
        variables = (variable,)
    else:
        (variables, unfit), assumed = with_axes(path, {name: a.shape for name, a in fields.items()}, axes), ()
    lengths = dict(zip(variables[0].axes, variables[0].shape, strict=True))
    if len(variables) == 1:
        variables = (variables[0]._replace(names=_channel_names(path, arrays, lengths.get(CHANNEL, 1))),)
    samples = lengths.get(SAMPLE, 1)
    arrays = {name: a for name, a in arrays.items() if name not in BESIDE or dim is None or a.size in (1, samples)}
    rows, left_out = parameters.of_arrays(arrays, samples)
    named = parameters.in_name(path)
    contents = Contents(
        "numpy",
        variables,
        lambda: nullcontext(fields),
        times,
        {},
        [parameters.joined(row, named) for row in rows],
        assumed,
        (*unfit, *left_out),
    )
    return recording_of(path, contents)


def _channel_names(path: Path, arrays: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
    """The names of the channels that a list of text tells, which is taken out; numbered ones where there is none."""
    told = next((name for name in NAMES if name in arrays and arrays[name].dtype.kind in "SU"), None)
    if told is None:
        return tuple(f"channel_{i}" for i in range(count))
    value = np.char.strip(np.ravel(arrays.pop(told)).astype(str)).tolist()
    if len(value) != count or len(set(value)) != count or not all(value):
        raise ValueError(
            f"open_recording: {path}: {told} is {value}, expected {count} different names, one for each channel."
        )
    return tuple(value)


def _npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive by name; those that are not compressed are views of the disk."""
    arrays = {}
    with open(path, "rb") as file:
        archive = Archive(file)
        for member in archive.names:
            data = archive.view(member) if archive.stored(member) else np.frombuffer(archive.unpacked(member), np.uint8)
            try:
                arrays[member.removesuffix(".npy")] = read_array(data, 0, member)[0]
            except ValueError:  # text is none of a checkpoint's arrays
                arrays[member.removesuffix(".npy")] = np.lib.format.read_array(
                    io.BytesIO(data.tobytes()), allow_pickle=False
                )
    return arrays


def _stacked(arrays: Mapping[str, np.ndarray], names: list[str]) -> str:
    """How arrays of one shape become the channels of one, in words; nothing for others."""
    if len(names) < 2 or len({arrays[name].shape for name in names}) > 1:
        return ""
    return (
        f"; if {' and '.join(names)} are channels, stack them: frames=numpy.stack([{', '.join(names)}], axis=-1), and "
        "dim=1, 2 or 3 for the number of space axes, or say the axes of each, such as --axes NTXY (axes=...)"
    )


def _per_sample(frames: np.ndarray, arrays: Mapping[str, np.ndarray]) -> str | None:
    """The list, if any, with a number for each part of the first of four or five axes: then that is of samples."""
    if frames.ndim not in (4, 5) or frames.shape[0] == 1:
        return None
    return next((name for name, value in arrays.items() if value.shape == frames.shape[:1]), None)


def _variable(path: Path, frames: np.ndarray, dim: Any, each: str | None) -> tuple[Variable, tuple[str, ...]]:
    """The axes of frames by their number and the number of space axes, and what is assumed of them.

    Args:
        path: of the file.
        frames: as they are stored.
        dim: the number of space axes, if the file says it.
        each: the list with a number for each sample, if there is one.
    """
    shape, known = frames.shape, None if dim is None else float(np.ravel(dim)[0])
    if known not in (None, 1, 2, 3):
        raise ValueError(f"open_recording: {path} says dim = {known:g}, expected 1, 2 or 3 space axes.")
    likely = {3: 1, 4: 1 if each else 2}.get(len(shape), 2 if len(shape) < 6 else 3)
    space = SPACE[: int(known or likely)]
    ones = max(0, len(shape) - len(space) - 3)
    axes = (SAMPLE, TIME, *space, CHANNEL)[-max(1, len(shape) - ones) :]
    if len(shape) < len(space) + 2 or shape[:ones] != (1,) * ones:
        names = ", ".join(a.upper() for a in space) if len(space) != 2 else "H, W"
        raise ValueError(
            f"open_recording: {path} is {frames.dtype}{list(shape)}, expected real frames [T, {names}, C] or "
            f"[N, T, {names}, C]; one or three space axes are specified by dim=1 or dim=3 in an .npz, and all axes by "
            f"--axes{', as in --axes TX for one of a line' * (len(shape) == 2)} (axes=...)."
        )
    channels = f"{shape[-1]} channel{'s' * (shape[-1] != 1)}"
    said = (
        f"its axes {list(shape)} are taken for {', '.join(('one',) * ones + axes)}, the last for {channels}"
        f"{f', because {each} has a number for each of {shape[0]}' if each else ''}; "
        f"if they are others, say {_likely(shape)}, or change the array by x[..., None] or numpy.moveaxis"
    )
    certain = known or (each and len(shape) == 5 and shape[-1] <= FEW)  # as what this package writes
    return Variable("frames", (ONE,) * ones + axes, shape), () if certain else (said,)


def _likely(shape: tuple[int, ...]) -> str:
    """The ``--axes`` that such frames might need: channels last or first where that axis is short, or none.

    Example:
        >>> _likely((6, 16, 48))
        '--axes TXY or --axes NTX (axes=...)'
    """
    first = next((at for at in (2, 1) if len(shape) > at + 1 and shape[at] <= FEW < shape[-1]), None)
    readings = {3: ("TXY", "NTX"), 4: ("NTXY", "TXYZ"), 5: ("NTXYZ",)}.get(len(shape), ())
    if first is not None:
        readings = (f"{'NT' if first == 2 else 'T'}CXYZ"[: len(shape)],)
    elif shape[-1] <= FEW:  # one axis of space less than is taken, or one more
        readings = {3: ("TXY", "NTX"), 4: ("NTXC",), 5: ("TXYZC",)}.get(len(shape), ())
    return f"{' or '.join(f'--axes {letters}' for letters in readings) or '--axes'} (axes=...)"
