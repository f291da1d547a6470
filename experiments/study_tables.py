"""From the rows of a study to its tables: what was published beside ours, and what could refute the claim."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.statistics import interval

Gathered = dict[str, Any]

MERGES = {
    "average": "endpoint average",
    "nearest_expert": "nearest expert",
    "output_ensemble": "ensemble of the experts' outputs",
    "task_arithmetic": "Task Arithmetic",
    "ties": "TIES",
    "dare": "DARE",
    "slerp": "SLERP",
    "model_stock": "Model Stock",
    "fisher_average": "Fisher average",
    "ccm_coord": "CCM-Coord",
}
CONTROLS = {
    "ccm_coord": "the physical direction",
    "wrong_sign": "with the wrong sign",
    "random_direction": "a random direction",
    "shuffled_layers": "its layers shuffled",
    "same_regime": "fine-tuning noise of one regime",
    "average": "the shared part alone",
    "direction_alone": "the direction alone",
}


def over_seeds(gathered: Gathered, row: str, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any] | None:
    """Mean and interval of ``what(found)`` over the seeds of a row that have it; None if there is none."""
    values = [what(one["found"]) for one in gathered.get(row, []) if "found" in one]
    return interval([float("inf") if v is None else float(v) for v in values]) if values else None


def error(found: dict[str, Any], who: str, split: str | None = "ood") -> float:
    """Mean error of a method over the regimes of a split, or over all."""
    rows = [r["errors"][who] for r in found["regimes"] if split is None or r["split"] == split]
    return float(np.mean([np.inf if e is None else e for e in rows]))


def gain(who: str, split: str | None = "ood") -> Callable[[dict[str, Any]], float]:
    """``1 - error / error of the better anchor``."""
    return lambda found: (
        1 - error(found, who, split) / min(error(found, name, split) for name in ("anchor", "anchor_more"))
    )


def published(gathered: Gathered) -> list[dict[str, Any]]:
    """Every published number, and ours with its interval over seeds.

    ``agrees`` says whether the effect has the same sign: a gain above 0 where one was published, a factor above 1, a
    positive correlation. Ours is against the better of two anchors, theirs against one.
    """

    def row(key: str, what: str, theirs: float, ours: dict[str, Any] | None, kind: str = "gain") -> dict[str, Any]:
        above = {"gain": 0.0, "factor": 1.0, "correlation": 0.0}[kind]
        agrees = None if ours is None else bool((ours["mean"] > above) == (theirs > above))
        return {"key": key, "what": what, "published": theirs, "ours": ours, "kind": kind, "agrees": agrees}

    def correlation(found: dict[str, Any]) -> float:
        return float(found["summary"]["best_correlation"])

    def factor(found: dict[str, Any]) -> float:
        return error(found, "wrong_sign") / error(found, "ccm_coord")

    def of(name: str, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any] | None:
        return over_seeds(gathered, name, what)

    scale = "endpoint average, FNO"
    return [
        row("f2_coord", "both diffusivities scaled: CCM-Coord", 0.542, of("rd_f2", gain("ccm_coord"))),
        row("f2_coord_all", "the same, all regimes", 0.374, of("rd_f2", gain("ccm_coord", None))),
        row("ns_scale", "Navier-Stokes, viscosity: CCM-Scale", 0.428, of("ns_ood", gain("ccm_scale"))),
        row("rdb_prefix", "dam break, height: CCM-Prefix", 0.138, of("rdb_ood", gain("ccm_prefix"))),
        row("dpot_coord", "DPOT, reaction-diffusion: CCM-Coord", 0.600, of("rd_dpot", gain("ccm_coord"))),
        row("dv_average", "diffusivity D_v: endpoint average", 0.202, of("rd_dv", gain("average"))),
        row("du_average", "diffusivity D_u: endpoint average", -0.008, of("rd_ood", gain("average"))),
        row("wrong_sign", "wrong sign over right sign", 3.91, of("rd_ood", factor), "factor"),
        row("r_rd", "best and physical coordinate, D_u", 1.00, of("rd_ood", correlation), "correlation"),
        row("r_ns", "the same, viscosity", 0.99, of("ns_ood", correlation), "correlation"),
        row("r_rdb", "the same, dam height", 0.79, of("rdb_ood", correlation), "correlation"),
        row("scale_small", f"{scale} small", 0.096, of("small", gain("average"))),
        row("scale_base", f"{scale} base", 0.202, of("rd_ood", gain("average"))),
        row("scale_large", f"{scale} large", 0.248, of("large", gain("average"))),
    ]


def named(gathered: Gathered, row: str, names: dict[str, str], field: str | None) -> list[dict[str, Any]]:
    """One line for each name of what a row found, with its interval."""
    return [
        {"key": key, "what": label, "ours": over_seeds(gathered, row, lambda f, k=key: (f[field] if field else f)[k])}  # type: ignore[misc]
        for key, label in names.items()
    ]


def layers(gathered: Gathered) -> list[dict[str, Any]]:
    """How much of the direction's gain on the average each layer gives alone, and how much is lost without it."""
    found = [one["found"]["over_anchor"] for one in gathered.get("controls", []) if "found" in one]
    names = [key.removeprefix("only ") for key in found[0] if key.startswith("only ")] if found else []

    def share(f: dict[str, Any], error: float | None) -> float:
        return (f["average"] - (np.inf if error is None else error)) / (f["average"] - f["ccm_coord"])

    return [
        {
            "key": name,
            "what": name.replace("_", " "),
            "alone": interval([share(f, f[f"only {name}"]) for f in found]),
            "lost": interval([1 - share(f, f[f"without {name}"]) for f in found]),
        }
        for name in names
    ]


