"""CCM's errors beside those of the strongest alternative of each kind: the tables of the README."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.report.ratios import named
from experiments.report.reach import config_of, reach_of
from experiments.report.statistics import interval
from experiments.report.systems import SHORT

PREFIX, COORD, SCALE = "CCM-Prefix", "CCM-Coord", "CCM-Scale"
WIDE, ANCHOR_OF_WIDE = "CCM-Prefix, window of 3", "anchor, window of 3"
CONDITIONED = ("finetune_ratio", "scratch_ratio")
# What the README compares CCM with: by what is known, our method, then each kind of method and the ratios of the study
# of peers that it stands for. Of several, the one in which CCM does worst is given.
BESIDE: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "five frames observed, value unknown": (
        PREFIX,
        {
            "its anchor, unmerged: as it is, or trained for as many steps in total": ("anchor_ratio",),
            "the best network that sees one to five frames, but not the value": ("frames_ratio",),
            "a conditioned network, trained on labelled data; our readout infers the value": ("frames_ratio_labelled",),
            "CoDA or GEPS, trained on data grouped by regime": ("frames_ratio_adaptive",),
            "a coarse solver; our readout infers its parameter": ("frames_ratio_solver",),
        },
    ),
    "value known": (
        SCALE,
        {
            "SLERP between the same experts, extrapolated": ("slerp_ratio",),
            "the best of other merges, the ensemble and the nearest of the same experts": ("posthoc_ratio",),
            "a conditioned network, trained on labelled data": CONDITIONED,
        },
    ),
}
NONE = "–"


def tables(peers: dict[str, Any]) -> str:
    """Errors of CCM and of the strongest method of each kind, outside, in one table for each thing that is known."""
    made = []
    for heading, (ours, kinds) in BESIDE.items():
        lines = [f"| {heading} | {' | '.join(SHORT.values())} |", "|---" * (1 + len(SHORT)) + "|"]
        lines.append(_line(f"**{ours}**", [error(_mean(peers, s, ours)) for s in SHORT]))
        if ours == SCALE:
            lines.append(_line(f"{COORD}, without validation", [_by_label(peers, s, SCALE, COORD) for s in SHORT]))
        elif wide := chosen_windows(peers)[0]:
            cells = [_by_label(peers, s, PREFIX, WIDE if s in wide else PREFIX) for s in SHORT]
            lines.append(_line(f"{PREFIX}, its anchor sees as many frames as validation chooses", cells))
        for kind, keys in kinds.items():
            found = {s: one_frame(peers, s, worst(peers, s, keys)) for s in SHORT}
            single = all(r is None or r["low"] is None for r in found.values())
            cells = [cell(_mean(peers, s, r["peer"]), r, single) if r else NONE for s, r in found.items()]
            lines.append(_line(kind + " (one seed)" * single, cells))
        if ours == PREFIX:
            unchanged = [error(_mean(peers, s, "persistence")) for s in SHORT]
            lines.append(_line("for scale: the last observed frame, unchanged", unchanged))
        made.append("\n".join(lines))
    return "\n\n".join(made)


def _line(label: str, cells: list[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


def _mean(peers: dict[str, Any], system: str, label: str) -> float | None:
    """The error of a method outside, over its seeds."""
    return next((m["outside"]["mean"] for m in peers["systems"].get(system, []) if m["label"] == label), None)


def _by_label(peers: dict[str, Any], system: str, ours: str, other: str) -> str:
    if other == ours:
        return error(_mean(peers, system, ours))
    return cell(_mean(peers, system, other), compare(peers, system, ours, other))


def error(value: float | None) -> str:
    """An error in two digits.

    Example:
        >>> error(0.0041), error(1.158), error(0.00019), error(None)
        ('0.0041', '1.2', '0.00019', '–')
    """
    return NONE if value is None else f"{value:#.2g}".rstrip(".")


def cell(value: float | None, ratio: dict[str, Any] | None, single: bool = False) -> str:
    """An error, in bold where it is clearly smaller than CCM's, with ≈ where neither is.

    Args:
        value: the error.
        ratio: CCM's error over it, with its interval; None where nothing is measured.
        single: whether the table says already that it is of one seed.

    Example:
        >>> clear = {"mean": 2.0, "low": 1.5, "high": 3.0}
        >>> cell(0.02, clear), cell(0.08, {"mean": 0.5, "low": 0.4, "high": 0.8}), cell(0.04, clear | {"low": 0.9})
        ('**0.020**', '0.080', '0.040\\xa0(≈)')
    """
    if value is None or ratio is None or ratio["mean"] is None:
        return NONE
    if ratio["low"] is None:
        return error(value) + " (one seed)" * (not single)
    if ratio["low"] <= 1 <= ratio["high"]:
        return f"{error(value)}\N{NO-BREAK SPACE}(≈)"
    return f"**{error(value)}**" if ratio["low"] > 1 else error(value)


def worst(peers: dict[str, Any], system: str, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """The largest of some ratios of a system; None where none is measured."""
    found = [peers["ratios"].get(system, {}).get(key) for key in keys]
    return max((r for r in found if r and r["mean"] is not None), key=lambda r: r["mean"], default=None)


def one_frame(peers: dict[str, Any], system: str, ratio: dict[str, Any] | None) -> dict[str, Any] | None:
    """The same ratio with CCM on the anchor that sees one frame, as in all other rows of the table."""
    if not ratio or ratio["ours"] != WIDE:
        return ratio
    found = compare(peers, system, PREFIX, ratio["peer"])
    return found and found | {"ours": PREFIX, "peer": ratio["peer"]}


def compare(peers: dict[str, Any], system: str, ours: str, peer: str) -> dict[str, Any] | None:
    """The ratio of two methods' errors outside, by their labels, with its interval, over the seeds that both have."""
    seeds = {m["label"]: m["outside"]["seeds"] for m in peers["systems"].get(system, [])}
    pairs = list(zip(seeds.get(ours, []), seeds.get(peer, []), strict=False))
    if not pairs or None in np.ravel(pairs).tolist():
        return None
    return interval([a / b for a, b in pairs], "log")


