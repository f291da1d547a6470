"""Forced two-dimensional Navier-Stokes, viscosity: extrapolation on both sides of the support.

Claim: merged experts cut the error outside the support by three quarters or more, and the coordinate is the viscosity.

    python -m experiments.run --config=ns_ood
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = base.get_config()
    c.name, c.size = "ns_ood", size
    c.system = "navier_stokes"
    c.physics.update(viscosity=1.5e-3, forcing="fno", amplitude=0.1, length=1.0)
    c.axis.update(label="viscosity", unit="length²/time", parameters=("viscosity",), low=1e-3, high=2e-3)
    c.regimes.support = (1e-3, 1.25e-3, 1.5e-3, 1.75e-3, 2e-3)
    c.regimes.validation = (0.875e-3, 1.125e-3, 1.375e-3, 1.625e-3, 1.875e-3, 2.125e-3)
    c.regimes.test = (0.5e-3, 0.75e-3, 1e-3, 1.25e-3, 1.5e-3, 1.75e-3, 2e-3, 2.25e-3, 2.5e-3)
    c.initial.kind = "fno"
    c.solver.update(grid=64, dt=1.0, substeps=25, frames=20)
    c.data.update(support=48, endpoint=120)
    c.model.args.update(modes=(8, 8), width=24, depth=4, boundary="periodic")
    c.train.steps = 3500
    c.finetune.steps = 800
    if size == "smoke":
        c = base.smoke(c)
        c.solver.update(grid=48, substeps=15)
        c.model.args.update(modes=(4, 4), width=8, depth=2)
    if size == "paper":
        c.solver.update(grid=256, substeps=100, frames=50)
        c.data.update(grid=128, support=200, endpoint=1000, validation=16, test=100)
        c.model.history = 10
        c.model.args.update(modes=(16, 16), width=64, depth=4)
        c.train.update(steps=50_000, learning_rate=1e-4)
        c.finetune.update(steps=10_000, learning_rate=5e-5)
    return c
