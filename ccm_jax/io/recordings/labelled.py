"""Arrays whose axes have names in the file: HDF5 with dimension scales, which netCDF-4 is, and what xarray opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ccm_jax.io.recordings import parameters
from ccm_jax.io.recordings.contents import CHANNEL, SAMPLE, SPACE, TIME, Contents, Variable, closed
from ccm_jax.io.recordings.hdf5 import arrays_in, members, text, whole

if TYPE_CHECKING:
    import h5py

# What an axis is by its name, in whatever case; every other name is an axis of space.
_ROLES = {
    TIME: "time times t frame frames valid_time time_counter timestep time_step",
    SAMPLE: "sample samples batch n trajectory trajectories traj case run member ensemble realization number",
    CHANNEL: "channel channels c component components variable feature level levels plev lev pressure_level",
}
_ROLE = {name: role for role, names in _ROLES.items() for name in names.split()}


class Named(NamedTuple):
    """An array by the names of its axes.

    Attributes:
        dims: names of the axes; empty where the file gives none.
        shape: their lengths.
        attributes: of the array.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attributes: Mapping[str, Any]


def contents(
    path: Path,
    arrays: Mapping[str, Named],
    read: Callable[[str], np.ndarray],
    attributes: Mapping[str, Any],
    layout: str,
) -> Contents:
    """The fields are the arrays over time and the most axes of space; arrays by sample are parameters.

    Args:
        path: the file.
        arrays: all of them, coordinates too.
        read: an array of these, whole.
        attributes: of the file.
        layout: the name of the layout.

    Raises:
        ValueError: if no axis is time, or none is space.
    """
    coordinates = {name for array in arrays.values() for name in array.dims}
    edges = {text(array.attributes.get("bounds", "")) for array in arrays.values()}  # of cells, which are no fields
    fields = {name: a for name, a in arrays.items() if name not in coordinates | edges}
    varying = {name: _roles(a) for name, a in fields.items() if len(set(a.dims)) == len(a.dims)}
    varying = {name: roles for name, roles in varying.items() if TIME in roles and _space(roles)}
    if not varying:
        there = "; ".join(f"{name} [{', '.join(a.dims)}]" for name, a in fields.items())
        raise ValueError(
            f"open_recording: {path} has no array over time and space, but {there or 'none'}; rename the axes, as "
            "xarray's rename does, to sample, time, x, y, z, channel."
        )
    most = max(varying, key=lambda name: len(_space(varying[name])))
    chosen = [n for n, roles in varying.items() if set(_space(roles)) == set(_space(varying[most]))]
    if len(_space(varying[most])) > len(SPACE) or any(roles.count(TIME) > 1 for roles in varying.values()):
        raise ValueError(
            f"open_recording: {path}: {most} has axes {', '.join(arrays[most].dims)}, expected one of time and at most "
            "three of space; select from them first."
        )
    variables = [_variable(name, arrays, varying[name], read) for name in chosen]
    samples = max(dict(zip(v.axes, v.shape, strict=True)).get(SAMPLE, 1) for v in variables)
    small, left_out, assumed = {}, [], []
    for name, array in fields.items():
        roles = _roles(array)
        if name in chosen:
            continue
        if TIME in roles or _space(roles):
            kind = "does not change in time" if TIME not in roles else f"its axes are {', '.join(array.dims)}"
            left_out.append(f"{name}: {kind}")
        elif not array.attributes.get("grid_mapping_name"):
            small[name] = read(name)
    rows, more = parameters.of_arrays(small, samples)
    common = parameters.joined(parameters.of_attributes(attributes), parameters.in_name(path))
    first = arrays[most].dims
    time = next(d for d in first if _role(d) == TIME)
    units = text(arrays[time].attributes.get("units", "")) if time in arrays else ""
    assumed += [f"times are in {units}"] if units else []
    assumed += [f"{d} is taken for channels" for d in first if _role(d) == CHANNEL and d.lower() in _LEVELS]
    if not set(_space(varying[most])) <= set(SPACE):
        assumed.append(f"axes of space stay in the order {', '.join(_space(varying[most]))}")
    return Contents(
        layout,
        tuple(variables),
        closed,
        read(time) if time in arrays else None,
        {_role(d): read(d) for d in first if d in arrays and _role(d) not in (TIME, SAMPLE, CHANNEL)},
        [common | row for row in rows],
        tuple(assumed),
        (*left_out, *more),
    )


_LEVELS = frozenset(("level", "levels", "plev", "lev", "pressure_level"))


def _role(name: str) -> str:
    lower = name.lower()
    return _ROLE.get(lower, lower if lower in SPACE else name)


def _roles(array: Named) -> tuple[str, ...]:
    return tuple(_role(name) for name in array.dims)


