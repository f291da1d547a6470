"""How well a filter follows a parameter that drifts, beside weights that know its path.

One-step errors: each frame is predicted from the true frames before it. Forecasts: the second half of a trajectory,
rolled out from the end of the first. Nothing is chosen on test paths.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Chart, PrefixReadout, Tracker, fit_prefix_readout, fit_scale_readout, one_step_errors, rollout_along
from ccm_jax.fit_tracker import TrackChoices, choose_tracker, tracker_of
from ccm_jax.metrics import over, relative_l2
from ccm_jax.rollout import RolloutFn
from experiments.pipeline import stages
from experiments.pipeline.drifts import SPLITS, drifts_of
from experiments.pipeline.family import Family, mean_error
from experiments.pipeline.networks import load_family
from experiments.pipeline.readouts import choices_of
from experiments.pipeline.stages import Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.runner.progress import bar, finished

Array = jax.Array

VERSION = 4
LEVEL = 0.9  # of the intervals whose coverage is counted


class Readers(NamedTuple):
    """What reads the coordinate off frames, all fitted on validation.

    Attributes:
        prefix: the readout of the first frames, or of the last ones in a sliding window.
        filter: the tracker with the smallest one-step errors.
        trend: the best of those that filter a rate, for a linear continuation.
    """

    prefix: PrefixReadout
    filter: Tracker
    trend: Tracker


def tracking(run: Run, validation: Stage, anchor: Stage, experts: Stage) -> Stage:
    """Errors of a filter and its alternatives on drifting trajectories: ``tracking.json``.

    Args:
        run: an experiment whose configuration has ``drift``.
        validation: trajectories of constant regimes, for the map from the parameter to coordinates and the readout.
        anchor: the anchor.
        experts: both experts.
    """
    drifts = {split: stages.trajectories(run, f"data_drift_{split}") for split in SPLITS}

    def build(work: Path) -> None:
        family = load_family(run.config, anchor, experts)
        data = {split: load_trajectories(stage) for split, stage in drifts.items()}
        write_json(work / "tracking.json", follow(run.config, family, load_trajectories(validation), data))

    settings = stages.settings_of(run.config, "calibration", "axis", "model", "drift")
    inputs = (validation, anchor, experts, *drifts.values())
    stage = run_stage(run.root, "tracking", settings, inputs, build, version=VERSION)
    finished(stage, f"{len(run.config.drift.test)} drifts, {run.config.drift.trajectories} trajectories each")
    return stage


def follow(config: ConfigDict, family: Family, validation: np.ndarray, drifts: dict[str, np.ndarray]) -> dict[str, Any]:
    """Fits the readers and the map on validation, and judges them on test paths.

    Args:
        config: the experiment.
        family: its weights.
        validation: trajectories of constant regimes, ``[R, N, T, *space, C]``.
        drifts: trajectories of drifting ones by split, ``[paths, N, T, *space, C]``.

    Returns:
        JSON-able: for each test path its ``errors`` and ``forecast`` by method, one-step errors by frame, and the path
        of its first trajectory;
        over all of them the ratios to weights that know the path; what was ``tried``.
    """
    axis, line = config.axis, family.line
    how: dict[str, Any] = {"history": family.history, "frames": family.frames}
    ends: dict[str, Any] = {"low": axis.low, "high": axis.high, "scale": axis.scale}
    values = [float(v) for v in config.regimes.validation]
    with bar("tracking", 3 + len(drifts["test"])) as advance:
        constant = list(validation)
        scale = fit_scale_readout(family.plane, family.rollout_fn, constant, values, bank=family.bank, **ends, **how)
        advance(1, "map")
        prefix = fit_prefix_readout(line, family.rollout_fn, constant, choices=choices_of(config), **how)
        advance(1, "readout")
        choices = TrackChoices(steps=(1,)) if config.size == "smoke" else TrackChoices()
        chosen = choose_tracker(
            line,
            family.rollout_fn,
            list(drifts["validation"]),
            history=family.history,
            choices=choices,
            paths=[np.asarray(scale.map(s))[family.history - 1 :, None] for s in drifts_of(config, "validation")],
        )
        best = min((found for found in chosen.tried if found.order), key=lambda found: found.error)
        trend = tracker_of(line, family.rollout_fn, best, history=family.history)
        readers = Readers(prefix, chosen.tracker, trend)
        advance(1, "filter")
        rows = []
        for path, s, x in zip(config.drift.test, drifts_of(config, "test"), drifts["test"], strict=True):
            known = np.asarray(scale.map(s), np.float32)
            rows.append({"path": list(path), "s": s.tolist(), **judge(family, readers, known, jnp.asarray(x))})
            advance(1, " ".join(str(part) for part in path))

    def over_known(what: str) -> dict[str, float]:
        means = {name: np.mean([row[what][name] for row in rows]) for name in rows[0][what]}
        return {name: over(mean, means["known"]) for name, mean in means.items()}

    return {
        "paths": rows,
        "errors_over_known": over_known("errors"),
        "forecast_over_known": over_known("forecast"),
        "coverage": float(np.mean([row["coverage"] for row in rows])),
        "offset": float(np.mean([row["offset"] for row in rows])),
        "map": scale.fit.kind if scale.fit is not None else None,
        "tracker": {
            "steps": chosen.tracker.steps,
            **{
                name: float(jnp.max(getattr(chosen.tracker, name)))
                for name in (
                    "observation_noise",
                    "relative_noise",
                    "process_noise",
                    "rate_noise",
                    "acceleration_noise",
                    "jump_probability",
                )
            },
        },
        "tried": [found._asdict() for found in chosen.tried],
    }


def judge(family: Family, readers: Readers, known: np.ndarray, x: Array) -> dict[str, Any]:
    """All methods on the trajectories of one path.

    Args:
        family: the weights.
        readers: fitted on validation.
        known: the coordinate of every interval between two frames, ``[T - 1]``.
        x: ``[N, T, *space, C]``.
    """
    line, fn, history, frames = family.line, family.rollout_fn, family.history, family.frames
    count, steps = len(x), x.shape[1] - history
    true = jnp.broadcast_to(jnp.asarray(known[history - 1 :])[None, :, None], (count, steps, 1))
    track = readers.filter(x, batch="each")
    first = readers.prefix(x, batch="each").coordinate[:, None]
    anchor = jnp.zeros((count, steps, 2))  # of the plane
    paths = {
        "known": true,
        "filter": track.predicted,
        "window": sliding(readers.prefix, x),
        "first": jnp.broadcast_to(first, true.shape),
    }
    counted = slice(frames, None)  # frames that come after as many observed ones as a prefix has
    how: dict[str, Any] = {"history": history}
    errors = {name: one_step_errors(line, fn, x, path, **how) for name, path in paths.items()}
    errors["anchor"] = one_step_errors(family.plane, fn, x, anchor, **how)

    half = max(frames, steps // 2)
    begin, truth, left = x[:, half : half + history], x[:, half + history :], steps - half
    trend = readers.trend(x, batch="each")
    seen = [jax.tree.map(lambda leaf: leaf[:, :half], one) for one in (trend, track)]  # a filter does not look ahead
    ahead = {
        "known": true[:, half:],
        "linear": readers.trend.ahead(seen[0], left),
        "constant": readers.filter.ahead(seen[1], left, linear=False),
        "first": paths["first"][:, half:],
    }
    forecast = {name: forecast_errors(line, fn, begin, path, truth) for name, path in ahead.items()}
    forecast["anchor"] = forecast_errors(family.plane, fn, begin, anchor[:, half:], truth)

    ends = track.interval(LEVEL)[:, counted]
    inside = (ends[..., 0] <= true[:, counted]) & (true[:, counted] <= ends[..., 1])
    return {
        "errors": {name: mean_error(e[:, counted]) for name, e in errors.items()},
        "forecast": {name: mean_error(e) for name, e in forecast.items()},
        "by_frame": {name: np.asarray(errors[name]).mean(axis=0).tolist() for name in ("known", "filter", "window")},
        "coverage": float(inside.mean()),
        "offset": float(jnp.abs(track.coordinate - true)[:, counted].mean()),
        "known": known[history - 1 :].tolist(),
        "filtered": np.asarray(track.coordinate[0, :, 0]).tolist(),
        "std": np.asarray(track.std[0, :, 0]).tolist(),
    }


def sliding(readout: PrefixReadout, x: Array) -> Array:
    """The coordinate that a readout finds in the last frames before each, ``[N, T - history, d]``; 0 before there are
    enough of them.
    """
    length = readout.history + readout.frames
    cut = [x[:, i : i + length] for i in range(x.shape[1] - length)]
    windows = jnp.stack(cut, axis=1)  # [N, frames that have enough before them, length, *space, C]
    found = readout(windows.reshape(-1, *windows.shape[2:]), batch="each").coordinate
    return jnp.pad(found.reshape(*windows.shape[:2], -1), ((0, 0), (readout.frames, 0), (0, 0)))


@functools.partial(jax.jit, static_argnames=("rollout_fn",))
def forecast_errors(chart: Chart, rollout_fn: RolloutFn, windows: Array, paths: Array, truth: Array) -> Array:
    """Relative L2 errors ``[N, T]`` of rollouts along paths ``[N, T, d]`` from windows ``[N, history, *space, C]``."""
    frames = jax.lax.map(lambda each: rollout_along(chart, rollout_fn, *each), (windows, paths))
    return relative_l2(frames, truth)
