"""The ratios that say who wins: CCM over the strongest of its peers, seed by seed, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ccm_jax.metrics import over
from experiments.peers.methods import ADAPTIVE, ARMS, KINDS, LABELLED, METHODS, NO_VALUE, ONE_FRAME, POST_HOC
from experiments.report.statistics import interval

Gathered = dict[str, Any]  # of a study: rows by name, each a list of {"seed", "found"} or {"seed", "error"}
Place = tuple[str, str]  # measure and key of an error
LABELS = {(method.row, method.key): method.label for method in METHODS}
HIDDEN = ("rd_ood", "ns_ood", "rdb_gravity")  # axes that a frame does not show


def mean_of(found: dict[str, Any], key: str, split: str) -> float:
    """Mean error of a method outside or inside the support; infinite where a regime diverged."""
    errors = found["errors"][key]
    chosen = [e for e, outside in zip(errors, found["outside"], strict=True) if outside == (split == "outside")]
    chosen = [float("inf") if e is None else float(e) for e in chosen]
    return float(np.mean(chosen)) if chosen else float("nan")


def by_seed(gathered: Gathered, system: str, place: Place, split: str = "outside") -> dict[int, float]:
    """Mean errors of a method by seed, of the seeds that are done."""
    measure, key = place
    listed = gathered.get(f"{system} {measure}", [])
    return {
        one["seed"]: mean_of(one["found"], key, split)
        for one in listed
        if "found" in one and key in one["found"]["errors"]
    }


def over_seeds(errors: Iterable[float | None]) -> float:
    """The geometric mean of errors over seeds, as in ratios and intervals; infinite where one diverged."""
    return float(np.exp(np.mean(np.log([np.inf if error is None else error for error in errors]))))


def best_of(gathered: Gathered, system: str, places: Iterable[Place]) -> Place | None:
    """The place with the smallest error outside the support, over the seeds that all places with results have."""
    seen = {place: errors for place in places if (errors := by_seed(gathered, system, place))}
    common = set.intersection(*(set(errors) for errors in seen.values())) if seen else set()
    means = {place: over_seeds(errors[seed] for seed in common) for place, errors in seen.items() if common}
    return min(means, key=lambda place: means[place]) if means else None


def ratio(gathered: Gathered, system: str, ours: Place | None, peer: Place | None) -> dict[str, Any]:
    """Ours over the peer's, the geometric mean over seeds with its interval, and who the peer is."""
    if ours is None or peer is None:
        return {"mean": None, "low": None, "high": None, "seeds": [], "ours": None, "peer": None}
    a, b = (by_seed(gathered, system, place) for place in (ours, peer))
    ratios = [over(a[seed], b[seed]) for seed in sorted(set(a) & set(b))]
    found = interval(ratios, "log") if ratios else {"mean": None, "low": None, "high": None, "seeds": []}
    return found | {"ours": LABELS.get(ours, " / ".join(ours)), "peer": LABELS.get(peer, " / ".join(peer))}


def from_frames(gathered: Gathered, system: str) -> Place | None:
    """CCM-Prefix on an anchor of one or three frames: what validation regimes of the first seed say."""
    scores = {}
    for measure in ("window 1", "window 3"):
        listed = [one for one in gathered.get(f"{system} {measure}", []) if "found" in one]
        if listed and "ccm_prefix" in listed[0]["found"].get("validation", {}):
            errors = listed[0]["found"]["validation"]["ccm_prefix"]
            scores[measure, "ccm_prefix"] = float(np.mean(np.log([e or np.inf for e in errors])))
    return min(scores, key=lambda place: scores[place]) if scores else None


SOUGHT = {"window 1": "experts", "window 3": "experts", "window 5": "experts", "split": "split"}


def sought(gathered: Gathered, system: str) -> Place | None:
    """CCM-Scale with the window and the split of steps that validation regimes of the first seed choose."""
    scores = {}
    for measure, what in SOUGHT.items():
        listed = [one["found"] for one in gathered.get(f"{system} {measure}", []) if "found" in one]
        tried = listed[0].get("choices", {}).get(what, {}).get("trials", []) if listed else []
        reached = [trial["validation"] for trial in tried if trial["validation"] is not None]
        if reached:
            scores[measure, "split_scale" if measure == "split" else "ccm_scale"] = min(reached)
    return min(scores, key=lambda place: scores[place]) if scores else None


def of_system(gathered: Gathered, system: str) -> dict[str, Any]:
    """The ratios of one system, each with its peer."""

    def tuned(key: str) -> Place | None:
        return best_of(gathered, system, [(f"conditioned {kind}", f"{arm}_{key}") for kind in KINDS for arm in ARMS])

    scale, coord, frames = ("window 1", "ccm_scale"), ("window 1", "ccm_coord"), from_frames(gathered, system)
    pairs = {
        "posthoc_ratio": (scale, best_of(gathered, system, [("post hoc", key) for key in POST_HOC])),
        "slerp_ratio": (scale, ("post hoc", "slerp")),
        "finetune_ratio": (scale, tuned("scale")),
        "finetune_ratio_coord": (coord, tuned("coord")),
        "scratch_ratio": (scale, ("conditioned scratch", "scale")),
        "scratch_ratio_sought": (sought(gathered, system), ("conditioned scratch", "scale")),
        "frames_ratio": (frames, best_of(gathered, system, NO_VALUE)),
        "frames_ratio_labelled": (frames, best_of(gathered, system, LABELLED)),
        "frames_ratio_adaptive": (frames, best_of(gathered, system, ADAPTIVE)),
        "frames_ratio_solver": (frames, ("solver", "prefix")),
        "anchor_ratio": (("window 1", "ccm_prefix"), best_of(gathered, system, ONE_FRAME)),
    }
    return {name: ratio(gathered, system, *pair) for name, pair in pairs.items()}


def summary_of(gathered: Gathered) -> dict[str, Any]:
    """Plain numbers for each hidden axis: every ratio, and its ``_low`` and ``_high``."""
    found: dict[str, Any] = {}
    for system in HIDDEN:
        ratios = of_system(gathered, system)
        found[system] = {name: value["mean"] for name, value in ratios.items()}
        for name, value in ratios.items():
            found[system] |= {f"{name}_low": value["low"], f"{name}_high": value["high"]}
    return found
