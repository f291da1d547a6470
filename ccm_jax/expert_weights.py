"""The weight of each expert in a merge: what a chart does, for checkpoints that are merged leaf by leaf from disk."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ccm_jax.chart import Features, as_coordinate, complete, least_squares


def expert_weights(
    n: int,
    coordinates: Any,
    coordinate: Any,
    features: Features,
    *,
    ridge: float = 0.0,
    warp: Any = None,
    weights: Sequence[float] | None = None,
) -> np.ndarray:
    """The weight of each expert's residual at a coordinate, ``[n]``: of ``anchor + sum_i w_i (expert_i - anchor)``.

    Args:
        n: number of experts.
        coordinates: coordinates of the experts, ``[n, dim]``.
        coordinate: where to merge, ``[dim]``.
        features: of the chart.
        ridge: as the other arguments, that of :func:`fit_chart`.
    """
    with _double_precision():  # weights of 64 bits merge as exactly as they are stored
        solve = least_squares(n, np.asarray(coordinates, np.float64), features, ridge, warp, weights)
        c = as_coordinate("expert_weights", complete(features, coordinate), features.dim)
        return np.asarray(features(c if warp is None else warp(c)) @ solve, np.float64)


def _double_precision() -> Any:
    """Numbers of 64 bits in jax, for a while."""
    where: Any = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    return where.enable_x64(True)
