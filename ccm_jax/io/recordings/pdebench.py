"""PDEBench's files and their relatives: a group for each sample, or an array for each field.

PDEInvBench has the same groups with parameters in the file's name, PDEArena the same arrays in one group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ccm_jax.io.recordings import parameters
from ccm_jax.io.recordings.contents import (
    CHANNEL,
    FEW,
    LETTERS,
    ONE,
    SAMPLE,
    SPACE,
    TIME,
    Contents,
    Variable,
    closed,
    with_axes,
)
from ccm_jax.io.recordings.hdf5 import arrays_in, members, text, whole

if TYPE_CHECKING:
    import h5py

ORDER = ("density", "pressure", "Vx", "Vy", "Vz")  # the channels of PDEBench's own networks
SPACING = ("dx", "dy", "dz")  # dt tells the times
TIMES = ("t-coordinate", "t", "time", "times")


def groups_of_samples(file: h5py.File) -> list[str]:
    """The groups that hold a sample each, in natural order: 2 before 10."""
    groups = [key for key, found in members(file).items() if hasattr(found, "keys") and "data" in found]
    return sorted(groups, key=lambda key: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", key)])


def shape_of_samples(path: Path, file: h5py.File, groups: list[str]) -> tuple[int, ...]:
    """The shape that the data of all samples have.

    Raises:
        ValueError: for different shapes.
    """
    shapes = {file[group]["data"].shape for group in groups}
    if len(shapes) > 1:
        raise ValueError(f"open_recording: the samples of {path} have different shapes.")
    return shapes.pop()


def grouped(path: Path, file: h5py.File, groups: list[str], data: Variable | None = None) -> Contents:
    """One group a sample, with ``data [T, ., ., C]``, ``grid/x``, ``grid/y``, ``grid/t`` and a YAML attribute.

    Args:
        path: the file.
        file: the same, open.
        groups: names of the samples' groups.
        data: the axes of the data, if they are known.
    """
    first, assumed = file[groups[0]], []
    inside = [parameters.of_attributes(file.attrs) | parameters.of_attributes(file[g].attrs) for g in groups]
    alone = parameters.alone_in_name(path)
    if alone is not None and not any(inside):
        inside = [{"re": alone} for _ in groups]
        assumed.append(f"the file's name, {alone:g}, is taken for the Reynolds number re, as in PDEInvBench")
    rows = [parameters.joined(row, parameters.in_name(path)) for row in inside]
    shape = shape_of_samples(path, file, groups)
    grid = first.get("grid", {})
    points = _points_of_groups(path, file, groups)
    names = first["data"].attrs.get("fields")  # of write_recording, which has x first
    if data is None:
        data, said = _data(shape, "Du" in rows[0] and names is None, points)
        assumed += said if names is None else []
    channels = dict(zip(data.axes, data.shape, strict=True)).get(CHANNEL, 1)
    y_first = [axis for axis in data.axes if axis in ("x", "y")] == ["y", "x"]
    known = {(2, True): ("u", "v"), (1, False): ("h",)}.get((channels, y_first))
    fields = known if names is None else tuple(text(name) for name in np.ravel(names))
    if fields is None or len(fields) != channels:
        fields = tuple(f"channel_{i}" for i in range(channels))
    return Contents(
        "pdeinvbench" if parameters.in_name(path) or alone is not None else "pdebench",
        (data._replace(names=fields, keys=tuple(f"{group}/data" for group in groups)),),
        closed,
        _times_of_groups(path, file, groups) if "t" in grid else None,
        points,
        rows,
        tuple(assumed),
        tuple(f"{key}: expected data, grid" for key in first if key not in ("data", "grid"))
        + tuple(f"{key}: expected groups of samples with data in them" for key in file if key not in groups),
    )


def _times_of_groups(path: Path, file: h5py.File, groups: list[str]) -> np.ndarray:
    """Times of the frames of each sample that has any, ``[N, T]``; one more time than frames is cut off."""
    times = [np.ravel(whole(file[group]["grid"]["t"])) for group in groups if "t" in file[group].get("grid", {})]
    short = min(len(each) for each in times)
    if max(len(each) for each in times) > short + 1:
        raise ValueError(f"open_recording: the samples of {path} have different numbers of times; write them again.")
    rows = np.stack([each[:short] for each in times])
    return rows if len(rows) == len(groups) else np.concatenate([rows, np.repeat(rows[:1], len(groups) - len(rows), 0)])


def _points_of_groups(path: Path, file: h5py.File, groups: list[str]) -> dict[str, np.ndarray]:
    """Points along each axis of space, which all samples share.

    Raises:
        ValueError: for samples on other points.
    """
    points: dict[str, np.ndarray] = {}
    for group in groups:
        grid = file[group].get("grid", {})
        for axis in SPACE:
            if axis not in grid:
                continue
            mine = whole(grid[axis])
            known = points.setdefault(axis, mine)
            near = 1e-3 * float(np.ptp(known)) if known.size else 0.0
            if known.shape != mine.shape or not np.allclose(mine, known, rtol=1e-3, atol=near):
                raise ValueError(
                    f"open_recording: {path}: {group} has other points along {axis} than {groups[0]}; put them into "
                    "two files."
                )
    return points


def _data(shape: tuple[int, ...], reaction: bool, points: Mapping[str, np.ndarray]) -> tuple[Variable, list[str]]:
    """The axes of a sample's data, by the grid where lengths tell."""
    dim = len(points) or len(shape) - 2
    ones = max(0, len(shape) - dim - 2) if shape[: len(shape) - dim - 2] == (1,) * (len(shape) - dim - 2) else 0
    left, assumed = shape[ones:], []
    # Its reaction-diffusion is stored with y first, its dam break with x first; nothing in the file says so.
    y_first = dim == 2 and reaction
    if dim == 2 and len(points) == 2 and left[1] != left[2]:  # their lengths tell
        y_first = (len(points["x"]), len(points["y"])) == left[2:0:-1]
    elif dim == 2 and not reaction:
        assumed.append("axes are taken for time, x, y, channels; for y before x say --axes TYXC")
    space = ("y", "x") if y_first else SPACE[:dim]
    axes = ((ONE,) * ones + (TIME, *space, CHANNEL))[: len(shape)]
    if len(axes) != len(shape):
        raise ValueError(
            f"open_recording: data of a sample have {len(shape)} axes, {list(shape)}, expected time, {dim} of space "
            "and channels; say what they are by --axes (axes=...)."
        )
    return Variable("data", axes, shape), assumed


