"""Trajectories as people have them: what a file says is used, what it does not say is said, and little is read."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from ccm_jax.cli.frames import Layout, read_regimes
from ccm_jax.io.recordings import common_parameter, open_recording, open_recordings, write_recording
from ccm_jax.io.recordings import contents as rules
from tests import recordings
from tests.recordings import H, N, T, W, trajectories
from tests.terminal import ccm, make_family

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    """Numbers that differ."""
    return RNG.standard_normal(shape).astype(np.float32)


def write(path: Path, arrays: dict[str, Any], **attributes: Any) -> Path:
    """HDF5 with these arrays."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(attributes)
    return path


# Parameters


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float64(0.5), np.array([0.5]), np.array([[0.5]]), "0.5", "5e-1", b"0.5"]
)
def test_attributes_of_any_type_are_parameters(tmp_path: Path, value: Any) -> None:
    r = open_recording(write(tmp_path / "a.h5", {"w": noise(N, T, H, W)}, viscosity=value, Re=1000, note="run 7"))
    assert r.parameters == [{"viscosity": 0.5, "Re": 1000.0}] * N


def test_attributes_and_arrays_of_as_many_numbers_as_samples_are_those_of_each(tmp_path: Path) -> None:
    arrays = {"w": noise(N, T, H, W), "drag": np.arange(N), "edges": np.arange(N + 2), "beta": np.array([[2.0]])}
    r = open_recording(write(tmp_path / "a.h5", arrays, nu=np.arange(N) / 10, lengths=[1.0, 2.0]))
    assert [(p["nu"], p["drag"], p["beta"]) for p in r.parameters] == [(0, 0, 2), (0.1, 1, 2), (0.2, 2, 2)]
    assert any(text.startswith("edges: ") for text in r.left_out)
    assert any(text.startswith("lengths: ") for text in r.left_out)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("delta=-3.5_ic=42.h5", {"delta": -3.5, "ic": 42}),
        ("nu=0.001.train.h5", {"nu": 1e-3}),
        ("Du=+1e-3_k=5.E-02.h5", {"Du": 1e-3, "k": 0.05}),
        ("1D_Burgers_Sols_Nu0.001.hdf5", {"Nu": 1e-3}),
        ("1D_CFD_Rand_Eta1.e-8_Zeta1.e-8_trans_Train.hdf5", {"Eta": 1e-8, "Zeta": 1e-8}),
        ("2D_CFD_Rand_M0.1_periodic_128_Train.hdf5", {"M": 0.1}),
        ("ns_incom_inhom_2d_512-0.h5", {}),
        ("run3_seed7_k2.h5", {}),
    ],
)
def test_parameters_in_names(tmp_path: Path, name: str, expected: dict[str, float]) -> None:
    assert open_recording(write(tmp_path / name, {"w": noise(2, T, H, W)})).parameters[0] == expected


def test_what_a_file_holds_goes_before_its_name_in_whatever_case(tmp_path: Path) -> None:
    r = open_recording(write(tmp_path / "Eta0.5_M0.1.h5", {"w": noise(1, T, H, W)}, eta=0.25))
    assert r.parameters == [{"M": 0.1, "eta": 0.25}]


def test_a_name_that_is_a_number_is_a_reynolds_number_and_that_is_said(tmp_path: Path) -> None:
    r = open_recording(write(tmp_path / "83.0.h5", {f"{i:04d}/data": noise(T, H, W, 1) for i in range(2)}))
    assert r.parameters == [{"re": 83.0}] * 2 and any("Reynolds number" in text for text in r.assumed)


def test_our_names_find_parameters_in_whatever_case(tmp_path: Path) -> None:
    r = open_recording(write(tmp_path / "a.h5", {"w": noise(N, T, H, W)}, NU=1e-3, G=9.81))
    np.testing.assert_array_equal(common_parameter(r, "viscosity"), [1e-3] * N)
    np.testing.assert_array_equal(common_parameter(r, "gravity"), [9.81] * N)
    both = r._replace(parameters=[{"K": 1.0, "k": 2.0}] * N)
    np.testing.assert_array_equal(common_parameter(both, "threshold"), [2.0] * N)


# PDEBench and its relatives


