"""The physical value read off five frames: its error, whether intervals cover it, and whether forecasts do."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax import PrefixReadout, fit_uncertainty, predict_rollout
from ccm_jax.coordinate import normalised_coordinate
from experiments.beyond.families import fitted, regimes_of
from experiments.pipeline import stages
from experiments.pipeline.plans import covered_values
from experiments.pipeline.stages import Run

LEVEL = 0.9
Found = dict[str, Any]


def value(run: Run, known: Found) -> Found:
    """Errors of the value, coverage and widths of its intervals, false alarms, and coverage of forecasts, by regime."""
    there = fitted(run)
    readout = fit_uncertainty(there.readout, list(there.validation), there.values, level=LEVEL)
    tested = np.asarray(stages.load_trajectories(stages.trajectories(run, "data_coverage")))
    values = covered_values(run.config)
    if run.config.size == "smoke":
        tested, values = tested[::4], values[::4]
    rows = [one_regime(run, readout, x, v) for x, v in zip(tested, values, strict=True)]
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


def one_regime(run: Run, readout: PrefixReadout, x: np.ndarray, value: float) -> Found:
    """All that is measured on the trajectories ``[N, T, *space, C]`` of a regime."""
    observed = readout.history + readout.frames
    found = readout(jnp.asarray(x[:, :observed]), batch="each")
    low, high = np.moveaxis(np.asarray(found.interval(LEVEL))[:, 0], -1, 0)
    errors = np.abs(_normalised(run, np.asarray(found.value())[:, 0]) - _normalised(run, np.array([value]))) / 2
    row: Found = {
        "error": errors.tolist(),
        "covered": ((low <= value) & (value <= high)).tolist(),
        "width": ((_normalised(run, high) - _normalised(run, low)) / 2).tolist(),
        "p_value": np.asarray(found.p_value).tolist(),
    }
    forecast = predict_rollout(readout, jnp.asarray(x), x.shape[1] - observed, batch="each")
    # Whether intervals hold outside validation is what is measured.
    low, high = (np.asarray(end) for end in forecast._replace(outside=None).interval(LEVEL))
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
