"""Files larger than memory: verbs read the frames that they need, and a prefix of 8 GB takes less than 1 GB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ccm_jax.cli import frames
from tests.terminal import ccm, make_family, of

GB = 10**9
LONG = 300  # frames, of which a window of one and four are needed


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints, and what they predict followed by many frames of nothing in particular."""
    folder = make_family(tmp_path_factory.mktemp("family"))
    seen = np.load(folder / "seen.npy")
    x = np.concatenate([seen, np.full((len(seen), LONG - seen.shape[1], *seen.shape[2:]), np.nan, seen.dtype)], axis=1)
    with h5py.File(folder / "long.h5", "w") as file:
        file.create_dataset("w", data=x[..., 0], chunks=(1, 1, *x.shape[2:4]))
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each reading from HDF5."""
    plain, found = h5py.Dataset.__getitem__, []

    def counted(dataset: Any, index: Any, *rest: Any, **more: Any) -> Any:
        array = plain(dataset, index, *rest, **more)
        found.append(np.asarray(array).nbytes)
        return array

    monkeypatch.setattr(h5py.Dataset, "__getitem__", counted)
    return found


@pytest.mark.long
def test_a_prefix_costs_its_window_and_its_frames(family: Path, read: list[int], tmp_path: Path) -> None:
    how = ("--model", "neuraloperator", "--prefix", family / "long.h5", "--bank", "-2:2:0.25")
    done = ccm("calibrate", *of(family), *how, "--sample", "0,2", "--report", tmp_path / "found.json")
    assert done.exit_code == 0, done.output  # what follows the prefix is NaN, and is not looked at
    assert json.loads((tmp_path / "found.json").read_text())["coordinate"] == 1.25
    assert sum(read) == 2 * 5 * 144 * 4


def test_a_rollout_costs_its_window(family: Path, read: list[int], tmp_path: Path) -> None:
    how = ("--model", "neuraloperator", "--initial", family / "long.h5", "--steps", "2")
    done = ccm("rollout", family / "low.safetensors", *how, "-o", tmp_path / "out.npz")
    assert done.exit_code == 0, done.output
    assert sum(read) == 144 * 4


def test_what_does_not_fit_into_memory_is_refused_with_its_size(
    family: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "SHARE", 1e-9)
    how = ("--model", "neuraloperator", "--prefix", family / "long.h5")
    done = ccm("calibrate", *of(family), *how)
    assert done.exit_code == 2 and not read
    line = done.output.strip().splitlines()[-1]
    assert "5 frames of 3 samples take 0.0 GB" in line and "--sample" in line


SCRIPT = """
import resource, sys
from ccm_jax.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["h5", "npy"])
def test_a_prefix_of_eight_gigabytes_takes_less_than_one(family: Path, tmp_path: Path, kind: str) -> None:
    shape, path = (8, 4001, 256, 256), tmp_path / f"large.{kind}"
    begin = np.random.default_rng(0).standard_normal((8, 5, 256, 256)).astype(np.float32)
    if kind == "npy":
        file = np.lib.format.open_memmap(path, "w+", np.float32, (*shape, 1))
        file[:, :5, ..., 0] = begin
        file.flush()
        del file
    else:
        with h5py.File(path, "w") as file:
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)  # a file with holes: allocated at once, never filled
            settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple(shape)
            h5py.Dataset(h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F32LE, space, settings))[:, :5] = begin
    assert path.stat().st_size > 8 * GB
    report = ("--bank", "-1:1:1", "--accept-persistence", "--report", tmp_path / "found.json")
    words = ("calibrate", *of(family), "--model", "neuraloperator", "--prefix", path, *report)
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found.json").exists()
    assert int(done.stdout.split()[-1]) < GB, done.stdout
