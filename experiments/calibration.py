"""CCM-Scale: the calibrated map from metadata to coordinates, from validation regimes alone."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.evaluate import future_error_sweep
from experiments import data
from experiments.evaluation import Family, bank_of, best_coordinate, chart_of, column, in_groups, mean_error
from experiments.progress import bar

# The paper's one number, and monotone curves, in order of freedom.
KINDS: dict[str, dict[str, Any]] = {
    "gamma": {"degree": 1, "intercept": False},
    "line": {"degree": 1, "intercept": True},
    "monotone quadratic": {"degree": 2, "intercept": True},
}
REACH = 2.0  # widths beyond the validation regimes


def calibrate(config: ConfigDict, family: Family, validation: np.ndarray) -> dict[str, Any]:
    """Finds the best coordinate of each validation regime, and the map that predicts left-out ones best.

    Args:
        config: the experiment.
        family: its weights.
        validation: trajectories ``[R, N, T, H, W, C]`` of the validation regimes.

    Returns:
        JSON-able: ``coordinates`` s and ``best`` alpha of each regime, the error ``sweep [R, n]``, the leave-one-out
        error of each kind of map, the ``kind`` chosen, and the fitted ``map``.
    """
    chart, bank = chart_of(family), bank_of(config)
    shape = {"history": family.history, "prefix": config.calibration.frames}
    s, best, sweeps = [], [], []
    with bar("calibration", len(validation)) as advance:
        for value, x in zip(config.regimes.validation, validation, strict=True):
            x = jnp.asarray(x)
            errors = in_groups(lambda g: future_error_sweep(chart, family.rollout_fn, g, column(bank), **shape), x)
            sweep = [mean_error(e) for e in errors]
            s.append(data.coordinate_of(config, value))
            best.append(best_coordinate(bank, sweep))
            sweeps.append(sweep)
            advance(1, f"at {value:g}")
    scores = {kind: leave_one_out(np.array(s), np.array(best), how) for kind, how in KINDS.items()}
    kind = min(scores, key=lambda k: scores[k])
    fitted = CoordinateMap.fit(s, best, reach=REACH, **KINDS[kind])
    gamma = CoordinateMap.fit(s, best, reach=REACH)
    return {
        "coordinates": s,
        "best": best,
        "sweep": sweeps,
        "leave_one_out": scores,
        "kind": kind,
        "gamma": float(gamma(1.0)),
        "map": {name: np.asarray(getattr(fitted, name)).tolist() for name in ("coefficients", "low", "high", "reach")},
    }


def leave_one_out(s: np.ndarray, best: np.ndarray, how: dict[str, Any]) -> float:
    """Root mean square error of a kind of map on the regime it did not see; infinite if too few are left."""
    errors = []
    for i in range(len(s)):
        rest = np.arange(len(s)) != i
        if len(np.unique(s[rest])) < how["degree"] + 1:
            return float("inf")
        fitted = CoordinateMap.fit(s[rest], best[rest], reach=REACH, **how)
        errors.append(float(fitted(s[i])) - best[i])
    return float(np.sqrt(np.mean(np.square(errors))))


def load_map(stored: dict[str, Any]) -> CoordinateMap:
    """The map that :func:`calibrate` fitted."""
    numbers = {name: jnp.asarray(stored["map"][name]) for name in ("coefficients", "low", "high")}
    return CoordinateMap(**numbers, reach=stored["map"]["reach"])
