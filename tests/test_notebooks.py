"""The notebooks run from top to bottom, begin in a clone or make one, and their two forms hold the same cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def first_code(path: Path) -> str:
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))


def test_there_are_four() -> None:
    assert len(NOTEBOOKS) == 4


@each
@pytest.mark.parametrize("in_clone", [True, False], ids=["in a clone", "elsewhere"])
def test_the_first_cell_finds_the_clone_or_makes_one(
    path: Path, in_clone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PYTHONPATH", "XLA_FLAGS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(FOLDER if in_clone else tmp_path)
    exec(compile(first_code(path), path.name, "exec"), {})
    clone = str(FOLDER.parent if in_clone else tmp_path / "ccm_jax")
    assert sys.path[0] == os.environ["PYTHONPATH"].split(os.pathsep)[0] == clone  # `experiments` is not installed
    # No word of jax: Colab's own stays.
    install = [sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"]
    assert ran == ([] if in_clone else [["git", "clone", "-q", "https://github.com/OWNER/ccm_jax"], install])


@each
def test_both_forms_hold_the_same_cells(path: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    script, notebook = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in script.cells] == [(c.cell_type, c.source) for c in notebook.cells]


@pytest.mark.slow
@each
def test_every_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    monkeypatch.setenv("CCM_SIZE", "smoke")
    notebook = jupytext.read(path.with_suffix(".ipynb"))
    nbclient.NotebookClient(
        notebook, timeout=250, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    ).execute()
