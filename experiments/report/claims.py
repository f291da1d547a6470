"""What README and ``docs/limits.md`` say of CCM and its alternatives, in numbers from the files in ``results/``."""

from __future__ import annotations

import itertools
import re
import textwrap
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ccm_jax.io.atomic import read_json
from experiments.report.ratios import UNCLEAR, in_words, named, times
from experiments.report.record import runs_of
from experiments.report.statistics import interval
from experiments.report.systems import SHORT

HERE = Path(__file__).parent
WIDTH = 127
WHOLE: Any = {"break_long_words": False, "break_on_hyphens": False}
WIDE, ANCHOR_OF_WIDE = "CCM-Prefix, window of 3", "anchor, window of 3"
HIDDEN = ("rd_ood", "ns_ood", "rdb_gravity")  # a single frame does not show the parameter

CONDITIONED = ("finetune_ratio", "scratch_ratio")
# What the README compares CCM with: by what is known, each kind of method and the ratios of the study of peers that it
# stands for. Of several, the one in which CCM does worst is given.
BESIDE: dict[str, dict[str, tuple[str, ...]]] = {
    "five frames observed, value unknown (CCM-Prefix)": {
        "its own anchor, trained for as many steps in total": ("anchor_ratio",),
        "the best network that is not given the value and sees one to five frames": ("frames_ratio",),
        "a network conditioned on the value, trained on labelled data; our readout infers the value": (
            "frames_ratio_labelled",
        ),
        "CoDA or GEPS, trained on data grouped by regime": ("frames_ratio_adaptive",),
        "a coarse solver; our readout infers its parameter": ("frames_ratio_solver",),
    },
    "value known (CCM-Scale)": {
        "the best other use of the same experts (merges, ensemble, nearest expert), except SLERP": ("posthoc_ratio",),
        "SLERP between the same experts, extrapolated": ("slerp_ratio",),
        "a network conditioned on the value, trained on labelled data": CONDITIONED,
    },
}


def beside(peers: dict[str, Any]) -> str:
    """The claims of the README: CCM's error, compared with that of the strongest method of each kind, as a table."""
    lines = [f"| CCM's error, compared with that of | {' | '.join(SHORT.values())} |", "|---" * (1 + len(SHORT)) + "|"]
    for heading, kinds in BESIDE.items():
        lines.append(f"| **{heading}** |{' |' * len(SHORT)}")
        for kind, keys in kinds.items():
            found = [_one_frame(peers, s, worst(peers, s, keys)) for s in SHORT]
            single = all(r is None or r["low"] is None for r in found)
            told = [in_cell(r, single) for r in found]
            lines.append(f"| {kind}{' (one seed)' * single} | {' | '.join(told)} |")
    return "\n".join(lines)


def _one_frame(peers: dict[str, Any], system: str, ratio: dict[str, Any] | None) -> dict[str, Any] | None:
    """The same ratio with CCM on the anchor that sees one frame, as everywhere else in the table."""
    return compare(peers, system, "CCM-Prefix", ratio["peer"]) if ratio and ratio["ours"] == WIDE else ratio


def in_cell(ratio: dict[str, Any] | None, single: bool) -> str:
    """A ratio in a cell of a table.

    Args:
        ratio: with its interval; None where nothing is measured.
        single: whether the table says already that it is of one seed.
    """
    if ratio is None or ratio["mean"] is None:
        return "–"
    if ratio["low"] is not None and ratio["low"] <= 1 <= ratio["high"]:
        return UNCLEAR
    said = " ".join(times(ratio["mean"])).strip().replace(" ", "\N{NO-BREAK SPACE}")
    return said + ", one seed" * (ratio["low"] is None and not single)


