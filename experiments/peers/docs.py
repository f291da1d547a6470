"""Writes the pages "Which method to use" and "All comparisons", and their figures, from ``results/peers.json``.

python -m experiments.peers.docs
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import finite, read_json, write_text
from experiments.peers.budget import TUNED_AT
from experiments.peers.decisions import led
from experiments.peers.page import EXCEPT, KNOWN, MAY, figures_of, with_results
from experiments.report.alternatives import chosen_windows, one_frame, reading, tables, wide_table
from experiments.report.claims import budget, folded, said, when, window_note, windows
from experiments.report.ratios import end_of
from experiments.report.reach import reaches
from experiments.report.systems import TITLES
from experiments.runner.sources import ROOT
from experiments.study.markdown import keep_figures, markdown

TEMPLATES = Path(__file__).parent
# Ways to spend the steps, by the settings of experiments.peers.split: the anchor's share, steps of the loss, averages.
SPLITS = (
    ("half of the steps for the anchor", 0.5, 1, 1),
    ("a quarter of the steps for the anchor", 0.25, 1, 1),
    ("experts trained through two steps of the rollout", None, 2, 1),
    ("experts that are averages of two fine-tunings", None, 1, 2),
)
# Rows of ratios, short enough for a phone; the page explains their words below the table.
SHORT = {
    "posthoc_ratio": "CCM-Scale / other use of the experts",
    "slerp_ratio": "CCM-Scale / SLERP of the experts",
    "finetune_ratio": "CCM-Scale / conditioned, fine-tuned",
    "finetune_ratio_coord": "CCM-Coord / conditioned, fine-tuned",
    "scratch_ratio": "CCM-Scale / conditioned, from scratch",
    "frames_ratio": "CCM-Prefix / unconditioned",
    "frames_ratio_labelled": "CCM-Prefix / conditioned",
    "frames_ratio_adaptive": "CCM-Prefix / CoDA or GEPS (one seed)",
    "frames_ratio_solver": "CCM-Prefix / coarse solver (one seed)",
    "anchor_ratio": "CCM-Prefix / anchor",
}
# Ratios of CCM-Prefix on the anchor that validation chose, in a table of their own.
MARKED = tuple(key for key in SHORT if key.startswith("frames_ratio"))
CHOSEN = {key: SHORT[key] for key in MARKED} | {"scratch_ratio_sought": "CCM-Scale² / conditioned, from scratch"}
RESULTS = ROOT / "results" / "peers.json"
PAGES = {name: ROOT / "docs" / f"{name}.md" for name in ("peers", "comparisons")}


def pages(content: dict[str, Any]) -> dict[str, str]:
    """Both pages in Markdown."""
    shown = with_results(finite(content))
    advice = when(RESULTS.parent).replace("](docs/", "](")
    longest = max((row["steps"] for row in content["plane"]), default=0)
    numbers = {
        "said": said(content),
        "window_note": window_note(content),
        "wide_errors": wide_table(content),
        "windows": windows(content),
        "beside": tables(content),
        "reading": folded(reading(content)).strip(),
        "budget": budget(content) | {"longest": longest},
    }
    words: dict[str, Any] = {"questions": SHORT, "known": KNOWN, "may": MAY, "except": EXCEPT, "axes": TITLES}
    words |= {"tuned": TUNED_AT, "splits": SPLITS, "led": {knows: led(content["decisions"], knows) for knows in KNOWN}}
    words |= {"kept": chosen_windows(content)[1], "end_of": end_of}
    words |= {"marked": MARKED, "chosen": CHOSEN if numbers["window_note"] else {}, "reach": reaches(shown["systems"])}
    words["plainly"] = {
        s: {k: one_frame(content, s, found.get(k)) for k in SHORT} for s, found in shown["ratios"].items()
    }
    return {
        name: markdown(TEMPLATES / f"{name}.md.j2", peers=shown, advice=advice, **numbers, **words) for name in PAGES
    }


def main() -> None:
    """Rewrites the pages and their figures."""
    content = read_json(RESULTS)
    keep_figures(figures_of(content), PAGES["peers"].with_suffix(""))
    for name, text in pages(content).items():
        write_text(PAGES[name], text)


if __name__ == "__main__":
    main()
