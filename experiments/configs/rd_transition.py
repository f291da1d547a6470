"""Reaction-diffusion, constant source k: a path across a Turing bifurcation, where the method has no promise.

Below k = 0.1 or so patterns grow out of any start and stay, above it they die out. The equation is smooth in k, but
what a network sees of it is not: patterns on one side, an almost uniform field on the other.

    python -m experiments.run --config=rd_transition
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config(size)
    c.name = "rd_transition"
    c.physics.update(diffusivity_u=1e-3)
    c.axis.update(label="constant source k", unit="1/time", parameters=("threshold",), low=0.06, high=0.14)
    c.regimes.support = (0.06, 0.08, 0.1, 0.12, 0.14)
    c.regimes.validation = (0.052, 0.07, 0.09, 0.11, 0.13, 0.148)
    c.regimes.test = (0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18)
    c.solver.burn_in = 16  # 4 units of time: the start is forgotten, and growth or decay has begun
    return c
