"""Every method on the test regimes, by the future-only protocol."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Estimate, PrefixReadout
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.evaluate import future_frames, split_future
from ccm_jax.geometry import residual_geometry
from ccm_jax.scale import best_coordinate
from experiments.pipeline import data
from experiments.pipeline.family import Family, mean_error
from experiments.pipeline.methods import METHODS, READOUTS, Regime
from experiments.pipeline.readouts import paper_readout
from experiments.runner.progress import bar

Array = jax.Array
Params = Any


class Calibrated(NamedTuple):
    """What is judged beside the anchor and the experts, fixed before a test regime is looked at.

    Attributes:
        anchor_more: the anchor trained on for as long as both experts.
        map: the calibrated map from metadata to coordinates.
        prefix: the prefix readout.
    """

    anchor_more: Params
    map: CoordinateMap
    prefix: PrefixReadout


def evaluate(
    config: ConfigDict, family: Family, calibrated: Calibrated, tests: np.ndarray
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Errors of every method on every test regime.

    Args:
        config: the experiment.
        family: its weights.
        calibrated: what validation regimes decided.
        tests: test trajectories ``[R, N, T, *space, C]``.

    Returns:
        The tables, JSON-able, and the arrays behind them: ``errors/<method> [R, N, T_future]``, ``sweep [R, n, N]``,
        and ``frames/<who>``, the future of the first trajectory of each regime.
    """
    rows, arrays = [], []
    with bar("evaluation", len(tests)) as advance:
        for value, x in zip(config.regimes.test, tests, strict=True):
            row, more = evaluate_regime(config, family, calibrated, float(value), jnp.asarray(x))
            rows.append(row)
            arrays.append(more)
            advance(1, f"at {value:g}")
    layers = residual_geometry(family.anchor, family.low, family.high)
    geometry = [{k: v if k == "name" else float(v) for k, v in layer._asdict().items()} for layer in layers]
    tables = {"regimes": rows, "geometry": geometry, "bank": family.bank.tolist()}
    return tables, {key: np.stack([a[key] for a in arrays]) for key in arrays[0]}


def clipped(config: ConfigDict, coordinate: float) -> float:
    """The coordinate within the configuration's clip, if it has one."""
    clip = config.calibration.clip
    return coordinate if clip is None else float(np.clip(coordinate, -clip, clip))


def evaluate_regime(
    config: ConfigDict, family: Family, calibrated: Calibrated, value: float, x: Array
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """All methods on the trajectories ``x [N, T, *space, C]`` of the regime at ``value``."""
    bank, s, line, plane = family.bank, data.coordinate_of(config, value), family.line, family.plane
    # The line is the plane where the gate is open; so calibration's program serves here too.
    sweep = family.errors_along(plane, np.stack([bank, np.ones_like(bank)], axis=1), x)

    def on_line(coordinate: float) -> np.ndarray:
        hit = np.flatnonzero(np.isclose(bank, coordinate, atol=1e-6))
        return sweep[hit[0]] if len(hit) else family.errors_of(line(coordinate), x)

    def by_readout(estimate: Estimate) -> np.ndarray:
        if config.calibration.pooled:
            return family.errors_of(plane(estimate.coordinate[0]), x)
        return family.errors_each(plane, estimate.coordinate, x)

    batch: Any = "pooled" if config.calibration.pooled else "each"
    prefix, paper = (
        with_axis(readout(x, batch=batch, mesh=family.mesh), batch)
        for readout in (calibrated.prefix, paper_readout(family))
    )
    paper = paper._replace(coordinate=jnp.pad(paper.coordinate, ((0, 0), (0, 1)), constant_values=1.0))
    scale = clipped(config, float(calibrated.map(s)))
    hindsight = {float(c): errors for c, errors in zip(bank, sweep, strict=True)}
    vertex = best_coordinate(bank, [mean_error(e) for e in sweep])
    hindsight[vertex] = on_line(vertex)
    best = min(hindsight, key=lambda c: mean_error(hindsight[c]))
    errors = {
        "anchor": family.errors_of(family.anchor, x),
        "anchor_more": family.errors_of(calibrated.anchor_more, x),
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
    seen_by_others = Regime(config, family, value, x[:, : family.history + family.frames])
    for name, read in READOUTS.items():
        errors[name] = family.errors_each(plane, jnp.asarray(read(seen_by_others), jnp.float32), x)
    chosen = {"ccm_prefix": prefix, "ccm_prefix_paper": paper}
    row = {
        "value": value,
        "coordinate": s,
        "split": "ood" if data.outside(s) else "id",
        "errors": {name: mean_error(errors[name]) for name in METHODS},
        "chosen": {name: np.asarray(estimate.coordinate)[:, 0].tolist() for name, estimate in chosen.items()}
        | {"ccm_prefix_gate": np.asarray(prefix.coordinate)[:, 1].tolist(), "ccm_scale": scale, "best": best},
        "error_over_time": {name: np.mean(e, axis=0).tolist() for name, e in errors.items()},
    }
    seen = {"anchor": family.anchor, "anchor_more": calibrated.anchor_more, "ccm_prefix": plane(prefix.coordinate[0])}
    frames = {
        name: future_frames(params, family.rollout_fn, x[:1], **family.protocol)[0] for name, params in seen.items()
    }
    frames["truth"] = split_future(x[:1], **family.protocol)[2][0]
    arrays = {f"errors/{name}": e for name, e in errors.items()} | {"sweep": sweep.mean(axis=-1)}
    return row, arrays | {f"frames/{name}": np.asarray(field) for name, field in frames.items()}


def with_axis(estimate: Estimate, batch: str) -> Estimate:
    """The estimate with a leading axis of its trajectories, which is 1 if they were pooled."""
    return jax.tree.map(lambda leaf: leaf[None], estimate) if batch == "pooled" else estimate
