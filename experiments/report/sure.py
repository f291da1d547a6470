"""How sure the prefix readout is on every test regime: posteriors, and forecasts with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax import PrefixReadout, fit_uncertainty, predict_rollout
from ccm_jax.io.atomic import read_json
from ccm_jax.metrics import relative_l2
from experiments.pipeline import data, stages
from experiments.pipeline.networks import load_family
from experiments.pipeline.readouts import load_readout
from experiments.pipeline.stages import Run, Stages
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.runner.notes import passed
from experiments.runner.progress import finished

VERSION = 3
LEVEL = 0.9
FEW = 0.8  # a share of intervals that hold, of so few trajectories, that says that they are too narrow
NORMAL = 1.645  # half-width of the 90 % interval of a normal distribution, in deviations


def sureness(run: Run, done: Stages) -> Stage:
    """What validation regimes tell of the readout's errors, on the test regimes: ``sure.json``."""

    def build(work: Path) -> None:
        config = run.config
        family = load_family(config, done.anchor, done.endpoints)
        chosen = read_json(done.calibration.path / "calibration.json")["prefix"]
        readout = load_readout(config, family, chosen)
        validation, tests = (stages.load_trajectories(stage) for stage in (done.validation, done.test))
        values = [float(v) for v in config.regimes.validation]
        try:
            sure = fit_uncertainty(readout, list(validation), values, level=LEVEL, mesh=family.mesh)
            passed("validation values")
            rows = []
            for i in np.argsort([data.coordinate_of(config, float(v)) for v in config.regimes.test]):
                value = float(config.regimes.test[i])
                rows.append(of_regime(sure, np.asarray(tests[i, : validation.shape[1]]), value))
                passed(f"{value:g}")
                s = data.coordinate_of(config, value)
                rows[-1] |= {"coordinate": s, "split": "ood" if data.outside(s) else "id"}
        except ValueError as error:  # it says what validation regimes would have to tell
            write_json(work / "sure.json", {"unsure": str(error), "regimes": []})
            return
        write_json(work / "sure.json", {"unsure": "", "level": LEVEL, "regimes": rows})

    settings = stages.settings_of(run.config, "calibration", "axis", "model")
    inputs = (done.validation, done.test, done.anchor, done.endpoints, done.calibration)
    stage = run_stage(run.root, "sure", settings, inputs, build, version=VERSION)
    finished(stage, "posteriors and forecasts with intervals")
    return stage


def two_of(coordinates: list[float]) -> list[int]:
    """Numbers of the test regimes nearest to the middle of the training range and furthest from it; one if both."""
    away = np.abs(coordinates)
    return sorted({int(np.argmin(away)), int(np.argmax(away))}, key=lambda i: away[i])


def too_narrow(row: dict[str, Any]) -> dict[str, str]:
    """Which intervals of a regime hold much less than they promise, with what they hold in words.

    Args:
        row: of a regime, as :func:`of_regime` gives it.

    Returns:
        What for ``"value"`` and for ``"forecast"``, where that is so.

    Example:
        >>> too_narrow({"held": 12, "intervals": [[0, 1]] * 16, "covered": [0.9, 0.95]})
        {'value': '12 of 16 intervals contain the value'}
        >>> too_narrow({"held": 15, "intervals": [[0, 1]] * 16, "covered": [0.7, 0.8]})
        {'forecast': '75 % of the forecast values lie in their interval'}
    """
    found, count, covered = {}, len(row["intervals"]), float(np.mean(row["covered"]))
    if row["held"] < FEW * count:
        found["value"] = f"{row['held']} of {count} intervals contain the value"
    if covered < FEW:
        found["forecast"] = f"{100 * covered:.0f} % of the forecast values lie in their interval"
    return found


def of_regime(readout: PrefixReadout, x: np.ndarray, value: float) -> dict[str, Any]:
    """Posterior and forecast on trajectories ``[N, T, *space, C]`` of a regime, JSON-able; curves are of the first."""
    observed = readout.history + readout.frames
    found = readout(jnp.asarray(x[:, :observed]), batch="each")
    assert found.posterior is not None and found.p_value is not None
    ends = np.asarray(found.posterior.interval(LEVEL), float)[:, 0]
    cut = np.asarray(found.posterior.cut())[:, 0].any(axis=-1)  # the page says it
    forecast = predict_rollout(readout, jnp.asarray(x), x.shape[1] - observed, batch="each")
    # Whether intervals hold outside validation is what is measured.
    low, high = (np.asarray(end, float) for end in forecast._replace(outside=None).interval(LEVEL))
    truth, fields = x[:, observed:], tuple(range(2, x.ndim))
    at = (0, slice(None), *(n // 2 for n in x.shape[2:-1]), 0)  # the first channel at the middle of the grid
    mean = np.asarray(forecast.mean, float)
    deviation = (high - low) / (2 * NORMAL)  # of a normal distribution with these intervals
    size = np.sqrt(np.mean(mean**2, axis=fields))
    return {
        "value": value,
        "values": np.asarray(found.posterior.values[0, 0], float).tolist(),
        "probability": np.asarray(found.posterior.probability[0, 0], float).tolist(),
        "intervals": ends.tolist(),
        "cut": int(cut.sum()),
        "held": int(np.sum((ends[:, 0] <= value) & (value <= ends[:, 1]))),
        "p_values": np.asarray(found.p_value, float).tolist(),
        "place": [n // 2 for n in x.shape[2:-1]],
        "observed": x[:, :observed][at].tolist(),
        "mean": mean[at].tolist(),
        "low": low[at].tolist(),
        "high": high[at].tolist(),
        "truth": truth[at].tolist(),
        "covered": np.mean((low <= truth) & (truth <= high), axis=(0, *fields)).tolist(),
        "error": np.asarray(relative_l2(forecast.mean, jnp.asarray(truth)), float).tolist(),
        "expected_error": np.median(np.sqrt(np.mean(deviation**2, axis=fields)) / size, axis=0).tolist(),
    }
