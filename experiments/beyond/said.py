"""What the page beyond the paper says of each figure, in numbers from the rows that are done."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from experiments.beyond.summary import ALARM
from experiments.report.statistics import interval
from experiments.report.systems import TITLES

Rows = dict[str, dict[str, Any]]  # by name, what each seed found

# Both coordinates of a plane, as its axes are called.
AXES = {
    "rd_2d": ("coordinate of Dᵤ", "coordinate of Dᵥ"),
    "ns_2d": ("coordinate of viscosity", "coordinate of forcing"),
}
LINE = "two: line through the ends"
# Ways to spend the steps of two experts, see experiments.beyond.experts.
ARMS = {
    "two": "two experts",
    "equal 3": "three experts, each with a third of the steps",
    "equal 5": "five experts, each with a fifth of the steps",
    "short 3": "three experts, the middle one fine-tuned briefly from the merge there",
    "short 5": "five experts, those between the ends fine-tuned briefly from the merges there",
    "middle first": "five experts that start from one of the middle",
    "trained": "five experts, corrected by training on all regimes at once",
}
FRAMES = 4  # of a prefix, `config.calibration.frames` of ns_drift: one-step errors count after them
# Changes that make out-of-family frames (experiments.beyond.strangers); they begin with their names in the figure.
CHANGES = {
    "threshold": "threshold of the reaction",
    "diffusivity_v": "diffusivity v",
    "length": "length of the box",
    "units": "units: all states multiplied by a factor",
    "amplitude": "amplitude of the forcing",
    "advection": "advection: a mean flow is added",
    "another forcing": "another forcing replaces that of the family",
    "height": "height of the dam",
    "other walls": "other walls replace those of the family",
}
INSIDE, OUTSIDE = 0.85, 1.02  # thresholds for more experts, relative to the line through two
CAUGHT = 0.95  # a kind of out-of-family frames is detected if so many are flagged where they double the error


def name_of(row: str) -> str:
    """A system in words, of the name of one of its rows."""
    system = row.split(" ")[0]
    return TITLES.get({"drift": "ns_drift"}.get(system, system), system)


def said(rows: Rows) -> dict[str, Any]:
    """Numbers of each figure, by its name."""
    found = {"strangers": _strangers(rows), "plane": _plane(rows), "drift": _drift(rows), "noise": _noise(rows)}
    return found | {"equations": _equations(rows), "experts": _experts(rows), "value": _value(rows)}


def _of(rows: Rows, kind: str) -> dict[str, list[Any]]:
    return {row: list(seeds.values()) for row, seeds in rows.items() if seeds and row.endswith(kind)}


def _strangers(rows: Rows) -> dict[str, Any]:
    """Each change that was tried, the share flagged where it doubles the error, and how many are missed there."""
    changes: list[dict[str, Any]] = []
    for row, seeds in _of(rows, "strangers").items():
        for kind in seeds[0]["ladders"]:
            shares = [found["ladders"][kind]["flagged_there"] for found in seeds]
            known = [s for s in shares if s is not None]
            share = float(np.mean(known)) if known else None  # None: no size of the change doubled the error
            change = CHANGES.get(kind, kind.replace("_", " "))
            missed = share is not None and share < CAUGHT
            changes.append({"system": name_of(row), "change": change, "share": share, "missed": missed})
    return {"changes": changes, "alarm": ALARM, "missed": sum(one["missed"] for one in changes)}


def _noise(rows: Rows) -> dict[str, Any]:
    """Errors with a tenth of noise and half of the points missing, of the worst system: fixed points or not."""

    def hard(one: dict[str, Any], fixed: bool) -> float:
        wanted = (0.1, 0.5, fixed)
        (i,) = [i for i, c in enumerate(one["conditions"]) if (c["noise"], c["missing"], bool(c["fixed"])) == wanted]
        return float(max(one["median"]["matched"][i].values()))  # of both sides

    def worst(fixed: bool) -> float | None:
        means = [float(np.mean([hard(one, fixed) for one in seeds])) for seeds in _of(rows, "noise").values()]
        return max(means, default=None)

    return {"fixed": worst(True), "moving": worst(False)}


def _value(rows: Rows) -> dict[str, Any]:
    """The smallest coverage of a regime, over seeds."""
    shares = [
        float(np.mean([[np.mean(row["covered"]) for row in found["regimes"]] for found in seeds], axis=0).min())
        for seeds in _of(rows, "value").values()
    ]
    return {"least": min(shares, default=None)}


def _plane(rows: Rows) -> dict[str, Any]:
    """By how much a window of five frames has a larger error than CCM-Prefix."""
    return {
        name_of(row): float(np.exp(np.mean([np.log(found["window_over_prefix"]) for found in seeds])))
        for row, seeds in _of(rows, "plane").items()
    }


def _drift(rows: Rows) -> dict[str, Any] | None:
    seeds = _of(rows, "drift").get("drift")
    if not seeds:
        return None
    names = {"errors": "errors_over_known", "forecast": "forecast_over_known"}
    means = {
        short: {key: float(np.mean([found[name][key] for found in seeds])) for key in seeds[0][name]}
        for short, name in names.items()
    }
    paths = [path for found in seeds for path in found["paths"]]
    kinds: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys(path["path"][0] for path in paths):
        errors = [path["errors"] for path in paths if path["path"][0] == kind]
        known = np.mean([e["known"] for e in errors])
        kinds[kind] = {who: float(np.mean([e[who] for e in errors]) / known) for who in ("filter", "window")}
    whole = {key: float(np.mean([found[key] for found in seeds])) for key in ("coverage", "offset")}
    std = float(np.mean([np.mean(path["std"]) for path in paths]))
    still = [path["errors"] for path in paths if path["path"][0] == "ramp" and path["path"][1] == path["path"][2]]
    constant = float(np.sum([e["filter"] for e in still]) / np.sum([e["known"] for e in still])) if still else None
    return means | whole | {"std": std, "kinds": kinds, "constant": constant, "foreseeable": _foreseeable(paths)}


def _foreseeable(paths: list[dict[str, Any]]) -> float:
    """The filter's one-step error over that of the known path, but for the frames at a jump, which nobody foresees."""
    means: dict[str, list[float]] = {"known": [], "filter": []}
    for path in paths:
        s = np.array(path["s"])
        errors = {who: np.array(path["by_frame"][who]) for who in means}
        steps = len(errors["known"])
        kept = np.arange(steps) >= FRAMES
        if path["path"][0] == "step":
            kept &= np.concatenate([[True], np.diff(s) == 0])[-steps:]
        for who, error in errors.items():
            means[who].append(float(error[kept].mean()))
    return float(np.mean(means["filter"]) / np.mean(means["known"]))


