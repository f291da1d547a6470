"""Reaction-diffusion, both diffusivities scaled by one factor: the axis of the paper's published row.

Claim: one direction serves a factor on two parameters.

    python -m experiments.run --config=rd_f2
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config(size)
    c.name = "rd_f2"
    c.axis.update(label="factor on both diffusivities", unit="", kind="factor")
    c.axis.update(parameters=("diffusivity_u", "diffusivity_v"), low=0.5, high=1.5)
    c.regimes.support = (0.5, 0.75, 1.0, 1.25, 1.5)
    c.regimes.validation = (0.375, 0.625, 0.875, 1.125, 1.375, 1.625)
    c.regimes.test = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    return c
