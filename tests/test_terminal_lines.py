"""Lines of the terminal: one style for all faults, without Python names, and what is said of files in wrong roles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ccm_jax import example
from ccm_jax.cli.apart import check_apart, unit_unlike
from ccm_jax.cli.console import console
from ccm_jax.cli.faults import line_of
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.persistence import check_persistence
from ccm_jax.io.save import ending_of, name_of
from tests.terminal import ccm
from tests.test_terminal_faults import FAMILY, SEEN, refused


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--foo",), "there is no option --foo; see ccm --help."),
        (("calibrate",), "missing option '--prefix'; see ccm calibrate --help."),
        (("calibrate", "--prefix"), "option '--prefix' requires an argument; see ccm calibrate --help."),
        (("calibrate", "--fram", "3"), "there is no option --fram. Did you mean --frames? See ccm calibrate --help."),
        (
            ("merge", "-o", "m.pt"),
            "--anchor, --low and --high are needed, or --family, or --recipe; see ccm merge --help.",
        ),
        (("inspect",), "missing argument 'CHECKPOINTS...'; see ccm inspect --help."),
        (("data", "describe", "a", "b"), "got unexpected extra argument (b); see ccm data describe --help."),
        (
            ("--completion", "ksh"),
            "invalid value for '--completion': 'ksh' is not one of 'bash', 'zsh', 'fish'; see ccm",
        ),
    ],
)
def test_wrong_usage_is_one_line_of_the_same_style(words: tuple[str, ...], line: str) -> None:
    said = ccm(*words)
    assert said.exit_code == 2 and said.output.startswith(f"ccm: {line}") and len(said.output.splitlines()) == 1


@pytest.mark.parametrize("words", [(), ("data",)])
def test_no_verb_is_answered_by_the_help(words: tuple[str, ...]) -> None:
    assert "Commands" in ccm(*words).output and "ccm:" not in ccm(*words).output


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("open_weights: there is no nope.pt; check the path.", "there is no nope.pt; check the path."),
        ("PrefixReadout: fit_prefix_readout, validation[0]: too short.", "validation[0]: too short."),
        ("--range 2:1: coordinate_from_metadata: low is 2.", "--range 2:1: low is 2."),
        ("open_recording: say --axes TXY (axes=...).", "say --axes TXY."),
        ("r.yaml: range: make_model: what: ever", "r.yaml: range: what: ever"),
        ("merge: leaf a is missing", "merge: leaf a is missing"),  # a verb
        ("open_weights.pt: is empty", "open_weights.pt: is empty"),
        ("my_run: is empty; flatten: it", "my_run: is empty; flatten: it"),
    ],
)
def test_a_terminal_names_no_function(said: str, shown: str) -> None:
    assert line_of(ValueError(said)) == shown


def test_a_closed_pipe_ends_a_verb_without_a_word() -> None:
    words = [sys.executable, "-m", "ccm_jax.cli", "inspect", str(example.path("anchor.safetensors"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 1


def test_files_whose_names_contradict_their_roles_are_warned_of(tmp_path: Path) -> None:
    anchor, low, high = (str(example.path(f"{name}.safetensors")) for name in example.WEIGHTS)
    said = ccm("inspect", low, anchor, high).output
    assert f"ccm: warning: {low} is passed as anchor, but its name says low" in said
    assert said.splitlines()[-1] == f"Next: ccm inspect {anchor} {low} {high}"
    assert "If this order is right nevertheless: the experts are close enough" in said
    words = ("--anchor", anchor, "--low", high, "--high", low, "-c", "1", "-o", tmp_path / "m.safetensors")
    assert f"{high} is passed as low, but its name says high" in ccm("merge", *words).output
    assert "warning" not in ccm("inspect", anchor, low, high).output


def test_validation_apart_from_the_prefix_and_longer(tmp_path: Path) -> None:
    others = example.path("validation.npz")
    said = refused("calibrate", *FAMILY, "--prefix", SEEN, "--sample", "2", "--validation", SEEN)
    assert f"--validation {SEEN} holds sample 2 of --prefix {SEEN} (regime viscosity = 0.00075)" in said
    np.savez(tmp_path / "first.npz", frames=np.load(others)["frames"][5:6, :5], dim=2)
    given = ("--validation", others, "-o")
    said = refused("calibrate", *FAMILY, "--prefix", tmp_path / "first.npz", *given, tmp_path / "m.safetensors")
    assert f"--validation {others} holds sample 0 of --prefix" in said
    said = refused("rollout", *FAMILY, "--initial", tmp_path / "first.npz", *given, tmp_path / "o.npz")
    assert f"--validation {others} holds sample 0 of --initial" in said
    said = refused("calibrate", *FAMILY, "--prefix", SEEN, "--sample", "0", "--validation", others, "--frames", "14")
    assert said == (
        f"ccm: --validation {others} has trajectories of 15 frames, and --frames 14 needs at least 16: lower "
        "--frames, or use longer trajectories."
    )


def test_parts_that_a_mask_hides_are_not_compared() -> None:
    x = np.random.default_rng(0).random((1, 3, 4, 1))
    regimes, hidden = Regimes({"all": x}, [{}]), np.ones((1, 3, 4), bool)
    hidden[:, :, 0] = False
    with pytest.raises(ValueError, match="holds sample 7 of --prefix p.npz"):
        check_apart("--prefix", Path("p.npz"), [7], np.where(hidden[..., None], x, 0), regimes, hidden)
    check_apart("--prefix", Path("p.npz"), [7], x + 1e-3, regimes)


def test_a_function_of_one_s_own_is_told_how_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_swaps.py").write_text("def apply(window, params):\n    return window[:, -1] * params['w']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez(tmp_path / "w.npz", w=np.ones(3, np.float32))
    words = ("rollout", tmp_path / "w.npz", "--model", "own_swaps:apply", "--initial", SEEN, "-o", tmp_path / "o.npz")
    said = refused(*words)
    assert said.endswith("; the function of --model is called as apply(params, window).") and "axes" not in said


def test_titles_of_tables_are_one_line() -> None:
    for words in (("inspect", FAMILY[1]), ("data", "describe", SEEN)):
        first = ccm(*words).output.splitlines()[0]
        assert first.startswith(str(words[-1])) and (words[0] == "data" or first.endswith("73,429 numbers · 0.3 MB"))


def test_a_file_of_another_dimension_is_not_read_by_other_axes(tmp_path: Path) -> None:
    np.savez(tmp_path / "line.npz", frames=np.ones((4, 9, 32, 1)), dim=1)
    said = refused("calibrate", *FAMILY, "--prefix", tmp_path / "line.npz")
    assert "says that its frames are 1-D, and this network is 2-D: pass 2-D frames." in said and "--axes" not in said


def test_frames_in_another_unit_are_told_the_factor(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((3, 2, 6, 4, 4, 1)) + 1
    regimes = Regimes({str(i): trajectories for i, trajectories in enumerate(x)}, [])
    assert unit_unlike(regimes, Path("p.npz"), 9 * x[0]) == ""
    assert "about 9 times larger" in unit_unlike(regimes, Path("p.npz"), 9 * x[0], far=3)
    various = Regimes(regimes.trajectories | {"small": 0.1 * x[0]}, [])  # of several sizes: one more is less unlikely
    assert unit_unlike(various, Path("p.npz"), 20 * x[0]) == ""
    said = unit_unlike(regimes, Path("p.npz"), 1000 * x[0, :, :5])
    assert said.startswith("p.npz: the frames are about 1,000 times larger than those of validation (root mean square")
    assert said.endswith("check their unit")
    hidden = np.ones(x[0].shape[:-1], bool)
    hidden[:, :, 0] = False
    few = np.where(hidden[..., None], x[0] / 100, 0)
    assert "about 98 times smaller" in unit_unlike(regimes, Path("p.npz"), few, hidden)
    with pytest.raises(ValueError, match=r"^p\.npz: the frames are .* \(Here repeating the last frame has error 0\.2,"):
        check_persistence("calibrate", 0.2, 0.3, accept=False, unit=said)


def test_side_files_and_names_leave_the_ending_out() -> None:
    names = ("merged.safetensors", "merged.eqx", "merged.pt", "merged.safetensors.index.json", "merged", "run.1")
    assert [name_of(Path(name)) for name in names] == [*["merged"] * 5, "run.1"]
    assert [ending_of(Path(name)) for name in ("a.eqx", "a.pt", "a.safetensors", "run.1")] == [
        *(".eqx", ".pt"),
        *[".safetensors"] * 2,
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lo.safetensors", "did you mean {}/low.safetensors?"),
        ("low.pt", "did you mean {}/low.safetensors?"),
        ("high.safetensors", "check the path."),  # the ending alone is no likeness
        ("none/low.safetensors", "check the path."),
    ],
)
def test_the_file_that_is_meant_is_named(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "low.safetensors").touch()
    done = ccm("inspect", tmp_path / name)
    assert done.exit_code == 2
    assert done.output.strip() == f"ccm: there is no {tmp_path / name}; {said.format(tmp_path)}"
    assert f"; {said.format(tmp_path)}" in ccm("data", "describe", tmp_path / name).output


def test_names_of_a_comparison_are_shortened_in_their_middle_and_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 80)
    files = (example.path(f"{name}.safetensors") for name in ("anchor", "low", "high"))
    _, _, table = ccm("inspect", *files).output.partition("updates relative to the anchor's norm")
    assert "│ point…e_0.kernel │" in table and "│ lift.kernel      │" in table and "│ (all)            │" in table
    assert "direction" in table and table.count("…") == 6  # of kernels and spectral weights