def _equations(rows: Rows) -> dict[str, Any]:
    """Errors outside: of CCM-Prefix over the network with a window of five frames, and over the anchor."""
    found = {}
    for row in ("burgers", "ks", "rd_3d"):
        if seeds := list(rows.get(row, {}).values()):
            far = [one["means"]["outside"] for one in seeds]
            found[name_of(row)] = {
                key: float(np.exp(np.mean([np.log(e["ccm_prefix"] / e[key]) for e in far])))
                for key in ("window", "anchor")
            }
    return found


def _chart(name: str) -> str:
    """A chart in words, of its name such as ``"short 5, slow: quadratic"``."""
    if name == LINE:
        return "the line through two experts"
    arm, _, shape = name.partition(": ")
    plain, slow = arm.removesuffix(", slow"), arm.endswith(", slow")
    return f"a {shape} curve through {ARMS.get(plain, plain)}{', at a lower learning rate' * slow}"


def _experts(rows: Rows) -> dict[str, Any]:
    """What validation chose, its errors over those of the line through two experts, by CCM-Scale; the thresholds."""
    found: dict[str, Any] = {}
    for row, seeds in _of(rows, "experts").items():
        counts = Counter(_chart(one["chosen"]) for one in seeds)
        several = [f"{chart} (in {count} of {len(seeds)} seeds)" for chart, count in counts.items()]
        ratios = [one["over_line"]["scale"][one["chosen"]] for one in seeds]
        errors = {side: interval([r[side] for r in ratios], "log") for side in ("inside", "outside")}
        found[name_of(row)] = {"chosen": ", or ".join(several if len(counts) > 1 else counts)} | errors
    least = sum(one["inside"]["mean"] <= INSIDE for one in found.values())
    worst = max(found, key=lambda system: found[system]["outside"]["mean"], default=None)
    return {
        "systems": found,
        "inside": least,
        "outside": all(one["outside"]["mean"] <= OUTSIDE for one in found.values()),
        "worst": {} if worst is None else {"system": worst, "outside": found[worst]["outside"]},
    }