def chosen_windows(peers: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Systems for which validation chose a window of three frames, and those of them whose readout kept its anchor."""
    chosen = {s: r["frames_ratio"] for s, r in peers["ratios"].items() if s in SHORT and r["frames_ratio"]["ours"]}
    wide = {s: r for s, r in chosen.items() if r["ours"] == WIDE}
    kept = [s for s in wide if (same := compare(peers, s, WIDE, ANCHOR_OF_WIDE)) and abs(same["mean"] - 1) < 1e-3]
    return wide, kept


def about(peers: dict[str, Any]) -> str:
    """What the tables show, and how many runs are missing."""
    missing, done = len(peers["not_run"]), peers["done"]
    words = (
        "Relative errors of the sixteen frames after the five observed ones, outside the anchor's training range, over "
        "three seeds; smaller is better. **Bold**: clearly smaller than CCM's in the first row. ≈: not clearly "
        "different from it; one seed does not tell ([intervals of the ratios]"
        "(docs/comparisons.md#ccm-compared-with-the-strongest-alternative-of-each-kind))."
    )
    return words + (f" Of {missing + done} runs, {missing} have not been done yet." if missing else "")


def fairness(peers: dict[str, Any]) -> str:
    """On what terms the methods are compared, below the tables."""
    wide, kept = chosen_windows(peers)
    words = (
        "All networks have the same data, the same total number of training steps and the same tuning on validation "
        f"regimes ({regimes()}). Of each kind, the alternative with the smallest error on the test regimes is taken, "
        "which favours it. Everything is small: grids of 32² and networks of 10⁵ to 10⁶ weights."
    )
    words += f" Validation chooses three frames for {named(wide)}, otherwise one." if wide else ""
    return words + (f" For {named(kept)}, the readout then keeps the anchor unmerged." if kept else "")


def regimes() -> str:
    """How many validation regimes the configurations of the compared systems have, how far out they and tests reach."""
    configs = {name: config_of(name) for name in SHORT}
    counted = " or ".join(map(str, sorted({len(config.regimes.validation) for config in configs.values()})))
    ends: dict[str, dict[float, list[str]]] = {"validation": {}, "test": {}}
    for split, found in ends.items():
        for name, config in configs.items():
            found.setdefault(max(map(abs, reach_of(config, split))), []).append(name)
    validation, test = (
        ", ".join(
            f"±{end:.4g}" + (f" for {named(names)}" if i else "")
            for i, (end, names) in enumerate(sorted(found.items(), key=lambda item: -len(item[1])))
        )
        for found in ends.values()
    )
    return f"{counted} values, out to coordinates of {validation}; tests reach {test}"
