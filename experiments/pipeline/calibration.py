"""What validation regimes decide: the map from metadata to coordinates, and how the prefix is read."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import fit_scale_readout
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.fit_readout import choose
from experiments.pipeline.family import Family
from experiments.pipeline.readouts import choices_of, starts_of, stored
from experiments.runner.progress import bar

MAP = ("coefficients", "low", "high", "reach")


def calibrate(config: ConfigDict, family: Family, validation: np.ndarray) -> dict[str, Any]:
    """Fits both readouts that need validation regimes: CCM-Scale and CCM-Prefix.

    Args:
        config: the experiment.
        family: its weights.
        validation: trajectories ``[R, N, T, *space, C]`` of the validation regimes.

    Returns:
        JSON-able: ``coordinates`` s and ``best`` alpha of each regime, the error ``sweep [R, n]``, the leave-one-out
        error of each kind of map, the ``kind`` chosen, and the fitted ``map``; the settings of the ``prefix`` readout,
        and for all that were tried the error by regime over the anchor's, ``[R]``.
    """
    axis, values = config.axis, [float(v) for v in config.regimes.validation]
    ends: dict[str, Any] = {"low": axis.low, "high": axis.high, "scale": axis.scale}
    how: dict[str, Any] = {"history": family.history, "frames": family.frames, "mesh": family.mesh}
    with bar("calibration", len(values)) as advance:
        scale = fit_scale_readout(
            family.plane,
            family.rollout_fn,
            list(validation),
            values,
            bank=family.bank,
            progress=lambda value: advance(1, f"at {value:g}"),
            **ends,
            **how,
        )
    prefix = choose(starts_of(config, family), list(validation), choices=choices_of(config), mesh=family.mesh)
    fit = scale.fit
    assert fit is not None
    return {
        "coordinates": fit.coordinates,
        "best": fit.best,
        "sweep": fit.sweep,
        "leave_one_out": dict(fit.leave_one_out),
        "kind": fit.kind,
        "gamma": float(CoordinateMap.fit(fit.coordinates, fit.best)(1.0)),
        "map": stored_map(scale.map),
        "prefix": stored(prefix.readout),
        "prefix_tried": [tried._asdict() for tried in prefix.tried],
    }


def stored_map(fitted: CoordinateMap) -> dict[str, Any]:
    """A map, JSON-able."""
    return {name: np.asarray(getattr(fitted, name)).tolist() for name in MAP}


def load_map(stored: dict[str, Any]) -> CoordinateMap:
    """The map that :func:`stored_map` stored under ``"map"``."""
    coefficients, low, high, reach = (stored["map"][name] for name in MAP)
    return CoordinateMap(jnp.asarray(coefficients), jnp.asarray(low), jnp.asarray(high), reach)
