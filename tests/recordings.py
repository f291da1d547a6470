"""A tiny file of each layout, written as its makers write it. All hold the same trajectories where they can."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import yaml
from scipy.io import savemat

N, T, H, W = 3, 6, 4, 5  # x and y differ, so that a wrong order of axes shows


def trajectories(channels: int = 2) -> np.ndarray:
    """``[N, T, x, y, C]``, every number another."""
    return np.arange(N * T * H * W * channels, dtype=np.float32).reshape(N, T, H, W, channels)


def diff_react(path: Path, name: str = "2D_diff-react_NA_NA.h5", **sim: float) -> Path:
    """PDEBench's reaction-diffusion: groups, y first."""
    sim = sim or {"Du": 1e-3, "Dv": 5e-3, "k": 5e-3}
    with h5py.File(path / name, "w") as file:
        for i, x in enumerate(trajectories()):
            group = file.create_group(f"{i:04d}")
            group["data"] = np.swapaxes(x, 1, 2)
            group["grid/x"], group["grid/y"] = np.linspace(-1, 1, H), np.linspace(-1, 1, W)
            group["grid/t"] = 0.05 * np.arange(T)
            group.attrs["config"] = yaml.safe_dump({"sim": {**sim, "seed": i}, "name": "diff-react"})
    return path / name


def dam_break(path: Path) -> Path:
    """PDEBench's radial dam break: groups, x first, one channel."""
    with h5py.File(path / "2D_rdb_NA_NA.h5", "w") as file:
        for i, x in enumerate(trajectories(1)):
            group = file.create_group(f"{i:04d}")
            group["data"] = x
            group["grid/x"], group["grid/y"] = np.linspace(-2.5, 2.5, H), np.linspace(-2.5, 2.5, W)
            group["grid/t"] = 0.01 * np.arange(T)
            group.attrs["config"] = yaml.safe_dump({"sim": {"dam_radius": 0.3 + 0.1 * i, "seed": i}})
    return path / "2D_rdb_NA_NA.h5"


def inverse_bench(path: Path) -> Path:
    """PDEInvBench: the same groups, parameters in the file's name, no attribute."""
    with h5py.File(path / "Du=0.1_Dv=0.2_k=5e-02.h5", "w") as file:
        for i, x in enumerate(trajectories()):
            file[f"{i:04d}/data"] = np.swapaxes(x, 1, 2)
            for name, n in (("x", H), ("y", W), ("t", T)):
                file[f"{i:04d}/grid/{name}"] = np.arange(n)
    return path / "Du=0.1_Dv=0.2_k=5e-02.h5"


def flat(path: Path) -> Path:
    """PDEBench's compressible flows: one array a field."""
    with h5py.File(path / "2D_CFD.hdf5", "w") as file:
        for i, name in enumerate(("Vx", "density")):
            file[name] = trajectories()[..., i]
        file["x-coordinate"], file["y-coordinate"] = np.arange(H) / H, np.arange(W) / W
        file["t-coordinate"] = np.arange(T + 1)
        file.attrs["eta"] = 1e-2
    return path / "2D_CFD.hdf5"


def the_well(path: Path) -> Path:
    """The Well: fields by rank, a vector's components last, scalars as parameters."""
    with h5py.File(path / "well.hdf5", "w") as file:
        file.attrs["n_spatial_dims"] = 2
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        file["dimensions/x"], file["dimensions/y"], file["dimensions/time"] = np.arange(H), np.arange(W), np.arange(T)
        file["scalars/viscosity"] = np.array([1e-3, 2e-3, 3e-3])
        file["scalars/gravity"] = 9.81
        x = trajectories(3)
        file["t0_fields/density"], file["t1_fields/velocity"] = x[..., 0], x[..., 1:]
        file["t0_fields/mask"] = np.zeros((H, W))
        for field in ("t0_fields/density", "t1_fields/velocity"):
            file[field].attrs["time_varying"] = file[field].attrs["sample_varying"] = True
        file["t0_fields/mask"].attrs["time_varying"] = file["t0_fields/mask"].attrs["sample_varying"] = False
    return path / "well.hdf5"


def fno_matlab(path: Path, *, hdf5: bool) -> Path:
    """The FNO's vorticity, as MATLAB 7.3 or as an older version; the first frame is kept apart."""
    x = np.moveaxis(trajectories(1)[..., 0], 1, -1)  # [N, x, y, T]
    name = path / f"NavierStokes_V1e-3_N{N}_T{T}{'_new' if hdf5 else ''}.mat"
    content = {"a": x[..., 0], "u": x[..., 1:], "t": np.arange(1.0, T)[None]}
    if not hdf5:
        savemat(name, content)
        return name
    with h5py.File(name, "w") as file:
        for key, value in content.items():
            file[key] = value.T
    return name
