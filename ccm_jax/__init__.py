"""Calibration-Conditioned Merge: weights of neural PDE operators as a function of physical coordinates.

Needs only jax and numpy. Models (``ccm_jax.models``), training (``ccm_jax.train``) and checkpoints
(``ccm_jax.io.checkpoint``) need flax, optax and orbax, and are imported by name.
"""

from ccm_jax._moved import keep_old_names
from ccm_jax.chart import Chart, Gated, Polynomial, fit_chart
from ccm_jax.coordinate import (
    CoordinateMap,
    Estimate,
    coordinate_from_map,
    coordinate_from_metadata,
    fit_coordinate_map,
)
from ccm_jax.fit_readout import Choices, fit_prefix_readout
from ccm_jax.merge import Split, merge_pytree, split_residuals
from ccm_jax.prefix import (
    coordinate_from_prefix,
    keep_bounded,
    paper_bank,
    plane_bank,
    prefix_errors,
    refine_readout,
    select,
)
from ccm_jax.readout import PrefixReadout
from ccm_jax.rollout import make_rollout, repeat, rollout
from ccm_jax.scale import ScaleReadout, fit_scale_readout
from ccm_jax.version import __version__

__all__ = [
    "Chart",
    "Choices",
    "CoordinateMap",
    "Estimate",
    "Gated",
    "Polynomial",
    "PrefixReadout",
    "ScaleReadout",
    "Split",
    "coordinate_from_map",
    "coordinate_from_metadata",
    "coordinate_from_prefix",
    "fit_chart",
    "fit_coordinate_map",
    "fit_prefix_readout",
    "fit_scale_readout",
    "keep_bounded",
    "make_rollout",
    "merge_pytree",
    "paper_bank",
    "plane_bank",
    "prefix_errors",
    "refine_readout",
    "repeat",
    "rollout",
    "select",
    "split_residuals",
    "__version__",
]

keep_old_names(
    {f"ccm_jax.{name}": f"ccm_jax.io.{name}" for name in ("checkpoint", "safetensors", "torchfile", "weights")}
)
