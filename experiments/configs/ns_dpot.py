"""The viscosity again, by a DPOT-style transformer that sees four frames.

python -m experiments.run --config=ns_dpot
"""

from __future__ import annotations

from ml_collections import ConfigDict

from experiments.configs import ns_ood
from experiments.configs.rd_dpot import dpot


def get_config(size: str = "") -> ConfigDict:
    """The configuration in a size: "" (laptop), "smoke" or "paper"."""
    c = ns_ood.get_config(size)
    c.name = "ns_dpot"
    return dpot(c)
