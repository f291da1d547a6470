"""Writes the documentation page "Which method to use", and its figures, from ``results/peers.json``.

python -m experiments.peers.docs
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import finite, read_json, write_text
from experiments.peers.budget import TUNED_AT
from experiments.peers.page import KNOWN, MAY, QUESTIONS, with_results
from experiments.report.claims import budget, when, windows
from experiments.report.systems import TITLES
from experiments.runner.sources import ROOT
from experiments.study.markdown import keep_figures, markdown

TEMPLATE = Path(__file__).parent / "peers.md.j2"
RESULTS = ROOT / "results" / "peers.json"
PAGE = ROOT / "docs" / "peers.md"


def page(content: dict[str, Any]) -> str:
    """The page in Markdown."""
    shown = with_results(finite(content))
    advice = re.sub(r" \((last column|row 5)\)", "", when(RESULTS.parent)).replace(
        "](docs/", "]("
    )  # of the README's table
    words = {"questions": QUESTIONS, "known": KNOWN, "may": MAY, "axes": TITLES}
    return markdown(
        TEMPLATE, peers=shown, advice=advice, windows=windows(content), budget=budget(content), tuned=TUNED_AT, **words
    )


def main() -> None:
    """Rewrites the page and its figures."""
    from experiments.peers import figures  # matplotlib is slow to import

    content = read_json(RESULTS)
    drawn = {system: figures.errors(methods) for system, methods in with_results(content)["systems"].items()}
    keep_figures(drawn, PAGE.with_suffix(""))
    write_text(PAGE, page(content))


if __name__ == "__main__":
    main()
