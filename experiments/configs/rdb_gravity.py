"""Radial dam break, gravity: a parameter that the state does not show.

Depth alone is observed. Gravity only sets the clock of the flow: every depth that one gravity reaches, any other
reaches at another time, so a frame of depth tells nothing of it (velocities would).

Claim: the prefix finds the coordinate of a parameter that is nowhere in the state.

    python -m experiments.run --config=rdb_gravity
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import rdb_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rdb_ood.get_config(size)
    c.name = "rdb_gravity"
    c.finetune.learning_rate = 2e-3
    c.calibration.gates = (0.0, 0.5, 1.0)
    c.calibration.update(begin=None, skip=None, pull=None, free_gate=None)  # by its own validation regimes
    c.data.observe = ("h",)
    c.axis.update(label="gravity", unit="length/time²", parameters=("gravity",), low=0.5, high=1.5)
    c.regimes.support = (0.5, 0.75, 1.0, 1.25, 1.5)
    c.regimes.validation = (0.375, 0.625, 0.875, 1.125, 1.375, 1.625)
    c.regimes.test = (0.35, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    return c
