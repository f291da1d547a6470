"""Trajectories from a solver to a file, by ``python -m experiments.generate``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ccm_jax.io.recordings import open_recording
from experiments import configs
from experiments.configs import ns_ood, rd_ood, rdb_ood
from experiments.pipeline.systems import grid_points

ROOT = Path(__file__).parent.parent


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.generate", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


def test_a_family_is_simulated_and_described(tmp_path: Path) -> None:
    out = tmp_path / "family.h5"
    done = generate("--config=rd_ood:smoke", "--value=5e-4,4e-3", "--count=2", f"--output={out}")
    assert done.returncode == 0, done.stderr
    recording = open_recording(out)
    assert recording.shape[:2] == (4, 11)
    assert [row["diffusivity_u"] for row in recording.parameters] == pytest.approx([5e-4, 5e-4, 4e-3, 4e-3])


def test_a_wrong_name_is_one_line() -> None:
    done = generate("--config=rd_odd", "--output=out.h5")
    assert done.returncode == 2 and "Did you mean rd_ood?" in done.stderr and "Traceback" not in done.stderr


def test_a_value_without_a_meaning_is_one_line(tmp_path: Path) -> None:
    done = generate("--config=rd_ood:smoke", "--value=-1e-3", f"--output={tmp_path / 'family.h5'}")
    assert done.returncode == 2 and "--value: " in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_points_lie_where_the_solver_has_them() -> None:
    assert set(configs.names()) >= {"rd_ood", "ns_ood", "rdb_ood"}
    cells, nodes, dam = (grid_points(c.get_config())[0] for c in (rd_ood, ns_ood, rdb_ood))
    np.testing.assert_allclose(cells[[0, -1]], [2.0 / 64, 2.0 - 2.0 / 64])  # cell centres of [0, 2]
    np.testing.assert_allclose(nodes[[0, -1]], [0.0, 1.0 - 1.0 / 32])  # nodes of a periodic box
    np.testing.assert_allclose(dam[[0, -1]], [-2.5 + 2.5 / 32, 2.5 - 2.5 / 32])  # cells around the dam
