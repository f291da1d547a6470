"""The Kuramoto-Sivashinsky equation, hyperviscosity: chaos, where every error grows.

In a box of 32, hyperviscosity h is hyperviscosity 1 in a box of ``32 / sqrt(h)``: it sets how many waves are unstable.
Starts have one law at every h. At h = 1 errors grow by e in about 12 units of time: the 16 future frames, 0.75 apart,
are one Lyapunov time, in which a wrong parameter shows and the forecast still means something.

Question: does merging help where the error of every method grows by itself?

    python -m experiments.run --config=ks
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = base.get_config()
    c.name, c.size = "ks", size
    c.system = "kuramoto_sivashinsky"
    c.physics.update(instability=1.0, hyperviscosity=1.0, length=32.0)
    c.axis.update(label="hyperviscosity", unit="length⁴/time", parameters=("hyperviscosity",), low=0.85, high=1.15)
    c.regimes.support = (0.85, 0.925, 1.0, 1.075, 1.15)
    c.regimes.validation = (0.8125, 0.8875, 0.9625, 1.0375, 1.1125, 1.1875)
    c.regimes.test = (0.7, 0.775, 0.85, 0.925, 1.0, 1.075, 1.15, 1.225, 1.3)
    c.initial.scale = 3.0
    c.solver.update(grid=96, dt=0.75, substeps=12, frames=20)
    c.data.grid = 64
    # Nothing depends on the place, so the network is not told it.
    c.model.args.update(modes=(16,), width=48, depth=4, boundary="periodic", grid_channels=False)
    c.train.update(steps=8000, batch_size=32)
    c.finetune.update(steps=1500, batch_size=32)
    if size == "smoke":
        c = base.smoke(c)
        c.solver.update(grid=64, substeps=12)
        c.data.grid = 32
        c.model.args.update(modes=(6,), width=8, depth=2)
    if size == "paper":
        c.data.update(support=180, endpoint=900, test=100)
        c.model.history = 10
        c.model.args.update(modes=(24,), width=64)
        c.train.update(steps=50_000, learning_rate=5e-4)
        c.finetune.update(steps=10_000, learning_rate=1e-4)
    return c
