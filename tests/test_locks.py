"""A lock keeps others out, says who holds it, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.runner.locks import hold

pytest.importorskip("fcntl")


def test_a_held_lock_refuses_and_says_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with (
        hold(path),
        pytest.raises(BlockingIOError, match=str(os.getpid())),
        hold(path, wait=False),
    ):
        pass
    assert not path.exists()
    with hold(path, wait=False):
        assert path.read_text() == str(os.getpid())


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    code = (
        "import os, sys; from pathlib import Path; from experiments.runner.locks import hold\n"
        f"with hold(Path({str(path)!r})): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert path.exists()  # killed: the file stays, its lock does not
    with hold(path, wait=False):
        assert path.read_text() == str(os.getpid())
    assert not path.exists()
