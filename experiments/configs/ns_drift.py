"""Navier-Stokes with a viscosity that changes during the rollout: the family of ``ns_ood``, and drifts to track.

Claim: a filter over the coordinate, which is told nothing, predicts the next frame nearly as well as weights that know
the true path. Data, anchor and experts are those of ``ns_ood``, so a shared folder of stages trains nothing anew.

    python -m experiments.run --config=ns_drift
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import ns_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = ns_ood.get_config(size)
    c.name = "ns_drift"
    c.drift = ConfigDict()
    # Paths of the coordinate over the time of a trajectory; see experiments.pipeline.drifts.
    c.drift.validation = (
        ("ramp", -1.0, 1.0),
        ("ramp", 1.2, -0.4),
        ("sine", 0.0, 1.2, 1.0),
        ("sine", 0.3, -0.8, 0.5),
        ("step", 0.8, -0.8, 0.5),
    )
    c.drift.test = (
        ("ramp", -0.75, -0.75),
        ("ramp", -1.5, 1.5),
        ("ramp", 1.8, -1.2),
        ("ramp", -0.2, -1.8),
        ("sine", 0.0, 1.5, 1.0),
        ("sine", 0.5, -1.0, 0.75),
        ("step", -1.0, 1.2, 0.4),
        ("step", 1.5, 0.2, 0.6),
    )
    c.drift.trajectories = 8  # of each path
    if size == "smoke":
        c.drift.update(validation=c.drift.validation[::3], test=c.drift.test[1::5], trajectories=2)
    return c
