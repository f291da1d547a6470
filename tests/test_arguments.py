"""What is typed after a command of experiments: what cannot be read is one line, and the help lists what can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def command(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"experiments.{name}", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "--config is needed, for instance --config=rd_ood; there are: burgers, "),
        ("rd_ood:smoke", "rd_ood:smoke is no option; did you mean --config=rd_ood:smoke?"),
        ("--config=rd_ood here", "here is no option; options begin with --, and --help shows them."),
        ("--config=rd_ood --workdr=w", "--workdr is no option; did you mean --workdir?"),
        ("--config=rd_ood --seed=x", "--seed=x: expected a whole number."),
        (
            "--config=rd_ood --config.train.steps=abc",
            "--config.train.steps=abc: expected a whole number, as in --config.train.steps=5500.",
        ),
        ("--config=rd_ood --config.seeed=3", "--config.seeed: there is no such field; did you mean --config.seed?"),
        (
            "--config=rd_ood --config.train=3",
            "--config.train=3: a group of fields; set one of them, as in --config.train.batch_size=16.",
        ),
        (
            "--config=rd_ood --config.calibration.gates=x",
            "--config.calibration.gates=x: expected numbers in brackets, as in "
            '--config.calibration.gates="(0.0, 0.5, 1.0)".',
        ),
        (
            "--config=rd_ood --config.calibration.begin=x",
            "--config.calibration.begin=x: expected a whole number, or None.",
        ),
        ("--config", "--config: its value is missing."),
        ("--config.seed=3 --config=rd_ood", "--config.seed stands before --config; give --config=NAME first."),
        ("--config.seed=3", "--config.seed changes a field of a configuration; give that first, as --config=NAME."),
    ],
)
def test_what_cannot_be_read_is_one_line(words: str, said: str) -> None:
    done = command("run", *words.split())
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(f"experiments.run: {said}") and done.stderr.count("\n") == 1


def test_the_line_names_the_command() -> None:
    done = command("generate", "rd_ood")
    assert (done.returncode, done.stderr) == (
        2,
        "experiments.generate: rd_ood is no option; did you mean --config=rd_ood?\n",
    )
    done = command("study", "--workdr=w")
    assert (done.returncode, done.stderr) == (2, "experiments.study: unrecognized arguments: --workdr=w\n")


def test_help_lists_options_and_with_a_configuration_its_fields() -> None:
    plain, fields = command("run", "--help"), command("run", "--config=rd_ood:smoke", "--help")
    assert plain.returncode == fields.returncode == 0 and not plain.stderr
    for shown in ("--config=rd_ood:smoke", "--workdir=…", "--[no]distributed", "With --config=NAME, --help lists"):
        assert shown in plain.stdout
    assert "None" not in plain.stdout
    assert "--config.train.steps=60" in fields.stdout
    assert "--config.solver.dt=0.25  " in fields.stdout and "time between stored frames" in fields.stdout
