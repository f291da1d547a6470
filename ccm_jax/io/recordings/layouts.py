"""HDF5: the layout of a file is detected from its content."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccm_jax.io.recordings import labelled, matlab, pdebench, the_well
from ccm_jax.io.recordings.contents import Contents, recording_of, with_axes
from ccm_jax.io.recordings.hdf5 import check_alone, check_heaps, is_hdf5, members, whole
from ccm_jax.io.recordings.recording import Recording
from ccm_jax.io.recordings.registry import register_layout

if TYPE_CHECKING:  # imported where a file needs it: frames in numpy's files do not
    import h5py


@register_layout(".h5", ".hdf5", ".mat", ".nc", ".nc4")
def read_hdf5(path: Path, *, axes: str | None = None) -> Recording | None:
    """HDF5 of PDEBench, PDEInvBench, PDEArena, The Well, netCDF-4 or MATLAB 7.3, detected from its content."""
    if not is_hdf5(path):
        return None
    import h5py

    def open_file() -> AbstractContextManager[Mapping[str, Any]]:
        # Anew for each reading, so that a recording is a plain value that any process may use.
        return h5py.File(path, "r")

    check_heaps(path)
    try:
        with h5py.File(path, "r") as file:
            check_alone(path, file)
            found = _contents(path, file) if axes is None else _as_typed(path, file, axes)
        return recording_of(path, found._replace(open=open_file))
    except (OSError, KeyError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"open_recording: {path} is damaged or of no known layout: {error}.") from error


def _contents(path: Path, file: h5py.File) -> Contents:
    if any(f"t{rank}_fields" in file for rank in range(3)):
        return the_well.contents(path, file)
    groups = pdebench.groups_of_samples(file)
    if groups:
        return pdebench.grouped(path, file, groups)
    if {"a", "u", "t"} <= set(file):
        return matlab.contents(path, {key: file[key].shape for key in ("a", "u")}, whole(file["t"]), hdf5=True)
    if labelled.has_scales(file):
        return labelled.contents_of_hdf5(path, file)
    group = _only_group(path, file)
    if {"velocity", "particles"} <= set(file[group]):
        return pdebench.incompressible(path, file, group)
    return pdebench.flat(path, file, group)


def _only_group(path: Path, file: h5py.File) -> str:
    """The group that holds the arrays, as PDEArena's ``train``; the file itself where they stand there."""
    import h5py

    inside = [
        key
        for key, found in members(file).items()
        if isinstance(found, h5py.Group) and any(getattr(each, "ndim", 0) >= 3 for each in members(found).values())
    ]
    if not inside or any(getattr(found, "ndim", 0) >= 3 for found in members(file).values()):
        return "/"
    if len(inside) > 1:
        raise ValueError(f"open_recording: {path} has groups {', '.join(inside)}; put each into a file of its own.")
    return inside[0]


def _as_typed(path: Path, file: h5py.File, axes: str) -> Contents:
    """The arrays whose axes are typed."""
    if any(f"t{rank}_fields" in file for rank in range(3)) or labelled.has_scales(file):
        raise ValueError(f"open_recording: {path} already declares its axes; omit --axes {axes} (axes=...).")
    groups = pdebench.groups_of_samples(file)
    if groups:
        if "N" in axes.upper():
            raise ValueError(
                f"--axes {axes} (axes=...): {path} has a group for each sample; leave N out, as its arrays do."
            )
        (data,), _ = with_axes(path, {"data": pdebench.shape_of_samples(path, file, groups)}, axes)
        return pdebench.grouped(path, file, groups, data)
    return pdebench.flat(path, file, _only_group(path, file), axes)
