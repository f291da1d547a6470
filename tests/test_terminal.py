"""What the terminal offers: examples in the help that run as they stand, the next command, completion, progress."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import click
import pytest

from ccm_jax import example
from ccm_jax.cli import VERBS, main
from ccm_jax.cli.waiting import waiting
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
    assert "Next: ccm evaluate --family ." in found
    judged = run("evaluate", in_example, monkeypatch)
    assert "Verdict: use CCM" in judged and "Next: ccm rollout merged.safetensors" in judged


def test_every_verb_is_covered() -> None:
    assert set(VERBS) == {"example", "inspect", "merge", "rollout", "data"} | COMPILING


def test_verbs_say_what_to_run_next(in_example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Next: ccm calibrate --family ." in run("inspect", in_example, monkeypatch)
    said = run("merge", in_example, monkeypatch)
    assert "Next: ccm evaluate --family ." in said and "--merged merged.safetensors" in said


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
