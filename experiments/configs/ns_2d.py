"""Forced two-dimensional Navier-Stokes, viscosity and strength of the forcing: a plane of two hidden parameters.

Claim: four short fine-tunings make a chart of the plane, and five frames say where on it a rollout lies.

    python -m experiments.run --config=ns_2d
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import base, ns_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = ns_ood.get_config(size)
    c.name = "ns_2d"
    c.solver.substeps = {"": 36, "smoke": 24, "paper": 120}[size]  # a stronger forcing drives faster flow
    if size == "":  # as many in all as ns_ood's anchor and its two experts
        c.train.steps, c.finetune.steps = 2700, 600
    forcing = {"label": "amplitude of the forcing", "unit": "1/time²", "parameters": ("amplitude",)}
    return base.plane(c, {}, forcing | {"low": 0.075, "high": 0.125})