def tuned(gathered: Gathered) -> list[dict[str, Any]]:
    """Experts fine-tuned otherwise: gains outside the support over the first anchor, over fine-tuning seeds."""
    lines = []
    for name in gathered:
        if not name.startswith("tuned "):
            continue
        gains = {
            who: over_seeds(gathered, name, lambda f, w=who: 1 - _inf(f[w]) / _inf(f["anchor"]))  # type: ignore[misc]
            for who in ("average", "coord", "prefix", "best")
        }
        norm = over_seeds(gathered, name, lambda f: f["direction_norm"])
        lines.append({"key": name, "what": name.removeprefix("tuned "), "gains": gains, "direction_norm": norm})
    return lines


def _inf(value: float | None) -> float:
    return float("inf") if value is None else value


def prefixes(gathered: Gathered) -> dict[str, list[dict[str, Any]]]:
    """Error after a choice by each variant of the prefix, over that of the best candidate in hindsight, by family."""
    found = [one["found"] for one in gathered.get("prefix", []) if "found" in one]
    families: dict[str, list[dict[str, Any]]] = {}
    for name in found[0] if found else ():
        if name in ("best", "coord"):
            continue
        family, _, at = name.partition(" ")
        ours = interval([_inf(f[name]) / _inf(f["best"]) for f in found])
        families.setdefault(family, []).append({"at": float(at), "ours": ours})
    return families


def others(gathered: Gathered) -> list[dict[str, Any]]:
    """Gains of every whole experiment, each against the better of its two anchors."""
    lines = []
    for name, listed in gathered.items():
        if not any("regimes" in one.get("found", ()) for one in listed):
            continue
        lines.append(
            {
                "key": name,
                "gains": {
                    who: over_seeds(gathered, name, gain(who))
                    for who in ("average", "ccm_coord", "ccm_scale", "ccm_prefix", "best")
                },
                "seeds": sum("found" in one for one in listed),
                "correlation": over_seeds(gathered, name, lambda f: f["summary"]["best_correlation"] or 0.0),
                "map_error": over_seeds(
                    gathered, name, lambda f: min(_inf(v) for v in f["calibration"]["leave_one_out"].values())
                ),
                "harm": max(_inf(one["found"]["summary"]["harm"]["above_anchor"]) for one in listed if "found" in one),
            }
        )
    return lines