def test_compressible_flow_has_the_order_of_pdebench_s_networks_and_fields_sets_another(tmp_path: Path) -> None:
    fields = {name: noise(2, T, H, W) for name in ("Vx", "Vy", "density", "pressure")}
    path = write(tmp_path / "cfd.hdf5", fields)
    r = open_recording(path)
    assert r.fields == ("density", "pressure", "Vx", "Vy")
    np.testing.assert_array_equal(r.trajectory(1), np.stack([fields[name][1] for name in r.fields], axis=-1))
    two = open_recording(path, fields=("Vy", "density"))
    assert two.fields == ("Vy", "density")
    np.testing.assert_array_equal(two.trajectory(0)[..., 0], fields["Vy"][0])
    assert any(text.startswith("Vx: not among") for text in two.left_out)
    for wrong in (("Vz",), ("Vx", "Vx"), ()):
        with pytest.raises(ValueError, match="expected some of density, pressure, Vx, Vy, each once"):
            open_recording(path, fields=wrong)


def test_groups_stand_in_natural_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {f"{i}/data": np.full((2, 3, 3, 1), i, np.float32) for i in range(12)})
    r = open_recording(path)
    assert [int(r.trajectory(i)[0, 0, 0, 0]) for i in range(12)] == list(range(12))


def test_incompressible_flow(tmp_path: Path) -> None:
    velocity, particles = noise(N, T, H, W, 2), noise(N, T, H, W, 1)
    times = np.tile(np.linspace(0, 5, T), (N, 1))
    arrays = {"velocity": velocity, "particles": particles, "force": noise(N, H, W, 2), "t": times}
    r = open_recording(write(tmp_path / "ns_incom_inhom_2d_512-0.h5", arrays, config="NU: 0.01\nname: x"))
    assert (r.fields, r.shape) == (("velocity_x", "velocity_y", "particles"), (N, T, H, W))
    np.testing.assert_array_equal(r.frames(2, slice(1, 3)), np.concatenate([velocity, particles], -1)[2, 1:3])
    np.testing.assert_array_equal(r.times, times[0])
    np.testing.assert_array_equal(common_parameter(r, "viscosity"), [0.01] * N)
    assert r.left_out == ("force: does not change in time",)


def test_pdearena_s_group(tmp_path: Path) -> None:
    fields = {name: noise(N, T, H, W) for name in ("u", "vx", "vy")}
    arrays = {f"train/{name}": array for name, array in fields.items()}
    arrays |= {"train/t": np.tile(np.arange(T), (N, 1)), "train/buo_y": np.full(N, 0.5), "train/dt": np.full(N, 1.5)}
    arrays |= {"train/x": np.tile(np.arange(H), (N, 1)), "train/y": np.tile(np.arange(W), (N, 1))}
    path = write(tmp_path / "NavierStokes2D_train_1_0.50000.h5", arrays)
    r = open_recording(path)
    assert (r.layout, r.fields, r.shape) == ("pdearena", ("u", "vx", "vy"), (N, T, H, W))
    assert r.parameters == [{"buo_y": 0.5}] * N and r.axes is not None and len(r.axes[1]) == W
    np.testing.assert_array_equal(r.trajectory(1)[..., 2], fields["vy"][1])
    with h5py.File(path, "r+") as file:
        file["valid/u"] = fields["u"]
    with pytest.raises(ValueError, match="has groups train, valid; put each into a file of its own"):
        open_recording(path)


@pytest.mark.parametrize("lead", [1, 2])
def test_leading_axes_of_one_go(tmp_path: Path, lead: int) -> None:
    x = noise(N, T, W)
    arrays = {"tensor": x[(None,) * lead], "x-coordinate": np.arange(W), "t-coordinate": np.arange(T)[None]}
    r = open_recording(write(tmp_path / "flat.h5", arrays))
    assert r.shape == (N, T, W)
    np.testing.assert_array_equal(r.trajectory(1)[..., 0], x[1])
    groups = {f"{i}/data": x[i][(None,) * lead][..., None] for i in range(N)} | {"0/grid/x": np.arange(W)}
    r = open_recording(write(tmp_path / "groups.h5", groups))
    assert r.shape == (N, T, W)
    np.testing.assert_array_equal(r.trajectory(2)[..., 0], x[2])
    np.save(tmp_path / "box.npy", noise(N, T, H, W, 2, 1)[(None,) * lead])
    assert open_recording(tmp_path / "box.npy").shape == (N, T, H, W, 2)


def test_a_field_at_rest_is_left_out(tmp_path: Path) -> None:
    arrays = {"tensor": noise(N, T, H, W), "nu": noise(N, H, W), "a": noise(N, 1, H, W)}
    r = open_recording(write(tmp_path / "a.h5", arrays | {"x-coordinate": np.arange(H), "y-coordinate": np.arange(W)}))
    assert r.fields == ("tensor",) and [text.partition(":")[0] for text in r.left_out] == ["nu", "a"]


