"""Checks of a configuration, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.pipeline import data, recorded
from experiments.pipeline.networks import model_of
from experiments.pipeline.systems import SYSTEMS, regime_parameters, stored_channels

VALIDATION_REACH = 1.25  # validation regimes stay within this coordinate, so that far regimes stay unseen


def check_config(config: ConfigDict) -> None:
    """Raises ValueError, naming the field, what was expected, what came and the remedy."""

    def need(ok: bool, field: str, expected: str, got: object) -> None:
        if not ok:
            raise ValueError(f"config.{field} is {got}, expected {expected}.")

    axis, regimes, solver, sizes = config.axis, config.regimes, config.solver, config.data
    need(config.system in SYSTEMS, "system", f"one of {', '.join(SYSTEMS)}", repr(config.system))
    need(axis.kind in ("value", "factor"), "axis.kind", "'value' or 'factor'", repr(axis.kind))
    need(axis.scale in ("linear", "log"), "axis.scale", "'linear' or 'log'", repr(axis.scale))
    system = SYSTEMS[config.system]
    need(config.initial.kind in system.starts, "initial.kind", f"one of {system.starts}", repr(config.initial.kind))
    need(axis.low < axis.high, "axis.low", f"below axis.high, {axis.high} (the low expert's end comes first)", axis.low)
    need(len(axis.parameters) > 0, "axis.parameters", f"at least one of {', '.join(config.physics)}", "empty")
    for name in axis.parameters:
        need(name in config.physics, "axis.parameters", f"among {', '.join(config.physics)}", name)
    for field in ("support", "validation", "test"):
        values = regimes[field]
        need(len(values) > 0, f"regimes.{field}", "at least one value", values)
        need(len(set(values)) == len(values), f"regimes.{field}", "distinct values", values)
        need(all(v > 0 for v in values), f"regimes.{field}", "positive values", values)
    need(len(regimes.validation) > 1, "regimes.validation", "at least two values, to fit a map", regimes.validation)
    coordinates = {v: data.coordinate_of(config, v) for v in (*regimes.validation, *regimes.test)}
    far = [v for v in regimes.validation if abs(coordinates[v]) > VALIDATION_REACH + 1e-6]
    need(not far, "regimes.validation", f"within |s| <= {VALIDATION_REACH}: far regimes are for the test", far)
    tested = {coordinates[v] for v in regimes.test}
    seen = [v for v in regimes.validation if coordinates[v] in tested]
    need(not seen, "regimes.validation", "apart from regimes.test: what is tested must not be tuned on", seen)

    need(not sizes.path or Path(sizes.path).exists(), "data.path", "a file or folder that exists", repr(sizes.path))
    need(0 < sizes.grid <= solver.grid, "data.grid", f"at most solver.grid, {solver.grid}", sizes.grid)
    for name in sizes.observe:
        need(name in system.channels, "data.observe", f"among {', '.join(system.channels)}", name)
    need(solver.burn_in >= 0, "solver.burn_in", "at least 0", solver.burn_in)
    values = {axis.low, axis.high, *regimes.support, *regimes.validation, *regimes.test}
    system.check(config, [regime_parameters(config, v) for v in sorted(values)])
    for field in ("support", "endpoint", "validation", "test"):
        need(sizes[field] >= 1, f"data.{field}", "at least 1", sizes[field])
    need(config.calibration.frames >= 1, "calibration.frames", "at least 1", config.calibration.frames)
    skip = config.calibration.skip
    need(skip is None or 0 <= skip < config.calibration.frames, "calibration.skip", "below calibration.frames", skip)
    observed = config.model.history + config.calibration.frames
    need(solver.frames + 1 > observed, "solver.frames", f"more than history + K - 1 = {observed - 1}", solver.frames)
    need(config.calibration.step > 0, "calibration.step", "above 0", config.calibration.step)
    need(config.calibration.low < config.calibration.high, "calibration.low", "below high", config.calibration.low)
    for part in ("train", "finetune"):
        settings = config[part]
        for field in ("steps", "batch_size", "unroll", "chunk", "save_every"):
            need(settings[field] >= 1, f"{part}.{field}", "at least 1", settings[field])
        need(settings.noise >= 0, f"{part}.noise", "at least 0", settings.noise)
        need(settings.learning_rate > 0, f"{part}.learning_rate", "above 0", settings.learning_rate)
        frames = config.model.history + settings.unroll
        need(solver.frames + 1 >= frames, f"{part}.unroll", f"history + unroll <= {solver.frames + 1} frames", frames)
    _check_model(config)
    if sizes.path:
        recorded.check_files(config)


def _check_model(config: ConfigDict) -> None:
    """Traces the model on the grid of the data, which costs nothing and meets every wrong argument."""
    channels = len(stored_channels(config))
    window = jnp.zeros((1, config.model.history, config.data.grid, config.data.grid, channels))
    try:
        jax.eval_shape(model_of(config).init, jax.random.key(0), window)
    except (ValueError, TypeError) as error:
        raise ValueError(f"config.model: {error}") from error
