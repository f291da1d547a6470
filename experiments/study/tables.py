"""From the rows of a study to its tables: what was published beside ours, and what could refute the claim."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from ccm_jax.baselines import BASELINES
from ccm_jax.metrics import gain, over
from experiments.pipeline.methods import ANCHORS, METHODS, columns, reduced
from experiments.report.statistics import interval
from experiments.study.published import (
    Gathered,
    correlation,
    error,
    gains_of,
    harm,
    infinite,
    over_seeds,
    published,
)

NOT_RUN = "not run"

MERGES = {key: BASELINES[key].label for key in ("average", "nearest_expert")}
MERGES |= {"output_ensemble": "ensemble of the experts' outputs"}
MERGES |= {key: baseline.label for key, baseline in BASELINES.items()}
MERGES |= {"ccm_coord": METHODS["ccm_coord"].label}
CONTROLS = {
    "ccm_coord": "the physical direction",
    "wrong_sign": "with the wrong sign",
    "random_direction": "a random direction",
    "shuffled_layers": "its layers shuffled",
    "same_regime": "fine-tuning noise of one regime",
    "average": "the shared part alone",
    "direction_alone": "the direction alone",
}


def over_anchor(gathered: Gathered, row: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """Errors over the better anchor's, one line for each name, with its interval."""
    return [
        {"key": key, "what": label, "ours": over_seeds(gathered, row, lambda f, k=key: f["over_anchor"][k], "log")}  # type: ignore[misc]
        for key, label in names.items()
    ]


def layers(gathered: Gathered) -> list[dict[str, Any]]:
    """How much of the direction's gain on the average each layer gives alone, and how much is lost without it."""
    found = [one["found"]["over_anchor"] for one in gathered.get("controls", []) if "found" in one]
    names = [key.removeprefix("only ") for key in found[0] if key.startswith("only ")] if found else []

    def share(f: dict[str, Any], error: float | None) -> float:
        return (f["average"] - infinite(error)) / (f["average"] - f["ccm_coord"])

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
            who: over_seeds(gathered, name, lambda f, w=who: gain(f[w], f["anchor"]))  # type: ignore[misc]
            for who in ("average", "coord", "prefix", "best")
        }
        norm = over_seeds(gathered, name, lambda f: f["direction_norm"])
        lines.append({"key": name, "what": name.removeprefix("tuned "), "gains": gains, "direction_norm": norm})
    return lines


def prefixes(gathered: Gathered) -> dict[str, list[dict[str, Any]]]:
    """Error after a choice by each variant of the prefix, over that of the best candidate in hindsight, by family."""
    found = [one["found"]["errors"] for one in gathered.get("prefix", []) if "found" in one]
    families: dict[str, list[dict[str, Any]]] = {}
    for name in found[0] if found else ():
        if name in ("best", "coord"):
            continue
        family, _, at = name.partition(" ")
        ours = interval([over(f[name], f["best"]) for f in found], "log")
        families.setdefault(family, []).append({"at": float(at), "ours": ours})
    return families


def others(gathered: Gathered) -> list[dict[str, Any]]:
    """Gains of every whole experiment, each against the better of its two anchors."""
    lines = []
    for name, listed in gathered.items():
        found = [one["found"] for one in listed if "regimes" in one.get("found", ())]
        if not found:
            continue
        lines.append(
            {
                "key": name,
                "gains": {method: gains_of(gathered, name, method) for method in columns(reduced())},
                "seeds": len(found),
                "correlation": over_seeds(gathered, name, correlation, "correlation"),
                "map_error": over_seeds(
                    gathered, name, lambda f: min(infinite(v) for v in f["calibration"]["leave_one_out"].values())
                ),
                "harm": max(harm(one) for one in found),
                "harm_better": max(harm(one, ANCHORS) for one in found),
            }
        )
    return lines


