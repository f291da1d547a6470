"""Radial dam break, height of the dam: a parameter that the first frame shows.

Claim: the gain is small where the state shows the parameter, and the prefix readout does no harm.

    python -m experiments.run --config=rdb_ood
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = base.get_config()
    c.name, c.size = "rdb_ood", size
    c.system = "shallow_water"
    c.physics.update(height=2.0, outer=1.0, gravity=1.0, length=5.0, walls="outflow")
    c.axis.update(label="dam height", unit="length", parameters=("height",), low=1.5, high=2.5)
    c.regimes.support = (1.5, 1.75, 2.0, 2.25, 2.5)
    c.regimes.validation = (1.375, 1.625, 1.875, 2.125, 2.375, 2.625)
    c.regimes.test = (1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5)
    c.initial.kind = "dam"
    c.solver.update(grid=64, dt=0.05, substeps=4, frames=20)
    c.model.args.update(modes=(8, 8), width=24, depth=4, boundary="padded", padding=0.0625)
    c.train.steps = 3000
    c.finetune.update(steps=800, learning_rate=1e-4)  # gentle: experts of a visible parameter forget the others
    c.calibration.gates = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # so their shared update is small, and may be scaled up
    c.calibration.update(
        begin=0, skip=3, pull=0.1, free_gate=True
    )  # by the validation regimes of six seeds: those of one say too little
    if size == "smoke":
        c = base.smoke(c)
        c.model.args.update(modes=(4, 4), width=8, depth=2)
    if size == "paper":  # PDEBench's file: depth alone, so a history tells the velocities
        c.solver.update(grid=128, dt=0.01, substeps=2, frames=100)
        c.data.update(grid=128, support=180, endpoint=900, validation=16, test=100, observe=("h",))
        c.model.history = 10
        c.model.args.update(modes=(16, 16), width=64, depth=4)
        c.train.update(steps=50_000, learning_rate=5e-4)
        c.finetune.update(steps=10_000, learning_rate=2e-6)
        c.calibration.update(begin=None, skip=None, pull=None, free_gate=None)  # by its own validation regimes
    return c
