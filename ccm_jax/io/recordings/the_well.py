"""The Well: fields in groups by rank, whose flags say along what they vary; scalars are the parameters.

Source: ``docs/data_format.md`` of PolymathicAI/the_well.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ccm_jax.io.recordings import parameters
from ccm_jax.io.recordings.contents import CHANNEL, SAMPLE, TIME, Contents, Variable, closed
from ccm_jax.io.recordings.hdf5 import text, whole

if TYPE_CHECKING:
    import h5py


def contents(path: Path, file: h5py.File) -> Contents:
    """What a file says: a field that does not vary along samples or an axis of space is repeated there."""
    space = [text(name) for name in np.ravel(file["dimensions"].attrs["spatial_dims"])]
    variables: list[Variable] = []
    left_out: list[str] = []
    for rank in range(3):
        group = file.get(f"t{rank}_fields", {})
        for key in _listed(group):
            field, names = group[key], ["_".join((key, *part)) for part in _components(space, rank)]
            axes = _axes(field, space, rank)
            if not _flag(field, "time_varying"):
                left_out.append(f"{key}: does not change in time")
            elif axes is None:
                left_out.append(f"{key}: {list(field.shape)} is not what its flags say")
            else:
                variables.append(Variable(key, axes, field.shape, tuple(names), (f"t{rank}_fields/{key}",)))
    sizes = {axis: n for v in variables for axis, n in zip(v.axes, v.shape, strict=True) if n > 1}
    samples = sizes.get(SAMPLE, 1)
    common = {k: v for k, v in parameters.of_attributes(file.attrs).items() if k in _simulated(file)}
    scalars, steady = file.get("scalars", {}), {}
    for key in scalars:
        if _flag(scalars[key], "time_varying", default=False):
            left_out.append(f"{key}: a number that changes in time, expected one for each sample")
        else:
            steady[key] = scalars[key]
    each, more = parameters.of_arrays(steady, samples)
    dimensions = file["dimensions"]
    return Contents(
        "the-well",
        tuple(variables),
        closed,
        whole(dimensions["time"]),
        {name: whole(dimensions[name]) for name in space if name in dimensions},
        [parameters.joined(common | row, parameters.in_name(path)) for row in each],
        (),
        (*left_out, *more, *(f"{key}: boundary condition" for key in file.get("boundary_conditions", ()))),
    )


def _axes(field: Any, space: list[str], rank: int) -> tuple[str, ...] | None:
    """What the axes of a field are; None if its flags do not fit its shape.

    An axis of space along which it does not vary has length 1, or is not there.
    """
    varying = field.attrs.get("dim_varying")
    varying = [True] * len(space) if varying is None else [bool(v) for v in np.ravel(varying)]
    lead = [SAMPLE] * _flag(field, "sample_varying") + [TIME] * _flag(field, "time_varying")
    kept = [name for name, varies in zip(space, varying, strict=True) if varies]
    for components in ((len(space),) * rank, (len(space) ** rank,)):  # two indices of a tensor may be one axis
        for dims in (space, kept):
            axes = (*lead, *dims, *(CHANNEL for _ in components))
            if rank == 0:
                axes, components = (*lead, *dims), ()
            if len(axes) == len(field.shape) and field.shape[len(axes) - len(components) :] == components:
                return axes
    return None


def _components(space: list[str], rank: int) -> list[tuple[str, ...]]:
    """Names of the components: none, (x), (y), or (xx), (xy), ..."""
    return [()] if rank == 0 else [("".join(part),) for part in itertools.product(space, repeat=rank)]


def _listed(group: Any) -> list[str]:
    """The fields in the order in which The Well stacks them; those that are not listed follow."""
    listed = [text(name) for name in np.ravel(group.attrs.get("field_names", []))] if len(group) else []
    known = [name for name in listed if name in group]
    return [*known, *(key for key in group if key not in known and group.get(key) is not None)]


def _simulated(file: h5py.File) -> set[str]:
    return {text(name) for name in np.ravel(file.attrs.get("simulation_parameters", []))}


def _flag(array: Any, name: str, *, default: bool = True) -> bool:
    return bool(np.ravel(array.attrs.get(name, default))[0])
