"""The notebooks run from top to bottom, begin in a clone or make one, and their two forms hold the same cells."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.runner.repository import address
from experiments.site.notebooks import LONGEST, pages

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))
SAME_AT_ANY_SIZE = ("01_merge_in_five_minutes",)  # on the family that the package includes; others train networks

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def first_code(path: Path) -> str:
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))


def test_there_are_five() -> None:
    assert len(NOTEBOOKS) == 5


@each
@pytest.mark.parametrize("place", ["in a clone", "where it is installed", "elsewhere"])
def test_the_first_cell_finds_the_clone_or_makes_one(
    path: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PYTHONPATH", "PATH", "XLA_FLAGS", "FORCE_COLOR", "GIT_TERMINAL_PROMPT"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.chdir(FOLDER if place == "in a clone" else tmp_path)
    if place == "elsewhere":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(compile(first_code(path), path.name, "exec"), {})
    clone = str(tmp_path / "ccm_jax" if place == "elsewhere" else FOLDER.parent)
    assert sys.path[0] == os.environ["PYTHONPATH"].split(os.pathsep)[0] == clone  # `experiments` is not installed
    # No word of jax: Colab's own stays.
    install = [sys.executable, "-m", "pip", "install", "-q", "-e", f"{clone}[experiments]"]
    assert ran == ([["git", "clone", "-q", address()], install] if place == "elsewhere" else [])


@each
def test_without_an_address_to_clone_the_first_cell_says_what_to_do(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, check: subprocess.CompletedProcess(command, 128))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # as where nothing is installed
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="cannot be cloned. Copy the repository to"):
        exec(compile(first_code(path), path.name, "exec"), {})


@each
def test_outputs_are_stored_with_pictures_and_without_errors(path: Path) -> None:
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error"]
    stored = json.dumps(outputs)
    assert "Warning" not in stored and "/bin/" not in stored  # of the machine that executed it
    assert path.with_suffix(".ipynb").stat().st_size < 2_500_000
    prose = "".join(cells[0]["source"])
    assert prose.startswith("# ") and "colab" in prose


@each
def test_both_forms_hold_the_same_cells(path: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    script, notebook = jupytext.read(path), jupytext.read(path.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in script.cells] == [(c.cell_type, c.source) for c in notebook.cells]


@each
def test_what_colab_folds_the_site_folds_too(path: Path) -> None:
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    folded = ["".join(cell["source"]) for cell in cells if cell["metadata"].get("cellView") == "form"]
    page = str(pages(FOLDER, None)[f"{path.stem}.md"])
    for source in folded:
        assert source.startswith("# @title ")
        title = source.splitlines()[0].removeprefix("# @title ")
        assert f'??? {"tip" if title.startswith("Run this cell first") else "abstract"} "{title}"' in page


@each
def test_the_first_code_cell_says_to_run_it_first_and_answers(path: Path) -> None:
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert "".join(first["source"]).startswith("# @title Run this cell first: ")
    assert "".join(first["outputs"][0]["text"]).startswith("Ready: ccm_jax ")


@each
def test_a_notebook_begins_with_what_the_reader_will_have_and_what_it_runs_on(path: Path) -> None:
    cells = json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    prose = "".join(cells[0]["source"])
    assert prose.index("What you get:**") < prose.index("**Requirements:**")


@each
def test_printed_lines_need_no_scrolling_on_the_site(path: Path) -> None:
    page = str(pages(FOLDER, None)[f"{path.stem}.md"])
    printed = re.findall(r"^```\{\.text \.output\}\n(.*?)\n```$", page, re.M | re.S)
    assert printed and [line for text in printed for line in text.splitlines() if len(line) > LONGEST] == []


def test_the_site_breaks_long_lines_of_an_output_at_spaces_and_keeps_their_indent(tmp_path: Path) -> None:
    text = "│ table │\n  " + "word " * 30 + "\nNext: ccm evaluate --merged " + "m" * 120
    cell = {"cell_type": "code", "source": ["1"], "outputs": [{"output_type": "stream", "text": [text]}]}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    output = str(pages(tmp_path, None)["a.md"]).split("{.text .output}\n")[1].splitlines()
    words = ["  " + " ".join(["word"] * 21), "  " + " ".join(["word"] * 9)]
    assert output[:5] == ["│ table │", *words, "Next: ccm evaluate --merged", "m" * 120]


@pytest.mark.parametrize("name", ["04_bring_your_own", "05_bring_your_own_pytorch"])
def test_the_lines_to_keep_of_bring_your_own_are_those_that_it_runs(name: str) -> None:
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    run = {line for kind, source in sources if kind == "code" for line in source.splitlines()}
    (kept,) = [source for _, source in sources if "**The lines to keep**" in source]
    block = kept.partition("```python\n")[2].partition("```")[0]
    assert len(block.splitlines()) > 8 and not {line for line in block.splitlines() if line} - run


def test_the_notebook_on_jax_needs_no_pytorch() -> None:
    cells = json.loads((FOLDER / "04_bring_your_own.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert any("fit_uncertainty" in source for source in code) and not any("torch" in source for source in code)


def words_of(cell: Any) -> str:
    """What a cell prints, in one line, without numbers: those differ between machines."""
    printed = [
        "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
        for output in cell.get("outputs", [])
        if output.get("name") != "stderr" and "image/png" not in output.get("data", {})
    ]
    words = re.sub(r"[-+\u2212]?\d[\d.,]*(e[-+]?\d+)?", "#", "".join(printed))
    return " ".join(re.sub(r"[█▏▎▍▌▋▊▉\u2500-\u257f]", " ", words).split())


@pytest.mark.slow
@each
def test_every_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jupytext, nbclient = pytest.importorskip("jupytext"), pytest.importorskip("nbclient")
    monkeypatch.setenv("CCM_SIZE", "smoke")
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # of conftest: its plain loops are slow for convolutions
    stored = jupytext.read(path.with_suffix(".ipynb"))
    # The networks of the smoke size do not tell values apart, so that there is no uncertainty to fit.
    stored.cells = [cell for cell in stored.cells if "full" not in cell.metadata.get("tags", [])]
    before = [words_of(cell) for cell in stored.cells if cell.cell_type == "code"]
    nbclient.NotebookClient(
        stored, timeout=250, kernel_name="python3", resources={"metadata": {"path": FOLDER}}
    ).execute()
    if path.stem in SAME_AT_ANY_SIZE:  # then what is stored is what it prints now
        assert [words_of(cell) for cell in stored.cells if cell.cell_type == "code"] == before
