"""The starting point of the measures beyond the paper: an experiment's experts, and the readout that it chose."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ccm_jax import PrefixReadout
from ccm_jax.fit_readout import choose
from experiments.pipeline import data, stages
from experiments.pipeline.family import Family
from experiments.pipeline.networks import load_family
from experiments.pipeline.readouts import choices_of, starts_of
from experiments.pipeline.stages import Run


class Fitted(NamedTuple):
    """A family and its readout.

    Attributes:
        family: anchor, experts, model.
        readout: chosen on validation.
        validation: trajectories of each regime, ``[R, N, T, *space, C]``.
        values: the physical value of each.
    """

    family: Family
    readout: PrefixReadout
    validation: np.ndarray
    values: list[float]


def fitted(run: Run) -> Fitted:
    """Trains what is not there yet, and fits the readout on validation regimes."""
    config = run.config
    anchor = stages.anchor(run, stages.support_data(run))
    experts = stages.endpoints(run, stages.endpoint_data(run), anchor)
    family = load_family(config, anchor, experts)
    validation = np.asarray(stages.load_trajectories(stages.validation_data(run)))
    chosen = choose(starts_of(config, family), list(validation), choices=choices_of(config), mesh=family.mesh)
    return Fitted(family, chosen.readout, validation, [float(v) for v in config.regimes.validation])


def half_width(run: Run) -> float:
    """Half the distance of the experts in units of the axis: normalised errors of a value count in it."""
    return (run.config.axis.high - run.config.axis.low) / 2


def regimes_of(run: Run, values: list[float]) -> dict[str, Any]:
    """The normalised coordinates of regimes, and which of them lie outside the support."""
    coordinates = [data.coordinate_of(run.config, value) for value in values]
    return {"values": values, "coordinates": coordinates, "outside": [data.outside(s) for s in coordinates]}
