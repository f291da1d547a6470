"""A first walk through the terminal: what is missing, arrays of other shapes, and commands to paste."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np

from ccm_jax import example
from ccm_jax.cli.pictures import colours_of
from ccm_jax.cli.showing import between
from tests.terminal import ccm

FAMILY = [word for name in example.WEIGHTS for word in (f"--{name}", str(example.path(f"{name}.safetensors")))]
TEST = example.path("test-0.00075.npz")


def test_an_end_that_is_not_known_lies_beyond_its_number() -> None:
    assert between("1.89", "2.99", (True, True)) == "≤ 1.89 to ≥ 2.99"
    assert between("1.89", "2.99", (False, False)) == "1.89 to 2.99"


def test_inputs_that_are_missing_are_said_before_outputs_that_exist(tmp_path: Path) -> None:
    out, no = tmp_path / "m.safetensors", tmp_path / "no.npz"
    for name in ("m.safetensors", "m.json", "m.csv", "m.npz"):
        (tmp_path / name).touch()
    anchor, seen = example.path("anchor.safetensors"), ("--prefix", TEST, "-o", out)
    for words in (
        ("merge", *FAMILY[:-1], no, "-c", "1", "-o", out),
        ("calibrate", *FAMILY, "--prefix", no, "-o", out),
        ("calibrate", *FAMILY, *seen, "--validation", no),
        ("calibrate", *FAMILY[:-1], no, *seen),
        ("calibrate", *FAMILY, *seen, "--mask", no),
        ("evaluate", *FAMILY, "--trajectories", no, "--csv", tmp_path / "m.csv"),
        ("rollout", anchor, "--initial", no, "-o", tmp_path / "m.npz"),
        ("rollout", no, "--initial", TEST, "-o", tmp_path / "m.npz"),
    ):
        done = ccm(*words)
        assert done.exit_code == 2 and done.output.count("\n") == 1, done.output
        assert "there is no " in done.output and f"{no}; check the path." in done.output


def test_what_to_run_next_holds_with_spaces_in_paths(tmp_path: Path) -> None:
    folder = tmp_path / "my family"
    lines = ccm("example", folder).output.replace("\\\n", "").splitlines()
    words = shlex.split(lines[-2])
    assert words[:2] == ["ccm", "calibrate"] and words[words.index("--family") + 1] == str(folder)
    assert Path(words[words.index("--validation") + 1]).exists()
    value = ("--value", "7.5e-4", "--range", "1e-3:2e-3")  # of one of its test files
    said = ccm("merge", "--family", folder, *value, "-o", folder / "m.safetensors").output.splitlines()[-1]
    words = shlex.split(said.removeprefix("Next: "))
    assert Path(words[words.index("--merged") + 1]).exists() and Path(words[words.index("--trajectories") + 1]).exists()


def test_arrays_are_told_how_they_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((6, 16, 48)))
    said, _, after = " ".join(ccm("data", "describe", tmp_path / "a.npy").output.split()).partition("Next:")
    assert "say --axes TXY or --axes NTX" in said and f"{tmp_path / 'a.npy'} --axes TXY -o" in after
    u = np.ones((3, 9, 8, 8))
    np.savez(tmp_path / "uv.npz", u=u, v=u)
    said = ccm("data", "describe", tmp_path / "uv.npz").output
    assert "if u and v are channels, stack them: frames=numpy.stack([u, v], axis=-1)" in said
    described = ccm("data", "describe", tmp_path / "uv.npz", "--axes", "NTXY").output
    assert "u, v" in described and "8×8" in described
    np.savez(tmp_path / "stacked.npz", frames=np.stack([u, u], axis=-1), dim=2)
    assert ccm("data", "describe", tmp_path / "stacked.npz").exit_code == 0
    np.savez(tmp_path / "pair.npz", u=u, v=u[:2])
    assert "stack" not in ccm("data", "describe", tmp_path / "pair.npz").output


def test_validation_of_a_line_that_reads_as_a_plane_is_told_to_say_dim(tmp_path: Path) -> None:
    np.savez(tmp_path / "line.npz", frames=np.ones((9, 32, 1)))
    np.savez(tmp_path / "others.npz", frames=np.ones((6, 9, 32, 1)))
    done = ccm("calibrate", *FAMILY, "--prefix", tmp_path / "line.npz", "--validation", tmp_path / "others.npz")
    assert done.exit_code == 2 and done.output.count("\n") == 1
    assert "read as 2-D frames, and those of" in done.output and "write dim=1 into it, or name the axes" in done.output


def test_fields_of_one_sign_are_drawn_from_their_lowest_to_their_highest_value() -> None:
    x = np.linspace(0, 1, 1001)
    positive, both = colours_of(3 + x), colours_of(x - 0.25)
    assert positive["cmap"] == "viridis" and 3 <= positive["vmin"] < positive["vmax"] <= 4
    assert both["cmap"] == "RdBu_r" and both["vmin"] == -both["vmax"]
    assert colours_of(-1 - x)["vmax"] < 0 and colours_of(np.zeros(9))["vmin"] < colours_of(np.zeros(9))["vmax"]
