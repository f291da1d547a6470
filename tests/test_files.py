"""Every layout gives the same numbers, in the same order of axes; and what is broken is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.files import common_parameter, open_recording, open_recordings, write_recording
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
    assert (r.layout, r.fields, r.shape) == ("pdebench-flat", ("Vx", "density"), (N, T, H, W))
    np.testing.assert_array_equal(r.trajectory(1), trajectories()[1])
    assert r.times is not None and len(r.times) == T
    assert r.parameters[0] == {"eta": 0.01}


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


def test_broken_files_are_said(tmp_path: Path) -> None:
    whole = recordings.diff_react(tmp_path).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.h5"):
        open_recording(tmp_path / "cut.h5")
    (tmp_path / "text.h5").write_text("no data")
    with pytest.raises(ValueError, match="no whole file of a known kind"):
        open_recording(tmp_path / "text.h5")
    with pytest.raises(ValueError, match="sample 7, expected 0 to 2"):
        open_recording(tmp_path / "2D_diff-react_NA_NA.h5").trajectory(7)
    with pytest.raises(ValueError, match="no parameter viscosity or nu or visc; it has Du, Dv, k, seed"):
        common_parameter(open_recording(tmp_path / "2D_diff-react_NA_NA.h5"), "viscosity")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects.npy"):
        open_recording(tmp_path / "objects.npy")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"expected real frames \[T, H, W, C\]"):
        open_recording(tmp_path / "flat.npy")
