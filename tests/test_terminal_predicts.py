"""The terminal on descriptions of one's own network that are wrong: what it predicts, its channels, and who says so."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax.cli.predicts import Reading, reading_of
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from tests.terminal import ccm

# A frame is 0.75 of the one before it and 0.24 of that beside it; the same network as a frame, an increment and a rate.
NETWORK = """
import jax.numpy as jnp

def frame(params, window):
    x = window[:, -1]
    return params["here"][0] * x + params["beside"][0] * jnp.roll(x, 1, axis=1)

def increment(params, window):
    return frame(params, window) - window[:, -1]

def centred(params, window):  # of states with mean 3 and deviation 2
    return (frame(params, 2 * window + 3) - 3) / 2

def strict(params, window):
    assert window.shape[1:] == (1, 64, 1)
    return frame(params, window)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``fam`` of the network, and trajectories ``seen.npz``; it is the folder that ``ccm`` runs in."""
    (tmp_path / "own_mover.py").write_text(NETWORK)
    (tmp_path / "fam").mkdir()
    for name, here in (("anchor", 0.7), ("low", 0.6), ("high", 0.8)):
        tree = {"here": np.array([here], np.float32), "beside": np.array([0.99 - here], np.float32)}
        save_safetensors(tmp_path / "fam" / f"{name}.safetensors", tree)
    x = np.random.default_rng(0).standard_normal((3, 64, 1))
    frames = [x + np.roll(x, 1, axis=1) + np.roll(x, 2, axis=1)]
    for _ in range(9):
        frames.append(0.75 * frames[-1] + 0.24 * np.roll(frames[-1], 1, axis=1))
    np.savez(tmp_path / "seen.npz", frames=np.stack(frames, axis=1).astype(np.float32), dim=1)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def describe(path: Path, **said: Any) -> str:
    path.write_text("".join(f"{key}: {value}\n" for key, value in said.items()))
    return path.name


CASES = {
    "increment": ("increment", {}, "own_mover:increment seems to predict increments: one step ahead, its error is "),
    "frame": (
        "frame",
        {"predicts": "increment"},
        "write the line 'predicts: frame' into net.yaml, in place of predicts: increment.",
    ),
    "rate": ("frame", {"predicts": "rate", "time_step": 0.5}, "write the line 'predicts: frame' into net.yaml"),
}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_the_other_reading_of_an_output_is_tried_and_told(own: Path, case: str) -> None:
    name, said, line = CASES[case]
    model = f"own_mover:{name}"
    model = describe(own / "net.yaml", model=model, **said) if said else model
    remedy = "into a file network.yaml, and pass it as --model" if not said else line
    family = ("--family", "fam", "--model", model)
    refused = [
        ccm("calibrate", *family, "--prefix", "seen.npz", "--sample", 0, "--bank", "-1:1:0.5"),
        ccm("evaluate", *family, "--trajectories", "seen.npz"),
    ]
    for done in refused:
        assert done.exit_code == 2 and line in done.output and remedy in done.output, done.output
        assert "check units" not in done.output and "repeating the last frame has error" in done.output
    rolled = ccm(
        "rollout", "fam/anchor.safetensors", "--model", model, "--initial", "seen.npz", "--truth", "-o", "r.npz"
    )
    assert rolled.exit_code == 0 and line.rstrip(".") in rolled.output, rolled.output


@pytest.mark.long
def test_what_is_read_rightly_or_neither_way_is_not_told_another_reading(own: Path) -> None:
    weights, frames = open_weights(own / "fam" / "anchor.safetensors"), np.load(own / "seen.npz")["frames"]
    right = describe(own / "net.yaml", model="own_mover:increment", predicts="increment")
    assert reading_of(weights, right, frames) == reading_of(weights, "own_mover:frame", frames) == Reading(own=True)
    assert reading_of(weights, "own_mover:increment", None) == Reading(own=True)
    assert reading_of(weights, "own_mover:increment", frames[:, :1]) == Reading(own=True)
    # A normalisation outside of the network: its mean is no part of an increment.
    scale = {"mean": 3.0, "std": 2.0}
    wrong = describe(own / "wrong.yaml", model="own_mover:centred", predicts="increment", **scale)
    assert "write the line 'predicts: frame' into wrong.yaml" in reading_of(weights, wrong, frames).better
    np.savez("other.npz", frames=9 + 1e-3 * np.random.default_rng(1).standard_normal((1, 9, 64, 1)), dim=1)
    done = ccm("calibrate", "--family", "fam", "--model", "own_mover:increment", "--prefix", "other.npz")
    assert (
        done.exit_code == 2 and "order of channels, and the mean, std and predicts (frame or increment)" in done.output
    )


def test_a_wrong_line_on_channels_is_to_be_removed_first(own: Path) -> None:
    model = describe(own / "net.yaml", model="own_mover:strict", channels="first")
    done = ccm("calibrate", "--family", "fam", "--model", model, "--prefix", "seen.npz", "--sample", 0)
    assert done.exit_code == 2 and "net.yaml says 'channels: first', and without this line" in done.output, done.output
    assert "remove it" in done.output


def test_the_file_that_names_a_module_is_named(own: Path) -> None:
    family = ("--family", "fam")
    made = ccm("calibrate", *family, "--model", "own_mover:frame", "--prefix", "seen.npz", "-o", "m.safetensors")
    assert made.exit_code == 0, made.output
    done = ccm("evaluate", *family, "--merged", "m.safetensors", "--trajectories", "seen.npz")
    assert done.exit_code == 2 and "m.safetensors says that its network is own_mover:frame" in done.output
    assert "anchor" not in done.output


BATCHED = """
import equinox as eqx, jax

class Net(eqx.Module):
    layer: eqx.nn.Conv1d

    def __call__(self, x):  # [N, X, C], of a batch
        return jax.vmap(lambda one: self.layer(one.T).T)(x)

def build(seed=0):
    return Net(eqx.nn.Conv1d(1, 1, 3, padding=1, key=jax.random.key(seed)))
"""


def test_a_network_of_batches_is_told_what_to_write(own: Path) -> None:
    """And not to read the axes of a good file otherwise."""
    eqx = pytest.importorskip("equinox")
    (own / "own_batched.py").write_text(BATCHED)
    build = importlib.import_module("own_batched").build
    (own / "nets").mkdir()
    for seed, name in enumerate(("anchor", "low", "high")):
        eqx.tree_serialise_leaves(own / "nets" / f"{name}.eqx", build(seed))
    how = ("calibrate", "--family", "nets", "--prefix", "seen.npz", "--sample", 0, "--model")
    done = ccm(*how, "own_batched:build")
    said = (
        "with batched: true, channels: last: pass a YAML file as --model: model: own_batched:build, batched: true, "
        "chann"
    )
    assert done.exit_code == 2 and said in done.output and "--axes" not in done.output, done.output
    model = describe(own / "half.yaml", model="own_batched:build", channels="last")
    assert "with batched: true: write batched: true into half.yaml" in ccm(*how, model).output
