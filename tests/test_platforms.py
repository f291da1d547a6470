"""Other systems, as far as they can be simulated here: encodings, paths, and locks that are not there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest

from ccm_jax.cli import card
from ccm_jax.io.parts import split_part
from ccm_jax.io.safetensors import save_safetensors
from experiments.runner import locks

ROOT = Path(__file__).parent.parent
FOLDERS = ("ccm_jax", "solvers", "experiments", "benchmarks")


def text_without_encoding(tree: ast.AST) -> Iterator[int]:
    """Lines of calls that read or write text in an encoding that depends on the system: cp1252 on Windows."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(k.arg in ("encoding", None) for k in node.keywords):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        constants = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        constants += [k.value.value for k in node.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
        positional = 1 if name == "read_text" else 2
        if name in ("read_text", "write_text") and isinstance(node.func, ast.Attribute) and len(node.args) < positional:
            yield node.lineno
        modes = [c for c in constants if isinstance(c, str) and c and set(c) <= set("rwaxbt+")]
        if name == "open" and (modes or (isinstance(node.func, ast.Name) and len(node.args) == 1)):
            yield from [node.lineno] * ("b" not in "".join(modes))


def test_text_has_the_same_encoding_everywhere() -> None:
    found = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            lines = path.read_text(encoding="utf-8").splitlines()
            numbers = text_without_encoding(ast.parse("\n".join(lines)))
            found += [f"{path.relative_to(ROOT)}:{n}: {lines[n - 1].strip()}" for n in numbers]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_of_few_characters_gets_all_that_it_can_show(tmp_path: Path, encoding: str) -> None:
    save_safetensors(tmp_path / "weights-é-±.safetensors", {"w": np.ones((2, 3), np.float32)})
    command = [sys.executable, "-m", "ccm_jax.cli", "inspect", "weights-é-±.safetensors"]
    clean = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode(encoding)
    assert "float32" in said and "2.449" in said


def test_without_locks_a_run_goes_on_and_removes_nothing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "fcntl", None)  # Windows
    with locks.hold(tmp_path / "run.lock"), locks.hold(tmp_path / "run.lock", wait=False):
        assert (tmp_path / "run.lock").read_text(encoding="utf-8") == str(os.getpid())
    assert (tmp_path / "run.lock").exists()  # an open file cannot be removed there


def test_a_folder_has_the_same_digest_on_every_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"1")
    here = card.digest(tmp_path / "a")
    as_windows = lambda self, other: PureWindowsPath(PurePosixPath("b/c"))  # noqa: E731
    monkeypatch.setattr(Path, "relative_to", as_windows)
    assert card.digest(tmp_path / "a") == here


def test_a_part_of_a_file_on_a_drive() -> None:
    assert split_part(Path("C:/runs/last.pt")) == (Path("C:/runs/last.pt"), "")
    assert split_part(Path("C:/runs/last.pt::ema")) == (Path("C:/runs/last.pt"), "ema")