def worst(peers: dict[str, Any], system: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """The largest of some ratios of a system; None where none is measured."""
    found = [peers["ratios"].get(system, {}).get(key) for key in keys]
    return max((r for r in found if r and r["mean"] is not None), key=lambda r: r["mean"], default=None)


def compare(peers: dict[str, Any], system: str, ours: str, peer: str) -> dict[str, Any] | None:
    """The ratio of two methods' errors outside, by their labels, with its interval, over the seeds that both have."""
    seeds = {m["label"]: m["outside"]["seeds"] for m in peers["systems"].get(system, [])}
    pairs = list(zip(seeds.get(ours, []), seeds.get(peer, []), strict=False))
    if not pairs or None in np.ravel(pairs).tolist():
        return None
    return interval([a / b for a, b in pairs], "log")


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


def numbers(folder: Path) -> dict[str, Any]:
    """All that the templates of this folder's pages need."""
    peers, (runs, _) = read_json(folder / "peers.json"), runs_of(folder)

    def of(*keys: str) -> str:
        return in_words({s: _one_frame(peers, s, worst(peers, s, keys)) for s in SHORT})

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


def _wide(peers: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Systems for which validation chose a window of three frames, and those of them whose readout kept its anchor."""
    chosen = {s: r["frames_ratio"] for s, r in peers["ratios"].items() if s in SHORT and r["frames_ratio"]["ours"]}
    wide = {s: r for s, r in chosen.items() if r["ours"] == WIDE}
    kept = [s for s in wide if (same := compare(peers, s, WIDE, ANCHOR_OF_WIDE)) and abs(same["mean"] - 1) < 1e-3]
    return wide, kept


def _on_one_frame(peers: dict[str, Any], key: str) -> str:
    """A ratio of the systems for which validation chose three frames, had it chosen one."""
    return in_words({s: _one_frame(peers, s, peers["ratios"][s][key]) for s in _wide(peers)[0]})


def windows(peers: dict[str, Any]) -> str:
    """The figure's note on the anchors of CCM-Prefix."""
    wide, kept = _wide(peers)
    words = (
        f"¹ Its anchor sees one frame, or three where validation regimes chose so: for {named(wide)}." if wide else ""
    )
    return words + (f" For {named(kept)}, the readout then kept the anchor unmerged." if kept else "")


def chosen(peers: dict[str, Any]) -> str:
    """How CCM-Prefix does if validation regimes choose the frames that its anchor sees, beside the README's table."""
    wide, kept = _wide(peers)
    if not wide:
        return ""
    best, labelled = (
        in_words({s: worst(peers, s, (key,)) for s in wide}) for key in ("frames_ratio", "frames_ratio_labelled")
    )
    words = (
        "CCM's anchor sees one frame throughout. If validation regimes choose the number instead, they choose three "
        f"for {named(wide)}. CCM-Prefix's error is then, compared with that of the best network in the second row, "
        f"{best}; compared with that in the third row, {labelled}."
    )
    words += f" For {named(kept)}, the readout then keeps the anchor unmerged." if kept else ""
    return folded(words).strip()


def how_many(peers: dict[str, Any]) -> str:
    """What the claims are, and how many runs are missing."""
    missing, done = len(peers["not_run"]), peers["done"]
    words = (
        "Errors are of the sixteen frames after the five observed ones, outside the anchor's training range, over "
        "three seeds ([with intervals](docs/comparisons.md#ccm-compared-with-the-strongest-alternative-of-each-kind)). "
        "All networks have the same data, the same total number of training steps and the same tuning on validation "
        "regimes. Of each kind, the alternative with the smallest error on the test regimes is taken, which favours "
        "it. *No clear difference*: the 95 % interval of the ratio includes 1. Everything is small: grids of 32² and "
        "networks of 10⁵ to 10⁶ weights."
    )
    words += f" Of {missing + done} runs, {missing} have not been done yet." if missing else ""
    return folded(words).strip()


def footnote(peers: dict[str, Any]) -> str:
    """With which anchor CCM-Prefix stands in the table."""
    wide, kept = _wide(peers)
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
