"""The code of how-to pages runs as it stands: all blocks of a page, one after the other."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import jax
import numpy as np
import pytest

PAGES = Path(__file__).parent.parent / "docs" / "how-to"
# Their blocks are files with titles, or need what a test writes first; other tests run them.
ELSEWHERE = {"own-network.md", "own-readout.md", "own-data.md", "own-layout.md", "own-equation.md", "many-devices.md"}
ELSEWHERE |= {"tried-networks.md", "own-backbone.md"}
LONG = {"as-frames-arrive.md", "how-sure.md", "missing-data.md", "two-parameters.md"}
SHOWN = sorted(page.name for page in PAGES.glob("*.md") if "```python\n" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in SHOWN if name not in ELSEWHERE],
)
def test_the_blocks_of_a_page_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / name).read_text(encoding="utf-8"), re.S)
    code = "\n".join(blocks)
    with jax.numpy_rank_promotion("allow"), contextlib.redirect_stdout(io.StringIO()) as printed:  # as a reader has it
        exec(compile(code, name, "exec"), {"__name__": name})
    lines = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
    if lines and all(lines):  # what a page says that it prints
        np.testing.assert_allclose(numbers(printed.getvalue()), numbers(" ".join(lines)), rtol=0.05)


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]