def geometry(gathered: Gathered, row: str = "rd_ood") -> list[dict[str, Any]]:
    """Of each leaf: the direction's norm over the anchor's, the part of the updates that is shared, their cosine."""
    found = [one["found"]["geometry"] for one in gathered.get(row, []) if "geometry" in one.get("found", ())]

    def shared(leaf: dict[str, float]) -> float:
        return leaf["shared_norm"] ** 2 / (leaf["shared_norm"] ** 2 + leaf["direction_norm"] ** 2)

    def direction(leaf: dict[str, float]) -> float:
        return leaf["direction_norm"] / leaf["anchor_norm"] if leaf["anchor_norm"] else float("nan")

    return [
        {
            "what": leaves[0]["name"],
            "direction": interval([direction(leaf) for leaf in leaves], "log"),
            "shared": interval([shared(leaf) for leaf in leaves]),
            "cosine": interval([leaf["cosine"] for leaf in leaves], "correlation"),
        }
        for leaves in zip(*found, strict=True)
    ]


def along(gathered: Gathered, row: str = "rd_ood") -> dict[str, Any] | None:
    """Errors on every regime along the line: the bank, and for each regime its coordinate and ``errors [n][seeds]``."""
    found = [one["found"] for one in gathered.get(row, []) if "sweep" in one.get("found", ())]
    if not found:
        return None
    regimes = [
        {
            "coordinate": rows[0]["coordinate"],
            "split": rows[0]["split"],
            "errors": [list(at) for at in zip(*(one["sweep"][i] for one in found), strict=True)],
        }
        for i, rows in enumerate(zip(*(one["regimes"] for one in found), strict=True))
    ]
    return {"bank": found[0]["bank"], "regimes": regimes}


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
    """What each row takes alone in an empty folder: its slowest seed's stages, in as many rounds as jobs ask for."""
    spent = {
        name: [sum(one["found"]["stage_seconds"].values()) for one in listed if "stage_seconds" in one.get("found", ())]
        for name, listed in gathered.items()
    }
    return {name: max(s) * math.ceil(len(s) / jobs) / 60 for name, s in spent.items() if s}


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
    dpot = over_seeds(gathered, "rd_dpot", lambda f: over(error(f, "ccm_coord"), error(f, "best")), "log")
    wrong = next(row["ours"] for row in rows if row["key"] == "wrong_sign")
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
        "merges": over_anchor(gathered, "controls", MERGES),
        "controls": over_anchor(gathered, "controls", CONTROLS),
        "layers": layers(gathered),
        "tuned": tuned(gathered),
        "prefix": prefixes(gathered),
        "runs": others(gathered),
        "curves": curves(gathered),
        "geometry": geometry(gathered),
        "along": along(gathered),
        "paths": found,
        "transition_path": crossed[0] if crossed else None,
        "repeatability": repeated[0] if repeated else None,
        "failed": [row for row in failed if row["error"] != NOT_RUN],
        "not_run": [{"row": row["row"], "seed": row["seed"]} for row in failed if row["error"] == NOT_RUN],
    }


def to_csv(found: dict[str, Any]) -> str:
    """One line for each number with an interval: table, key, published, mean, low, high, seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "key", "published", "mean", "low", "high", "seeds"])

    def line(table: str, key: str, value: dict[str, Any] | None, theirs: Any = "") -> None:
        if value is not None:
            cells = ["" if value[k] is None else repr(float(value[k])) for k in ("mean", "low", "high")]
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
                for i, ends in enumerate((value or {}).get("bootstrap", ())):
                    if ends is not None:
                        one = {"mean": value["seeds"][i], "low": ends[0], "high": ends[1], "seeds": [i]}
                        which = f"seed {i + 1} of {len(value['seeds'])}"
                        line(f"{table}: gain of {who}, {which}, bootstrap over trajectories", row["key"], one)
    for row in found["geometry"]:
        for what in ("direction", "shared", "cosine"):
            line(f"geometry: {what}", row["what"], row[what])
    for family, lines in found["prefix"].items():
        for row in lines:
            line(f"prefix: {family}", f"{row['at']:g}", row["ours"])
    return text.getvalue()