@pytest.mark.parametrize(("more", "fits"), [(0, True), (1, True), (2, False), (-1, False)])
def test_times_are_as_many_as_frames_or_one_more_and_nothing_else(tmp_path: Path, more: int, fits: bool) -> None:
    path = write(tmp_path / "a.h5", {"tensor": noise(N, T, W), "t-coordinate": np.arange(T + more)})
    if fits:
        r = open_recording(path)
        assert r.times is not None and len(r.times) == T
        assert any("the last time is left out" in text for text in r.assumed) == bool(more)
        return
    with pytest.raises(ValueError, match=f"has {T} frames and {T + more} times"):
        open_recording(path)


def test_times_of_each_sample_may_be_shifted_but_not_stretched(tmp_path: Path) -> None:
    shifted = np.arange(T) + np.arange(N)[:, None]
    r = open_recording(write(tmp_path / "a.h5", {"tensor": noise(N, T, H, W), "t": shifted}))
    assert r.time_step == 1 and any("start at different times" in text for text in r.assumed)
    stretched = np.arange(T) * (1 + np.arange(N)[:, None])
    with pytest.raises(ValueError, match="samples of different time steps"):
        open_recording(write(tmp_path / "b.h5", {"tensor": noise(N, T, H, W), "t": stretched}))


# The Well


def well(path: Path, fields: dict[str, tuple[np.ndarray, dict[str, Any]]], frames: int = T, **scalars: Any) -> Path:
    """A file in The Well's layout; scalars are values, or values and flags."""
    with h5py.File(path, "w") as file:
        file.attrs.update(n_spatial_dims=2, simulation_parameters=["ParamA"], ParamA=0.5, other=3.0)
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        dimensions["x"], dimensions["y"], dimensions["time"] = np.arange(H), np.arange(W), np.arange(frames)
        for key, (array, flags) in fields.items():
            file[key] = array
            usual = {"time_varying": True, "sample_varying": True, "dim_varying": [True, True]}
            file[key].attrs.update(usual | flags)
        for key, value in scalars.items():
            values, flags = value if isinstance(value, tuple) else (value, {})
            file[f"scalars/{key}"] = values
            file[f"scalars/{key}"].attrs.update({"time_varying": False, "sample_varying": False} | flags)
        file["boundary_conditions/walls/mask"] = np.zeros(H)
    return path


def test_the_well_s_flags(tmp_path: Path) -> None:
    p, v, t, forcing, profile = (
        noise(N, T, H, W),
        noise(N, T, H, W, 2),
        noise(N, T, H, W, 2, 2),
        noise(T, H, W),
        noise(N, T, H),
    )
    fields: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "t0_fields/pressure": (p, {}),
        "t0_fields/forcing": (forcing, {"sample_varying": False}),
        "t0_fields/profile": (profile, {"dim_varying": [True, False]}),
        "t0_fields/thin": (profile[..., None], {"dim_varying": [True, False]}),
        "t0_fields/mask": (noise(N, H, W), {"time_varying": False}),
        "t1_fields/velocity": (v, {}),
        "t2_fields/D": (t, {"symmetric": True}),
    }
    seen = {"sample_varying": True}
    path = well(
        tmp_path / "w.hdf5", fields, nu=(np.arange(N), seen), clock=(np.arange(T), {"time_varying": True}), g=9.81
    )
    with h5py.File(path, "r+") as file:
        file["t0_fields"].attrs["field_names"] = ["pressure", "profile", "forcing", "mask", "thin"]
    r = open_recording(path)
    assert r.fields == (
        *("pressure", "profile", "forcing", "thin", "velocity_x", "velocity_y"),
        *("D_xx", "D_xy", "D_yx", "D_yy"),
    )
    x = r.frames(1, slice(2, 5))
    assert x.shape == (3, H, W, 10)
    np.testing.assert_array_equal(x[..., 0], p[1, 2:5])
    np.testing.assert_array_equal(x[..., 1], np.broadcast_to(profile[1, 2:5, :, None], (3, H, W)))
    np.testing.assert_array_equal(x[..., 2], forcing[2:5])
    np.testing.assert_array_equal(x[..., 3], x[..., 1])
    np.testing.assert_array_equal(x[..., 5], v[1, 2:5, ..., 1])
    np.testing.assert_array_equal(x[..., 7], t[1, 2:5, ..., 0, 1])
    assert r.parameters[2] == {"ParamA": 0.5, "nu": 2.0, "g": 9.81}
    assert [text.split(":")[0] for text in r.left_out] == ["mask", "clock", "walls"]
    assert "changes in time" in r.left_out[1]


