"""Writes the page of the documentation on what goes beyond the paper, and its figures, from ``results/beyond.json``.

python -m experiments.beyond.docs
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import finite, read_json, write_text
from experiments.beyond.page import HEADINGS, WORDS
from experiments.beyond.said import name_of, said
from experiments.beyond.summary import NUMBERS
from experiments.report.reach import reaches
from experiments.runner.sources import ROOT
from experiments.study.markdown import keep_figures, markdown, wrapped

TEMPLATE = Path(__file__).parent / "beyond.md.j2"
RESULTS = ROOT / "results" / "beyond.json"
PAGE = ROOT / "docs" / "beyond.md"


def figures_of(content: dict[str, Any], *, stacked: bool = False) -> dict[str, Any]:
    """Every figure whose rows are done; ``stacked`` ones are for a phone."""
    from experiments.beyond.figures import draw  # matplotlib is slow to import

    rows = content["rows"].items()
    gathered = {name: [{"found": found} for _, found in sorted(seeds.items())] for name, seeds in rows}
    return draw(gathered, stacked=stacked)


def page(content: dict[str, Any], drawn: list[str]) -> str:
    """The page in Markdown.

    Args:
        content: of ``results/beyond.json``.
        drawn: names of the figures that there are.
    """
    numbers = [(name, *WORDS[name]) for name, *_ in NUMBERS]
    shown = finite({key: value for key, value in content.items() if key != "rows"})
    systems = [row.split()[0] for row in content["rows"] if row.endswith(" value")]
    words = {"said": said(content["rows"]), "name_of": name_of, "met": met, "reach": reaches(systems)}
    return wrapped(markdown(TEMPLATE, beyond=shown, numbers=numbers, drawn=drawn, headings=HEADINGS, **words))


def met(goal: str, value: float) -> bool:
    """Whether a number reaches its goal: "at most 0.03", "at least 0.85" or "0.85 to 0.95"."""
    bounds = [float(n) for n in re.findall(r"[\d.]+", goal)]
    if goal.startswith("at most"):
        return value <= bounds[0]
    return bounds[0] <= value <= (bounds[1] if len(bounds) > 1 else np.inf)


def main() -> None:
    """Rewrites the page and its figures."""
    content = read_json(RESULTS)
    drawn = figures_of(content)
    narrow = {f"{name}_phone": figure for name, figure in figures_of(content, stacked=True).items()}
    keep_figures(drawn | narrow, PAGE.with_suffix(""))
    write_text(PAGE, page(content, list(drawn)))


if __name__ == "__main__":
    main()
