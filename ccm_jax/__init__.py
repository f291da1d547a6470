"""Calibration-Conditioned Merge: weights of neural PDE operators as a function of physical coordinates.

From two fine-tuned copies of a network to the weights and forecasts of a new regime, in the usual order of calls::

    chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())   # coordinate -> weights
    chart(coordinate_from_metadata(value, low_value, high_value))           # weights of a known value
    rollout_fn = make_rollout(apply)                                        # apply(params, window) -> next frame
    readout = fit_prefix_readout(chart, rollout_fn, validation)             # observed frames -> coordinate
    readout = fit_uncertainty(readout, validation, values)                  # adds intervals and a p-value
    found = readout(frames)
    weights = chart(found); found.value(); found.interval(0.9)
    evaluate.future_error(weights, rollout_fn, trajectories)

Beyond these: ``predict_rollout`` (forecasts with intervals), ``fit_tracker`` (a parameter that drifts),
``fit_sequential`` (frames that arrive one by one), ``choose_chart`` (more than two experts), ``discover_coordinates``
(experts without labels), ``choose_fill`` and ``sensor_mask`` (noise and gaps), ``fit_scale_readout`` (known values, by
a calibrated map).

This module needs only jax and numpy, as do the namespaces ``baselines``, ``evaluate``, ``geometry``, ``metrics``,
``normalize``, ``parallel``, ``prefix`` (grid search: the paper's readout) and ``processor`` (compiler settings of a
process). Namespaces with further dependencies are imported on first use: ``example`` (a trained family), ``io``
(files), ``models``, ``interop`` (weights of other packages), ``surrogate`` (a runnable model from a checkpoint),
``train`` and ``train_chart``.
"""

import difflib
from typing import TYPE_CHECKING, Any

from ccm_jax import baselines, evaluate, geometry, metrics, normalize, parallel, prefix
from ccm_jax._extras import import_ours
from ccm_jax.along import one_step_errors, rollout_along
from ccm_jax.chart import Chart, Gated, Polynomial, fit_chart
from ccm_jax.choose_chart import Regime, choose_chart
from ccm_jax.coordinate import (
    CoordinateMap,
    Estimate,
    coordinate_from_map,
    coordinate_from_metadata,
    fit_coordinate_map,
)
from ccm_jax.discover import discover_coordinates, values_from_labels
from ccm_jax.fill import Fill, choose_fill
from ccm_jax.fit_readout import Choices, fit_prefix_readout
from ccm_jax.fit_tracker import TrackChoices, fit_tracker, tracker
from ccm_jax.fit_uncertainty import fit_uncertainty
from ccm_jax.interior import Interior
from ccm_jax.keep_leaves import keep_leaves
from ccm_jax.merge import Split, merge_pytree, split_residuals
from ccm_jax.multilinear import Multilinear
from ccm_jax.observed import sensor_mask
from ccm_jax.posterior import Posterior, Prior
from ccm_jax.predict import predict_rollout
from ccm_jax.readout import PrefixReadout
from ccm_jax.rollout import make_rollout, repeat, rollout
from ccm_jax.scale import ScaleReadout, fit_scale_readout
from ccm_jax.sequential import Sequential, fit_sequential
from ccm_jax.starts import mean_over_starts, starting_at
from ccm_jax.track import Tracker, TrackState
from ccm_jax.tracked import Track
from ccm_jax.version import __version__

if TYPE_CHECKING:
    from ccm_jax import example as example
    from ccm_jax import interop as interop
    from ccm_jax import io as io
    from ccm_jax import models as models
    from ccm_jax import processor as processor
    from ccm_jax import surrogate as surrogate
    from ccm_jax import train as train
    from ccm_jax import train_chart as train_chart

_LAZY = ("example", "interop", "io", "loading", "models", "processor", "surrogate", "train", "train_chart")

__all__ = [
    "Chart",
    "Choices",
    "CoordinateMap",
    "Estimate",
    "Fill",
    "Gated",
    "Interior",
    "Multilinear",
    "Polynomial",
    "Posterior",
    "PrefixReadout",
    "Prior",
    "Regime",
    "ScaleReadout",
    "Sequential",
    "Split",
    "Track",
    "TrackChoices",
    "TrackState",
    "Tracker",
    "choose_chart",
    "choose_fill",
    "coordinate_from_map",
    "coordinate_from_metadata",
    "discover_coordinates",
    "fit_chart",
    "fit_coordinate_map",
    "fit_prefix_readout",
    "fit_scale_readout",
    "fit_sequential",
    "fit_tracker",
    "fit_uncertainty",
    "keep_leaves",
    "make_rollout",
    "mean_over_starts",
    "merge_pytree",
    "one_step_errors",
    "predict_rollout",
    "repeat",
    "rollout",
    "rollout_along",
    "sensor_mask",
    "split_residuals",
    "starting_at",
    "tracker",
    "values_from_labels",
    "__version__",
    "baselines",
    "evaluate",
    "geometry",
    "metrics",
    "normalize",
    "parallel",
    "prefix",
]

if not TYPE_CHECKING:  # or a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            near = (
                [known for known in __dir__() if known.endswith(f"_{name}") or known.startswith(name)] if name else []
            )
            near = near or difflib.get_close_matches(name, __dir__(), n=1)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise AttributeError(f"module 'ccm_jax' has no attribute {name!r}{meant}")
        return import_ours(f"ccm_jax.{name}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY})
