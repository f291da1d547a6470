"""CCM-Scale in the terminal, files of another time step, and files that do not fit the network."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest

from ccm_jax.cli import _note, main
from ccm_jax.cli.frames import Layout, read_regimes
from ccm_jax.io.recordings import open_recording
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from tests.terminal import ccm, make_slow_family, of

NETWORK = """
import jax.numpy as jnp
import numpy as np

def apply(params, window):
    return window[:, -1] * jnp.exp(-0.1 * params["rate"][0] * jnp.arange(1.0, 9.0)[None, :, None] ** 1.5 / 4)
"""
RATES = (0.75, 0.9, 1.1, 1.3, 1.45)


def decay(seed: int, rate: float, frames: int) -> np.ndarray:
    """Trajectories ``[2, frames, 8, 1]`` whose points fall at rates of their own."""
    start = np.random.default_rng(seed).uniform(1, 2, (2, 1, 8, 1))
    falls = 0.1 * rate * np.arange(1.0, 9.0) ** 1.5 / 4
    return start * np.exp(-falls[None, None, :, None] * np.arange(frames)[None, :, None, None])


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of one weight, and validation trajectories, of each frame and of every second one."""
    folder = tmp_path_factory.mktemp("falls")
    (folder / "falling.py").write_text(NETWORK)
    for name, rate in (("anchor", 1.1), ("low", 0.7), ("high", 1.5)):
        save_safetensors(folder / f"{name}.safetensors", {"rate": np.array([rate], np.float32)})
    x = np.concatenate([decay(i, rate, 18) for i, rate in enumerate(RATES)])
    np.savez(folder / "others.npz", frames=x[:, :9], dim=1, rate=np.repeat(RATES, 2))
    np.savez(folder / "skipping.npz", frames=x[:, ::2] ** 3, dim=1, rate=np.repeat(RATES, 2))
    return folder


def test_a_value_is_placed_by_validation(family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(family)
    how = ("--model", "falling:apply", "--range", "0.7:2.3", "--validation", family / "others.npz")
    done = ccm("merge", *of(family), "--value", "1.3", *how, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 0, done.output
    merged = open_safetensors(tmp_path / "m.safetensors")
    assert merged.arrays["rate"][0] == pytest.approx(1.3, abs=0.03)  # though --range says 1.0 for it
    facts = json.loads(merged.metadata["provenance"])
    found = facts["found"]
    assert facts["coordinate"] == [pytest.approx(0.5, abs=0.08)] and facts["physical"]["value"] == 1.3
    assert found["readout"] == "CCM-Scale" and found["validation_values"] == [0.75, 1.45]
    assert found["linear_coordinate"] == pytest.approx(-0.25) and found["leave_one_out"] < 0.1
    assert "by --range alone it is at -0.250" in done.output and "a regime left out" in done.output
    assert "outside the validation regimes" not in done.output
    done = ccm("merge", *of(family), "--value", "1.7", *how, "-o", tmp_path / "far.safetensors")
    assert done.exit_code == 0 and "value 1.7 is outside the validation regimes (0.75 to 1.45)" in done.stderr
    done = ccm("merge", *of(family), "--value", "1.3", *how, "--frames", "2", "-o", tmp_path / "two.safetensors")
    provenance = open_safetensors(tmp_path / "two.safetensors").metadata["provenance"]
    assert done.exit_code == 0 and (found["frames"], json.loads(provenance)["found"]["frames"]) == (4, 2)


def test_validation_of_another_time_step_is_refused_by_its_regime(
    family: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(family)
    how = ("--model", "falling:apply", "--range", "0.7:1.5", "--validation", family / "skipping.npz")
    done = ccm("merge", *of(family), "--value", "1.3", *how, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 2 and not (tmp_path / "m.safetensors").exists(), done.output
    assert "in the regime rate = " in done.output and "steps of the network per frame fit better" in done.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("-c", "1", "--validation", "others.npz"), "--validation needs --value and --range"),
        (("--value", "1.3", "--range", "0.7:1.5", "--axes", "NTXC"), "only with --validation FILE"),
        (("--value", "1.3", "--range", "0.7:1.5", "--frames", "2"), "only with --validation FILE"),
    ],
)
def test_validation_of_a_merge_needs_a_value(family: Path, tmp_path: Path, given: tuple[str, ...], said: str) -> None:
    words = [family / word if word.endswith(".npz") else word for word in given]
    done = ccm("merge", *of(family), *words, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 2 and said in done.output


def test_a_value_outside_the_experts_is_told_how_to_be_placed_better(family: Path, tmp_path: Path) -> None:
    for value, told in (("1.6", True), ("1.2", False)):
        out = tmp_path / f"{value}.safetensors"
        done = ccm("merge", *of(family), "--value", value, "--range", "0.7:1.5", "-o", out)
        assert done.exit_code == 0 and ("--validation FILE fits the coordinate" in done.output) == told


def test_channels_of_an_npz_have_names(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).standard_normal((5, 8, 8, 2))
    np.savez(tmp_path / "a.npz", frames=frames, fields=["u", "v"], viscosity=0.1)
    found = open_recording(tmp_path / "a.npz")
    assert found.fields == ("u", "v") and not found.left_out and found.parameters == [{"viscosity": 0.1}]
    swapped = open_recording(tmp_path / "a.npz", fields=("v", "u"))
    np.testing.assert_allclose(swapped.trajectory(0, slice(1))[0], frames[0, ..., ::-1], rtol=1e-6)
    np.savez(tmp_path / "b.npz", frames=frames, channels=["u"])
    with pytest.raises(ValueError, match=r"channels is \['u'\], expected 2 different names"):
        open_recording(tmp_path / "b.npz")


def test_a_plain_file_beside_one_that_says_its_axes_is_told_its_letters(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.ones((3, 7, 16, 1)))
    np.savez(tmp_path / "others.npz", frames=np.ones((3, 7, 16, 1)), dim=1)
    plain, others = (Layout().open(tmp_path / name) for name in ("plain.npy", "others.npz"))
    with pytest.raises(ValueError, match="if both are 1-D, add --axes NTXC"):
        read_regimes(others, plain)
    again = Layout(axes="NTXC")
    assert read_regimes(again.open_validation(tmp_path / "others.npz"), again.open(tmp_path / "plain.npy"))


def test_another_number_of_channels_is_said_in_numbers(tmp_path: Path) -> None:
    slow = make_slow_family(tmp_path)
    frames = slow.frames(slow.trees[0], samples=1)
    np.savez(tmp_path / "one.npz", frames=np.concatenate([frames] * 2, axis=-1)[..., :3], dim=2)
    how = ("--model", tmp_path / "mute.yaml", "--initial", tmp_path / "one.npz", "-o", tmp_path / "r.npz")
    done = ccm("rollout", tmp_path / "anchor.safetensors", *how)
    line = done.output.strip().splitlines()
    assert done.exit_code == 2 and len(line) == 1, done.output
    assert "has 3 channels (channel_0, channel_1, channel_2)" in line[0] and "takes 2;" in line[0]


def test_the_same_warning_of_several_regimes_is_one_note(capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(main):
        for message in ("no network beats persistence", "no network beats persistence", "another"):
            _note(UserWarning(message))
    assert capsys.readouterr().err.splitlines() == ["ccm: note: no network beats persistence", "ccm: note: another"]
