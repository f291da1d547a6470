"""Reaction-diffusion, diffusivity of the inhibitor, beside ``rd_ood``'s of the activator.

Claim: the same method works along another parameter of the same equation.

    python -m experiments.run --config=rd_dv
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config(size)
    c.name = "rd_dv"
    c.axis.update(label="inhibitor diffusivity D_v", parameters=("diffusivity_v",), low=2.5e-3, high=7.5e-3)
    c.regimes.support = (2.5e-3, 3.75e-3, 5e-3, 6.25e-3, 7.5e-3)
    c.regimes.validation = (1.875e-3, 3.125e-3, 4.375e-3, 5.625e-3, 6.875e-3, 8.125e-3)
    c.regimes.test = (1.25e-3, 2.5e-3, 3.75e-3, 5e-3, 6.25e-3, 7.5e-3, 8.75e-3, 10e-3)
    return c
