"""The layouts: PDEBench's groups and flat files, PDEInvBench's names, The Well, the FNO's ``.mat``, numpy."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from ccm_jax.io.boundary import reading
from ccm_jax.io.recordings.recording import Recording
from ccm_jax.io.recordings.registry import register_layout

if TYPE_CHECKING:  # imported where a file needs it: frames in numpy's files do not
    import h5py

_HDF5 = b"\x89HDF\r\n\x1a\n"  # at byte 0, or after a block of the user's at 512, 1024, 2048, ...


@register_layout(".h5", ".hdf5", ".mat")
def read_hdf5(path: Path) -> Recording | None:
    """HDF5 of PDEBench, PDEInvBench, The Well or MATLAB 7.3; its layout is told by its content."""
    if not _is_hdf5(path):
        return None
    try:
        return _hdf5(path)
    except (OSError, KeyError, AttributeError, IndexError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"open_recording: {path} is damaged or of no known layout: {error}.") from error


def _is_hdf5(path: Path) -> bool:
    size, at = path.stat().st_size, 0
    with open(path, "rb") as file:
        while at + len(_HDF5) <= size:
            file.seek(at)
            if file.read(len(_HDF5)) == _HDF5:
                return True
            at = 2 * at or 512
    return False


def _hdf5(path: Path) -> Recording:
    import h5py

    with h5py.File(path, "r") as file:
        if "t0_fields" in file or "t1_fields" in file:
            return _the_well(path, file)
        groups = sorted(key for key in file if isinstance(file[key], h5py.Group) and "data" in file[key])
        if groups:
            return _pdebench(path, file, groups)
        if {"a", "u", "t"} <= set(file):
            return _fno(path, {key: file[key].shape[::-1] for key in ("a", "u")}, np.ravel(file["t"][()]), hdf5=True)
        return _flat(path, file)


def _reader(path: Path, read: Callable[[h5py.File, int, slice], np.ndarray]) -> Callable[[int, slice], np.ndarray]:
    """Opens the file anew for each reading, so that a recording is a plain value that any process may use."""

    def frames(sample: int, cut: slice) -> np.ndarray:
        import h5py

        with reading("open_recording", path, "restore it from a copy"), h5py.File(path, "r") as file:
            return np.ascontiguousarray(read(file, sample, cut), np.float32)

    return frames


def _named(path: Path) -> dict[str, float]:
    """Parameters in a file's name, as in ``Du=0.1_Dv=0.2_k=0.05.h5``."""
    return {name: float(value) for name, value in re.findall(r"([A-Za-z]\w*?)=([0-9.]+(?:[eE][+-]?\d+)?)", path.stem)}


