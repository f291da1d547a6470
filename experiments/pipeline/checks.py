"""Checks of a configuration, before anything is computed."""

from __future__ import annotations

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.pipeline import data, recorded
from experiments.pipeline.axes import axes_of, axis_names, by_axis, join
from experiments.pipeline.drifts import check_drift
from experiments.pipeline.networks import model_of
from experiments.pipeline.plans import has_regime, value_of
from experiments.pipeline.systems import (
    grid_shape,
    regime_parameters,
    settings_for,
    start_of,
    stored_shape,
    system_of,
)
from solvers.system import System

MAP_REACH = 2  # widths of the validation regimes beyond which a CoordinateMap refuses to be evaluated
VALIDATION_REACH = 1.25  # validation regimes stay within this coordinate, so that far regimes stay unseen


def check_config(config: ConfigDict) -> None:
    """Raises ValueError, naming the field, what was expected, what came and the remedy."""

    def need(ok: bool, field: str, expected: str, got: object) -> None:
        if not ok:
            raise ValueError(f"config.{field} is {got}, expected {expected}.")

    regimes, solver, sizes, axes = config.regimes, config.solver, config.data, axes_of(config)
    try:
        system = system_of(config)
    except ValueError as error:
        raise ValueError(f"config.system: {error}") from error
    for name, axis in zip(axis_names(config), axes, strict=True):
        need(axis.kind in ("value", "factor"), f"{name}.kind", "'value' or 'factor'", repr(axis.kind))
        need(axis.scale in ("linear", "log"), f"{name}.scale", "'linear' or 'log'", repr(axis.scale))
        told = "a name of the axis for the report, such as 'viscosity'"
        need(bool(axis.label), f"{name}.label", told, repr(axis.label))
        first = f"below {name}.high, {axis.high} (the low expert's end comes first)"
        need(axis.low < axis.high, f"{name}.low", first, axis.low)
        need(axis.scale != "log" or axis.low > 0, f"{name}.low", "a positive value on a log axis", axis.low)
        need(len(axis.parameters) > 0, f"{name}.parameters", f"at least one of {', '.join(config.physics)}", "empty")
        for parameter in axis.parameters:
            need(parameter in config.physics, f"{name}.parameters", f"among {', '.join(config.physics)}", parameter)
    if len(axes) > 1:
        _check_plane(config)
    starts = tuple(system.starts)
    need(config.initial.kind in starts, "initial.kind", f"one of {starts}", repr(config.initial.kind))
    for field in ("support", "validation", "test"):
        values = regimes[field]
        need(len(values) > 0, f"regimes.{field}", "at least one value", values)
        need(len(set(values)) == len(values), f"regimes.{field}", "distinct values", values)
        positive = all(v > 0 for value in values for axis, v in by_axis(config, value) if axis.scale == "log")
        need(positive, f"regimes.{field}", "positive values on a log axis", values)
    need(len(regimes.validation) > 1, "regimes.validation", "at least two values, to fit a map", regimes.validation)
    coordinates = {v: data.coordinate_of(config, v) for v in (*regimes.validation, *regimes.test)}
    far = [v for v in regimes.validation if np.max(np.abs(coordinates[v])) > VALIDATION_REACH + 1e-6]
    need(not far, "regimes.validation", f"within |s| <= {VALIDATION_REACH}: far regimes are for the test", far)
    tested = {coordinates[v] for v in regimes.test}
    seen = [v for v in regimes.validation if coordinates[v] in tested]
    need(not seen, "regimes.validation", "apart from regimes.test: what is tested must not be tuned on", seen)
    fitted, asked = (np.stack([np.ravel(coordinates[v]) for v in regimes[name]]) for name in ("validation", "test"))
    low, high = fitted.min(axis=0), fitted.max(axis=0)
    ends = (low - MAP_REACH * (high - low), high + MAP_REACH * (high - low))
    outside = ((asked < ends[0]) | (asked > ends[1])).any(axis=1)
    beyond = [v for v, out in zip(regimes.test, outside, strict=True) if out]
    least, most = (by_axis(config, value_of(config, end if len(axes) > 1 else float(end[0]))) for end in ends)
    positive = min(np.ravel(regimes.support)) > 0  # a diffusivity: then no value below 0 is a choice
    spans = [(axis.label, a, b) for (axis, a), (_, b) in zip(least, most, strict=True)]
    reach = ", ".join(
        f"{name} above 0 to {b:.3g}" if positive and a <= 0 else f"{name} {a:.3g} to {b:.3g}" for name, a, b in spans
    )
    reach += f" ({MAP_REACH} times the range of the validation regimes beyond them)"
    need(not beyond, "regimes.test", reach, beyond)

    need(not sizes.path or Path(sizes.path).exists(), "data.path", "a file or folder that exists", repr(sizes.path))
    _check_grids(config, system)
    for name in sizes.observe:
        need(name in system.channels, "data.observe", f"among {', '.join(system.channels)}", name)
    need(solver.burn_in >= 0, "solver.burn_in", "at least 0", solver.burn_in)
    _check_regimes(config, system)
    for field in ("support", "endpoint", "validation", "test"):
        need(sizes[field] >= 1, f"data.{field}", "at least 1", sizes[field])
    need(config.calibration.frames >= 1, "calibration.frames", "at least 1", config.calibration.frames)
    skip = config.calibration.skip
    whole = isinstance(skip, int) and not isinstance(skip, bool)
    need(skip is None or whole, "calibration.skip", "a whole number, or None", repr(skip))
    need(skip is None or 0 <= skip < config.calibration.frames, "calibration.skip", "below calibration.frames", skip)
    need(config.model.history >= 1, "model.history", "at least 1", config.model.history)
    observed = config.model.history + config.calibration.frames
    need(solver.frames + 1 > observed, "solver.frames", f"more than history + K - 1 = {observed - 1}", solver.frames)
    need(config.calibration.step > 0, "calibration.step", "above 0", config.calibration.step)
    low, high = config.calibration.low, config.calibration.high
    need(low < high, "calibration.low", "below high", low)
    need(
        any(gate > 0 for gate in config.calibration.gates), "calibration.gates", "one above 0", config.calibration.gates
    )
    for part in ("train", "finetune"):
        settings = config[part]
        for field in ("steps", "batch_size", "unroll", "chunk", "save_every"):
            need(settings[field] >= 1, f"{part}.{field}", "at least 1", settings[field])
        need(settings.noise >= 0, f"{part}.noise", "at least 0", settings.noise)
        need(settings.learning_rate > 0, f"{part}.learning_rate", "above 0", settings.learning_rate)
        frames = config.model.history + settings.unroll
        need(solver.frames + 1 >= frames, f"{part}.unroll", f"history + unroll <= {solver.frames + 1} frames", frames)
    _check_model(config)
    if "drift" in config:
        check_drift(config, lambda s: has_regime(config, s))
    if sizes.path:
        recorded.check_files(config)