# Axes that have names


def netcdf(path: Path, dims: dict[str, Any], variables: dict[str, tuple[tuple[str, ...], np.ndarray]]) -> Path:
    """HDF5 with dimension scales."""
    with h5py.File(path, "w") as file:
        for name, values in dims.items():
            file[name] = np.asarray(values, float)
            file[name].make_scale(name)
        for name, (axes, array) in variables.items():
            file[name] = array
            for i, axis in enumerate(axes):
                file[name].dims[i].attach_scale(file[axis])
    return path


def test_dimension_scales_say_which_axis_is_which(tmp_path: Path) -> None:
    u, v, drag, land = noise(T, N, W, H), noise(T, W, H), noise(N), noise(W, H)
    dims = {"sample": range(N), "Time": range(T), "x": range(H), "y": range(W)}
    variables = {
        "u": (("Time", "sample", "y", "x"), u),
        "v": (("Time", "y", "x"), v),
        "drag": (("sample",), drag),
        "land": (("y", "x"), land),
        "mean": (("Time",), noise(T)),
    }
    r = open_recording(netcdf(tmp_path / "a.nc", dims, variables))
    assert (r.fields, r.shape) == (("u", "v"), (N, T, H, W))
    np.testing.assert_array_equal(r.frames(1, slice(1, 3))[..., 0], np.swapaxes(u[1:3, 1], 1, 2))
    np.testing.assert_array_equal(r.trajectory(2)[..., 1], np.swapaxes(v, 1, 2))
    assert [p["drag"] for p in r.parameters] == drag.astype(float).tolist()
    assert [text.split(":")[0] for text in r.left_out] == ["land", "mean"]


def test_weather_as_netcdf_has_levels_as_channels_and_is_unpacked(tmp_path: Path) -> None:
    stored = np.arange(T * 2 * H * W, dtype=np.int16).reshape(T, 2, H, W)
    dims = {"time": range(T), "level": [500, 850], "latitude": range(H), "longitude": range(W)}
    path = netcdf(tmp_path / "era5.nc", dims, {"z": (("time", "level", "latitude", "longitude"), stored)})
    with h5py.File(path, "r+") as file:
        file["z"].attrs.update(scale_factor=0.5, add_offset=10.0, _FillValue=np.int16(3))
        file["time"].attrs.update(units="hours since 1900-01-01", bounds="a_bnds")
        file["a_bnds"], file["nv"] = np.zeros((T, 2)), np.arange(2)
        for i, name in enumerate(("time", "nv")):
            file[name].make_scale(name)
            file["a_bnds"].dims[i].attach_scale(file[name])
    r = open_recording(path)
    assert (r.fields, r.shape) == (("z_500", "z_850"), (1, T, H, W))
    expected = 0.5 * np.moveaxis(stored, 1, -1) + 10
    x = r.trajectory(0)
    assert np.isnan(x[0, 0, 3, 0]) and np.isnan(x).sum() == 1
    np.testing.assert_array_equal(np.nan_to_num(x, nan=11.5), expected)
    said = " ".join(r.assumed)
    assert "hours since 1900" in said and "level is taken for channels" in said and "latitude, longitude" in said
    with pytest.raises(ValueError, match="already declares its axes; omit --axes TXY"):
        open_recording(path, axes="TXY")


