"""Drift: a filter over the coordinate of trajectories whose parameter changes, beside weights that know its path."""

from __future__ import annotations

from typing import Any

from ccm_jax.io.atomic import read_json
from experiments.pipeline import stages
from experiments.pipeline.stages import Run
from experiments.pipeline.tracking import tracking


def drift(run: Run, known: dict[str, Any]) -> dict[str, Any]:
    """Errors one step ahead and of forecasts, coverage, and a few paths; see :mod:`experiments.pipeline.tracking`."""
    anchor = stages.anchor(run, stages.support_data(run))
    experts = stages.endpoints(run, stages.endpoint_data(run), anchor)
    found: dict[str, Any] = read_json(
        tracking(run, stages.validation_data(run), anchor, experts).path / "tracking.json"
    )
    return found
