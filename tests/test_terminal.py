"""What the terminal offers: examples in the help that run as they stand, the next command, completion, progress."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from matplotlib.figure import Figure

from ccm_jax import example
from ccm_jax._checks import counted
from ccm_jax.cli import VERBS, main
from ccm_jax.cli import waiting as waiting_module
from ccm_jax.cli.following import others_of
from ccm_jax.cli.frames import Layout
from ccm_jax.cli.pictures import plain_ticks
from ccm_jax.cli.strips import draw_rollout
from ccm_jax.cli.waiting import waiting
from ccm_jax.io.recordings import Recording
from tests.terminal import ccm

COMPILING = {"calibrate", "evaluate"}  # for some seconds each


def example_of(verb: str) -> list[str]:
    """The words of the command that a verb's help gives for the example family."""
    group = verb.split()
    command: click.Command = main
    for name in group:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    assert command.help is not None
    block = re.search(
        r"On the example family[^\n]*\n(?:cd example\n)?(ccm .*?)(?:\n\n|\Z)", inspect.cleandoc(command.help), re.S
    )
    assert block is not None, f"ccm {verb} --help has no example on the example family"
    return shlex.split(block[1].replace("\\\n", " "))


@pytest.fixture
def in_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    done = ccm("example")
    assert done.exit_code == 0 and "ccm calibrate" in done.output, done.output
    return tmp_path


