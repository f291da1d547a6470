"""What README and ``docs/limits.md`` say of CCM and its alternatives, in numbers from the files in ``results/``."""

from __future__ import annotations

import itertools
import re
import textwrap
from pathlib import Path
from typing import Any

import jinja2

from ccm_jax.io.atomic import read_json
from experiments.report.alternatives import CONDITIONED, chosen_windows, one_frame, worst
from experiments.report.ratios import in_cell, in_words, named, times
from experiments.report.record import runs_of
from experiments.report.systems import SHORT

HERE = Path(__file__).parent
WIDTH = 127
WHOLE: Any = {"break_long_words": False, "break_on_hyphens": False}
HIDDEN = ("rd_ood", "ns_ood", "rdb_gravity")  # a single frame does not show the parameter


def budget(peers: dict[str, Any]) -> dict[str, Any]:
    """CCM-Scale over its alternatives with a small budget, in words and cells; see :mod:`experiments.peers.plane`."""
    found = peers["small_budgets"]
    words = {"ratios": in_words(found["scale_over_conditioned"]), "lora": in_words(found["scale_over_lora"])}
    sizes = sorted({trajectories for _, trajectories in found["cells"]})
    kinds = {"conditioned": "scale_over_conditioned", "lora": "scale_over_lora"}
    table = {kind: {SHORT[s]: in_cell(r) for s, r in found[key].items()} for kind, key in kinds.items()}
    words |= {"trajectories": f"{sizes[0]} to {sizes[-1]}"}
    return (
        words
        | {"table": table}
        | {key: found[key] for key in ("fewest", "most", "seeds")}
        | {"cells": len(found["cells"])}
    )


def _errors(gains: dict[str, Any]) -> dict[str, str]:
    """Errors in words, compared with the anchor's, from the reductions of :func:`experiments.report.record`."""
    unclear = {m for m, gain in gains.items() if gain["low"] is not None and gain["low"] <= 0 <= gain["high"]}
    told = {method: " ".join(times(1 - gain["mean"])).strip() for method, gain in gains.items()}
    return {method: "not clearly different" if method in unclear else words for method, words in told.items()}


def numbers(folder: Path) -> dict[str, Any]:
    """All that the templates of this folder's pages need."""
    peers, (runs, _) = read_json(folder / "peers.json"), runs_of(folder)

    def of(*keys: str) -> str:
        return in_words({s: one_frame(peers, s, worst(peers, s, keys)) for s in SHORT})

    labels = {m["label"] for s in HIDDEN for m in peers["systems"].get(s, [])}
    measured = [name for name in ("CoDA", "GEPS") if f"{name}, our readout" in labels]
    rows = {row["value"]: row for row in read_json(folder / "readouts.json")["curves"]["rdb_ood"]}
    far = {name: sum(errors) / len(errors) for name, errors in rows[max(rows)]["errors"].items() if None not in errors}
    noise = {row["at"]: row["ours"]["mean"] for row in read_json(folder / "paper.json")["prefix"]["noise"]}
    return {
        "conditioned": of(*CONDITIONED),
        "inferred": of("frames_ratio_labelled"),
        "adaptive_best": " and ".join(measured) if len(measured) < 2 else "the better of CoDA and GEPS",
        "adaptive": of("frames_ratio_adaptive"),
        "window": of("frames_ratio"),
        "solver": of("frames_ratio_solver"),
        "budget": budget(peers),
        "height": in_words({"rdb_ood": worst(peers, "rdb_ood", ("anchor_ratio",))}).split(" for ")[0],
        "errors": {name: _errors(row["gains"]) for name, row in runs.items()},
        "harm": {name: row["harm"] for name, row in runs.items()},
        "trained": {SHORT[s]: found for s, found in peers["trained"].items()},
        "far": {"coordinate": rows[max(rows)]["coordinate"], "errors": far},
        "noise": noise,
        "filled": read_json(folder / "beyond.json")["summary"],
    }


def when(folder: Path) -> str:
    """The README's advice on when to use CCM and when not to."""
    return _filled("when.md.j2", folder).strip()


def measured(folder: Path) -> str:
    """What else was measured, below the README's table: what an expert costs, how accurate an inferred value is."""
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
    words = (
        f"¹ Its anchor sees one frame, or three where validation regimes chose so: for {named(wide)}." if wide else ""
    )
    return words + (f" For {named(kept)}, the readout then kept the anchor unmerged." if kept else "")


def _on_one_frame(peers: dict[str, Any], key: str) -> str:
    """A ratio of the systems for which validation chose three frames, had it chosen one."""
    return in_words({s: one_frame(peers, s, peers["ratios"][s][key]) for s in chosen_windows(peers)[0]})


def footnote(peers: dict[str, Any]) -> str:
    """With which anchor CCM-Prefix stands in the table."""
    wide, kept = chosen_windows(peers)
    if not wide:
        return ""
    words = (
        "¹ CCM-Prefix's anchor sees one frame, or three where validation regimes chose so: for "
        f"{named(wide)}. "
        + (f"For {named(kept)}, the readout then kept that anchor unmerged. " if kept else "")
        + "CCM-Prefix's error with the one-frame anchor instead, compared with that of the best unconditioned network: "
        f"{_on_one_frame(peers, 'frames_ratio')}. Compared with that of the best conditioned network: "
        f"{_on_one_frame(peers, 'frames_ratio_labelled')}."
    )
    return folded(words).strip()
