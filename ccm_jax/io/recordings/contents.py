"""From arrays whose axes have names to a recording: one rule for all layouts.

A layout says which arrays of a file are fields and what each of their axes is. Here axes are put in order, times are
checked, and only the frames that are asked for are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax.io.boundary import memory, reading
from ccm_jax.io.recordings.parameters import of_arrays
from ccm_jax.io.recordings.recording import Recording, rounding_of

SAMPLE, TIME, CHANNEL, ONE = "sample", "time", "channel", "one"
SPACE = ("x", "y", "z")
FEW = 4  # an axis that is no longer may be one of channels
LETTERS = {"N": SAMPLE, "T": TIME, "C": CHANNEL, "1": ONE} | {name.upper(): name for name in SPACE}


class Variable(NamedTuple):
    """An array of a file that becomes one channel of the frames, or several.

    Attributes:
        name: of the field.
        axes: what each axis is: ``"sample"``, ``"time"``, ``"channel"`` (a component of a vector, too), ``"one"``
            (of length 1, which goes), and every other name is an axis of space. An axis that another variable has and
            this one lacks, or has at length 1, is repeated.
        shape: lengths of the axes.
        names: of the channels; by default the field's, numbered if there are several.
        keys: where the array stands in the file: one key, or one for each sample; by default the name.
        decode: from stored numbers to those that are meant.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    decode: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        count = int(np.prod([n for axis, n in zip(self.axes, self.shape, strict=True) if axis == CHANNEL]))
        if self.names or CHANNEL not in self.axes:
            return self.names or (self.name,)
        return (self.name,) if count == 1 else tuple(f"{self.name}_{i}" for i in range(count))

    def key(self, sample: int) -> str:
        """Where the array of a sample stands."""
        return self.keys[sample if len(self.keys) > 1 else 0] if self.keys else self.name


