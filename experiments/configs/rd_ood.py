"""Reaction-diffusion, diffusivity of the activator: extrapolation beyond a diffusivity that the state hides.

Claim: merged along the physical direction, two endpoint experts cut the error outside the support by two
thirds or more against the better of two anchors, and the prefix alone finds where to merge.

    python -m experiments.run --config=rd_ood
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = base.get_config()
    c.name, c.size = "rd_ood", size
    c.system = "reaction_diffusion"
    c.physics.update(diffusivity_u=2e-3, diffusivity_v=5e-3, threshold=5e-3, length=2.0)
    c.axis.update(label="activator diffusivity D_u", unit="length²/time", parameters=("diffusivity_u",))
    c.axis.update(low=1e-3, high=3e-3)
    c.regimes.support = (1e-3, 1.5e-3, 2e-3, 2.5e-3, 3e-3)
    c.regimes.validation = (0.75e-3, 1.25e-3, 1.75e-3, 2.25e-3, 2.75e-3, 3.25e-3)
    c.regimes.test = (0.5e-3, 1e-3, 1.5e-3, 2e-3, 2.5e-3, 3e-3, 3.5e-3, 4e-3)
    # With more data the anchor would go on learning beyond the minutes that a laptop has. Both experts see as much.
    c.data.update(support=48, endpoint=120)
    c.model.args.update(modes=(8, 8), width=32, depth=4, boundary="zero-flux")
    if size == "smoke":
        c = base.smoke(c)
        c.solver.substeps = 6  # with fewer, one start of a hundred diverges
        c.model.args.update(modes=(4, 4), width=8, depth=2)
    if size == "paper":
        c.solver.update(grid=128, dt=0.05, substeps=2, frames=100)
        c.data.update(grid=128, support=180, endpoint=900, validation=16, test=100)
        c.model.history = 10
        c.model.args.update(modes=(16, 16), width=64, depth=4)
        c.train.update(steps=50_000, learning_rate=5e-4)
        c.finetune.update(steps=10_000, learning_rate=1e-4)
    return c