def _numbers(content: Any) -> dict[str, float]:
    """All numbers of nested dictionaries, by their last name."""
    found: dict[str, float] = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Mapping):
            found |= _numbers(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[str(key)] = float(value)
        elif isinstance(value, str) and re.fullmatch(r"[-+]?\d*\.?\d+[eE][-+]?\d+", value):
            found[str(key)] = float(value)  # YAML 1.1 takes 1e-3 for text
    return found


def _pdebench(path: Path, file: h5py.File, groups: list[str]) -> Recording:
    """One group a sample, with ``data [T, ., ., C]``, ``grid/x``, ``grid/y``, ``grid/t`` and a YAML attribute."""
    first = file[groups[0]]
    parameters = [_named(path) | _numbers(yaml.safe_load(file[g].attrs.get("config", "{}"))) for g in groups]
    shape = first["data"].shape
    if len({file[g]["data"].shape for g in groups}) > 1:
        raise ValueError(f"open_recording: the samples of {path} have different shapes.")
    # Its reaction-diffusion is stored with y first, its dam break with x first; nothing in the file says so.
    y_first = len(shape) == 4 and "Du" in parameters[0]
    dim = len(shape) - 2
    names = {(2, True): ("u", "v"), (1, False): ("h",)}.get((shape[-1], y_first))
    fields = first["data"].attrs.get("fields")
    if fields is not None:
        names = tuple(str(name) for name in fields)
    grid = first.get("grid", {})
    axes = tuple(grid[a][()] for a in "xyz"[:dim]) if all(a in grid for a in "xyz"[:dim]) else None
    if dim == 2 and axes is not None and shape[1] != shape[2]:  # their lengths tell
        y_first = tuple(map(len, axes)) == shape[2:0:-1]
    space = shape[1:-1][::-1] if y_first else shape[1:-1]

    def read(file: h5py.File, sample: int, cut: slice) -> np.ndarray:
        data = file[groups[sample]]["data"][cut]
        return np.swapaxes(data, 1, 2) if y_first else data

    return Recording(
        path,
        "pdeinvbench" if _named(path) else "pdebench",
        names or tuple(f"channel_{i}" for i in range(shape[-1])),
        (len(groups), shape[0], *space),
        grid["t"][()] if "t" in grid else None,
        axes,
        parameters,
        _reader(path, read),
    )


def _flat(path: Path, file: h5py.File) -> Recording:
    """PDEBench's flat files: a dataset ``[N, T, *space]`` for each field."""
    fields = tuple(k for k in file if getattr(file[k], "ndim", 0) >= 3)
    shapes = {file[k].shape for k in fields}
    if len(shapes) != 1:
        raise ValueError(f"open_recording: {path} has datasets {', '.join(file)}, which are no known layout.")
    shape = shapes.pop()
    dim = len(shape) - 2
    names = [f"{a}-coordinate" for a in "xyz"[:dim]]
    times = file["t-coordinate"][: shape[1]] if "t-coordinate" in file else None  # some hold one more
    known = _numbers(dict(file.attrs)) | _named(path)
    per_sample = {k: np.ravel(file[k][()]) for k in file if file[k].shape == (shape[0],) and not k.endswith("nate")}

    def read(file: h5py.File, sample: int, cut: slice) -> np.ndarray:
        return np.stack([file[field][sample, cut] for field in fields], axis=-1)

    return Recording(
        path,
        "pdebench-flat",
        fields,
        shape,
        times,
        tuple(file[n][()] for n in names) if all(n in file for n in names) else None,
        [known | {k: float(v[i]) for k, v in per_sample.items()} for i in range(shape[0])],
        _reader(path, read),
    )


def _the_well(path: Path, file: h5py.File) -> Recording:
    """The Well: scalar and vector fields ``[N, T, *space(, d)]`` in groups by rank; scalars are the parameters."""
    names: list[tuple[str, str, int | None]] = []
    dim, shape = int(file.attrs["n_spatial_dims"]), None
    for rank, group in enumerate(("t0_fields", "t1_fields")):
        for key in file.get(group, ()):
            data = file[group][key]
            if not (data.attrs.get("time_varying", True) and data.attrs.get("sample_varying", True)):
                continue
            shape = data.shape[: 2 + dim]
            names += [(group, key, None)] if rank == 0 else [(group, key, d) for d in range(data.shape[-1])]
    if shape is None:
        raise ValueError(f"open_recording: {path} has no field that varies in time.")
    spatial = [str(d) for d in file["dimensions"].attrs["spatial_dims"]]
    parameters: list[dict[str, float]] = [{} for _ in range(shape[0])]
    for key in file.get("scalars", ()):
        values = np.ravel(file["scalars"][key][()])
        for i, row in enumerate(parameters):
            row[key] = float(values[i if len(values) == shape[0] else 0])

    def read(file: h5py.File, sample: int, cut: slice) -> np.ndarray:
        parts = [file[g][key][sample, cut] if d is None else file[g][key][sample, cut, ..., d] for g, key, d in names]
        return np.stack(parts, axis=-1)

    return Recording(
        path,
        "the-well",
        tuple(key if d is None else f"{key}_{spatial[d]}" for _, key, d in names),
        shape,
        file["dimensions"]["time"][()].reshape(-1)[: shape[1]],
        tuple(np.ravel(file["dimensions"][name][()]) for name in spatial),
        parameters,
        _reader(path, read),
    )


def _fno(path: Path, shapes: Mapping[str, tuple[int, ...]], times: np.ndarray, *, hdf5: bool) -> Recording:
    """The FNO's vorticity: the start ``a [N, s, s]``, and ``u [N, s, s, T]`` from the first recorded time on."""
    n, h, w, t = shapes["u"]
    regular = len(times) == t and np.allclose(np.diff(times), times[0], rtol=1e-3)  # then `a` is the frame before
    viscosity = re.search(r"[Vv](\d*\.?\d+[eE]-\d+)", path.stem)
    parameters = _named(path) | ({"viscosity": float(viscosity[1])} if viscosity else {})

    def whole(u: np.ndarray, a: np.ndarray, cut: slice) -> np.ndarray:
        frames = np.moveaxis(u, -1, 0)
        return (np.concatenate([a[None], frames]) if regular else frames)[cut, ..., None]

    def read(file: h5py.File, sample: int, cut: slice) -> np.ndarray:
        # MATLAB writes the last axis first: [T, s, s, N].
        return whole(file["u"][..., sample].T, file["a"][..., sample].T, cut)

    def read_old(sample: int, cut: slice) -> np.ndarray:
        content = _load_matlab(path)
        return np.ascontiguousarray(whole(content["u"][sample], content["a"][sample], cut), np.float32)

    return Recording(
        path,
        "fno-mat",
        ("vorticity",),
        (n, t + regular, h, w),
        np.concatenate([[0.0], times]) if regular else times,
        tuple(np.arange(s) / s for s in (h, w)),
        [dict(parameters) for _ in range(n)],
        _reader(path, read) if hdf5 else read_old,
    )


def _load_matlab(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # slow to import

    try:
        return loadmat(path)
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise ValueError(f"open_recording: {path} cannot be read as a MATLAB file: {error}.") from error


@register_layout(".mat")
def read_matlab(path: Path) -> Recording | None:
    """The FNO's vorticity in a MATLAB file before 7.3."""
    if path.suffix != ".mat" or _is_hdf5(path):
        return None
    content = _load_matlab(path)
    if not {"a", "u", "t"} <= set(content):
        raise ValueError(
            f"open_recording: {path} holds {', '.join(k for k in content if k[0] != '_')}, expected a, u, t."
        )
    return _fno(path, {key: content[key].shape for key in ("a", "u")}, np.ravel(content["t"]), hdf5=False)


@register_layout(".npy", ".npz")
def read_numpy(path: Path) -> Recording | None:
    """Frames ``[T, *space, C]``, or several trajectories ``[N, T, *space, C]``, of one, two or three space axes.

    Where both readings are possible, four axes are one trajectory of a plane and five are several; ``dim`` in an
    ``.npz``, the number of space axes, says otherwise. There the array is called ``frames``, or is alone; numbers are
    physical parameters of all samples, and lists of as many numbers as there are trajectories, of each.
    """
    if path.suffix not in (".npy", ".npz"):
        return None
    try:
        stored: Any = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        known: dict[str, float] = {}
        lists: dict[str, Any] = {}
        times = None
        if path.suffix == ".npz":
            arrays = dict(stored)
            known = {k: float(v) for k, v in arrays.items() if v.ndim == 0 and np.issubdtype(v.dtype, np.number)}
            times = arrays.get("times")
            lists = {k: v for k, v in arrays.items() if v.ndim == 1 and v.dtype.kind in "fiu" and k != "times"}
            big = [k for k, v in arrays.items() if v.ndim >= 3]
            if "frames" not in arrays and len(big) != 1:
                raise ValueError(f"it has arrays {', '.join(arrays)}, and none is called frames")
            stored = arrays["frames" if "frames" in arrays else big[0]]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"open_recording: {path} cannot be read: {error}.") from error
    dim: Any = known.pop("dim", {3: 1, 6: 3}.get(stored.ndim, 2))
    if dim not in (1, 2, 3):
        raise ValueError(f"open_recording: {path} says dim = {dim:g}, expected 1, 2 or 3 space axes.")
    dim = int(dim)
    real = np.issubdtype(stored.dtype, np.number) and not np.issubdtype(stored.dtype, np.complexfloating)
    if stored.ndim not in (dim + 2, dim + 3) or not real:
        space = ", ".join("XYZ"[:dim]) if dim in (1, 3) else "H, W"
        raise ValueError(
            f"open_recording: {path} is {stored.dtype}{list(stored.shape)}, expected real frames [T, {space}, C] or "
            f"[N, T, {space}, C]; one or three space axes are told by dim=1 or dim=3 in an .npz."
        )
    batch = stored if stored.ndim == dim + 3 else stored[None]
    of_each = {k: v for k, v in lists.items() if len(v) == len(batch)}
    return Recording(
        path,
        "numpy",
        tuple(f"channel_{i}" for i in range(batch.shape[-1])),
        batch.shape[:-1],
        times,
        None,
        [known | {k: float(v[i]) for k, v in of_each.items()} for i in range(len(batch))],
        lambda sample, cut: np.ascontiguousarray(batch[sample, cut], np.float32),
    )