def _as_they_are(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    return arrays


class Contents(NamedTuple):
    """What a layout says of a file.

    Attributes:
        layout: its name.
        variables: the fields, in the order of the channels.
        open: gives the arrays by their keys; each is indexed by whole numbers and slices.
        times: of the frames, ``[T]``, or ``[N, T]`` by sample; one more than there are frames is left out.
        points: coordinates of the points along axes of space.
        parameters: of each sample; by default none.
        assumed: see :class:`Recording`.
        left_out: see :class:`Recording`.
        view: from the arrays of the open file to those that the variables name.
    """

    layout: str
    variables: tuple[Variable, ...]
    open: Callable[[], AbstractContextManager[Mapping[str, Any]]]
    times: Any = None
    points: Mapping[str, Any] = {}
    parameters: Sequence[Mapping[str, float]] = ()
    assumed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    view: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _as_they_are


def closed() -> AbstractContextManager[Mapping[str, Any]]:
    """Stands for a file until its reader says how it is opened."""
    raise NotImplementedError


def recording_of(path: Path, contents: Contents) -> Recording:
    """The recording that a layout describes.

    Raises:
        ValueError: for no field, fields of different lengths, or times that differ between samples.
    """
    variables = contents.variables
    if not variables:
        raise ValueError(f"open_recording: {path} has no field that changes in time and space.")
    lengths = _lengths(path, variables)
    space = _in_order([axis for axis in lengths if axis not in (SAMPLE, TIME)])
    samples = lengths.get(SAMPLE, max(1, *(len(v.keys) for v in variables)))
    shape = (samples, lengths.get(TIME, 1), *(lengths[axis] for axis in space))
    times, said = _times(path, contents.times, shape)
    points = [_points(contents.points.get(axis), samples) for axis in space]

    def frames(sample: int, cut: slice) -> np.ndarray:
        count = len(range(*cut.indices(shape[1])))
        size = 4 * count * math.prod(shape[2:]) * sum(len(v.channels) for v in variables)
        with reading("open_recording", path, "restore it from a copy, or read fewer frames"), contents.open() as file:
            if size > (memory() or size):  # a file may have holes, and stand for more than any machine holds
                raise ValueError(f"{count} frames take {size} bytes, more than this machine's memory")
            arrays = contents.view(file)
            wanted = {TIME: count} | {axis: lengths[axis] for axis in space}
            parts = [_read(arrays[v.key(sample)], v, sample, cut, wanted) for v in variables]
            return np.ascontiguousarray(np.concatenate(parts, axis=-1), np.float32)

    return Recording(
        path,
        contents.layout,
        tuple(name for v in variables for name in v.channels),
        shape,
        times,
        None if any(p is None for p in points) else tuple(p for p in points if p is not None),
        [dict(row) for row in contents.parameters] or of_arrays({}, samples)[0],
        frames,
        (*contents.assumed, *said),
        contents.left_out,
    )


def _lengths(path: Path, variables: Sequence[Variable]) -> dict[str, int]:
    """The length of each axis, in the order of the first variable that has it."""
    lengths: dict[str, int] = {}
    for variable in variables:
        for axis, n in zip(variable.axes, variable.shape, strict=True):
            known = lengths.get(axis, 1)
            if n == 0:
                raise ValueError(
                    f"open_recording: {path}: {variable.name} is empty: shape {list(variable.shape)} holds no frames; "
                    "write the file again with frames in it."
                )
            if axis in (CHANNEL, ONE):
                continue
            if n != known and 1 not in (n, known):
                raise ValueError(
                    f"open_recording: {path} has fields of no known layout: {known} and {n} points along {axis}; put "
                    "them into different files."
                )
            lengths[axis] = max(n, known)
    return lengths


def _in_order(space: list[str]) -> list[str]:
    """Axes of space in the order x, y, z; those of other names stay as they are stored."""
    return sorted(space) if set(space) <= set(SPACE) else space


def _read(array: Any, variable: Variable, sample: int, cut: slice, lengths: Mapping[str, int]) -> np.ndarray:
    """The frames of one sample, ``[t, *space, channels]``, with axes and lengths of time and space as given."""
    index: list[Any] = []
    for axis, n in zip(variable.axes, variable.shape, strict=True):
        alone = {SAMPLE: sample if n > 1 else 0, ONE: 0}
        index.append(alone.get(axis, cut if axis == TIME and n > 1 else slice(None)))
    data = np.asarray(array[tuple(index)])
    data = data if variable.decode is None else variable.decode(data)
    left = [axis for axis in variable.axes if axis not in (SAMPLE, ONE)]
    order = [left.index(axis) for axis in lengths if axis in left]
    data = data.transpose(order + [i for i, axis in enumerate(left) if axis == CHANNEL])
    there = iter(data.shape)
    data = data.reshape(*(next(there) if axis in left else 1 for axis in lengths), len(variable.channels))
    return np.broadcast_to(data, (*lengths.values(), data.shape[-1]))


def _times(path: Path, values: Any, shape: tuple[int, ...]) -> tuple[Any, tuple[str, ...]]:
    """Times of the frames, ``[T]``, from those of a file; and what is assumed of them."""
    if values is None:
        return None, ()
    times, said = np.asarray(values), []
    while times.ndim > 1 and len(times) == 1:
        times = times[0]
    if times.ndim == 2 and len(times) == shape[0] and times.dtype.kind in "fiu":
        rows, times = times, times[0]
        if not np.isfinite(rows).all():
            return rows[np.argmin(np.isfinite(rows).all(axis=1))], ()  # open_recording says which number it is
        tolerance = 1e-3 * float(np.ptp(times)) / max(len(times) - 1, 1) + rounding_of(rows)
        if not np.allclose(rows, times, rtol=0, atol=tolerance):
            if not np.allclose(rows - rows[:, :1], times - times[0], rtol=0, atol=tolerance):
                raise ValueError(
                    f"open_recording: {path} has samples of different time steps; put those of one step into a file."
                )
            said.append("samples start at different times; times are those of sample 0")
    if times.ndim == 1 and len(times) == shape[1] + 1:
        times = times[:-1]
        said.append(f"there are {shape[1] + 1} times for {shape[1]} frames; the last time is left out")
    return times, tuple(said)


def _points(values: Any, samples: int) -> np.ndarray | None:
    """Coordinates along one axis; of a table by sample, its first row if all are equal."""
    points = None if values is None else np.asarray(values)
    while points is not None and points.ndim > 1 and len(points) in (1, samples):
        points = points[0] if np.array_equal(points, np.broadcast_to(points[:1], points.shape)) else None
    return points


def listed(arrays: Iterable[str]) -> str:
    """Names of arrays, for a message."""
    return f"arrays {', '.join(arrays)}" if arrays else "no arrays"


def parse_axes(text: str) -> tuple[str, ...]:
    """The axes of an array as they are typed, such as ``"NTCXY"``.

    Raises:
        ValueError: for another letter, a letter twice, no time, or no space.

    Example:
        >>> parse_axes("TYX")
        ('time', 'y', 'x')
    """
    letters = text.upper().replace(",", "").replace(" ", "")
    space = "".join(sorted(set(letters) & set("XYZ")))
    double = any(letters.count(letter) > 1 for letter in letters if letter != "1")
    if not set(letters) <= set(LETTERS) or double or "T" not in letters or space not in ("X", "XY", "XYZ"):
        raise ValueError(
            f"--axes (axes=...) is {text!r}, expected each axis in the order in which it is stored: N for samples, T "
            "for time, X, Y, Z for space, C for channels, 1 for an axis of length 1; for instance NTCXY."
        )
    return tuple(LETTERS[letter] for letter in letters)


def with_axes(path: Path, arrays: Mapping[str, tuple[int, ...]], text: str) -> tuple[tuple[Variable, ...], list[str]]:
    """The arrays, given by their shapes, that have the typed axes, as fields; and what is left out.

    Raises:
        ValueError: if none has as many axes, with those that there are.
    """
    axes = parse_axes(text)
    fit = {
        name: shape
        for name, shape in arrays.items()
        if len(shape) == len(axes) and all(n == 1 for axis, n in zip(axes, shape, strict=True) if axis == ONE)
    }
    if not fit:
        there = ", ".join(f"{name} {list(shape)}" for name, shape in arrays.items()) or "no arrays"
        raise ValueError(
            f"--axes {text} (axes=...) fits nothing in {path}, which holds {there}; "
            f"{_other_letters(text, arrays, len(axes))}."
        )
    left_out = [
        f"{name}: {list(shape)} does not fit the axes {text}" for name, shape in arrays.items() if name not in fit
    ]
    return tuple(Variable(name, axes, shape) for name, shape in fit.items()), left_out


def _other_letters(text: str, arrays: Mapping[str, tuple[int, ...]], given: int) -> str:
    """What to do about letters of which none fits: for an array with one axis less, the letters that do."""
    letters, shape = text.upper().replace(",", "").replace(" ", ""), max(arrays.values(), key=len, default=())
    if len(shape) != given - 1:
        return "pass one letter per axis"
    if "N" in letters:
        return f"pass one letter per axis, as --axes {letters.replace('N', '')} for one sample"
    if "C" in letters and 1 not in shape:
        return f"pass one letter per axis, as --axes {letters.replace('C', '')} for one channel"
    frame = [letter for letter in letters if letter in "XYZC"]
    return f"pass one letter per axis; a single frame [{', '.join(frame)}] has no T: write frames with a time axis"