def test_named_axes_without_time_are_refused_with_their_names(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", {"x": range(H), "y": range(W)}, {"u": (("x", "y"), noise(H, W))})
    with pytest.raises(ValueError, match=r"no array over time and space, but u \[x, y\]; rename the axes"):
        open_recording(path)


def test_zarr_and_netcdf_3(tmp_path: Path) -> None:
    xarray, _ = pytest.importorskip("xarray"), pytest.importorskip("zarr")
    u = noise(N, T, W, H)
    data = xarray.Dataset(
        {"u": (("sample", "time", "y", "x"), u), "nu": ("sample", np.arange(N) / 10.0), "land": (("y", "x"), u[0, 0])},
        {"time": np.arange(T) / 4, "x": np.arange(H), "y": np.arange(W), "sample": np.arange(N)},
        {"beta": 2.0},
    )
    data.to_zarr(tmp_path / "a.zarr", consolidated=False)
    data.to_netcdf(tmp_path / "a.nc", engine="scipy")
    for name in ("a.zarr", "a.nc"):
        r = open_recording(tmp_path / name)
        assert (r.fields, r.shape, r.time_step) == (("u",), (N, T, H, W), 0.25)
        assert r.parameters == [{"beta": 2.0, "nu": i / 10} for i in range(N)]
        np.testing.assert_array_equal(r.frames(1, slice(2, 4))[..., 0], np.swapaxes(u[1, 2:4], 1, 2))
        assert r.left_out == ("land: does not change in time",)
    assert [r.path.name for r in open_recordings(tmp_path)] == ["a.nc", "a.zarr"]


@pytest.mark.parametrize("kind", ["Zarr", "netCDF-3"])
def test_without_xarray_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / "a.zarr" if kind == "Zarr" else tmp_path / "a.nc"
    if kind == "Zarr":
        path.mkdir()
        (path / "zarr.json").write_text("{}")
    else:
        path.write_bytes(b"CDF\x01" + bytes(64))
    for name in ("xarray", "zarr", "scipy"):
        monkeypatch.setitem(sys.modules, name, None)
    done = ccm("data", "describe", path)
    assert done.exit_code == 2
    assert done.output.startswith(f"ccm: {path} is {kind}, which xarray and")
    assert done.output.endswith("would open; run: pip install 'ccm_jax[xarray]'.\n")


# Axes that the user names


@pytest.mark.parametrize("axes", ["NTCXY", "TNYXC", "CNTYX", "N,T,C,1,X,Y"])
def test_axes_in_any_order(tmp_path: Path, axes: str) -> None:
    x = trajectories()
    stored = x.transpose([{"N": 0, "T": 1, "X": 2, "Y": 3, "C": 4}[a] for a in axes if a in "NTXYC"])
    if "1" in axes:
        stored = np.expand_dims(stored, 3)
    np.save(tmp_path / "a.npy", stored)
    np.savez(tmp_path / "b.npz", states=stored, nu=np.arange(N), times=np.arange(T + 1))
    write(tmp_path / "c.h5", {"states": stored, "nu": np.arange(N), "t": np.arange(T)})
    for name in ("a.npy", "b.npz", "c.h5"):
        r = open_recording(tmp_path / name, axes=axes)
        assert r.shape == (N, T, H, W) and not [text for text in r.assumed if "taken for" in text]
        for i in range(N):
            np.testing.assert_array_equal(r.trajectory(i), x[i])
        np.testing.assert_array_equal(r.frames(1, slice(2, 4)), x[1, 2:4])
        if name != "a.npy":
            assert r.parameters == [{"nu": float(i)} for i in range(N)]


def test_axes_of_groups_and_of_fields_without_channels(tmp_path: Path) -> None:
    x = trajectories()
    path = write(tmp_path / "g.h5", {f"{i}/data": np.swapaxes(x[i], 1, 2) for i in range(N)})
    np.testing.assert_array_equal(open_recording(path, axes="TYXC").trajectory(1), x[1])
    with pytest.raises(ValueError, match="has a group for each sample; leave N out"):
        open_recording(path, axes="NTYXC")
    path = write(tmp_path / "f.h5", {"u": x[0, ..., 0], "v": x[0, ..., 1], "t": np.arange(T)})
    r = open_recording(path, axes="TXY")
    assert r.fields == ("u", "v")
    np.testing.assert_array_equal(r.trajectory(0), x[0])


@pytest.mark.parametrize("axes", ["NCXY", "NTTX", "NTY", "NTXQ", ""])
def test_axes_that_are_none_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match=r"expected each axis in the order in which it is stored: N for samples"):
        rules.parse_axes(axes)


def test_axes_of_another_number_name_the_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", noise(T, H, W))
    with pytest.raises(ValueError, match=rf"fits nothing in .*a.npy, which holds frames \[{T}, {H}, {W}\]"):
        open_recording(tmp_path / "a.npy", axes="NTXYC")


