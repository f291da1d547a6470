"""Zarr stores and netCDF-3 files, opened by xarray where it is installed."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.boundary import Unreadable
from ccm_jax.io.recordings import labelled
from ccm_jax.io.recordings.contents import recording_of
from ccm_jax.io.recordings.recording import Recording
from ccm_jax.io.recordings.registry import register_layout

_MARKS = ("zarr.json", ".zgroup", ".zmetadata", ".zarray")  # one of these makes a folder a Zarr store
_NETCDF3 = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
_NEEDS = {"zarr": ("xarray", "zarr"), "scipy": ("xarray", "scipy")}  # xarray's engine -> libraries


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store, and not a folder of files."""
    return any((path / mark).is_file() for mark in _MARKS)


@register_layout(".zarr", ".nc", ".cdf")
def read_store(path: Path, *, axes: str | None = None) -> Recording | None:
    """A Zarr store or a netCDF-3 file; its axes have names, as in netCDF-4.

    Raises:
        ValueError: if xarray, or what it opens such a file with, is not installed.
    """
    engine = "zarr" if is_store(path) else "scipy" if _is_netcdf3(path) else None
    if engine is None:
        return None
    if axes is not None:
        raise ValueError(f"open_recording: {path} already declares its axes; omit --axes {axes} (axes=...).")
    if engine == "zarr" and _is_array(path):
        raise Unreadable(
            f"open_recording: {path} is one Zarr array, whose axes have no names; write it by xarray's to_zarr with "
            "names, or as a .npy and pass --axes (axes=...)."
        )
    missing = [name for name in _NEEDS[engine] if importlib.util.find_spec(name) is None]
    if missing:
        kind = "Zarr" if engine == "zarr" else "netCDF-3"
        raise Unreadable(
            f"open_recording: {path} is {kind}, which {' and '.join(missing)} would open; run: pip install "
            "'ccm_jax[xarray]'."
        )
    import xarray

    # Metadata of all arrays in one place serve stores on a network, and not all stores have them.
    how: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}

    def opened() -> Any:
        return xarray.open_dataset(path, engine=engine, decode_times=False, chunks=None, cache=False, **how)

    layout = "zarr" if engine == "zarr" else "netcdf-3"
    with opened() as data:
        arrays = {
            str(name): labelled.Named(tuple(map(str, a.dims)), a.shape, a.attrs)
            for name, a in data.variables.items()
            if a.dtype.kind in "fiu" or name in data.dims
        }
        said = labelled.contents(path, arrays, lambda name: np.asarray(data[name].values), data.attrs, layout)
        others = tuple(f"{name}: not an array of real numbers" for name in data.variables if name not in arrays)

    @contextmanager
    def arrays_of() -> Iterator[Mapping[str, Any]]:
        with opened() as data:
            yield {v.name: _Lazy(data, v.name) for v in said.variables}

    return recording_of(path, said._replace(open=arrays_of, left_out=(*said.left_out, *others)))


def _is_array(store: Path) -> bool:
    """Whether a store has no group, in which arrays have names."""
    if (store / ".zarray").is_file():
        return True
    try:
        content = json.loads((store / "zarr.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("node_type") == "array"


class _Lazy:
    """An array of a data set that reads what it is indexed by."""

    def __init__(self, data: Any, name: str) -> None:
        self.array = data[name]

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.array[index].values)


def _is_netcdf3(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(4) in _NETCDF3
