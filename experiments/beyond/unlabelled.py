"""Experts whose regimes nobody wrote down: their coordinates from the weights alone, and from their predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccm_jax import discover_coordinates, values_from_labels
from ccm_jax.discover import Discovered
from experiments.beyond.tuning import Piece, support_parts, tune
from experiments.peers.training import given
from experiments.peers.trials import Found
from experiments.pipeline import stages
from experiments.pipeline.networks import load_params, normalized_model
from experiments.pipeline.stages import Run

ORDER = 20  # of batches: a different one for each expert


def unlabelled(run: Run, known: Found) -> Found:
    """Correlation of discovered coordinates with the true ones, of five experts with data and batches of their own.

    The experts are fine-tuned on the support regimes for the steps of an endpoint expert. Windows to predict from are
    the observed frames of validation trajectories, without their values.

    Returns:
        For ``weights`` and ``predictions``: the coordinates, the spectrum and the dimension that they suggest, the
        absolute ``correlation`` with the coordinate and with the logarithm of the value, and ``value_error``, the mean
        of ``|s_found - s| / 2`` where the two end experts are labelled.
    """
    config, there = run.config, given(run)
    parts = support_parts(run)
    steps, rate = config.finetune.steps, float(config.finetune.learning_rate)
    pieces = [Piece(f"expert_{i}", part, steps, rate, ORDER + i) for i, part in enumerate(parts.values())]
    anchor = load_params(there.anchor, "anchor")
    trained = tune(run, "unlabelled", pieces, there.support, (there.anchor,), lambda piece: anchor)
    experts = [trained[piece.name] for piece in pieces]

    history, (_, apply) = config.model.history, normalized_model(config, there.anchor)
    observed = history + config.calibration.frames
    x = np.asarray(stages.load_trajectories(stages.validation_data(run)))
    x = x.reshape(-1, *x.shape[2:])
    windows = np.concatenate([x[:, :history], x[:, observed - history : observed]])

    s, values = np.array(list(parts)), np.array([float(config.regimes.support[i]) for i in parts.values()])
    how: dict[str, Any] = {"weights": {}, "predictions": {"apply": apply, "windows": windows}}
    found: Found = {}
    for name, given_to in how.items():
        free = discover_coordinates(anchor, experts, **given_to)
        found[name] = _judged(discover_coordinates(anchor, experts, dimension=1, **given_to), free, s, values)
    return {"coordinates": s.tolist(), "values": values.tolist(), "steps": steps * len(pieces)} | found


def _judged(found: Discovered, free: Discovered, s: np.ndarray, values: np.ndarray) -> Found:
    c = found.coordinates[:, 0]
    ends = {int(i): float(s[i]) for i in (s.argmin(), s.argmax())}
    return {
        "found": c.tolist(),
        "dimension": free.dimension,
        "spectrum": found.spectrum.tolist(),
        "correlation": abs(float(np.corrcoef(c, s)[0, 1])),
        "correlation_log": abs(float(np.corrcoef(c, np.log(values))[0, 1])),
        "value_error": float(np.mean(np.abs(values_from_labels(found.coordinates, ends) - s)) / 2),
    }