def flat(path: Path, file: h5py.File, group: str, axes: str | None = None) -> Contents:
    """An array ``[N, T, *space]`` for each field, in the file or in one of its groups; small ones are parameters.

    Args:
        path: the file.
        file: the same, open.
        group: where the arrays stand, ``"/"`` for the file itself.
        axes: what the axes are, if the user says it.
    """
    arrays, others = arrays_in(file[group])
    shapes = {key: array.shape for key, array in arrays.items() if array.ndim >= (3 if axes is None else 2)}
    points, times = _coordinates(arrays, shapes)
    if axes is None:
        variables, said = _fields(shapes, len(points), None if times is None else times.shape[-1])
    else:
        variables, said = with_axes(path, shapes, axes)
    if not variables:
        there = ", ".join([f"{key} {list(array.shape)}" for key, array in arrays.items()] + others)
        raise ValueError(
            f"open_recording: {path} has {f'datasets {there}' if there else 'no datasets'}, which is no known layout; "
            "say what the axes are by --axes (axes=...), or see register_layout."
        )
    order = {name: i for i, name in enumerate(ORDER)}
    variables = tuple(sorted(variables, key=lambda v: (order.get(v.name, len(ORDER)), list(shapes).index(v.name))))
    assumed = [] if axes is not None or points else [_taken(variables)]
    rows, more = _rows(path, file, group, {k: a for k, a in arrays.items() if k not in shapes}, variables)
    return Contents(
        "pdebench-flat" if group == "/" else "pdearena",
        tuple(v._replace(keys=(f"{group.rstrip('/')}/{v.name}",)) for v in variables),
        closed,
        times,
        points,
        rows,
        tuple(assumed),
        (*said, *more, *(f"{key}: not an array of real numbers" for key in others)),
    )


def _taken(variables: Sequence[Variable]) -> str:
    """What is assumed of the axes of fields, and how to say otherwise where the last one may be of channels."""
    one, letters = variables[0], {name: letter for letter, name in LETTERS.items()}
    said = f"axes are taken for {', '.join(one.axes)}"
    if len(variables) > 1 or one.shape[-1] > FEW or one.axes[-1] == CHANNEL or not set(one.axes) <= set(letters):
        return said
    stored = "".join(letters[name] for name in one.axes[:-1])
    return f"{said}; if the last, of {one.shape[-1]}, is of channels, say --axes {stored}C"


