"""The results of the study beyond the paper in plain numbers: each for the worst system, with an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.report.statistics import Scale, interval

Gathered = dict[str, Any]  # rows by name, each a list of {"seed", "found"} or {"seed", "error"}
Found = dict[str, Any]
Measure = Callable[[Found], float | None]
SYSTEMS = ("rd_ood", "ns_ood", "rdb_gravity")
ALARM = 0.05
LEVEL = 0.9
SHARES = ("coverage", "flagged", "alarms")  # in the names of numbers that are shares
FAR = 2.0  # false alarms are counted up to this normalised value


def of_rows(gathered: Gathered, names: Sequence[str], measure: Measure, scale: Scale = "linear") -> dict[str, Found]:
    """A number of each row, its mean and interval over the seeds that have it."""
    found = {}
    for name in names:
        values = [measure(one["found"]) for one in gathered.get(name, []) if "found" in one]
        kept = [float(value) for value in values if value is not None]
        if kept:
            found[name] = interval(kept, scale)
    return found


def worst(found: dict[str, Found], badness: Callable[[float], float]) -> Found:
    """The row with the worst mean."""
    if not found:
        return {"mean": None, "low": None, "high": None, "row": None}
    name = max(found, key=lambda row: badness(found[row]["mean"]))
    return {key: found[name][key] for key in ("mean", "low", "high")} | {"row": name}


def side(found: Found, outside: bool) -> list[Found]:
    """Rows of the regimes on one side of the support's ends."""
    return [row for row, out in zip(found["regimes"], found["outside"], strict=True) if out == outside]


def pooled(rows: Sequence[Found], key: str) -> np.ndarray:
    """A quantity of every trajectory of some regimes."""
    return np.concatenate([np.asarray(row[key], float) for row in rows])


def alarms(found: Found, far: bool) -> float:
    """The share of the family's own frames that are flagged: inside the support, or outside it up to FAR."""
    near = [abs(s) <= FAR + 1e-6 for s in found["coordinates"]]
    rows = [row for row, out, kept in zip(found["regimes"], found["outside"], near, strict=True) if out == far and kept]
    return float(np.mean(pooled(rows, "p_value") < ALARM))


def least_flagged(found: Found) -> float | None:
    """The smallest share flagged among the kinds of strangers, at the rung that doubles the future error."""
    shares = [one["flagged_there"] for one in found["ladders"].values() if one["flagged_there"] is not None]
    return min(shares) if shares else None


def _value(outside: bool) -> Measure:
    return lambda found: float(np.median(pooled(side(found, outside), "error")))


def _covered(outside: bool) -> Measure:
    return lambda found: float(np.mean(pooled(side(found, outside), "covered")))


def _forecast(outside: bool) -> Measure:
    return lambda found: float(np.mean([np.mean(row["forecast"]["covered"]) for row in side(found, outside)]))


def _width_ratio(found: Found) -> float:
    return float(pooled(side(found, True), "width").mean() / pooled(side(found, False), "width").mean())


def _noise(found: Found) -> float:
    """With a tenth of noise and half of the points missing, on either side of the support's ends."""
    hard = [i for i, c in enumerate(found["conditions"]) if c["noise"] == 0.1 and c["missing"] == 0.5]
    return max(max(found["median"]["matched"][i].values()) for i in hard)


# Name, kind of row, what is read off it, what makes it worse, how its seeds vary.
NUMBERS: tuple[tuple[str, str, Measure, Callable[[float], float], Scale], ...] = (
    ("value_error_inside", "value", _value(False), float, "linear"),
    ("value_error_outside", "value", _value(True), float, "linear"),
    ("value_error_noise", "noise", _noise, float, "linear"),
    ("coverage_inside", "value", _covered(False), lambda c: abs(c - LEVEL), "linear"),
    ("coverage_outside", "value", _covered(True), lambda c: -c, "linear"),
    ("width_ratio", "value", _width_ratio, float, "log"),
    ("forecast_coverage_inside", "value", _forecast(False), lambda c: abs(c - LEVEL), "linear"),
    ("forecast_coverage_outside", "value", _forecast(True), lambda c: -c, "linear"),
    ("flagged", "strangers", least_flagged, lambda share: -share, "linear"),
    ("false_alarms", "value", lambda found: alarms(found, False), float, "linear"),
    ("false_alarms_outside", "value", lambda found: alarms(found, True), float, "linear"),
    ("plane_over_best", "plane", lambda found: found["plane_over_best"], float, "log"),
    (
        "unlabelled_correlation",
        "unlabelled",
        lambda found: found["predictions"]["correlation"],
        lambda r: -r,
        "correlation",
    ),
    ("drift_over_known", "drift", lambda found: found["errors_over_known"]["filter"], float, "log"),
)


def summary_of(gathered: Gathered) -> Found:
    """Every number with ``_low`` and ``_high``, and ``_row``, where it is worst."""
    found: Found = {}
    for name, kind, measure, badness, scale in NUMBERS:
        names = [row for row in gathered if row == kind or row.endswith(f" {kind}")]
        one = worst(of_rows(gathered, names, measure, scale), badness)
        if scale == "linear":  # Student's interval of an error may reach below 0, and that of a share beyond 1
            most = 1.0 if any(word in name for word in SHARES) else None
            one |= {end: None if one[end] is None else float(np.clip(one[end], 0.0, most)) for end in ("low", "high")}
        found |= {name: one["mean"], f"{name}_low": one["low"], f"{name}_high": one["high"], f"{name}_row": one["row"]}
    return found
