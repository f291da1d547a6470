"""What ``ccm rollout`` says of the frames that it starts from, and of how it is called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.terminal import ccm

NETWORK = "def apply(params, window):\n    return params['scale'][0] * window[:, -1]\n"
MODEL = ("--model", "own_decay:apply")


@pytest.fixture
def decay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A family of a network of one's own that scales its frame, and a trajectory between its experts."""
    for name, scale in (("anchor", 0.9), ("low", 0.85), ("high", 0.95)):
        np.savez(tmp_path / f"{name}.npz", scale=np.array([scale], np.float32))
    frames = 0.93 ** np.arange(9)[:, None, None] * np.linspace(1, 2, 8)[:, None]
    np.savez(tmp_path / "seen.npz", frames=frames.astype(np.float32), dim=1)
    (tmp_path / "own_decay.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_rollout_from_frames_in_another_unit_than_those_calibrated_on_is_warned_of(decay: Path) -> None:
    done = ccm("calibrate", "--family", ".", *MODEL, "--prefix", "seen.npz", "-o", "merged.safetensors")
    assert done.exit_code == 0, done.output
    assert "- root mean square of the frames calibrated on: 1.3" in Path("merged.safetensors.md").read_text()
    frames = np.load("seen.npz")["frames"]
    for times, said in ((1000, "about 1,100 times larger"), (1e-3, "times smaller"), (5, ""), (0.2, "")):
        np.savez("start.npz", frames=(times * frames).astype(np.float32), dim=1)
        words = ("rollout", "merged.safetensors", *MODEL, "--initial", "start.npz", "-o", "r.npz", "--force")
        done = ccm(*words)
        assert done.exit_code == 0
        assert ("than those merged.safetensors was calibrated on" in done.stderr) == bool(said)
        assert said in done.stderr


def test_a_rollout_is_told_as_json_too(decay: Path) -> None:
    words = ("rollout", "anchor.npz", *MODEL, "--initial", "seen.npz", "-o", "r.npz")
    told = json.loads(ccm(*words, "--truth", "--json").stdout)
    assert told["output"] == "r.npz" and told["frames"] == told["finite_frames"] == 8 and told["shape"] == [8, 1]
    assert told["pictures"] == ["r.png"] and told["persistence_error"] > 0
    np.testing.assert_allclose(told["errors"], np.load("r.npz")["errors"])
    np.testing.assert_allclose(told["error"], np.mean(told["errors"]))
    told = json.loads(ccm(*words, "--force", "--json").stdout)
    assert told["error"] is told["errors"] is told["persistence_error"] is None


def test_a_family_without_validation_is_told_how_to_run_one_network(decay: Path) -> None:
    done = ccm("rollout", "--family", ".", *MODEL, "--initial", "seen.npz", "--truth", "-o", "r.npz")
    assert done.exit_code == 2 and not Path("r.npz").exists()
    (said,) = done.output.splitlines()
    assert "a family is calibrated first, for which --validation FILE is needed" in said
    assert said.endswith("name its file instead, as in: ccm rollout anchor.npz")
