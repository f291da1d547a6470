"""Numbers of whole experiments over seeds, and every published number beside ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ccm_jax.metrics import gain, over
from experiments.pipeline.methods import ANCHORS
from experiments.report.statistics import Scale, interval

Gathered = dict[str, Any]


def infinite(value: float | None) -> float:
    """What was written as null: a divergence."""
    return float("inf") if value is None else value


def over_seeds(
    gathered: Gathered, row: str, what: Callable[[dict[str, Any]], float | None], scale: Scale = "linear"
) -> dict[str, Any] | None:
    """Mean and interval of ``what(found)`` over the seeds of a row that have it; None if there is none."""
    values = [what(one["found"]) for one in gathered.get(row, []) if "found" in one]
    return interval([infinite(v) for v in values], scale) if values else None


def error(found: dict[str, Any], who: str, split: str | None = "ood") -> float:
    """Mean error of a method over the regimes of a split, or over all."""
    return float(
        np.mean([infinite(r["errors"][who]) for r in found["regimes"] if split is None or r["split"] == split])
    )


def over_better_anchor(who: str, split: str | None = "ood") -> Callable[[dict[str, Any]], float]:
    """The gain of a method over the better of the anchors; no number where both diverge."""
    return lambda found: gain(error(found, who, split), min(error(found, name, split) for name in ANCHORS))


def gains_of(gathered: Gathered, row: str, who: str, split: str | None = "ood") -> dict[str, Any] | None:
    """Gains over seeds, and what each seed's bootstrap over its trajectories says; a single seed has that interval."""
    value = over_seeds(gathered, row, over_better_anchor(who, split))
    if value is None or split != "ood":
        return value
    listed = [one["found"]["summary"].get("reduction_interval") for one in gathered[row] if "found" in one]
    value["bootstrap"] = [None if one is None else one.get(who) for one in listed]
    if len(value["seeds"]) == 1 and value["bootstrap"][0] is not None:
        value["low"], value["high"] = value["bootstrap"][0]
    return value


def harm(found: dict[str, Any], anchors: tuple[str, ...] = ("anchor",)) -> float:
    """By how much the prefix readout ends above the best of some anchors in the regime where it does worst."""
    regimes = (row["errors"] for row in found["regimes"])
    return max(over(e["ccm_prefix"], min(infinite(e[name]) for name in anchors)) for e in regimes) - 1


def correlation(found: dict[str, Any]) -> float:
    """Of the best coordinate with the physical one; NaN where one of them is the same everywhere."""
    r = found["summary"]["best_correlation"]
    return float("nan") if r is None else float(r)


def published(gathered: Gathered) -> list[dict[str, Any]]:
    """Every published number, and ours with its interval over seeds.

    ``agrees`` says whether the effect has the same sign: a gain above 0 where one was published, a factor above 1, a
    positive correlation; None where our interval holds both, or where ours is of another axis. Ours is against the
    better of two anchors, theirs against one.
    """

    def row(
        key: str, what: str, theirs: float, ours: dict[str, Any] | None, kind: str = "gain", *, same_axis: bool = True
    ) -> dict[str, Any]:
        agrees = None
        if ours is not None and kind != "spread" and same_axis and np.isfinite(ours["mean"]):
            above = {"gain": 0.0, "factor": 1.0, "correlation": 0.0}[kind]
            low, high = (ours["mean"] if ours[end] is None else ours[end] for end in ("low", "high"))
            agrees = bool((ours["mean"] > above) == (theirs > above)) if (low > above) == (high > above) else None
        return {
            "key": key,
            "what": what,
            "published": theirs,
            "ours": ours,
            "kind": kind,
            "agrees": agrees,
            "same_axis": same_axis,
        }

    def of(name: str, who: str, split: str | None = "ood") -> dict[str, Any] | None:
        return gains_of(gathered, name, who, split)

    def aligned(name: str) -> dict[str, Any] | None:
        return over_seeds(gathered, name, correlation, "correlation")

    def wrong(found: dict[str, Any]) -> float:
        return over(error(found, "wrong_sign"), error(found, "ccm_coord"))

    spread = over_seeds(gathered, "rd_f2", lambda f: error(f, "ccm_coord"))
    if spread is not None:  # how much seeds differ, over their mean
        spread = interval([float(np.std(spread["seeds"], ddof=min(1, len(spread["seeds"]) - 1))) / spread["mean"]])
    # Their axis is not named; the base's number is their D_v's, and ours are of D_u, where their sign is another.
    scale = "endpoint average (here on D_u), FNO"
    return [
        row("f2_coord", "both diffusivities scaled: CCM-Coord", 0.542, of("rd_f2", "ccm_coord")),
        row("f2_average", "the same: endpoint average", 0.027, of("rd_f2", "average")),
        row("f2_coord_all", "the same, all regimes: CCM-Coord", 0.374, of("rd_f2", "ccm_coord", None)),
        row("f2_spread", "the same: error's deviation over seeds", 0.0023, spread, "spread"),
        row("ns_scale", "Navier-Stokes, viscosity: CCM-Scale", 0.428, of("ns_ood", "ccm_scale")),
        row("ns_average", "the same: endpoint average", 0.008, of("ns_ood", "average")),
        row("rdb_prefix", "dam break, height: CCM-Prefix", 0.138, of("rdb_ood", "ccm_prefix")),
        row("rdb_average", "the same: endpoint average", 0.045, of("rdb_ood", "average")),
        row("dpot_coord", "DPOT, reaction-diffusion: CCM-Coord", 0.600, of("rd_dpot", "ccm_coord")),
        row("dpot_average", "the same: endpoint average", 0.133, of("rd_dpot", "average")),
        row("dv_average", "diffusivity D_v: endpoint average", 0.202, of("rd_dv", "average")),
        row("du_average", "diffusivity D_u: endpoint average", -0.008, of("rd_ood", "average")),
        row("wrong_sign", "wrong sign over right sign", 3.91, over_seeds(gathered, "rd_ood", wrong, "log"), "factor"),
        row("r_rd", "best and physical coordinate, D_u", 1.00, aligned("rd_ood"), "correlation"),
        row("r_ns", "the same, viscosity", 0.99, aligned("ns_ood"), "correlation"),
        row("r_rdb", "the same, dam height", 0.79, aligned("rdb_ood"), "correlation"),
        row("scale_small", f"{scale} small", 0.096, of("small", "average"), same_axis=False),
        row("scale_base", f"{scale} base", 0.202, of("rd_ood", "average"), same_axis=False),
        row("scale_large", f"{scale} large", 0.248, of("large", "average"), same_axis=False),
    ]
