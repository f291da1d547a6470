"""What README and ``docs/limits.md`` say of CCM and its alternatives, in numbers from the files in ``results/``."""

from __future__ import annotations

import itertools
import re
import textwrap
from pathlib import Path
from typing import Any

import jinja2

from ccm_jax.io.atomic import read_json
from experiments.report.alternatives import (
    CONDITIONED,
    COORD,
    FALLBACK,
    SCALE,
    about,
    chosen_windows,
    compare,
    fallback,
    one_frame,
    worst,
)
from experiments.report.ratios import each, in_words, named, times
from experiments.report.reach import validation_of
from experiments.report.record import runs_of
from experiments.report.systems import SHORT

HERE = Path(__file__).parent
WIDTH = 127
WHOLE: Any = {"break_long_words": False, "break_on_hyphens": False}
# The README's claims, and the ratios of which each gives the one in which CCM does worst.
CLAIMS = {
    "anchor": ("anchor_ratio",),
    "experts": ("posthoc_ratio", "slerp_ratio"),
    "window": ("frames_ratio",),
    "labelled": ("frames_ratio_labelled",),
    "conditioned": CONDITIONED,
    "adaptive": ("frames_ratio_adaptive",),
    "solver": ("frames_ratio_solver",),
}
HIDDEN = ("rd_ood", "ns_ood", "rdb_gravity")  # a single frame does not show the parameter


def budget(peers: dict[str, Any]) -> dict[str, Any]:
    """CCM-Scale over its alternatives with a small budget, in words; see :mod:`experiments.peers.plane`."""
    found = peers["small_budgets"]
    words = {"ratios": in_words(found["scale_over_conditioned"]), "lora": in_words(found["scale_over_lora"])}
    sizes = sorted({trajectories for _, trajectories in found["cells"]})
    words |= {"trajectories": f"{sizes[0]} to {sizes[-1]}"}
    return words | {key: found[key] for key in ("fewest", "most", "seeds")} | {"cells": len(found["cells"])}


def _errors(gains: dict[str, Any]) -> dict[str, str]:
    """Errors in words, compared with the anchor's, from the reductions of :func:`experiments.report.record`."""
    unclear = {m for m, gain in gains.items() if gain["low"] is not None and gain["low"] <= 0 <= gain["high"]}
    told = {method: " ".join(times(1 - gain["mean"])).strip() for method, gain in gains.items()}
    return {method: "not clearly different" if method in unclear else words for method, words in told.items()}


def said(peers: dict[str, Any]) -> dict[str, str]:
    """Every claim of the README in words, with CCM on the anchor that sees one frame."""
    ratios = {c: {s: one_frame(peers, s, worst(peers, s, keys)) for s in SHORT} for c, keys in CLAIMS.items()}
    single = {c: all(r is None or r["low"] is None for r in of.values()) for c, of in ratios.items()}
    words = {c: f"{each(of)} (one seed)" if single[c] else in_words(of) for c, of in ratios.items()}
    chosen = {s: worst(peers, s, CLAIMS["window"]) for s in SHORT}  # with the anchor that validation chose
    words["coord"] = in_words({s: compare(peers, s, COORD, SCALE) for s in SHORT})
    return words | {"wide": in_words(chosen)}


def numbers(folder: Path) -> dict[str, Any]:
    """All that the templates of this folder's pages need."""
    peers, (runs, _) = read_json(folder / "peers.json"), runs_of(folder)
    rows = {row["value"]: row for row in read_json(folder / "readouts.json")["curves"]["rdb_ood"]}
    far = {name: sum(errors) / len(errors) for name, errors in rows[max(rows)]["errors"].items() if None not in errors}
    noise = {row["at"]: row["ours"]["mean"] for row in read_json(folder / "paper.json")["prefix"]["noise"]}
    return {
        **said(peers),
        "errors_about": about(peers),
        "validation": validation_of(HIDDEN),
        "budget": budget(peers),
        "errors": {name: _errors(row["gains"]) for name, row in runs.items()},
        "harm": {name: row["harm"] for name, row in runs.items()},
        "trained": {SHORT[s]: found for s, found in peers["trained"].items()},
        "height": " ".join(times(peers["ratios"]["rdb_ood"]["anchor_ratio"]["mean"])).strip(),
        "far": {"coordinate": rows[max(rows)]["coordinate"], "errors": far},
        "noise": noise,
        "filled": read_json(folder / "beyond.json")["summary"],
    }


def when(folder: Path) -> str:
    """The README's advice on when to use CCM and when not to."""
    return _filled("when.md.j2", folder).strip()


def measured(folder: Path) -> str:
    """The README's tables and claims."""
    return _filled("measured.md.j2", folder).strip()


def limits(folder: Path) -> str:
    """The page of limits."""
    return _filled("limits.md.j2", folder)


def _filled(template: str, folder: Path) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined)
    return folded(environment.get_template(template).render(**numbers(folder)))


def folded(text: str) -> str:
    """Paragraphs and items of lists in lines of equal length, whatever numbers a template has put into them."""
    parts = [part.strip() for part in re.split(r"\n\s*\n|\n(?=- )", text.strip())]
    lines = [part if part.startswith("|") else _filled_to_width(part) for part in parts]
    joined = lines[0]
    for before, line in itertools.pairwise(lines):
        joined += ("\n" if before.startswith("- ") and line.startswith("- ") else "\n\n") + line
    return joined + "\n"


def _filled_to_width(part: str) -> str:
    part = re.sub("[ \n]+", " ", part)
    return textwrap.fill(part, WIDTH, subsequent_indent="  " * part.startswith("- "), **WHOLE)


def windows(peers: dict[str, Any]) -> str:
    """The figure's note on the anchors of CCM-Prefix."""
    wide, kept = chosen_windows(peers)
    if not wide:
        return ""
    words = f"¹ The anchor sees three frames for {named(wide)}, as validation chose, otherwise one."
    return words + (f" For {named(kept)}, the readout then keeps the anchor: nothing is merged." if kept else "")


def window_note(peers: dict[str, Any]) -> str:
    """What the table of CCM-Prefix on the anchors that validation chose shows; empty where it chose one frame."""
    wide, kept = chosen_windows(peers)
    if not wide:
        return ""
    words = f"Validation chose an anchor that sees three frames for {named(wide)}, otherwise one."
    return folded(words + (f" {FALLBACK} {fallback(kept)}" if kept else "")).strip()