def incompressible(path: Path, file: h5py.File, group: str) -> Contents:
    """PDEBench's incompressible flow: ``velocity [N, T, ., ., 2]``, ``particles [N, T, ., ., 1]``, a force at rest."""
    arrays, others = arrays_in(file[group])
    variables = []
    for name in ("velocity", "particles"):
        shape = arrays[name].shape
        space = SPACE[: len(shape) - 3]
        names = tuple(f"{name}_{a}" for a in space) if shape[-1] == len(space) else ()
        names = (name,) if shape[-1] == 1 else names
        variables.append(
            Variable(name, (SAMPLE, TIME, *space, CHANNEL), shape, names, (f"{group.rstrip('/')}/{name}",))
        )
    points, times = _coordinates(arrays, {v.name: v.shape for v in variables})
    rest = {k: a for k, a in arrays.items() if k not in ("velocity", "particles", "force")}
    rows, left_out = _rows(path, file, group, rest, tuple(variables))
    if "force" in arrays:
        left_out.insert(0, "force: does not change in time")
    known = (*left_out, *(f"{key}: not an array of real numbers" for key in others))
    return Contents("pdebench-incompressible", tuple(variables), closed, times, points, rows, left_out=known)


def _coordinates(arrays: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], Any]:
    """Points along x, y, z as far as they are told without a gap, and times."""
    points: dict[str, np.ndarray] = {}
    for axis in SPACE:
        found = [name for name in (f"{axis}-coordinate", axis) if name in arrays and name not in fields]
        if not found or arrays[found[0]].ndim < 1:
            break
        points[axis] = whole(arrays[found[0]])
    times = [arrays[name] for name in TIMES if name in arrays and name not in fields and arrays[name].ndim > 0]
    return points, whole(times[0]) if times else None


def _fields(
    shapes: Mapping[str, tuple[int, ...]], dim: int, times: int | None
) -> tuple[tuple[Variable, ...], list[str]]:
    """Which arrays are fields, and what their axes are: by the number of axes of space, if that is known."""
    variables, left_out = [], []
    top = max((len(shape) for shape in shapes.values()), default=0)
    for name, shape in shapes.items():
        wanted = dim + 2 if dim else min(top, 5)
        ones = max(0, len(shape) - wanted)
        axes = (SAMPLE, TIME, *SPACE[: wanted - 2])
        if not dim and wanted > 3 and shape[-1] == 1:  # no grid has one point
            axes = (*axes[:-1], CHANNEL)
        if len(shape) == wanted + 1 and shape[0] != 1:
            axes = (*axes, CHANNEL)
        elif shape[:ones] == (1,) * ones and len(shape) >= wanted:
            axes = (ONE,) * ones + axes
        elif len(shape) == wanted - 1 and times is not None and times - shape[0] in (0, 1):
            axes = axes[1:]  # one trajectory
        if len(axes) == len(shape):
            variables.append(Variable(name, axes, shape))
        else:
            left_out.append(f"{name}: {list(shape)}, expected {', '.join(axes)}")
    longest = max((dict(zip(v.axes, v.shape, strict=True))[TIME] for v in variables), default=1)
    still = [v for v in variables if dict(zip(v.axes, v.shape, strict=True))[TIME] == 1 < longest]
    left_out += [f"{v.name}: does not change in time" for v in still]
    return tuple(v for v in variables if v not in still), left_out


def _rows(
    path: Path, file: h5py.File, group: str, rest: Mapping[str, Any], variables: tuple[Variable, ...]
) -> tuple[list[dict[str, float]], list[str]]:
    """Parameters of each sample: of the file's name, of attributes, and of arrays that are no coordinates."""
    samples = dict(zip(variables[0].axes, variables[0].shape, strict=True)).get(SAMPLE, 1)
    coordinates = {*TIMES, *SPACE, *(f"{axis}-coordinate" for axis in SPACE)}
    given = {key: array for key, array in rest.items() if key not in {*coordinates, *SPACING}}
    each, left_out = parameters.of_arrays(given, samples)
    left_out += [f"{key}: a spacing, not a parameter of a system" for key in SPACING if key in rest]
    lists, more = parameters.of_arrays(parameters.lists_of_attributes(file.attrs), samples)
    common = parameters.of_attributes(file.attrs) | parameters.of_attributes(file[group].attrs)
    rows = [parameters.joined(common | a | b, parameters.in_name(path)) for a, b in zip(lists, each, strict=True)]
    return rows, [*left_out, *more]
