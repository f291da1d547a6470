"""The code of how-to pages runs as it stands: all blocks of a page, one after the other."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

PAGES = Path(__file__).parent.parent / "docs" / "how-to"
# Their blocks are files with titles, or need what a test writes first; other tests run them.
ELSEWHERE = {"own-network.md", "own-network-terminal.md", "equinox-flax.md", "pytorch.md"}
ELSEWHERE |= {"own-readout.md", "own-data.md", "own-layout.md", "own-equation.md", "many-devices.md"}
ELSEWHERE |= {"tried-networks.md", "own-backbone.md"}
LONG = {"as-frames-arrive.md", "conditioned.md", "drift.md", "how-sure.md", "known-value.md", "missing-data.md"}
LONG |= {"more-experts.md", "two-parameters.md"}


# What the names of a page hold at its end.
HOLDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "drift.md": lambda it: (
        np.allclose(it["track"].coordinate[-1], 0.8, atol=0.05)
        and np.allclose(it["state"].belief.coordinate, it["track"].coordinate[-1], atol=1e-5)
        and it["future"].shape == (10, 8, 1)
        and it["K"] > 0
    ),
    "two-parameters.md": lambda it: np.allclose(it["best"], it["known"], atol=0.01),
}
SHOWN = sorted(page.name for page in PAGES.glob("*.md") if "```python\n" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in SHOWN if name not in ELSEWHERE],
)
@pytest.mark.filterwarnings("ignore:Forecast.interval. the value lies outside")  # as the page says
def test_the_blocks_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / name).read_text(encoding="utf-8"), re.S)
    code = "\n".join(blocks)
    with jax.numpy_rank_promotion("allow"), contextlib.redirect_stdout(io.StringIO()) as printed:  # as a reader has it
        exec(compile(code, name, "exec"), names := {"__name__": name})
    assert name not in HOLDS or HOLDS[name](names)
    lines = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
    if lines and all(lines):  # what a page says that it prints
        np.testing.assert_allclose(numbers(printed.getvalue()), numbers(" ".join(lines)), rtol=0.05)
        assert truths(printed.getvalue()) == truths(" ".join(lines))


MODULES = {"ccm_jax", "dataclasses", "eqx", "jax", "jnp", "nn", "nnx", "np", "numpy", "torch", "xarray"}


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.name)
def test_every_block_of_a_page_is_code_with_its_imports(path: Path) -> None:
    """Copied from the top of the page, no block stops at a module that it does not import."""
    imported: set[str] = set()
    for block in re.findall(r"```python[^\n]*\n(.*?)```", path.read_text(encoding="utf-8"), re.S):
        nodes = list(ast.walk(ast.parse(block)))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported |= {one.asname or one.name.partition(".")[0] for one in node.names}
        used = {node.id for node in nodes if isinstance(node, ast.Name)} & MODULES
        assert used <= imported, block


def test_the_file_on_one_space_axis_is_read_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ccm_jax.io.recordings import common_parameter, open_recording

    page = (PAGES / "own-network-terminal.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- one space axis -->\n```python\n(.*?)```", page, re.S)
    assert block is not None
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(block[1], scope)
    read = open_recording("seen.npz")
    assert read.shape == (3, 21, 64) == scope["frames"].shape[:-1] and not read.assumed
    np.testing.assert_allclose(read.trajectory(1, slice(5)), scope["frames"][1, :5], atol=1e-6)
    assert float(common_parameter(read, "viscosity")[0]) == 1e-3
    np.save("seen.npy", scope["frames"])
    assert open_recording("seen.npy", axes="NTXC").shape == read.shape != open_recording("seen.npy").shape


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def truths(text: str) -> list[str]:
    return re.findall(r"True|False", text)