def _check_plane(config: ConfigDict) -> None:
    """What two axes need beside: regimes as pairs, parameters of their own, simulated data."""

    def need(ok: bool, field: str, expected: str, got: object) -> None:
        if not ok:
            raise ValueError(f"config.{field} is {got}, expected {expected}, because config.axis2 is a second axis.")

    shared = sorted(set(config.axis.parameters) & set(config.axis2.parameters))
    need(not shared, "axis2.parameters", "other parameters than those of axis", shared)
    for field in ("support", "validation", "test"):
        odd = [v for v in config.regimes[field] if not isinstance(v, tuple) or len(v) != 2]
        need(not odd, f"regimes.{field}", "a value on either axis, (value, value2), for every regime", odd)
    need(not config.data.path, "data.path", "'': its data are simulated", repr(config.data.path))
    for field, only in (("search", "continuous"), ("pooled", False), ("clip", None)):
        got = config.calibration[field]
        need(got == only, f"calibration.{field}", repr(only), repr(got))
    need(config.finetune.paired, "finetune.paired", "True: all experts start from the same states", False)


def _check_grids(config: ConfigDict, system: System) -> None:
    """A number, or one for each space axis; the stored grid no finer than that of the simulation."""
    for part in ("solver", "data"):
        grid, d = config[part].grid, system.dimension
        whole = isinstance(grid, int) or (isinstance(grid, (tuple, list)) and len(grid) == d)
        if not whole or any(not isinstance(n, int) or n < 1 for n in grid_shape(grid, d)):
            raise ValueError(
                f"config.{part}.grid is {grid}, expected a number of points, or {d} of them, one for each space axis "
                f"of {config.system}."
            )
    settings = settings_for(config)
    if any(stored > n for stored, n in zip(settings.stored, settings.grid, strict=True)):
        raise ValueError(f"config.data.grid is {config.data.grid}, expected at most solver.grid, {config.solver.grid}.")


def _check_regimes(config: ConfigDict, system: System) -> None:
    """Whether the equation takes every value on the axis, with steps short enough, and makes states of its shape."""
    regimes, settings = config.regimes, settings_for(config)
    ends = itertools.product(*((axis.low, axis.high) for axis in axes_of(config)))
    values = sorted({*map(join, ends), *regimes.support, *regimes.validation, *regimes.test})
    try:
        starts = [start_of(config, value) for value in values]
        system.check(settings, [regime_parameters(config, value) for value in values])
        frame = jax.eval_shape(lambda state: system.store(state, settings.stored), starts[0])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"config for {config.system}: {error}") from error
    for what, state, grid in (("starts", starts[0], settings.grid), ("stores frames", frame, settings.stored)):
        expected = (*grid, len(system.channels))
        if state.shape != expected:
            raise ValueError(f"config.system: {config.system} {what} of shape {state.shape}, expected {expected}.")


def _check_model(config: ConfigDict) -> None:
    """Traces the model on the grid of the data, which costs nothing and meets every wrong argument."""
    window, frame = jnp.zeros((2, config.model.history, *stored_shape(config))), (2, *stored_shape(config))
    try:
        model = model_of(config)
        params = jax.eval_shape(model.init, jax.random.key(0), window)
        found = jax.eval_shape(model.apply, params, window).shape
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise ValueError(f"config.model: {' '.join(str(error).split())}") from error
    if found != frame:
        raise ValueError(
            f"config.model: {config.model.name} makes frames {found} of windows {window.shape}, not {frame}."
        )