def _space(roles: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(role for role in roles if role not in (TIME, SAMPLE, CHANNEL))


def _variable(
    name: str, arrays: Mapping[str, Named], roles: tuple[str, ...], read: Callable[[str], np.ndarray]
) -> Variable:
    """A field; its channels have the coordinates of their axis in their names."""
    array, names = arrays[name], [name]
    for dim, role, count in zip(array.dims, roles, array.shape, strict=True):
        if role == CHANNEL:
            labels = (
                [text(v) if np.asarray(v).dtype.kind not in "fiu" else f"{v:g}" for v in read(dim)]
                if dim in arrays
                else range(count)
            )
            names = [f"{before}_{label}" for before in names for label in labels]
    return Variable(name, roles, array.shape, tuple(names))


def has_scales(file: h5py.File) -> bool:
    """Whether arrays in a file say by dimension scales what their axes are."""
    arrays, _ = arrays_in(file)
    return any(_scales(array)[0] is not None for array in arrays.values() if array.ndim)


def contents_of_hdf5(path: Path, file: h5py.File) -> Contents:
    """HDF5 with dimension scales; packed numbers are unpacked by ``scale_factor`` and ``add_offset``."""
    found, others = arrays_in(file)
    pure = [k for k, a in found.items() if text(a.attrs.get("NAME", "")).startswith("This is a netCDF dimension but")]
    arrays = {key: Named(_dims(array), array.shape, array.attrs) for key, array in found.items() if key not in pure}
    nameless = [key for key, array in arrays.items() if array.shape and not all(array.dims)]
    known = {key: array for key, array in arrays.items() if key not in nameless}
    said = contents(
        path, known, lambda name: _decoded(found[name]), file.attrs, "netcdf-4" if _is_netcdf(file) else "hdf5-scales"
    )
    variables = tuple(v._replace(decode=_decoder(found[v.name].attrs)) for v in said.variables)
    left_out = [f"{key}: an axis has no dimension scale" for key in nameless] + [
        f"{key}: not an array of real numbers" for key in others
    ]
    return said._replace(variables=variables, left_out=(*said.left_out, *left_out))


def _dims(array: Any) -> tuple[str, ...]:
    """Names of the axes; a scale is its own axis.

    Read from attributes: h5py's ``dims`` and ``is_scale`` call a part of HDF5 that frees memory twice where a file is
    damaged.
    """
    if array.ndim == 1 and text(array.attrs.get("CLASS", "")) == "DIMENSION_SCALE":
        return (array.name.rpartition("/")[2],)
    labels = np.ravel(array.attrs.get("DIMENSION_LABELS", ()))
    told = [text(label) for label in labels] if len(labels) == array.ndim else [""] * array.ndim
    names = (None if scale is None else array.file[scale].name for scale in _scales(array))
    return tuple(name.rpartition("/")[2] if name else label for name, label in zip(names, told, strict=True))


def _scales(array: Any) -> list[Any]:
    """The first dimension scale of each axis, as a reference; None where an axis has none."""
    import h5py

    listed = array.attrs.get("DIMENSION_LIST")
    if not isinstance(listed, np.ndarray) or listed.shape != (array.ndim,):
        return [None] * array.ndim
    first = [next(iter(np.ravel(found)), None) for found in listed]
    return [scale if isinstance(scale, h5py.Reference) and scale else None for scale in first]


def _is_netcdf(file: h5py.File) -> bool:
    return "_NCProperties" in file.attrs or any("_Netcdf4Dimid" in found.attrs for found in members(file).values())


def _decoded(array: Any) -> np.ndarray:
    """A small array as what it means: coordinates and parameters may be packed as fields are."""
    decode, stored = _decoder(array.attrs), whole(array)
    return stored if decode is None or stored.dtype.kind not in "fiu" else decode(stored)


def _decoder(attributes: Mapping[str, Any]) -> Callable[[np.ndarray], np.ndarray] | None:
    """From packed numbers to those that are meant, by the conventions of netCDF; None where nothing is packed."""
    factor, offset = (parameters.number(attributes.get(name)) for name in ("scale_factor", "add_offset"))
    missing = [parameters.number(attributes.get(name)) for name in ("_FillValue", "missing_value")]
    holes = [value for value in missing if value is not None]
    unsigned = text(attributes.get("_Unsigned", "")).lower() == "true"
    if factor is None and offset is None and not holes and not unsigned:
        return None

    def decode(stored: np.ndarray) -> np.ndarray:
        # A value that the type of the numbers does not have occurs nowhere.
        ends = np.iinfo(stored.dtype) if stored.dtype.kind in "iu" else np.finfo(stored.dtype)
        there = [value for value in holes if ends.min <= value <= ends.max]
        hole = np.isin(stored, np.asarray(there, stored.dtype)) if there else None
        if unsigned and stored.dtype.kind == "i":
            stored = stored.view(stored.dtype.str.replace("i", "u"))
        meant = stored.astype(np.float64) * (1.0 if factor is None else factor) + (0.0 if offset is None else offset)
        return meant if hole is None else np.where(hole, np.nan, meant)

    return decode
