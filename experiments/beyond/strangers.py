"""Frames of another family: are they flagged, on a ladder of shifts that was fixed before anything was fitted?

The rung that counts is the smallest shift that doubles the future error of the best candidate on the chart: below it,
the family still serves.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax import PrefixReadout, fit_uncertainty
from ccm_jax.chart import complete
from ccm_jax.evaluate import sweep_errors
from experiments.beyond.families import Fitted, fitted
from experiments.pipeline import data
from experiments.pipeline.family import column, mean_error
from experiments.pipeline.plans import value_of
from experiments.pipeline.stages import Run

ALARM = 0.05
PLACES = (-0.5, 0.5)  # normalised values at which strangers are made
COUNT = 16  # trajectories each
JUDGED = 4  # of them, on which the future error of candidates is measured
FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 9.0)
UNITS = (1.0, 1.05, 1.1, 1.2, 1.4, 2.0, 4.0, 10.0)
SHIFTS = (0, 1, 2, 3, 4, 6, 8)  # grid points a frame
DRAGS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)  # 1 / time
# By system: another value of a parameter that is not the axis, a uniform advection, other units. Vorticity in a box of
# another length is the family itself at viscosity / length^2, and shallow water at gravity / length^2: no strangers.
KINDS: dict[str, tuple[str, ...]] = {
    "reaction_diffusion": ("threshold", "diffusivity_v", "length", "units"),
    "navier_stokes": ("amplitude", "drag", "advection", "units"),
    "shallow_water": ("height", "units"),
}
# Other walls or another forcing, one rung each: fields that replace those of the configuration.
OTHERS: dict[str, dict[str, dict[str, Any]]] = {
    "reaction_diffusion": {},
    "navier_stokes": {"another forcing": {"forcing": "kolmogorov"}},
    "shallow_water": {"other walls": {"walls": "reflecting"}},
}
Found = dict[str, Any]


def strangers(run: Run, known: Found) -> Found:
    """For each kind of stranger and rung: the share flagged, and the best candidate's error over the family's."""
    there = fitted(run)
    readout = fit_uncertainty(there.readout, list(there.validation), there.values)
    system = run.config.system
    ladders: Found = {}
    for kind in KINDS[system]:
        rungs = {"units": UNITS, "advection": SHIFTS, "drag": DRAGS}.get(kind, FACTORS)
        rungs = rungs[::3] if run.config.size == "smoke" else rungs
        rows: list[Found] = []
        for rung in rungs:
            made = _made(run, kind, rung)
            if made is None or (len(rows) > 2 and rows[-2]["error"] >= 2 * rows[0]["error"]):
                break  # the solver does not go further, or the ladder is one rung past the one that counts
            rows.append(one_rung(run, there, readout, made))
        ladders[kind] = {"rungs": list(rungs[: len(rows)])} | _against_first(rows)
    for name, fields in OTHERS[system].items():
        rows = [one_rung(run, there, readout, made) for made in (_simulated(run, {}), _simulated(run, fields)) if made]
        ladders[name] = {"rungs": list(range(len(rows)))} | _against_first(rows)
    return {"ladders": ladders}


def _against_first(rows: list[Found]) -> Found:
    """A ladder, with the future error over that of its first rung, the family itself, and where that doubles."""
    over = [row["error"] / rows[0]["error"] for row in rows]
    doubled = next((i for i, ratio in enumerate(over) if ratio >= 2), None)
    flagged = [row["flagged"] for row in rows]
    return {
        "error_ratio": over,
        "flagged": flagged,
        "doubled_at": doubled,
        "flagged_there": None if doubled is None else flagged[doubled],
    }


def one_rung(run: Run, there: Fitted, readout: PrefixReadout, trajectories: list[np.ndarray]) -> Found:
    """The share flagged, and the future error of the best candidate, over regimes of one rung."""
    observed, flags, errors = readout.history + readout.frames, [], []
    how: dict[str, Any] = {"history": readout.history, "frames": readout.frames}
    bank = np.asarray(complete(readout.chart.features, jnp.asarray(column(there.family.bank))))
    for x in trajectories:
        found = readout(jnp.asarray(x[:, :observed]), batch="each")
        flags.append(np.asarray(found.p_value) < ALARM)
        swept = sweep_errors(readout.chart, readout.rollout_fn, x[:JUDGED], bank, **how)
        errors.append(min(mean_error(e) for e in swept))
    return {"flagged": float(np.mean(flags)), "error": float(np.mean(errors))}


def _made(run: Run, kind: str, rung: float) -> list[np.ndarray] | None:
    """Trajectories of a kind of stranger at a rung, ``[N, T, *space, C]`` for each place; None beyond the solver."""
    if kind == "units":
        return [rung * x for x in _simulated(run, {}) or ()]
    if kind == "advection":  # the same fields in a frame that moves: a term U . grad u that the family does not have
        moved = []
        for x in _simulated(run, {}) or ():
            moved.append(np.stack([np.roll(x[:, t], int(rung) * t, axis=1) for t in range(x.shape[1])], axis=1))
        return moved
    return _simulated(run, {kind: rung if kind == "drag" else rung * run.config.physics[kind]})


def _simulated(run: Run, fields: Found) -> list[np.ndarray] | None:
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.physics.update(fields)
    count = 2 if config.size == "smoke" else COUNT
    values = [value_of(config, s) for s in PLACES]
    try:
        return [data.simulate(config, value, count, "stranger", i * count) for i, value in enumerate(values)]
    except ValueError:  # it says that the simulation is not finite
        return None
