"""Writes the documentation page "Which method to use", and its figures, from ``results/peers.json``.

python -m experiments.peers.docs
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import finite, read_json, write_text
from experiments.peers.budget import TUNED_AT
from experiments.peers.page import KNOWN, MAY, QUESTIONS, figures_of, with_results
from experiments.report.claims import budget, footnote, when
from experiments.report.systems import TITLES
from experiments.runner.sources import ROOT
from experiments.study.markdown import keep_figures, markdown

TEMPLATE = Path(__file__).parent / "peers.md.j2"
RESULTS = ROOT / "results" / "peers.json"
PAGE = ROOT / "docs" / "peers.md"


def page(content: dict[str, Any]) -> str:
    """The page in Markdown."""
    shown = with_results(finite(content))
    advice = when(RESULTS.parent).replace("](docs/", "](")
    numbers = {"footnote": footnote(content), "budget": budget(content)}
    words = {"questions": QUESTIONS, "known": KNOWN, "may": MAY, "axes": TITLES, "tuned": TUNED_AT}
    return markdown(TEMPLATE, peers=shown, advice=advice, **numbers, **words)


def main() -> None:
    """Rewrites the page and its figures."""
    content = read_json(RESULTS)
    keep_figures(figures_of(content), PAGE.with_suffix(""))
    write_text(PAGE, page(content))


if __name__ == "__main__":
    main()