def run(verb: str, there: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    program, *words = example_of(verb)
    assert program == "ccm"
    monkeypatch.chdir(there if verb.startswith("data") else there / "example")
    done = ccm(*words)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("verb", ["inspect", "merge", "rollout", "data describe"])
def test_the_example_in_the_help_runs(verb: str, in_example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(verb, in_example, monkeypatch)


@pytest.mark.slow
def test_the_example_from_frames_to_a_verdict_runs(in_example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("calibrate", in_example, monkeypatch)
    *_, forecast, compare = found.strip().splitlines()
    assert forecast == (
        "Next: ccm rollout merged.safetensors --initial test-0.00075.npz --start 5 --truth -o rollout.npz"
    )
    assert compare.startswith("Then: ccm evaluate --family . --merged merged.safetensors")
    assert compare.endswith("--trajectories test-0.00075.npz --sample 1:4")
    ahead = ccm(*shlex.split(forecast.removeprefix("Next: ccm ")))
    assert ahead.exit_code == 0 and "relative L2 error" in ahead.output, ahead.output
    lines = [" ".join(line.split()) for line in (found + ahead.output).splitlines()]
    for page in ("README.md", "docs/index.md"):
        text = (Path(__file__).parent.parent / page).read_text(encoding="utf-8")
        printed = re.search(r"<!-- printed -->\s*```text\n(.*?)```", text, re.S)
        assert printed is not None, page
        assert [line for line in printed[1].splitlines() if " ".join(line.split()) not in lines] == [], page
        assert forecast.removeprefix("Next: ") in re.sub(r" \\\n +", " ", text), page
    judged = run("evaluate", in_example, monkeypatch)
    assert "Verdict: use CCM" in judged
    assert next_of(judged) == ("ccm rollout merged.safetensors --initial test-0.00075.npz --sample 1 -o rollout.npz")


def test_every_verb_is_covered() -> None:
    assert set(VERBS) == {"example", "inspect", "merge", "rollout", "data"} | COMPILING


def next_of(output: str) -> str:
    """The command that an output ends with, to be run next; what its places stand for comes below, as comments."""
    *_, last = (line for line in output.strip().splitlines() if not line.startswith("  # "))
    assert last.startswith("Next: ")
    return last.removeprefix("Next: ")


def test_verbs_say_what_to_run_next_with_the_files_that_are_there(
    in_example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate = "ccm calibrate --family . --prefix test-0.00075.npz --sample 0 --validation validation.npz -o"
    assert next_of(run("inspect", in_example, monkeypatch)) == f"{calibrate} merged.safetensors"
    assert next_of(ccm("data", "describe", "validation.npz").output) == f"{calibrate} merged.safetensors"
    there = calibrate.replace("0.00075", "0.0005")
    assert next_of(ccm("data", "describe", "test-0.0005.npz").output) == f"{there} merged.safetensors"
    assert next_of(ccm("inspect", "low.safetensors").output).endswith(
        "inspect anchor.safetensors low.safetensors high.safetensors"
    )
    said = run("merge", in_example, monkeypatch)
    assert next_of(said) == (
        "ccm evaluate --family . --merged merged.safetensors --trajectories test-0.00075.npz"  # of the value merged at
    )
    assert next_of(ccm("inspect", ".").output) == f"{calibrate} merged-2.safetensors"


def test_what_only_the_user_knows_is_said_in_words(in_example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(in_example / "example")
    for path in Path().glob("*.npz"):
        path.unlink()
    assert ccm("inspect", ".").output.endswith(
        "Next: ccm calibrate --family . --prefix OBSERVED_FRAMES --validation OTHER_REGIMES -o merged.safetensors\n"
        "  # OBSERVED_FRAMES: a file with the frames observed\n"
        "  # OTHER_REGIMES: a file of trajectories of other regimes, whose values are known\n"
    )


@pytest.mark.parametrize(
    ("chosen", "values", "words"),
    [
        ([0], [1, 1, 1, 1], "t.npz --sample 1:4"),
        ([1], [1, 1, 1, 1], "t.npz --sample 0,2,3"),
        ([0], [1, 2, 1, 1], "t.npz --sample 2:4"),
        ([0], [1, 2, 3, 4], "TRAJECTORIES"),
        ([0, 1, 2, 3], [1, 1, 1, 1], "TRAJECTORIES"),
        ([0], [], "t.npz --sample 1:4"),
    ],
)
def test_other_samples_of_the_same_regime_are_held_out(chosen: list[int], values: list[int], words: str) -> None:
    parameters = [{"nu": float(value), "seed": float(i)} for i, value in enumerate(values)]
    recording = Recording(Path("t.npz"), "numpy", ("u",), (4, 9, 8), None, None, parameters, lambda *_: np.zeros(0))
    assert others_of(recording, Layout(), chosen, 5) == ["--trajectories", *words.split()]
    assert others_of(recording, Layout(), chosen, 9) == ["--trajectories", "TRAJECTORIES"]


def test_nouns_are_in_the_number_of_what_is_counted() -> None:
    assert [counted(n, noun) for n, noun in ((1, "frame"), (0, "axis"), (1, "axis"), (2, "trajectory"))] == (
        ["1 frame", "0 axes", "1 axis", "2 trajectories"]
    )


def test_the_example_overwrites_nothing(in_example: Path) -> None:
    before = {p: p.read_bytes() for p in (in_example / "example").iterdir()}
    done = ccm("example")
    assert done.exit_code == 2 and "nothing is overwritten" in done.output
    assert {p: p.read_bytes() for p in (in_example / "example").iterdir()} == before
    assert len(before) == 7 and example.path("anchor.safetensors").read_bytes() in before.values()


def test_an_output_below_a_file_is_one_line(in_example: Path) -> None:
    (in_example / "file").touch()
    three = [word for name in ("anchor", "low", "high") for word in (f"--{name}", f"example/{name}.safetensors")]
    done = ccm("merge", *three, "-c", "1", "-o", "file/merged.safetensors")
    assert done.exit_code == 2 and "file is a file; choose another folder" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_each_shell(shell: str) -> None:
    done = ccm("--completion", shell)
    assert done.exit_code == 0 and "_CCM_COMPLETE" in done.output


def test_verbs_complete_without_being_imported() -> None:
    from click.shell_completion import ShellComplete

    found = ShellComplete(main, {}, "ccm", "_CCM_COMPLETE").get_completions([], "e")
    assert [item.value for item in found] == ["example", "evaluate"]


def test_progress_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("working", steps=True) as progress:
        progress(1, 2)
    said = capsys.readouterr()
    assert not said.out and not said.err.strip()


def test_the_time_left_is_that_of_steps_after_the_first_which_compiles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 60.0, 61.0, 62.0])  # the first step takes a minute, the others a second each
    monkeypatch.setattr(waiting_module.time, "monotonic", lambda: next(now))
    with waiting("fitting", steps=True) as progress:
        for done in (1, 2, 3):
            progress(done, 5)
    assert capsys.readouterr().err == "ccm: fitting: 2 of 5, about 3 s left\n"


def test_frames_of_a_rollout_have_the_numbers_of_the_file_and_their_errors(tmp_path: Path) -> None:
    drawn = []

    def keep(figure: Figure, target: Path, **_: object) -> None:
        drawn.append([ax.get_title() for ax in figure.axes if ax.get_title()])

    frames = np.linspace(-1, 1, 2 * 16).reshape(2, 4, 4, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", keep)
        draw_rollout(
            frames, frames.copy(), tmp_path / "r.npz", ("vorticity",), before=5, errors=np.array([0.029, 0.74])
        )
        draw_rollout(frames[:, 0], None, tmp_path / "line.npz")
        draw_rollout(frames[:, 0], 0.5 * frames[:, 0], tmp_path / "line.npz", errors=np.array([0.5, 0.5]))
    line = ["network: mean error 50 %, last frame 50 %", "truth", "network minus truth"]
    assert drawn == [["frame 6\nerror 2.9 %", "frame 7\nerror 74 %"], ["network"], line]


def test_numbers_on_a_logarithmic_axis_are_plain_and_few() -> None:
    ax = Figure().subplots()
    ax.set(yscale="log", ylim=(0.03, 0.3))
    plain_ticks(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.05", "0.1", "0.2"]
    assert not ax.get_yticks(minor=True).size


def test_a_folder_that_is_made_is_said(in_example: Path) -> None:
    said = ccm("merge", "--family", "example", "--coordinate", "0.5", "-o", "misspelt/merged.safetensors").output
    assert "Wrote misspelt/merged.safetensors (in a new folder)" in said
    again = ccm("merge", "--family", "example", "--coordinate", "0.6", "-o", "misspelt/other.safetensors").output
    assert "Wrote misspelt/other.safetensors at" in again
