"""The budget's plane: CCM over its peers in cells of few steps and few trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccm_jax.metrics import over
from experiments.peers.rows import BUDGET
from experiments.peers.summary import Gathered
from experiments.report.statistics import interval

STARTS = ("one-system", "pretrained")
PEERS = {"conditioned": ("biases", "channel"), "lora": ("lora",)}


def plane_of(gathered: Gathered) -> list[dict[str, Any]]:
    """Every cell that is measured: CCM-Scale and CCM-Coord over the better conditioned network and over LoRA's.

    Returns:
        For each system, start and cell ``scale_over_conditioned``, ``coord_over_conditioned``, ``scale_over_lora``
        and ``coord_over_lora``, geometric means over seeds with intervals, and the mean error of each method.
    """
    found = []
    for system in BUDGET:
        for start in STARTS:
            cells = joined(gathered, system, start)
            for (steps, trajectories), seeds in cells.items():
                row: dict[str, Any] = {"system": system, "start": start, "steps": steps, "trajectories": trajectories}
                names = sorted({name for errors in seeds.values() for name in errors})
                row["errors"] = {n: float(np.mean([e[n] for e in seeds.values() if n in e])) for n in names}
                for key in ("scale", "coord"):
                    for peer, kinds in PEERS.items():
                        ratios = [r for e in seeds.values() if (r := _ratio(e, key, kinds)) is not None]
                        row[f"{key}_over_{peer}"] = interval(ratios, "log") if ratios else None
                found.append(row)
    return found


def joined(gathered: Gathered, system: str, start: str) -> dict[tuple[int, int], dict[int, dict[str, float]]]:
    """Mean errors outside the support by cell, seed and method, from the rows of one start."""
    cells: dict[tuple[int, int], dict[int, dict[str, float]]] = {}
    for measure in (f"budget {start}", f"budget {start} conditioned"):
        for one in gathered.get(f"{system} {measure}", []):
            found = one.get("found", {})
            outside = np.array(found.get("outside", []), bool)
            for cell in found.get("cells", []):
                seeds = cells.setdefault((cell["steps"], cell["trajectories"]), {})
                for name, errors in cell["errors"].items():
                    numbers = np.array([np.inf if e is None else e for e in errors], float)
                    seeds.setdefault(one["seed"], {})[name] = float(numbers[outside].mean())
    return dict(sorted(cells.items()))


def _ratio(errors: dict[str, float], key: str, kinds: tuple[str, ...]) -> float | None:
    peers = [errors[f"{kind}_{key}"] for kind in kinds if f"{kind}_{key}" in errors]
    return over(errors[f"ccm_{key}"], min(peers)) if peers and f"ccm_{key}" in errors else None


def starts_of(gathered: Gathered) -> list[dict[str, Any]]:
    """What the pretrained start must beat in the cell of most steps: persistence, its own anchor, random weights."""
    found = []
    for system in BUDGET:
        for one in gathered.get(f"{system} budget pretrained", []):
            if "scratch_scale" not in one.get("found", {}).get("errors", {}):  # of the first seed alone
                continue
            outside = np.array(one["found"]["outside"], bool)
            longest = max(one["found"]["cells"], key=lambda cell: (cell["steps"], cell["trajectories"]))
            errors = one["found"]["errors"] | longest["errors"]
            means = {
                n: float(np.array([np.inf if e is None else e for e in v])[outside].mean()) for n, v in errors.items()
            }
            found.append({"system": system, "seed": one["seed"], "errors": means})
    return found


def small_budgets(plane: list[dict[str, Any]]) -> dict[str, Any]:
    """CCM-Scale over its alternatives from the pretrained start: over the cells that have the most seeds, by seed.

    Returns:
        For ``scale_over_conditioned`` and ``scale_over_lora`` the geometric mean over cells and seeds of each system,
        with its interval over seeds (of none in one of whose cells a network diverged), and which cells these are.
    """
    rows = [row for row in plane if row["start"] == "pretrained" and row["scale_over_conditioned"]]
    most = max((len(row["scale_over_conditioned"]["seeds"]) for row in rows), default=0)
    rows = [row for row in rows if len(row["scale_over_conditioned"]["seeds"]) == most]
    steps = [row["steps"] for row in rows]
    found: dict[str, Any] = {"seeds": most, "fewest": min(steps, default=0), "most": max(steps, default=0)}
    found["cells"] = sorted({(row["steps"], row["trajectories"]) for row in rows})
    for key in ("scale_over_conditioned", "scale_over_lora"):
        cells: dict[str, list[list[float]]] = {}
        for row in rows:
            cells.setdefault(row["system"], []).append((row[key] or {"seeds": [np.inf]})["seeds"])
        finite = {s: c for s, c in cells.items() if np.isfinite([r for cell in c for r in cell]).all()}
        found[key] = {s: interval(np.exp(np.mean(np.log(c), axis=0)).tolist(), "log") for s, c in finite.items()}
    return found


def plain(plane: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratios as plain numbers by name of the cell, for ``summary.budget``."""
    found: dict[str, Any] = {}
    for row in plane:
        name = f"{row['system']} {row['start']} {row['steps']}x{row['trajectories']}"
        for key in ("scale_over_conditioned", "coord_over_conditioned", "scale_over_lora"):
            value = row[key]
            if value is not None:
                ends = {f"{key}_low": value["low"], f"{key}_high": value["high"]}
                found.setdefault(name, {}).update({key: value["mean"]} | ends)
    return found