def curves(gathered: Gathered) -> dict[str, Any]:
    """Errors of every whole experiment, by regime, method and seed: what figures need."""
    found: dict[str, Any] = {}
    for name, listed in gathered.items():
        made = [one["found"]["regimes"] for one in listed if "regimes" in one.get("found", ())]
        if made:
            methods = made[0][0]["errors"]
            found[name] = [
                {key: rows[0].get(key) for key in ("value", "coordinate", "split")}
                | {"errors": {who: [row["errors"][who] for row in rows] for who in methods}}
                for rows in zip(*made, strict=True)
            ]
    return found


def minutes(gathered: Gathered, jobs: int) -> dict[str, float]:
    """What each row takes alone: as long as its slowest seed (others find stages that are there), for each, by jobs."""
    spent = {name: [one["seconds"] for one in listed if "seconds" in one] for name, listed in gathered.items()}
    return {name: max(s) * len(s) / min(jobs, len(s)) / 60 for name, s in spent.items() if s}


def tables(gathered: Gathered) -> dict[str, Any]:
    """All tables of the study, and its summary of plain numbers."""
    failed = [
        {"row": name, "seed": one["seed"], "error": one["error"]}
        for name, listed in gathered.items()
        for one in listed
        if "error" in one
    ]
    rows = published(gathered)
    summary: dict[str, float] = {}
    for row in rows:
        if row["ours"] is not None:
            summary[row["key"]] = row["ours"]["mean"]
            for end in ("low", "high"):
                if row["ours"][end] is not None:
                    summary[f"{row['key']}_{end}"] = row["ours"][end]
    dpot = over_seeds(gathered, "rd_dpot", lambda f: error(f, "ccm_coord") / error(f, "best"))
    wrong = over_seeds(gathered, "rd_ood", lambda f: error(f, "wrong_sign") / error(f, "ccm_coord"))
    more: dict[str, dict[str, Any] | None] = {
        "wrong_sign_factor": wrong,
        "dpot_coord_over_best": dpot,
        "same_regime_direction_gain": over_seeds(gathered, "controls", lambda f: f["same_regime_direction_gain"]),
        "physical_direction_gain": over_seeds(gathered, "controls", lambda f: f["physical_direction_gain"]),
    }
    summary |= {key: value["mean"] for key, value in more.items() if value is not None}
    found = [one["found"] for one in gathered.get("path", []) if "found" in one]
    repeated = [one["found"] for one in gathered.get("repeatability", []) if "found" in one]
    crossed = [one["found"] for one in gathered.get("transition path", []) if "found" in one]
    return {
        "summary": summary,
        "published": rows,
        "merges": named(gathered, "controls", MERGES, "over_anchor"),
        "controls": named(gathered, "controls", CONTROLS, "over_anchor"),
        "layers": layers(gathered),
        "tuned": tuned(gathered),
        "prefix": prefixes(gathered),
        "runs": others(gathered),
        "curves": curves(gathered),
        "paths": found,
        "transition_path": crossed[0] if crossed else None,
        "repeatability": repeated[0] if repeated else None,
        "failed": failed,
    }


def to_csv(found: dict[str, Any]) -> str:
    """One line for each number with an interval: table, key, published, mean, low, high, seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "key", "published", "mean", "low", "high", "seeds"])

    def line(table: str, key: str, value: dict[str, Any] | None, theirs: Any = "") -> None:
        if value is not None:
            cells = ["" if value[k] is None else repr(value[k]) for k in ("mean", "low", "high")]
            writer.writerow([table, key, theirs, *cells, len(value["seeds"])])

    for row in found["published"]:
        line("published", row["key"], row["ours"], row["published"])
    for table in ("merges", "controls"):
        for row in found[table]:
            line(table, row["key"], row["ours"])
    for row in found["layers"]:
        line("layer alone", row["key"], row["alone"])
        line("without layer", row["key"], row["lost"])
    for table in ("tuned", "runs"):
        for row in found[table]:
            for who, value in row["gains"].items():
                line(f"{table}: gain of {who}", row["key"], value)
    for family, lines in found["prefix"].items():
        for row in lines:
            line(f"prefix: {family}", f"{row['at']:g}", row["ours"])
    return text.getvalue()
