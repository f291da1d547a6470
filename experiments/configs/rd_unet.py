"""The activator's diffusivity again, by a convolutional U-Net.

Claim: a backbone without any spectral layer merges by the same code.

    python -m experiments.run --config=rd_unet
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config(size)
    c.name = "rd_unet"
    c.model.name, c.model.args = "unet", ConfigDict()
    widths = {"": (16, 32), "smoke": (8, 16), "paper": (48, 96, 192)}[size]
    c.model.args.update(widths=widths, boundary="zero-flux")
    if size == "":  # its steps cost several times those of an FNO
        c.train.steps, c.finetune.steps = 2500, 600
    return c
