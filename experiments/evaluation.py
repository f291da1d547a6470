"""Every method on the test regimes, by the future-only protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ccm_jax import (
    Chart,
    Gated,
    Readout,
    fit_chart,
    keep_bounded,
    paper_bank,
    plane_bank,
    prefix_errors,
    refine_readout,
    select,
)
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.evaluate import (
    as_error,
    future_error,
    future_error_each,
    future_error_sweep,
    future_frames,
    split_future,
)
from ccm_jax.geometry import residual_geometry
from ccm_jax.parallel import place
from ccm_jax.rollout import RolloutFn
from experiments import data
from experiments.progress import bar

Array = jax.Array
Params = Any

METHODS = (
    "anchor",
    "anchor_more",
    "low",
    "high",
    "average",
    "wrong_sign",
    "ccm_coord",
    "ccm_scale",
    "ccm_prefix",
    "ccm_prefix_paper",
    "best",
)


class Evidence(NamedTuple):
    """How the prefix decides, from validation regimes.

    Attributes:
        skip: observed frames, from the first, that are not scored: a start is not typical of what follows.
        pull: toward the anchor, in units of log loss per unit of distance.
    """

    skip: int
    pull: float


GROUP = 16  # trajectories rolled out side by side


class Family(NamedTuple):
    """A family of weights and the model that they belong to.

    Attributes:
        anchor: the family anchor.
        low: the expert at the low end.
        high: the expert at the high end.
        rollout_fn: the model in physical units, ``(params, window, steps) -> frames``.
        history: frames in the window.
        mesh: devices that share the work, or None.
    """

    anchor: Params
    low: Params
    high: Params
    rollout_fn: RolloutFn
    history: int
    mesh: Mesh | None = None


def bank_of(config: ConfigDict) -> np.ndarray:
    """The candidate coordinates of a configuration, ``[n]``."""
    c = config.calibration
    return c.low + c.step * np.arange(round((c.high - c.low) / c.step) + 1)


def chart_of(family: Family) -> Chart:
    """The paper's line through the two experts."""
    return fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])


def plane_of(family: Family) -> Chart:
    """The same line with a gate on its shared part: coordinates (alpha, gate), and the anchor at (0, 0)."""
    return fit_chart(family.anchor, [family.low, family.high], [[-1.0, 1.0], [1.0, 1.0]], features=Gated())


def candidates_of(config: ConfigDict) -> np.ndarray:
    """What the prefix chooses among, ``[n, 2]``: the anchor, the line, and in double steps the other gates."""
    bank, gates = bank_of(config), [gate for gate in config.calibration.gates if gate != 1]
    coarse = plane_bank(bank[::2], np.array(gates)) if gates else np.zeros((1, 2))
    rows = (np.asarray(part, np.float64) for part in (coarse, plane_bank(bank, np.ones(1))[1:]))
    return np.round(np.concatenate(list(rows)), 5)


def column(bank: np.ndarray) -> Array:
    """A bank ``[n]`` as candidates ``[n, 1]``."""
    return jnp.asarray(bank, jnp.float32)[:, None]


def mean_error(errors: Any) -> float:
    """Mean over frames and trajectories; infinite where it is not finite, so that divergence never wins."""
    return float(as_error(errors))


def best_coordinate(bank: np.ndarray, errors: Any) -> float:
    """Where the error ``[n]`` along the bank is smallest, between candidates: the vertex of the parabola there."""
    return float(refine_readout(select(column(bank), jnp.asarray(errors, jnp.float32))).coordinate[0])


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
    sweep = sweep_errors(config, family, line, column(bank), x)

    def fixed(params: Params) -> np.ndarray:
        return in_groups(lambda g: future_error(params, rollout_fn, g, **shape)[None], x)[0]

    def on_line(coordinate: float) -> np.ndarray:
        hit = np.flatnonzero(np.isclose(bank, coordinate, atol=1e-6))
        return sweep[hit[0]] if len(hit) else fixed(line(coordinate))

    def by_readout(readout: Readout) -> np.ndarray:
        if config.calibration.pooled:
            return fixed(plane(readout.coordinate[0]))
        return errors_each(config, family, plane, x, readout.coordinate)

    prefix, paper = prefix_readout(config, family, plane, x, evidence), paper_readout(config, family, plane, x)
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
        "split": "ood" if abs(s) > 1 + 1e-9 else "id",
        "errors": {name: mean_error(e) for name, e in errors.items()},
        "chosen": {name: np.asarray(readout.coordinate)[:, 0].tolist() for name, readout in chosen.items()}
        | {"ccm_prefix_gate": np.asarray(prefix.coordinate)[:, 1].tolist(), "ccm_scale": scale, "best": best},
        "error_over_time": {name: np.mean(e, axis=0).tolist() for name, e in errors.items()},
    }
    seen = {"anchor": family.anchor, "ccm_prefix": plane(prefix.coordinate[0])}
    frames = {name: future_frames(params, rollout_fn, x[:1], **shape)[0] for name, params in seen.items()}
    frames["truth"] = split_future(x[:1], **shape)[2][0]
    arrays = {f"errors/{name}": e for name, e in errors.items()} | {"sweep": sweep.mean(axis=-1)}
    return row, arrays | {f"frames/{name}": np.asarray(field) for name, field in frames.items()}


