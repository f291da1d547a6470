"""The tables of the peers, from the rows that are done: errors outside and inside, what must be known and trained."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from experiments.peers.curves import curves_of
from experiments.peers.decisions import decide
from experiments.peers.methods import METHODS, Method
from experiments.peers.plane import plain, plane_of, small_budgets, starts_of
from experiments.peers.rows import SYSTEMS
from experiments.peers.summary import Gathered, by_seed, of_system, summary_of
from experiments.peers.trained import trained_of
from experiments.report.statistics import interval
from experiments.runner.sources import changed
from experiments.study.rows import Row
from experiments.study.tables import NOT_RUN

SPLITS = ("outside", "inside")


def tables(rows: list[Row], gathered: Gathered) -> dict[str, Any]:
    """All that the page, the CSV and the README draw on, JSON-able."""
    systems = [system for system in SYSTEMS if any(row.config == system for row in rows)]
    failed = [
        {"row": name, "seed": one["seed"], "error": one["error"]}
        for name, listed in gathered.items()
        for one in listed
        if "error" in one
    ]
    methods = {system: of_methods(gathered, system) for system in systems}
    plane = plane_of(gathered)
    return {
        "summary": summary_of(gathered) | {"budget": plain(plane)},
        "plane": plane,
        "small_budgets": small_budgets(plane),
        "pretrained": starts_of(gathered),
        "decisions": decide(methods),
        "ratios": {system: of_system(gathered, system) for system in systems},
        "systems": methods,
        "curves": {system: curves_of(gathered, system) for system in systems},
        "trained": {s: found for s in systems if (found := trained_of(gathered, s)) is not None},
        "trials": trials(gathered),
        "stale": stale(gathered),
        "not_run": [one for one in failed if one["error"] == NOT_RUN],
        "failed": [one for one in failed if one["error"] != NOT_RUN],
    }


def of_methods(gathered: Gathered, system: str) -> list[dict[str, Any]]:
    """Every method that has a result on a system, the smallest error outside first within what it knows."""
    found = []
    for method in METHODS:
        errors = {split: by_seed(gathered, system, (method.row, method.key), split) for split in SPLITS}
        if not errors["outside"]:
            continue
        if not method.inside:
            errors["inside"] = {}
        listed = method._asdict() | {split: _interval(errors[split]) for split in SPLITS}
        listed["number_of_seeds"] = len(errors["outside"])
        listed["seconds"] = seconds_of(gathered, system, method)
        listed["weights"] = weights_of(gathered, system, method)
        found.append(listed)
    return found


def _interval(errors: dict[int, float]) -> dict[str, Any]:
    nothing: dict[str, Any] = {"mean": None, "low": None, "high": None, "seeds": []}
    return interval(list(errors.values()), "log") if errors else nothing


def seconds_of(gathered: Gathered, system: str, method: Method) -> float | None:
    """Seconds to adapt to one trajectory, where that is more than a lookup."""
    for one in gathered.get(f"{system} {method.row}", []):
        found = one.get("found", {})
        read = found.get("how", {}).get("all", found).get("prefix", {}) if "prefix" in method.key else {}
        seconds = read.get("seconds", found.get("seconds", {}).get(method.key))
        if seconds is not None:
            return float(seconds)
    return None


def weights_of(gathered: Gathered, system: str, method: Method) -> int | None:
    """Weights that are stored to serve any regime; a row that does not say its own size has that of the anchor."""
    for measure in (method.row, "window 1"):
        for one in gathered.get(f"{system} {measure}", []):
            if "weights" in one.get("found", {}):
                return int(one["found"]["weights"]) * method.networks
    return None


def trials(gathered: Gathered) -> list[dict[str, Any]]:
    """What was tried for each method on validation regimes, and what was chosen."""
    return [
        {"row": name, "seed": one["seed"], "what": what, "chosen": choice["chosen"], "trials": choice["trials"]}
        for name, listed in gathered.items()
        for one in listed
        for what, choice in one.get("found", {}).get("choices", {}).items()
        if choice["trials"]
    ]


def stale(gathered: Gathered) -> list[dict[str, Any]]:
    """Rows that were measured by other sources than these: their modules that changed since."""
    found = []
    for name, listed in gathered.items():
        for one in listed:
            modules = changed(one["found"].get("sources", {})) if "found" in one else []
            if modules:
                found.append({"row": name, "seed": one["seed"], "git": one.get("git"), "changed": modules})
    return found


def to_csv(found: dict[str, Any]) -> str:
    """One line for each system and method."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["system", "method", "knows", "trains", "seeds"]
    writer.writerow([*header, *(f"{split}{end}" for split in SPLITS for end in ("", "_low", "_high"))])
    for system, methods in found["systems"].items():
        for row in methods:
            numbers = [row[split][end] for split in SPLITS for end in ("mean", "low", "high")]
            shown = ["" if n is None else "inf" if not np.isfinite(n) else f"{n:.5g}" for n in numbers]
            writer.writerow([system, row["label"], row["knows"], row["trains"], row["number_of_seeds"], *shown])
    return text.getvalue()
