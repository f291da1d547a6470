"""What the terminal suggests: commands filled in with the files that are there, other axes, and a verdict."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from ccm_jax.cli.frames import Layout
from ccm_jax.cli.readings import other_axes
from ccm_jax.cli.verdict import KINDS, Method, judge
from ccm_jax.cli.wanted import FRAMES, Options, words_of
from ccm_jax.io.recordings import open_recording
from ccm_jax.io.weights import Weights
from tests.terminal import ccm

NETWORK = "def apply(params, window):\n    return params['scale'][0] * window[:, -1]\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``fam`` of a network of one's own, and trajectories beside it."""
    (tmp_path / "fam").mkdir()
    for name, scale in (("anchor", 0.9), ("low", 0.89), ("high", 0.92)):
        np.savez(tmp_path / "fam" / f"{name}.npz", scale=np.array([scale], np.float32))
    np.savez(tmp_path / "seen.npz", frames=np.ones((9, 8, 1), np.float32), dim=1)
    np.savez(tmp_path / "val.npz", frames=np.ones((3, 9, 8, 1), np.float32), dim=1, rate=np.arange(3.0))
    (tmp_path / "own_scaling.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def next_of(*words: str) -> list[str]:
    done = ccm(*words)
    assert done.exit_code == 0, done.output
    return shlex.split(done.output.splitlines()[-1].removeprefix("Next: ccm "), comments=True)


def test_files_beside_the_folder_of_a_family_are_filled_in(own: Path) -> None:
    frames = ["--prefix", "seen.npz", "--sample", "0", "--validation", "val.npz"]
    model, out = ["--model", "MODEL"], ["-o", "merged.safetensors"]
    assert next_of("inspect", "fam") == ["calibrate", "--family", "fam", *model, *frames, *out]
    alone = ["--prefix", "seen.npz", "--validation", "val.npz"]
    assert next_of("data", "describe", "seen.npz") == ["calibrate", "--family", "fam", *model, *alone, *out]
    assert next_of("data", "describe", ".") == ["calibrate", "--family", "fam", *model, *frames, *out]
    merged = next_of("merge", "--family", "fam", "-c", "1", "-o", "m.safetensors")
    assert merged[-2:] == ["--trajectories", "seen.npz"]


def test_what_was_asked_for_is_suggested_again(own: Path) -> None:
    none = dict.fromkeys(Options._fields) | {"missing": "refuse", "frames": FRAMES, "parameter": (), "prior": ()}
    options = Options(**none | {"prefix": Path("seen.npz"), "layout": Layout(), "prior": ("1:2",), "log": True})
    assert words_of(options) == ["--prefix", "seen.npz", "--prior", "1:2", "--log"]
    more = options._replace(sample="0:2", frames=6, mask=Path("m.npy"), missing="nan", layout=Layout(axes="TXC"))
    assert ccm("calibrate", "--family", "fam", *words_of(more), "-o", "x.npz", "--help").exit_code == 0
    assert {"--sample", "--frames", "--mask", "--missing", "--axes"} <= set(words_of(more))
    assert "--frames" not in words_of(more._replace(until=0.1))


def test_what_a_rollout_stores_beside_its_frames_is_not_remarked_on(own: Path) -> None:
    frames, errors = np.ones((5, 8, 1), np.float32), np.ones(5, np.float32)
    np.savez("rollout.npz", frames=frames, dim=1, errors=errors, low=frames, high=frames, coordinates=np.ones((4, 2)))
    np.savez("own.npz", frames=frames, dim=1, odd=errors)
    assert "left out" not in ccm("data", "describe", "rollout.npz").output
    assert "left out: odd" in ccm("data", "describe", "own.npz").output


def test_axes_that_the_network_also_takes_are_named(own: Path) -> None:
    weights = Weights(Path("a.npz"), "npz", {"scale": np.ones(1, np.float32)}, {})
    np.save("box.npy", np.ones((11, 8, 8, 8, 1), np.float32))
    said = other_axes(weights, "own_scaling:apply", open_recording("box.npy"))
    assert said == (
        "its axes [11, 8, 8, 8, 1] are taken for sample, time, x, y, channel, and the network also takes them as "
        "--axes TXYZC"
    )
    assert not other_axes(weights, "own_scaling:apply", open_recording("box.npy", axes="TXYZC"))
    assert not other_axes(weights, "own_scaling:apply", open_recording("seen.npz"))  # dim says it


def test_a_verdict_says_the_same_error_and_what_would_be_enough() -> None:
    rng = np.random.default_rng(0)
    errors = 1 + 0.1 * rng.random(6)
    same = judge([Method("a", KINDS[2], "a", errors), Method("b", KINDS[2], "b", errors)]).text
    assert "a against b: the same error on each of 6 trajectories." in same
    near = judge([Method("a", KINDS[2], "a", errors), Method("b", KINDS[2], "b", errors[::-1] + 1e-9)]).text
    assert "Not told apart, and 1,000 trajectories like these would not be enough." in near
