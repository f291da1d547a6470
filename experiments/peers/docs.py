"""Writes the page of the documentation that says what a user should pick, and its figures, from ``results/peers.json``.

python -m experiments.peers.docs
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jinja2

from ccm_jax.io.atomic import finite, read_json, write_text
from experiments.peers.decisions import KNOWN, MAY
from experiments.peers.page import QUESTIONS, with_results
from experiments.report.readme import SYSTEMS
from experiments.study.sources import ROOT

HERE = Path(__file__).parent
PAGE, FIGURES = ROOT / "docs" / "peers.md", ROOT / "docs" / "peers"


def markdown(content: dict[str, Any]) -> str:
    """The page in Markdown."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined)
    shown = with_results(finite(content))
    text = environment.get_template("peers.md.j2").render(
        peers=shown, questions=QUESTIONS, known=KNOWN, may=MAY, axes=SYSTEMS
    )
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"\|\n\n(?=\|)", "|\n", text).strip() + "\n"  # lines of a table follow each other


def main() -> None:
    """Rewrites the page and its figures."""
    import matplotlib

    from experiments.peers import figures

    matplotlib.rcParams.update({"svg.hashsalt": "ccm_jax", "svg.fonttype": "none"})  # the same bytes every time
    content = read_json(ROOT / "results" / "peers.json")
    FIGURES.mkdir(exist_ok=True)
    for system, methods in with_results(content)["systems"].items():
        figures.errors(methods).savefig(FIGURES / f"{system}.svg", metadata={"Date": None, "Creator": None})
    write_text(PAGE, markdown(content))


if __name__ == "__main__":
    main()