@pytest.mark.parametrize(
    ("shape", "likely"),
    [((6, 9, 1, 16, 16), "NTCXY"), ((9, 16, 16), "TXY"), ((5, 9, 16, 16), "NTXY"), ((5, 9, 1, 160), "NTCX")]
    + [((6, 21, 64, 1), "NTXC"), ((9, 8, 8, 8, 2), "TXYZC")],
)
def test_what_is_assumed_of_an_array_names_the_axes_that_it_may_have(
    tmp_path: Path, shape: tuple[int, ...], likely: str
) -> None:
    np.save(tmp_path / "a.npy", noise(*shape))
    (said,) = open_recording(tmp_path / "a.npy").assumed
    assert f"--axes {likely} " in said and f"for {shape[-1]} channel" in said and "x[..., None]" in said
    assert not open_recording(tmp_path / "a.npy", axes=likely).assumed


# What is read


class Counted:
    """Counts the numbers that are read from HDF5."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers, plain = 0, h5py.Dataset.__getitem__

        def read(dataset: Any, index: Any, *rest: Any, **more: Any) -> Any:
            found = plain(dataset, index, *rest, **more)
            self.numbers += np.size(found)
            return found

        monkeypatch.setattr(h5py.Dataset, "__getitem__", read)


LONG = 400  # frames


def groups_file(path: Path) -> Path:
    return write(path / "g.h5", {f"{i}/data": noise(LONG, 8, 8, 1) for i in range(3)})


def flat_file(path: Path) -> Path:
    return write(path / "f.h5", {"u": noise(3, LONG, 8, 8)})


def well_file(path: Path) -> Path:
    return well(path / "w.h5", {"t0_fields/u": (noise(3, LONG, H, W), {})}, LONG)


def scales_file(path: Path) -> Path:
    dims = {"sample": range(3), "time": range(LONG), "x": range(8), "y": range(8)}
    return netcdf(path / "s.nc", dims, {"u": (tuple(dims), noise(3, LONG, 8, 8))})


def matlab_file(path: Path) -> Path:
    arrays = {"a": noise(8, 8, 3), "u": noise(LONG, 8, 8, 3), "t": np.arange(1.0, LONG + 1)[:, None]}
    return write(path / "NavierStokes_V1e-3_N3.mat", arrays)


@pytest.mark.parametrize("make", [groups_file, flat_file, well_file, scales_file, matlab_file])
def test_only_the_frames_that_are_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    whole = open_recording(path)
    expected = whole.trajectory(1)[:5]
    counted = Counted(monkeypatch)
    r = open_recording(path)
    assert counted.numbers < 10 * LONG  # times and points, no frames
    counted.numbers = 0
    np.testing.assert_array_equal(r.frames(1, slice(5)), expected)
    assert counted.numbers <= 5 * 64


def test_a_cut_of_the_fno_s_frames_begins_where_it_is_asked_to(tmp_path: Path) -> None:
    r = open_recording(matlab_file(tmp_path))
    x = r.trajectory(2)
    for cut in (slice(0, 1), slice(1, 2), slice(0, 7, 3), slice(1, 9, 4), slice(399, 999), slice(3, 3), slice(None)):
        np.testing.assert_array_equal(r.frames(2, cut), x[cut])


def test_frames_in_an_npz_are_views_of_the_disk(tmp_path: Path) -> None:
    x = noise(2, LONG, 8, 8, 1)
    np.savez(tmp_path / "a.npz", frames=x)
    np.savez_compressed(tmp_path / "b.npz", frames=x)
    for name in ("a.npz", "b.npz"):
        np.testing.assert_array_equal(open_recording(tmp_path / name).frames(1, slice(3, 5)), x[1, 3:5])


# In the terminal


def test_describe_says_what_is_assumed_and_what_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {"u": noise(2, T, H, W), "still": noise(2, 1, H, W)})
    done = ccm("data", "describe", path)
    assert done.exit_code == 0, done.output
    assert "assumed: axes are taken for sample, time, x, y\n" in done.output
    assert "left out: still: does not change in time\n" in done.output
    np.save(tmp_path / "b.npy", noise(2, T, 1, 9, 9))
    plain, first = (ccm("data", "describe", tmp_path / "b.npy", *more) for more in ((), ("--axes", "NTCXY")))
    assert "--axes NTCXY" in re.sub(r"\s+", " ", plain.output)
    assert "9×9" in first.output and "assumed" not in first.output
    wrong = ccm("data", "describe", path, "--fields", "u,w")
    assert wrong.exit_code == 2 and "expected some of u, each once" in wrong.output


def test_holes_in_a_file_ask_for_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "times.h5", "w") as file:
        file.create_dataset("w", (2, 10**11, 4), "f4", chunks=(1, 1, 4))
        file.create_dataset("t", (10**11,), "f8", chunks=(1024,))
    with h5py.File(tmp_path / "samples.h5", "w") as file:
        file.create_dataset("w", (10**11, 2, 4), "f4", chunks=(1, 1, 4))
    for name, message in (("times", "/t takes 800000000000 bytes"), ("samples", "100000000000 samples, more than")):
        with pytest.raises(ValueError, match=message):
            open_recording(tmp_path / f"{name}.h5")


def test_a_refusal_names_the_axes_with_which_the_network_runs(tmp_path: Path) -> None:
    family = make_family(tmp_path)
    seen = np.load(family / "seen.npy")
    np.save(tmp_path / "first.npy", np.moveaxis(seen, -1, 2))

    def rollout(name: str, *more: Any) -> Any:
        how = ("--model", "neuraloperator", "--initial", tmp_path / f"{name}.npy", "--steps", "2", "--sample", "1")
        return ccm("rollout", family / "low.safetensors", *how, *more, "-o", tmp_path / f"from_{name}.npz")

    refused = rollout("first")
    assert refused.exit_code == 2 and not (tmp_path / "from_first.npz").exists()
    assert "first.npy is read as 3 samples, 7 frames, grid 1×12, 12 channels, and only NTCXY fits" in refused.output
    assert "add --axes NTCXY." in refused.output
    for name, more in (("first", ("--axes", "NTCXY")), ("seen", ())):
        done = rollout(name, *more)
        assert done.exit_code == 0, done.output
    first, seen = (np.load(tmp_path / f"from_{name}.npz")["frames"] for name in ("first", "seen"))
    np.testing.assert_array_equal(first, seen)


def test_an_empty_axis_holds_no_frames_and_a_broken_link_is_left_out(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["u"] = np.zeros((0, T, H, W))
    with pytest.raises(ValueError, match=r"u is empty: shape \[0, 6, 4, 5\] holds no frames"):
        open_recording(tmp_path / "none.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["u"], file["lost"] = np.zeros((N, T, H, W)), h5py.SoftLink("/nothing")
    found = open_recording(tmp_path / "link.h5")
    assert found.shape == (N, T, H, W) and found.left_out == ("lost: not an array of real numbers",)


def test_a_zarr_array_without_a_group_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "array"}')
    with pytest.raises(ValueError, match="is one Zarr array, whose axes have no names; write it by xarray's to_zarr"):
        open_recording(tmp_path / "a.zarr")


def test_packed_coordinates_parameters_and_unsigned_numbers_are_unpacked(tmp_path: Path) -> None:
    stored = np.arange(N * T * H * W, dtype=np.uint8).reshape(N, T, H, W)
    with h5py.File(tmp_path / "a.nc", "w") as file:
        lengths = {"sample": N, "time": T, "x": H, "y": W}
        for name, n in lengths.items():
            values = np.arange(n, dtype=np.int16)
            file[name] = values
            file[name].make_scale(name)
        file["time"].attrs["scale_factor"] = 0.25
        file["u"] = stored.view(np.int8)
        file["u"].attrs.update({"_Unsigned": "true", "_FillValue": 1e20})  # a value that the type does not have
        for axis, name in enumerate(lengths):
            file["u"].dims[axis].attach_scale(file[name])
        file["nu"] = np.arange(N, dtype=np.int16)
        file["nu"].attrs["scale_factor"] = 1e-4
        file["nu"].dims[0].attach_scale(file["sample"])
    found = open_recording(tmp_path / "a.nc")
    assert found.time_step == 0.25
    np.testing.assert_allclose([row["nu"] for row in found.parameters], 1e-4 * np.arange(N))
    np.testing.assert_array_equal(found.trajectory(1)[..., 0], stored[1])


def test_samples_on_other_points_are_refused(tmp_path: Path) -> None:
    path = recordings.diff_react(tmp_path)
    with h5py.File(path, "r+") as file:
        file["0001/grid/x"][...] *= 2
    with pytest.raises(ValueError, match="0001 has other points along x than 0000; put them into two files"):
        open_recording(path)


def test_times_of_samples_in_single_precision_and_under_other_names(tmp_path: Path) -> None:
    times = (500 + 40 * np.arange(N)[:, None] + 0.02 * np.arange(T)).astype(np.float32)
    np.savez(tmp_path / "a.npz", frames=np.ones((N, T, H, W, 1)), t=times)
    assert open_recording(tmp_path / "a.npz").time_step == pytest.approx(0.02, rel=1e-2)


def test_axes_are_typed_once_for_the_observed_frames_and_for_validation(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 5, 2, 8, 8)).astype(np.float32)  # sample, time, channel, x, y
    layout = Layout(axes="TCXY")
    np.save(tmp_path / "seen.npy", x[0])
    np.save(tmp_path / "others.npy", x)
    expected = np.moveaxis(x, 2, -1)
    line = np.arange(8.0)
    how = {"fields": ["w", "v"], "times": np.arange(5.0), "axes": [line, line]}
    write_recording(tmp_path / "known.h5", expected, [{"viscosity": v} for v in (1e-3, 2e-3, 3e-3)], **how)
    np.testing.assert_array_equal(layout.open(tmp_path / "seen.npy").trajectory(0), expected[0])
    for name in ("others.npy", "known.h5"):
        found = layout.open_validation(tmp_path / name)
        np.testing.assert_array_equal(np.stack([found.trajectory(i) for i in range(3)]), expected)
    # What is typed goes before what a file tells of its axes in part: here, how many are of space.
    square = np.random.default_rng(1).normal(size=(2, 3, 8, 8, 1)).astype(np.float32)
    np.savez(tmp_path / "turned.npz", frames=square, dim=2)
    found = Layout(axes="NTYXC").open_validation(tmp_path / "turned.npz")
    np.testing.assert_array_equal(found.trajectory(1), np.swapaxes(square[1], 1, 2))
    np.save(tmp_path / "flat.npy", x[0, 0])
    with pytest.raises(ValueError, match="--axes TCXY .* fits nothing in .*flat.npy"):
        layout.open_validation(tmp_path / "flat.npy")


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.mat"])
def test_a_time_step_beside_the_frames_is_no_physical_parameter(tmp_path: Path, name: str) -> None:
    def write_as(name: str, **beside: Any) -> Path:
        path, arrays = tmp_path / name, {"frames": noise(2, 5, 8, 8, 1)} | beside
        if name.endswith("h5"):
            return write(path, arrays)
        np.savez(path, **arrays) if name.endswith("npz") else savemat(path, arrays)
        return path

    axes = "NTXYC" if name.endswith("mat") else None
    found = open_recording(write_as(name, dt=0.5, nu=0.95), axes=axes)
    assert found.parameters == [{"nu": 0.95}] * 2 and found.time_step == 0.5
    assert "dt = 0.5 is taken for the time between frames" in found.assumed
    found = open_recording(write_as(name, dt=0.5, times=np.arange(5.0)), axes=axes)
    assert found.parameters == [{}] * 2 and found.time_step == 1
    assert any(text.startswith("dt: ") for text in found.left_out) or name.endswith("h5")
    with pytest.raises(ValueError, match=r"dt is -1, expected a time between frames above 0; correct it"):
        open_recording(write_as(name, dt=-1.0), axes=axes)


def test_a_file_without_times_says_how_to_give_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=noise(2, 5, 8, 8, 1))
    assert "times: none; write times=..." in ccm("data", "describe", tmp_path / "a.npz").stdout


def test_regimes_are_named_by_the_parameters_that_differ(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=noise(3, 5, 8, 8, 1), nu=[0.5, 0.5, 1.0], drag=0.1)
    regimes = read_regimes(open_recording(tmp_path / "a.npz"))
    assert list(regimes.trajectories) == ["nu = 0.5", "nu = 1"]
    assert regimes.parameters == [{"nu": 0.5, "drag": 0.1}, {"nu": 1.0, "drag": 0.1}]
    np.savez(tmp_path / "b.npz", frames=noise(3, 5, 8, 8, 1), nu=0.5)
    assert list(read_regimes(open_recording(tmp_path / "b.npz")).trajectories) == ["nu = 0.5"]


def test_a_folder_is_described_though_a_file_of_it_is_damaged(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=np.zeros((2, 5, 8, 8, 1)))
    np.savez(tmp_path / "b.npz", data=np.zeros((3, 5, 8, 8, 1)))
    (tmp_path / "c.npz").write_text("no archive")
    done = ccm("data", "describe", tmp_path)
    assert done.exit_code == 0 and "a.npz" in done.stdout and "b.npz" in done.stdout
    assert "c.npz cannot be read" in done.stderr
    np.savez(tmp_path / "b.npz", data=np.zeros((3, 5, 16, 16, 1)))
    assert "put them into two folders" in ccm("data", "describe", tmp_path).stderr
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_text("no archive")
    done = ccm("data", "describe", tmp_path)
    assert done.exit_code == 2 and "cannot be read" in done.stderr