def prefix_readout(config: ConfigDict, family: Family, plane: Chart, x: Array, evidence: Evidence) -> Readout:
    """The prefix readout that we recommend: on the plane, refined along the line, leaving the anchor on evidence.

    One coordinate ``[N, 2]`` a trajectory, or one for all if ``config.calibration.pooled``.
    """
    errors = errors_of_prefix(config, family, plane, candidates_of(config), x)
    return jax.vmap(refine_readout)(chosen(config, candidates_of(config), errors, evidence))


def growth_of(config: ConfigDict, family: Family, trajectories: np.ndarray) -> float:
    """Twice the largest growth of a field beyond its prefix among trajectories ``[..., T, H, W, C]``."""
    size = np.sqrt(np.mean(np.square(np.asarray(trajectories, np.float64)), axis=(-3, -2)))
    observed = size[..., : family.history + config.calibration.frames, :].max(axis=-2)
    return 2 * float((size.max(axis=-2) / np.maximum(observed, 1e-12)).max())


def bounded(config: ConfigDict, family: Family, plane: Chart, x: Array, readout: Readout, growth: float) -> Readout:
    """The readout, drawn back toward the anchor where the rollout that it is for outgrows its prefix."""
    observed, windows, future = split_future(x, history=family.history, prefix=config.calibration.frames)
    size = jnp.sqrt(jnp.mean(observed**2, axis=(2, 3))).max(axis=1)  # [N, C]
    coordinates = jnp.broadcast_to(readout.coordinate, (len(x), readout.coordinate.shape[-1]))
    home, steps = jnp.zeros(coordinates.shape[-1]), future.shape[1]
    kept = keep_bounded(plane, family.rollout_fn, windows, coordinates, home, growth * size, steps=steps)
    if config.calibration.pooled:  # one for all: the most cautious
        kept = kept[jnp.argmin(jnp.linalg.norm(kept, axis=-1))][None]
    return readout._replace(coordinate=kept)


def chosen(config: ConfigDict, candidates: np.ndarray, errors: np.ndarray, evidence: Evidence) -> Readout:
    """What evidence makes of prefix errors ``[n, N, K]``, before refinement; the anchor is home."""
    losses = errors[..., evidence.skip :].mean(axis=-1)
    losses = losses.mean(axis=1)[None] if config.calibration.pooled else losses.T
    c, home = jnp.asarray(candidates, jnp.float32), jnp.zeros(candidates.shape[-1])
    return jax.vmap(lambda one: select(c, one, home=home, pull=evidence.pull))(jnp.asarray(losses))


def paper_readout(config: ConfigDict, family: Family, plane: Chart, x: Array) -> Readout:
    """The paper's: the best of its bank of 13 on the line, over all K frames, without refinement."""
    line = np.asarray(plane_bank(paper_bank()[:, 0], [1.0]))[1:]
    return chosen(config, line, errors_of_prefix(config, family, plane, line, x), Evidence(0, 0.0))


def errors_of_prefix(config: ConfigDict, family: Family, plane: Chart, candidates: np.ndarray, x: Array) -> np.ndarray:
    """Errors ``[n, N, K]`` of candidates over the prefix of trajectories ``[N, T, ...]``."""
    mesh, frames = family.mesh, config.calibration.frames
    observed, _, _ = split_future(x, history=family.history, prefix=frames)
    how: dict[str, Any] = {"history": family.history, "frames": frames, "mesh": mesh}
    spread, bank = place((plane, jnp.asarray(candidates, jnp.float32)), mesh)
    return in_groups(lambda g: prefix_errors(spread, family.rollout_fn, place(g, mesh), bank, **how), observed, mesh)


def sweep_errors(config: ConfigDict, family: Family, chart: Chart, candidates: Any, x: Array) -> np.ndarray:
    """Future errors ``[n, N, T_future]`` of every candidate ``[n, d]`` on the trajectories of a regime."""
    mesh, how = family.mesh, {"history": family.history, "prefix": config.calibration.frames}
    spread, bank = place((chart, jnp.asarray(candidates, jnp.float32)), mesh)
    return in_groups(
        lambda g: future_error_sweep(spread, family.rollout_fn, place(g, mesh), bank, mesh=mesh, **how), x, mesh
    )


def errors_each(config: ConfigDict, family: Family, plane: Chart, x: Array, coordinates: Any) -> np.ndarray:
    """Future errors ``[N, T_future]`` with a coordinate of its own for each trajectory."""
    mesh, how = family.mesh, {"history": family.history, "prefix": config.calibration.frames}
    spread, x, coordinates = place((plane, x, coordinates), mesh)
    return np.asarray(future_error_each(spread, family.rollout_fn, x, coordinates, mesh=mesh, **how))


def in_groups(errors: Callable[[Array], Array], x: Array, mesh: Mesh | None = None) -> np.ndarray:
    """Applies ``errors``, ``[N, T, ...] -> [n, N, T']``, to a few trajectories at a time, which a CPU's cache holds."""
    size = GROUP * (1 if mesh is None else mesh.shape["data"])
    return np.concatenate([np.asarray(errors(x[i : i + size])) for i in range(0, len(x), size)], axis=1)
