"""The code of how-to pages runs as it stands: all blocks of a page, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import jax
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
    with jax.numpy_rank_promotion("allow"):  # as a reader has it
        exec(compile("\n".join(blocks), name, "exec"), {"__name__": name})
