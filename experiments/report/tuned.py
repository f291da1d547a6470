"""The paper's comparisons with tuned anchors, from the study of alternatives."""

from __future__ import annotations

from typing import Any

from experiments.report.alternatives import PREFIX, SCALE, compare
from experiments.report.ratios import in_words, with_interval
from experiments.report.systems import SHORT

AVERAGE = "endpoint average"
# Numbers of the paper that the study of alternatives measures too: their keys, the system and the method.
TUNED = {
    "ns_scale": ("ns_ood", SCALE),
    "ns_average": ("ns_ood", AVERAGE),
    "rdb_prefix": ("rdb_ood", PREFIX),
    "rdb_average": ("rdb_ood", AVERAGE),
    "du_average": ("rd_ood", AVERAGE),
}


def tuned(peers: dict[str, Any], key: str) -> str:
    """An error relative to that of the better of two tuned anchors, where it is measured."""
    if key not in TUNED:
        return "–"
    system, label = TUNED[key]
    found = compare(peers, system, label, peers["ratios"][system]["anchor_ratio"]["peer"])
    return "–" if found is None else with_interval(found)


def with_tuned_anchors(peers: dict[str, Any]) -> str:
    """Which of two different numbers for one comparison to quote."""
    found = in_words({system: peers["ratios"][system]["anchor_ratio"] for system in SHORT})
    return (
        "**The anchors of this page are trained as in the paper, without tuning. CCM gains less on tuned anchors**: "
        f"there, CCM-Prefix's error, relative to the better anchor's, is {found}. Quote these numbers, which README "
        "and [all comparisons](comparisons.md) give, too."
    )
