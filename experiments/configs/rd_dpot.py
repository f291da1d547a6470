"""The activator's diffusivity again, by a DPOT-style transformer that sees four frames.

Claim: nothing in the method is about Fourier neural operators; the coordinate is near the best in hindsight.

    python -m experiments.run --config=rd_dpot
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import rd_ood


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = rd_ood.get_config(size)
    c.name = "rd_dpot"
    return dpot(c)


def dpot(c: ConfigDict) -> ConfigDict:
    """The configuration with a DPOT-style backbone in its own size."""
    c.model.name, c.model.args = "dpot", ConfigDict()
    c.model.history = 10 if c.size == "paper" else 4
    if c.size == "paper":  # published as DPOT-Ti
        c.train.noise = 0.02
        c.model.args.update(patch=8, width=512, mlp=512, depth=4, heads=4, out_width=32)
        c.train.update(steps=50_000, learning_rate=5e-4)
        c.finetune.update(steps=10_000, learning_rate=1e-4)
    else:
        c.model.args.update(patch=4, width=64, mlp=64, depth=4, heads=4, out_width=16, residual=True)
        c.train.learning_rate, c.finetune.learning_rate = 8e-3, 4e-3
    if c.size == "smoke":
        c.model.args.update(width=16, mlp=16, depth=2, heads=2, out_width=8)
        c.calibration.frames = 2
    return c
