"""Burgers' equation in one dimension, viscosity: steepening fronts, whose width the viscosity sets.

Question: does a line between two experts serve fronts that are sharper, and smoother, than all that were trained on?

    python -m experiments.run --config=burgers
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = base.get_config()
    c.name, c.size = "burgers", size
    c.system = "burgers"
    c.physics.update(viscosity=4e-2, length=2.0)
    c.axis.update(label="viscosity", unit="length²/time", parameters=("viscosity",), low=2e-2, high=6e-2)
    c.regimes.support = (2e-2, 3e-2, 4e-2, 5e-2, 6e-2)
    c.regimes.validation = (1.5e-2, 2.5e-2, 3.5e-2, 4.5e-2, 5.5e-2, 6.5e-2)
    c.regimes.test = (1e-2, 2e-2, 3e-2, 4e-2, 5e-2, 6e-2, 7e-2, 8e-2)
    # Steps of 0.0025 are within 1e-4 of four times finer ones at the smallest viscosity.
    c.solver.update(grid=256, dt=0.05, substeps=20, frames=20)
    c.data.grid = 128
    # Nothing depends on the place, so the network is not told it.
    c.model.args.update(modes=(24,), width=32, depth=4, boundary="periodic", grid_channels=False)
    if size == "smoke":
        c = base.smoke(c)
        c.solver.update(grid=64, substeps=10)
        c.data.grid = 32
        c.model.args.update(modes=(6,), width=8, depth=2)
    if size == "paper":
        c.data.update(support=180, endpoint=900, test=100)
        c.model.history = 10
        c.model.args.update(modes=(32,), width=64)
        c.train.update(steps=50_000, learning_rate=5e-4)
        c.finetune.update(steps=10_000, learning_rate=1e-4)
    return c
