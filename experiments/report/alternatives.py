"""CCM's errors beside those of the strongest alternative of each kind: the table of the README, and longer ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.report.ratios import named
from experiments.report.reach import config_of, reach_of
from experiments.report.results import listed
from experiments.report.statistics import interval
from experiments.report.systems import SHORT

PREFIX, COORD, SCALE = "CCM-Prefix", "CCM-Coord", "CCM-Scale"
WIDE, ANCHOR_OF_WIDE = "CCM-Prefix, window of 3", "anchor, window of 3"
CONDITIONED = ("finetune_ratio", "scratch_ratio")
# What CCM is compared with: by what is known, our method, then each kind of method and the ratios of the study
# of peers that it stands for. Of several, the one in which CCM does worst is given.
BESIDE: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "five frames observed, value unknown": (
        PREFIX,
        {
            "the anchor alone, trained for as many steps as CCM where that is better": ("anchor_ratio",),
            "the best network trained without known values that sees one to five frames": ("frames_ratio",),
            "the best network conditioned on the value; the prefix readout infers it": ("frames_ratio_labelled",),
            "CoDA or GEPS, trained on data grouped by regime": ("frames_ratio_adaptive",),
            "a coarse solver; the prefix readout infers its parameter": ("frames_ratio_solver",),
        },
    ),
    "value known": (
        SCALE,
        {
            "SLERP between the same experts, extrapolated": ("slerp_ratio",),
            "the best other use of the experts: a fixed merge, their ensemble, or the nearest": ("posthoc_ratio",),
            "the best network conditioned on the value": CONDITIONED,
        },
    ),
}
SIZES = "grids of 32² and networks of 10⁵ to 10⁶ weights"
BREAKS = {"gravity": "dam break: gravity", "dam height": "dam break: height"}  # in headings
NONE = "–"
FALLBACK = "†"  # marks an error of CCM-Prefix that is its anchor's


def tables(peers: dict[str, Any]) -> str:
    """Errors of CCM and of the strongest method of each kind, outside, in one table for each thing that is known."""
    made = []
    for heading, (ours, kinds) in BESIDE.items():
        lines = [f"### {heading[0].upper()}{heading[1:]}", "", *_head()]
        lines.append(_line(f"**{ours}**", [error(_mean(peers, s, ours)) for s in SHORT]))
        if ours == SCALE:
            lines.append(_line(f"{COORD}, without validation", [_by_label(peers, s, SCALE, COORD) for s in SHORT]))
        for kind, keys in kinds.items():
            found = {s: one_frame(peers, s, worst(peers, s, keys)) for s in SHORT}
            single = all(r is None or r["low"] is None for r in found.values())
            cells = [cell(_mean(peers, s, r["peer"]), r, single) if r else NONE for s, r in found.items()]
            lines.append(_line(kind + " (one seed)" * single, cells))
        if ours == PREFIX:
            repeated = [error(_mean(peers, s, "persistence")) for s in SHORT]
            lines.append(_line("persistence: the last observed frame repeated (reference)", repeated))
        made.append("\n".join(lines))
    return "\n\n".join(made)


def wide_table(peers: dict[str, Any]) -> str:
    """Errors of CCM-Prefix with the anchor that validation chose, of one frame or of three."""
    wide, kept = chosen_windows(peers)
    labels = {s: WIDE if s in wide else PREFIX for s in SHORT}
    cells = [f"{_by_label(peers, s, PREFIX, label)}{f' {FALLBACK}' * (s in kept)}" for s, label in labels.items()]
    one = [error(_mean(peers, s, PREFIX)) for s in SHORT]
    return "\n".join(
        [*_head(), _line(f"{PREFIX}, one-frame anchor", one), _line("the anchor that validation chose", cells)]
    )


def _head() -> list[str]:
    return [_line("", [BREAKS.get(name, name) for name in SHORT.values()]), "|---" * (1 + len(SHORT)) + "|"]


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
    """What the README's claims compare, and how many runs are missing."""
    missing, done = len(peers["not_run"]), peers["done"]
    words = (
        "CCM's error, compared with that of the strongest alternative of each kind, over the sixteen frames after the "
        f"five observed ones, outside the anchor's training range ({furthest_tests()}); three seeds, unless one is "
        f"named. The systems are small: {SIZES}."
    )
    return words + (f" Of {missing + done} runs, {missing} have not been done yet." if missing else "")


def reading(peers: dict[str, Any]) -> str:
    """How the tables of all alternatives are read, and what their mark means."""
    wide, kept = chosen_windows(peers)
    words = (
        "Of each kind, the tables show the method with the smallest error on the test regimes, which favours the "
        "alternatives. **Bold**: clearly smaller than CCM's error in the first row. ≈: no clear difference. Rows of "
        "one seed have neither mark."
    )
    if not wide:
        return words
    errors = [f"{error(_mean(peers, s, WIDE))} for {SHORT[s]}" for s in wide]
    words += (
        f"\n\nCCM-Prefix's anchor sees one frame. If validation chooses between one frame and three, it chooses three "
        f"for {named(wide)}, and CCM-Prefix's error is {listed(errors, 'and')}."
    )
    return words + (f" {fallback(kept)}" if kept else "")


def fallback(kept: list[str]) -> str:
    """What the mark of an error of CCM-Prefix means that is its anchor's."""
    return (
        f"For {named(kept)}, the readout of the three-frame network kept its anchor for every trajectory: the error is "
        "the anchor's, and nothing is merged."
    )


def furthest_tests() -> str:
    """How far outside the training range the compared systems are tested, by their configurations."""
    ends: dict[float, list[str]] = {}
    for name in SHORT:
        ends.setdefault(max(map(abs, reach_of(config_of(name), "test"))), []).append(name)
    usual, *others = sorted(ends, key=lambda end: -len(ends[end]))
    said = [f"±{end:.4g} for {named(ends[end])}" for end in others]
    return ", ".join([f"coordinates up to ±{usual:.4g}", *said]) + "; the experts are at ±1"
