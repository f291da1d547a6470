"""What the rows of a study measure, each a function of a run to JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax import merge_pytree, split_residuals
from ccm_jax.geometry import tree_cosine, tree_norm
from ccm_jax.io.atomic import read_json
from experiments.pipeline import data, networks, stages
from experiments.pipeline.family import column, mean_error
from experiments.pipeline.stages import Run, run_all
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.report.results import collect
from experiments.runner.progress import finished
from experiments.study import controls
from experiments.study.ablations import prefix_ablation
from experiments.study.paths import path

VERSION = 2


def whole(run: Run) -> dict[str, Any]:
    """A whole experiment: its summary, its regimes and what the calibration said."""
    done = run_all(run)
    results = collect(run.config, done)
    sweep = np.load(done.evaluation.path / "evaluation.npz")["sweep"]  # [R, n, N]
    kept = ("value", "coordinate", "split", "errors")
    return {
        "summary": results["summary"],
        "regimes": [{key: row[key] for key in kept} for row in results["regimes"]],
        "best": [row["chosen"]["best"] for row in results["regimes"]],
        "geometry": results["geometry"],
        "bank": results["bank"],
        "sweep": [[mean_error(errors) for errors in regime] for regime in sweep],
        "calibration": {key: results["calibration"][key] for key in ("kind", "leave_one_out", "prefix")},
        "stage_seconds": results["wall_seconds"],
    }


def seconds_of(*used: Stage) -> dict[str, dict[str, float]]:
    """What the stages that a row uses took, whoever made them."""
    return {"stage_seconds": {stage.path.name: round(stage.seconds, 2) for stage in used}}


def refuting(run: Run) -> dict[str, Any]:
    """Controls and the merges of others."""
    done = run_all(run)
    pair, errors = controls.controls(run, done)
    return controls.summarise(done, errors) | seconds_of(*done, *pair, errors)


def of_prefix(run: Run) -> dict[str, Any]:
    """Errors by what is known of the prefix."""
    done = run_all(run)
    stage = prefix_ablation(run, done)
    return {"errors": read_json(stage.path / "ablation.json")} | seconds_of(*done, stage)


def of_path(run: Run) -> dict[str, Any]:
    """The path in weight space."""
    done = run_all(run)
    *others, stage = path(run, done)
    return read_json(stage.path / "path.json") | seconds_of(*done, *others, stage)


def tuned(run: Run) -> dict[str, Any]:
    """Experts fine-tuned otherwise, from the same anchor: errors outside the support of the anchor's regimes."""
    support, ends, tests = (make(run) for make in (stages.support_data, stages.endpoint_data, stages.test_data))
    anchor_stage = stages.anchor(run, support)
    experts = stages.endpoints(run, ends, anchor_stage)
    stage = plain_readouts(run, anchor_stage, experts, tests)
    errors = read_json(stage.path / "plain_readouts.json")
    return errors | seconds_of(support, ends, tests, anchor_stage, experts, stage)


def plain_readouts(run: Run, anchor_stage: Stage, experts: Stage, tests: Stage) -> Stage:
    """The plain readouts on the far test regimes, without calibration: ``plain_readouts.json``."""

    def build(work: Path) -> None:
        config = run.config
        family, trajectories = networks.load_family(run.config, anchor_stage, experts), stages.load_trajectories(tests)
        line = family.line
        # A bank that reaches as far on the axis whatever the gap between the endpoints.
        far = max(abs(data.coordinate_of(config, value)) for value in config.regimes.test)
        bank = family.bank * max(1.0, far / 2)
        errors: dict[str, list[float]] = {}
        support = config.regimes.support
        for value, x in zip(config.regimes.test, trajectories, strict=True):
            if min(support) <= value <= max(support):
                continue
            x, s = jnp.asarray(x), data.coordinate_of(config, value)
            future = family.errors_along(line, column(bank), x).mean(axis=-1)
            losses = family.errors_of_prefix(line, column(bank), x).mean(axis=-1)
            picked = np.where(np.isfinite(losses), losses, np.inf).argmin(axis=0)

            def fixed(params: Any, x: Any = x) -> float:
                return mean_error(family.errors_of(params, x))

            row = {
                "anchor": fixed(family.anchor),
                "average": fixed(line(0.0)),
                "coord": fixed(merge_pytree(family.anchor, family.low, family.high, s)),
                "prefix": mean_error(future[picked, np.arange(future.shape[1])]),
                "best": float(min(mean_error(e) for e in future)),
            }
            for name, error in row.items():
                errors.setdefault(name, []).append(error)
        split = split_residuals(family.anchor, family.low, family.high)
        facts = {"direction_norm": float(tree_norm(split.direction)), "shared_norm": float(tree_norm(split.shared))}
        write_json(work / "plain_readouts.json", {name: float(np.mean(e)) for name, e in errors.items()} | facts)

    settings = stages.settings_of(run.config, "calibration", "axis", "model", "regimes")
    stage = run_stage(run.root, "plain_readouts", settings, (tests, anchor_stage, experts), build, version=VERSION)
    finished(stage, "plain readouts outside the support")
    return stage


def repeatability(run: Run) -> dict[str, Any]:
    """Cosines between the directions of three fine-tunings from one anchor, and of three anchors."""
    directions: dict[tuple[int, int], Any] = {}
    used: list[Stage] = []
    for seed, again in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0)):
        config = run.config.copy_and_resolve_references()
        config.seed, config.finetune.seed = seed, again
        one = Run(config, run.root)
        support, ends = stages.support_data(one), stages.endpoint_data(one)
        anchor_stage = stages.anchor(one, support)
        experts = stages.endpoints(one, ends, anchor_stage)
        used += [support, ends, anchor_stage, experts]
        family = networks.load_family(one.config, anchor_stage, experts)
        directions[seed, again] = split_residuals(family.anchor, family.low, family.high).direction

    def cosines(keys: list[tuple[int, int]]) -> list[float]:
        pairs = [(a, b) for i, a in enumerate(keys) for b in keys[i + 1 :]]
        return [float(tree_cosine(directions[a], directions[b])) for a, b in pairs]

    found = {"fine_tuning": cosines([(0, 0), (0, 1), (0, 2)]), "anchors": cosines([(0, 0), (1, 0), (2, 0)])}
    return found | seconds_of(*used)


MEASURES: dict[str, Callable[[Run], dict[str, Any]]] = {
    "run": whole,
    "controls": refuting,
    "prefix": of_prefix,
    "path": of_path,
    "tuned": tuned,
    "repeatability": repeatability,
}
