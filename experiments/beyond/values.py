"""The physical value read off five frames: its error, whether intervals cover it, and whether forecasts do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import PrefixReadout, fit_uncertainty, predict_rollout
from ccm_jax.coordinate import normalised_coordinate
from experiments.beyond.families import fitted, regimes_of
from experiments.pipeline import stages
from experiments.pipeline.plans import covered_values
from experiments.pipeline.stages import Run

LEVEL = 0.9
NOISES = (0.0, 0.1)  # standard deviation over the root mean square of each channel
ALARM = 0.05
Found = dict[str, Any]


def value(run: Run, known: Found) -> Found:
    """Errors of the value, coverage and widths of its intervals, false alarms, and coverage of forecasts, by regime."""
    there = fitted(run)
    key = jax.random.fold_in(jax.random.key(run.config.seed), 21)
    readouts = {}
    for noise in NOISES:  # the uncertainty of noisy frames is learned on validation regimes that are as noisy
        noisy = [with_noise(jnp.asarray(x), noise, jax.random.fold_in(key, i)) for i, x in enumerate(there.validation)]
        readouts[noise] = fit_uncertainty(there.readout, noisy, there.values, level=LEVEL)
    readout = readouts[0.0]
    tested = np.asarray(stages.load_trajectories(stages.trajectories(run, "data_coverage")))
    values = covered_values(run.config)
    if run.config.size == "smoke":
        tested, values = tested[::4], values[::4]
    key = jax.random.fold_in(key, len(NOISES))
    rows = [
        one_regime(run, readouts, x, v, jax.random.fold_in(key, i))
        for i, (x, v) in enumerate(zip(tested, values, strict=True))
    ]
    known_of = readout.uncertainty
    assert known_of is not None and known_of.membership is not None and known_of.residual is not None
    return {
        "regimes": rows,
        "fit": {
            "floor": known_of.floor.tolist(),
            "tightness": known_of.tightness.tolist(),
            "inflation": known_of.inflation.tolist(),
            "logarithmic": list(known_of.logarithmic),
            "residual_slopes": known_of.residual.slopes.tolist(),
            "membership_inflation": float(known_of.membership.inflation),
        },
    } | regimes_of(run, values)


def with_noise(x: jax.Array, noise: float, key: jax.Array) -> jax.Array:
    """Frames with white noise, relative to the root mean square of each channel of a trajectory."""
    size = jnp.sqrt(jnp.mean(x**2, axis=tuple(range(1, x.ndim - 1)), keepdims=True))
    return x + noise * size * jax.random.normal(key, x.shape, x.dtype)


def one_regime(run: Run, readouts: dict[float, PrefixReadout], x: np.ndarray, value: float, key: jax.Array) -> Found:
    """All that is measured on the trajectories ``[N, T, *space, C]`` of a regime."""
    readout = readouts[0.0]
    observed = readout.history + readout.frames
    seen = jnp.asarray(x[:, :observed])
    row: Found = {}
    for noise in readouts:
        found = readouts[noise](with_noise(seen, noise, jax.random.fold_in(key, int(1000 * noise))), batch="each")
        low, high = np.moveaxis(np.asarray(found.interval(LEVEL))[:, 0], -1, 0)
        errors = np.abs(_normalised(run, np.asarray(found.value())[:, 0]) - _normalised(run, np.array([value]))) / 2
        row[f"noise {noise:g}"] = {
            "error": errors.tolist(),
            "covered": ((low <= value) & (value <= high)).tolist(),
            "width": ((_normalised(run, high) - _normalised(run, low)) / 2).tolist(),
            "p_value": np.asarray(found.p_value).tolist(),
        }
    forecast = predict_rollout(readout, jnp.asarray(x), x.shape[1] - observed, batched=True)
    low, high = (np.asarray(end) for end in forecast.interval(LEVEL))
    truth = x[:, observed:]
    inside = ((low <= truth) & (truth <= high)).mean(axis=tuple(range(2, truth.ndim)))  # [N, steps]
    size = np.sqrt(np.mean(truth**2, axis=tuple(range(2, truth.ndim))))
    width = (high - low).mean(axis=tuple(range(2, truth.ndim))) / size
    row["forecast"] = {"covered": inside.mean(axis=0).tolist(), "width": width.mean(axis=0).tolist()}
    row["forecast"]["by_trajectory"] = inside.mean(axis=1).tolist()
    return row


def _normalised(run: Run, values: np.ndarray) -> np.ndarray:
    axis = run.config.axis
    return np.asarray(normalised_coordinate(jnp.asarray(values), axis.low, axis.high, scale=axis.scale))
