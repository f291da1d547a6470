"""Every layout gives the same numbers, in the same order of axes; and what is broken is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ccm_jax.cli.frames import read_regimes, read_samples
from ccm_jax.io.atomic import together
from ccm_jax.io.recordings import by_value, common_parameter, open_recording, open_recordings, write_recording
from tests import recordings
from tests.recordings import H, N, T, W, trajectories


def test_pdebench_reaction_diffusion(tmp_path: Path) -> None:
    r = open_recording(recordings.diff_react(tmp_path))
    assert (r.layout, r.fields, r.shape) == ("pdebench", ("u", "v"), (N, T, H, W))
    np.testing.assert_array_equal(r.trajectory(1), trajectories()[1])
    np.testing.assert_array_equal(r.frames(2, slice(1, 3)), trajectories()[2, 1:3])
    np.testing.assert_array_equal(common_parameter(r, "diffusivity_u"), [1e-3] * N)
    assert r.times is not None and r.axes is not None
    assert [len(a) for a in (r.times, *r.axes)] == [T, H, W]


def test_pdebench_dam_break(tmp_path: Path) -> None:
    r = open_recording(recordings.dam_break(tmp_path))
    assert (r.fields, r.shape) == (("h",), (N, T, H, W))
    np.testing.assert_array_equal(r.trajectory(0), trajectories(1)[0])
    np.testing.assert_allclose(common_parameter(r, "dam_radius"), [0.3, 0.4, 0.5])


def test_pdeinvbench(tmp_path: Path) -> None:
    r = open_recording(recordings.inverse_bench(tmp_path))
    assert r.layout == "pdeinvbench"
    assert r.parameters[0] == {"Du": 0.1, "Dv": 0.2, "k": 0.05}
    np.testing.assert_array_equal(r.trajectory(2), trajectories()[2])


def test_pdebench_flat(tmp_path: Path) -> None:
    r = open_recording(recordings.flat(tmp_path))
    assert (r.layout, r.fields, r.shape) == ("pdebench-flat", ("density", "Vx"), (N, T, H, W))
    np.testing.assert_array_equal(r.trajectory(1), trajectories()[1][..., ::-1])  # the order of PDEBench's networks
    assert r.times is not None and len(r.times) == T
    assert r.parameters[0] == {"eta": 0.01}


def test_a_dataset_of_hdf5_whose_last_axis_is_one_has_a_channel_there(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["u"], file["nu"] = trajectories(1), np.array([0.1, 0.2, 0.3])
    r = open_recording(tmp_path / "plain.h5")
    assert (r.fields, r.shape, r.assumed) == (("u",), (N, T, H, W), ("axes are taken for sample, time, x, y, channel",))
    np.testing.assert_array_equal(r.trajectory(1), trajectories(1)[1])
    np.testing.assert_allclose(common_parameter(r, "nu"), [0.1, 0.2, 0.3])


def test_the_well(tmp_path: Path) -> None:
    r = open_recording(recordings.the_well(tmp_path))
    assert r.fields == ("density", "velocity_x", "velocity_y")
    np.testing.assert_array_equal(r.trajectory(1), trajectories(3)[1])
    np.testing.assert_array_equal(common_parameter(r, "viscosity"), [1e-3, 2e-3, 3e-3])
    assert r.parameters[2]["gravity"] == 9.81


@pytest.mark.parametrize("hdf5", [True, False])
def test_the_fno_s_matlab_files(tmp_path: Path, hdf5: bool) -> None:
    r = open_recording(recordings.fno_matlab(tmp_path, hdf5=hdf5))
    assert (r.layout, r.shape) == ("fno-mat", (N, T, H, W))
    np.testing.assert_array_equal(r.trajectory(1), trajectories(1)[1])
    np.testing.assert_array_equal(r.times, np.arange(T))
    np.testing.assert_array_equal(common_parameter(r, "viscosity"), [1e-3] * N)


def test_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", trajectories()[0])
    np.savez(tmp_path / "b.npz", frames=trajectories(), viscosity=2e-3, times=np.arange(T))
    np.testing.assert_array_equal(open_recording(tmp_path / "a.npy").trajectory(0), trajectories()[0])
    r = open_recording(tmp_path / "b.npz")
    np.testing.assert_array_equal(r.trajectory(2), trajectories()[2])
    assert common_parameter(r, "viscosity").tolist() == [2e-3] * N


@pytest.mark.parametrize("space", [(7,), (4, 5), (4, 5, 3)])
def test_numpy_of_one_two_and_three_axes(tmp_path: Path, space: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((2, 6, *space, 2)).astype(np.float32)
    np.savez(tmp_path / "many.npz", frames=x, dim=len(space))
    np.savez(tmp_path / "one.npz", frames=x[1], dim=len(space))
    many, one = (open_recording(tmp_path / f"{name}.npz") for name in ("many", "one"))
    assert (many.shape, one.shape) == ((2, 6, *space), (1, 6, *space))
    np.testing.assert_array_equal(many.trajectory(1), one.trajectory(0))
    np.save(tmp_path / "plain.npy", x[1] if len(space) == 1 else x)  # the unambiguous ones, and the usual reading
    if len(space) != 3 or x.ndim == 6:
        np.testing.assert_array_equal(open_recording(tmp_path / "plain.npy").frames(0, slice(1, 3)).shape[1:-1], space)


def test_lengths_tell_the_order_of_axes(tmp_path: Path) -> None:
    path = recordings.diff_react(tmp_path)
    with h5py.File(path, "r+") as file:
        for group in file:
            data = np.swapaxes(file[group]["data"][()], 1, 2)
            del file[group]["data"]
            file[group]["data"] = data  # x first, which its reaction-diffusion is not
    np.testing.assert_array_equal(open_recording(path).trajectory(1), trajectories()[1])
    turned = recordings.flat(tmp_path)
    with h5py.File(turned, "r+") as file:
        for name in ("Vx", "density"):
            data = np.swapaxes(file[name][()], 2, 3)
            del file[name]
            file[name] = data
    with pytest.raises(
        ValueError, match=r"5 points along x in its data, and coordinates of 4: its axes are in another"
    ):
        open_recording(turned)


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    known = [{"viscosity": 1e-3 * (i + 1)} for i in range(N)]
    how = {"fields": ("u", "v"), "times": 0.1 * np.arange(T), "axes": (np.arange(H), np.arange(W))}
    r = open_recording(write_recording(tmp_path / "a.h5", trajectories(), known, **how))  # type: ignore[arg-type]
    assert (r.fields, r.parameters) == (("u", "v"), known)
    for i in range(N):
        np.testing.assert_array_equal(r.trajectory(i), trajectories()[i])
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(ValueError, match="nothing is overwritten"):
        write_recording(tmp_path / "a.h5", trajectories(), known, **how)  # type: ignore[arg-type]
    assert (tmp_path / "a.h5").read_bytes() == before
    with pytest.raises(ValueError, match=r"expected \[3, 6, 5, 4, 2\]"):
        write_recording(tmp_path / "b.h5", trajectories(), known, **how | {"axes": how["axes"][::-1]})  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_a_folder_s_files_must_agree(tmp_path: Path) -> None:
    recordings.diff_react(tmp_path, "Du=0.1.h5")
    recordings.diff_react(tmp_path, "Du=0.2.h5", Du=0.2)
    assert [r.parameters[0]["Du"] for r in open_recordings(tmp_path)] == [1e-3, 0.2]
    recordings.dam_break(tmp_path)
    with pytest.raises(ValueError, match=r"has fields \('u', 'v'\), and .*2D_rdb_NA_NA.h5 \('h',\)"):
        open_recordings(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no files of trajectories"):
        open_recordings(tmp_path / "empty")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"times": 0.2 * np.arange(T)}, "b.h5 has a time step 0.2, and .*a.h5 0.1"),
        ({"axes": (2.0 * np.arange(H), np.arange(W))}, "b.h5 has points along x 0 to 6, and .*a.h5 0 to 3"),
    ],
)
def test_a_folder_s_files_must_agree_in_points_and_times(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    how = {"fields": ("u", "v"), "times": 0.1 * np.arange(T), "axes": (np.arange(H), np.arange(W))}
    for name, given in (("a", how), ("b", how | change)):
        write_recording(tmp_path / f"{name}.h5", trajectories(), [{}] * N, **given)
    with pytest.raises(ValueError, match=message):
        open_recordings(tmp_path)
    nearly = how | {"times": 0.1001 * np.arange(T), "axes": (np.arange(H) - 1e-12, np.arange(W))}
    write_recording(tmp_path / "b2.h5", trajectories(), [{}] * N, **nearly)
    (tmp_path / "b.h5").unlink()
    assert len(open_recordings(tmp_path)) == 2


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1, 3, 4], "frame 1 is at time 1 and the next at 3, expected frames one time step apart, 1; resample"),
        ([0.0, 2, 1, 3], "frame 1 is at time 2 and the next at 1, .*; sort them by time"),
        ([3.0, 2, 1, 0], "frame 0 is at time 3 and the next at 2, expected frames one time step apart; sort them"),
        ([1.0, 1, 1, 1], "frame 0 is at time 1 and the next at 1"),
        (np.float32(1e6) + np.arange(4, dtype=np.float32) / 8, None),  # even within their rounding
        (np.arange(4), None),
    ],
)
def test_uneven_times_are_refused_where_frames_are_read(tmp_path: Path, times: Any, message: str | None) -> None:
    np.savez(tmp_path / "a.npz", frames=np.ones((4, H, W, 1)), times=np.asarray(times))
    recording = open_recording(tmp_path / "a.npz")
    if message is None:
        assert read_samples(recording, [0]).shape[1] == 4
        return
    with pytest.raises(ValueError, match=message):
        _ = recording.time_step
    with pytest.raises(ValueError, match=message):
        read_samples(recording, [0])
    assert read_samples(recording, [0], 1).shape[1] == 1  # of one frame no time counts


@pytest.mark.parametrize("of_each", [False, True])
def test_times_that_are_not_finite_are_refused_by_their_number(tmp_path: Path, of_each: bool) -> None:
    times = np.arange(T) + 0.0
    times[1] = np.nan
    times = np.stack([np.arange(T), times]) if of_each else times
    np.savez(tmp_path / "a.npz", frames=np.ones((2, T, H, W, 1)), times=times)
    with pytest.raises(ValueError, match="has frames of which number 1 is nan, expected finite numbers; correct"):
        open_recording(tmp_path / "a.npz")


def test_groups_of_other_times_are_refused(tmp_path: Path) -> None:
    recordings.diff_react(tmp_path)
    with h5py.File(next(tmp_path.glob("*.h5")), "r+") as file:
        file[sorted(file)[-1]]["grid/t"][...] *= 2
    with pytest.raises(ValueError, match="samples of different time steps"):
        open_recordings(tmp_path)


def test_files_that_serve_one_network_have_one_time_step(tmp_path: Path) -> None:
    for name, step in (("a", 1.0), ("b", 0.5)):
        np.savez(tmp_path / f"{name}.npz", frames=np.ones((1, T, H, W, 1)), times=step * np.arange(T))
    one, other = (open_recording(tmp_path / f"{name}.npz") for name in "ab")
    with pytest.raises(ValueError, match=r"b.npz has frames 0.5 apart in time, and .*a.npz 1; a network predicts one"):
        read_regimes(other, one)


def test_trajectories_are_grouped_by_the_values_of_a_parameter(tmp_path: Path) -> None:
    path, x = tmp_path / "flows.npz", trajectories(3)
    np.savez(path, frames=x, nu=[2e-3, 1e-3, 2e-3])
    for given in (path, str(path), open_recording(path)):
        groups = by_value(given, "viscosity")
        assert list(groups) == [1e-3, 2e-3]
        np.testing.assert_array_equal(groups[2e-3], x[[0, 2]])
    with pytest.raises(ValueError, match="no parameter height or inner_height or h_in; it has nu"):
        by_value(path, "height")


def test_broken_files_are_said(tmp_path: Path) -> None:
    whole = recordings.diff_react(tmp_path).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.h5"):
        open_recording(tmp_path / "cut.h5")
    (tmp_path / "text.h5").write_text("no data")
    with pytest.raises(ValueError, match="no whole file of a known kind"):
        open_recording(tmp_path / "text.h5")
    with pytest.raises(ValueError, match="no sample 7; it has 3"):
        open_recording(tmp_path / "2D_diff-react_NA_NA.h5").trajectory(7)
    with pytest.raises(ValueError, match="no parameter viscosity or nu or visc; it has Du, Dv, k, seed"):
        common_parameter(open_recording(tmp_path / "2D_diff-react_NA_NA.h5"), "viscosity")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects.npy"):
        open_recording(tmp_path / "objects.npy")
    x = trajectories()[0]
    for name, extra, message in (
        ("dim.npz", {"dim": np.nan}, "dim.npz says dim = nan, expected 1, 2 or 3"),
        ("half.npz", {"dim": 2.5}, "half.npz says dim = 2.5, expected 1, 2 or 3"),
        ("once.npz", {"times": 0.5}, "once.npz has frames that are not a list of numbers"),
        ("text.npz", {"times": np.array(["a"] * T)}, "text.npz has frames that are not a list of numbers"),
    ):
        np.savez(tmp_path / name, frames=x, **extra)
        with pytest.raises(ValueError, match=message):
            open_recording(tmp_path / name)
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"expected real frames \[T, H, W, C\]"):
        open_recording(tmp_path / "flat.npy")


def test_the_step_of_a_file_with_a_gap_is_compared_too(tmp_path: Path) -> None:
    for name, times in (("a", [0.0, 0.5, 1.0, 5.0]), ("b", [0.0, 1.0, 2.0, 3.0])):
        np.savez(tmp_path / f"{name}.npz", frames=np.ones((1, 4, H, W, 1)), times=times)
    with pytest.raises(ValueError, match="a network predicts one time step"):
        read_regimes(open_recording(tmp_path / "b.npz"), open_recording(tmp_path / "a.npz"))


def test_what_somebody_else_has_written_meanwhile_stays(tmp_path: Path) -> None:
    main = tmp_path / "m.bin"
    with pytest.raises(ValueError, match=r"m.bin exists, and nothing is overwritten"), together(main) as place:
        place(main).write_bytes(b"ours")
        place(main.with_suffix(".md")).write_text("ours")
        main.write_bytes(b"theirs")
    assert main.read_bytes() == b"theirs" and [path.name for path in tmp_path.iterdir()] == ["m.bin"]


def test_a_list_with_a_number_for_each_sample_tells_a_line_from_a_plane(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(5, 9, 16, 1))
    np.savez(tmp_path / "line.npz", frames=frames, diffusivity=np.arange(5.0))
    line = open_recording(tmp_path / "line.npz")
    assert line.shape == (5, 9, 16) and [row["diffusivity"] for row in line.parameters] == [0, 1, 2, 3, 4]
    assert "because diffusivity has a number for each of 5; if they are others, say --axes" in line.assumed[0]
    np.testing.assert_array_equal(line.trajectory(1), frames[1].astype(np.float32))
    np.savez(tmp_path / "plane.npz", frames=frames, diffusivity=1.0)
    assert open_recording(tmp_path / "plane.npz").shape == (1, 5, 9, 16)
