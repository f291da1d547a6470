"""Every method on the test regimes, by the future-only protocol."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Chart, Estimate
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.evaluate import future_frames, split_future
from ccm_jax.geometry import residual_geometry
from experiments.pipeline import data
from experiments.pipeline.family import (
    Family,
    bank_of,
    best_coordinate,
    chart_of,
    errors_each,
    errors_of,
    mean_error,
    plane_of,
    sweep_errors,
)
from experiments.pipeline.methods import METHODS
from experiments.pipeline.readouts import Evidence, both_readouts, bounded
from experiments.runner.progress import bar

Array = jax.Array
Params = Any


def clipped(config: ConfigDict, coordinate: float) -> float:
    """The coordinate within the configuration's clip, if it has one."""
    clip = config.calibration.clip
    return coordinate if clip is None else float(np.clip(coordinate, -clip, clip))


def evaluate(
    config: ConfigDict,
    family: Family,
    anchor_more: Params,
    fitted: CoordinateMap,
    evidence: Evidence,
    growth: float,
    tests: np.ndarray,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Errors of every method on every test regime.

    Args:
        config: the experiment.
        family: its weights.
        anchor_more: the anchor trained on for as long as both experts.
        fitted: the calibrated map, from validation regimes.
        evidence: how the prefix decides, from validation regimes.
        growth: by how much fields may outgrow their prefix before a rollout counts as unbounded; see :func:`growth_of`.
        tests: test trajectories ``[R, N, T, H, W, C]``.

    Returns:
        The tables, JSON-able, and the arrays behind them: ``errors/<method> [R, N, T_future]``, ``sweep [R, n, N]``,
        and ``frames/<who>``, the future of the first trajectory of each regime.
    """
    line, plane = chart_of(family), plane_of(family)
    rows, arrays = [], []
    with bar("evaluation", len(tests)) as advance:
        for value, x in zip(config.regimes.test, tests, strict=True):
            row, more = evaluate_regime(
                config, family, line, plane, anchor_more, fitted, evidence, growth, float(value), jnp.asarray(x)
            )
            rows.append(row)
            arrays.append(more)
            advance(1, f"at {value:g}")
    layers = residual_geometry(family.anchor, family.low, family.high)
    geometry = [{k: v if k == "name" else float(v) for k, v in layer._asdict().items()} for layer in layers]
    tables = {"regimes": rows, "geometry": geometry, "bank": bank_of(config).tolist()}
    return tables, {key: np.stack([a[key] for a in arrays]) for key in arrays[0]}


def evaluate_regime(
    config: ConfigDict,
    family: Family,
    line: Chart,
    plane: Chart,
    anchor_more: Params,
    fitted: CoordinateMap,
    evidence: Evidence,
    growth: float,
    value: float,
    x: Array,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """All methods on the trajectories ``x [N, T, H, W, C]`` of the regime at ``value``."""
    bank, s, rollout_fn = bank_of(config), data.coordinate_of(config, value), family.rollout_fn
    shape = {"history": family.history, "prefix": config.calibration.frames}
    # The line is the plane where the gate is open; so calibration's program serves here too.
    sweep = sweep_errors(config, family, plane, np.stack([bank, np.ones_like(bank)], axis=1), x)

    def fixed(params: Params) -> np.ndarray:
        return errors_of(config, family, params, x)

    def on_line(coordinate: float) -> np.ndarray:
        hit = np.flatnonzero(np.isclose(bank, coordinate, atol=1e-6))
        return sweep[hit[0]] if len(hit) else fixed(line(coordinate))

    def by_readout(readout: Estimate) -> np.ndarray:
        if config.calibration.pooled:
            return fixed(plane(readout.coordinate[0]))
        return errors_each(config, family, plane, x, readout.coordinate)

    prefix, paper = both_readouts(config, family, plane, x, evidence)
    prefix = bounded(config, family, plane, x, prefix, growth)
    scale = clipped(config, float(fitted(s)))
    hindsight = {float(c): errors for c, errors in zip(bank, sweep, strict=True)}
    vertex = best_coordinate(bank, [mean_error(e) for e in sweep])
    hindsight[vertex] = on_line(vertex)
    best = min(hindsight, key=lambda c: mean_error(hindsight[c]))
    errors = {
        "anchor": fixed(family.anchor),
        "anchor_more": fixed(anchor_more),
        "low": on_line(-1.0),
        "high": on_line(1.0),
        "average": on_line(0.0),
        "wrong_sign": on_line(-clipped(config, s)),
        "ccm_coord": on_line(clipped(config, s)),
        "ccm_scale": on_line(scale),
        "ccm_prefix": by_readout(prefix),
        "ccm_prefix_paper": by_readout(paper),
        "best": hindsight[best],
    }
    chosen = {"ccm_prefix": prefix, "ccm_prefix_paper": paper}
    row = {
        "value": value,
        "coordinate": s,
        "split": "ood" if data.outside(s) else "id",
        "errors": {name: mean_error(errors[name]) for name in METHODS},
        "chosen": {name: np.asarray(readout.coordinate)[:, 0].tolist() for name, readout in chosen.items()}
        | {"ccm_prefix_gate": np.asarray(prefix.coordinate)[:, 1].tolist(), "ccm_scale": scale, "best": best},
        "error_over_time": {name: np.mean(e, axis=0).tolist() for name, e in errors.items()},
    }
    seen = {"anchor": family.anchor, "ccm_prefix": plane(prefix.coordinate[0])}
    frames = {name: future_frames(params, rollout_fn, x[:1], **shape)[0] for name, params in seen.items()}
    frames["truth"] = split_future(x[:1], **shape)[2][0]
    arrays = {f"errors/{name}": e for name, e in errors.items()} | {"sweep": sweep.mean(axis=-1)}
    return row, arrays | {f"frames/{name}": np.asarray(field) for name, field in frames.items()}
