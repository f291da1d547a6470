"""Reaction-diffusion, both diffusivities: a plane of two parameters that the state hides.

Claim: four short fine-tunings make a chart of the plane, and five frames say where on it a rollout lies.

    python -m experiments.run --config=rd_2d
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base, rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config(size)
    c.name = "rd_2d"
    if size == "":  # as many in all as rd_ood's anchor and its two experts
        c.train.steps, c.finetune.steps = 4700, 700
    return base.plane(
        c,
        {"parameters": ("diffusivity_u",), "low": 1.25e-3, "high": 2.75e-3},
        {"parameters": ("diffusivity_v",), "low": 3.125e-3, "high": 6.875e-3, "label": "inhibitor diffusivity D_v"},
    )
