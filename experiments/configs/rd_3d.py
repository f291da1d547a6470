"""Reaction-diffusion in three dimensions, diffusivity of the activator: ``rd_ood`` in a box half as wide.

Question: does what holds on a square hold in a box, by the same code?

    python -m experiments.run --config=rd_3d
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base, rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config()
    c.name, c.size = "rd_3d", size
    c.system = "solvers.reaction_diffusion:IN_SPACE"
    c.physics.length = 1.0
    c.solver.grid, c.data.grid = 24, 16
    c.data.update(support=32, endpoint=80, validation=8, test=8)
    c.model.args.update(modes=(4, 4, 4), width=16, depth=4)
    c.train.update(steps=3000, batch_size=8)
    c.finetune.update(steps=600, batch_size=8)
    if size == "smoke":
        c = base.smoke(c)
        c.solver.update(grid=16, substeps=6)
        c.data.grid = 8
        c.model.args.update(modes=(2, 2, 2), width=8, depth=2)
    if size == "paper":
        c.solver.update(grid=64, dt=0.05, substeps=2, frames=100)
        c.data.update(grid=64, support=180, endpoint=900, validation=16, test=100)
        c.model.history = 10
        c.model.args.update(modes=(12, 12, 12), width=64)
        c.train.update(steps=50_000, learning_rate=5e-4)
        c.finetune.update(steps=10_000, learning_rate=1e-4)
    return c
