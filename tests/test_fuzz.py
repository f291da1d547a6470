"""Damaged files of every kind, and other hostile input: a result or one line, no traceback, no hang, no memory bomb."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(first: int | str, count: float, seconds: int) -> str:
    """Takes hostile input in a process of its own, which a fault of a library could end."""
    words = [sys.executable, "-m", "tests.fuzz", str(first), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(900)
def test_a_few_damaged_files() -> None:
    assert run(0, 150, 600).startswith("150 files, 0 wrong")


@pytest.mark.timeout(900)
def test_a_few_inputs_of_every_kind() -> None:
    assert run("all", 0.01, 600).endswith("102 inputs, 0 wrong, 0 files of input changed\n")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_damaged_files(part: int) -> None:
    assert run(1000 * part, 1000, 3600).startswith("1000 files, 0 wrong")
