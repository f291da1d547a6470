"""The path of a family in weight space: experts along the axis, and how far it is from the line through its ends.

Experts between and beyond the endpoints are fine-tuned as the endpoints are, from the same anchor, initial states and
order of batches, so that what sets them apart is the physics. They say whether the path is straight, whether a narrower
pair of endpoints points the same way (the direction as a finite difference), and whether lines leave the path as its
second difference says they should.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp

from ccm_jax import merge_pytree, split_residuals
from ccm_jax.geometry import tree_cosine, tree_norm, tree_vdot
from experiments.pipeline import data, networks, stages
from experiments.pipeline.family import Family, mean_error
from experiments.pipeline.plans import GAPS, path_coordinates
from experiments.pipeline.stages import PAIR, Run, Stages
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.runner.progress import bar, finished
from experiments.study.controls import combine

Params = Any

VERSION = 2


def path_experts(run: Run, anchor_stage: Stage) -> tuple[dict[float, str], Stage, Stage]:
    """Experts at every coordinate that is asked for but the endpoints: names by coordinate, their data, and they."""
    regimes = stages.trajectories(run, "data_path")
    names = {s: f"at{s:+g}" for s in path_coordinates(run.config)}
    orders = dict.fromkeys(names.values(), PAIR)
    return names, regimes, stages.experts(run, "path_experts", regimes, anchor_stage, orders)


def minus(a: Params, b: Params) -> Params:
    """``a - b``."""
    return combine(a, -1.0, b)


def path(run: Run, done: Stages) -> tuple[Stage, Stage, Stage]:
    """Weights against the line, finite differences, and errors on the far regimes: ``path.json``, the last stage.

    A parabola through the experts at -1, 0 and 1 leaves the line through those at -g and g by ``|s^2 - g^2| / 2`` times
    its second derivative: ``second_order``, beside the distance that is measured. It would bound a path whose second
    derivative is nowhere larger; that is not known of this one.
    """
    names, regimes, experts = path_experts(run, done.anchor)

    def build(work: Path) -> None:
        family = networks.load_family(run.config, done.anchor, done.endpoints)
        at = {-1.0: family.low, 1.0: family.high}
        at |= {s: networks.load_params(experts, name) for s, name in names.items()}
        split = split_residuals(family.anchor, family.low, family.high)
        middle, length = combine(family.anchor, 1.0, split.shared), float(tree_norm(split.direction))
        second = minus(combine(at[-1.0], 1.0, at[1.0]), combine(at[0.0], 1.0, at[0.0]))
        curvature = float(tree_norm(second))  # per unit of s squared, if the path is a parabola

        rows = []
        for s in sorted(at):
            left = minus(at[s], middle)
            along = float(tree_vdot(left, split.direction)) / length**2
            rows.append(
                {
                    "coordinate": s,
                    "projection": along,
                    "off_line": float(tree_norm(combine(left, -along, split.direction))) / length,
                    "line_to_expert": float(tree_norm(combine(left, -s, split.direction))) / length,
                    "second_order": abs(s**2 - 1) * curvature / 2 / length,
                }
            )
        gaps = [g for g in GAPS if -g in at and g in at]
        slopes = {g: minus(at[g], at[-g]) for g in gaps}
        narrow, far = slopes[gaps[0]], max(at)

        def line_through(g: float, s: float) -> Params:
            return combine(at[-g], (1 + s / g) / 2, slopes[g])

        differences = [
            {
                "gap": g,
                "far": far,
                "line_to_far": float(tree_norm(minus(at[far], line_through(g, far)))) / length,
                "second_order": abs(far**2 - g**2) * curvature / 2 / length,
                "cosine_to_wider": float(tree_cosine(d, slopes[wider])) if (wider := _next(gaps, g)) else None,
                "norm_per_gap": float(tree_norm(d)) / (2 * g),
                "cosine_to_narrowest": float(tree_cosine(d, narrow)),
                "distance_to_narrowest": float(tree_norm(combine(_scaled(d, g), -1.0, _scaled(narrow, gaps[0]))))
                / float(tree_norm(_scaled(narrow, gaps[0]))),
            }
            for g, d in slopes.items()
        ]
        errors = far_errors(run, done, family, at, gaps)
        write_json(
            work / "path.json",
            {"direction_norm": length, "curvature": curvature, "experts": rows, "gaps": differences, "errors": errors},
        )

    settings = stages.settings_of(run.config, "calibration", "axis", "model", "regimes")
    inputs = (done.test, done.anchor, done.endpoints, experts)
    stage = run_stage(run.root, "path", settings, inputs, build, version=VERSION)
    finished(stage, f"experts at {len(names) + 2} coordinates against the line")
    return regimes, experts, stage


def _next(gaps: list[float], g: float) -> float | None:
    return next((wider for wider in gaps if wider > g), None)


def _scaled(difference: Params, gap: float) -> Params:
    return combine(difference, 1 / (2 * gap) - 1, difference)


def far_errors(
    run: Run, done: Stages, family: Family, at: dict[float, Params], gaps: list[float]
) -> list[dict[str, Any]]:
    """On each far regime: errors of the anchor, of the lines through each pair, and of an expert fine-tuned there."""
    config, rows = run.config, []
    tests = stages.load_trajectories(done.test)
    with bar("path", len(tests)) as advance:
        for value, trajectories in zip(config.regimes.test, tests, strict=True):
            s, x = data.coordinate_of(config, value), jnp.asarray(trajectories)
            advance(1, f"at {value:g}")
            if not data.outside(s):
                continue

            def error(params: Params, x: Any = x) -> float:
                return mean_error(family.errors_of(params, x))

            row: dict[str, Any] = {"coordinate": s, "anchor": error(family.anchor)}
            row["expert_there"] = error(at[s]) if s in at else None
            row["line"] = {f"{g:g}": error(merge_pytree(family.anchor, at[-g], at[g], s / g)) for g in gaps}
            rows.append(row)
    return rows
