"""The networks of an experiment: built as its configuration says, in physical units, and loaded from its stages.

The same model is the same object, however often it is asked for, so that all stages share what was compiled for one.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Multilinear, Polynomial
from ccm_jax.io import checkpoint
from ccm_jax.models import Model, make_model
from ccm_jax.normalize import Normalization, normalized
from ccm_jax.rollout import Apply, make_rollout
from experiments.pipeline.axes import EXPERTS, LAYOUTS
from experiments.pipeline.family import Family, bank_of
from experiments.pipeline.store import Stage
from experiments.pipeline.systems import stored_channels
from experiments.runner.runtime import mesh

Params = Any


def model_of(config: ConfigDict) -> Model:
    """The model of a configuration, on normalised states."""
    return _made(config.model.name, config.model.args.to_json(), len(stored_channels(config)))


@functools.lru_cache(maxsize=8)
def _made(name: str, args: str, channels: int) -> Model:
    tuples = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(args).items()}
    return make_model(name, out_channels=channels, **tuples)


def normalized_model(config: ConfigDict, anchor_stage: Stage) -> tuple[Normalization, Apply]:
    """The anchor's normalisation, and the model in physical units."""
    normalization = load_normalization(anchor_stage)
    return normalization, physical_model(config, normalization)


def physical_model(config: ConfigDict, normalization: Normalization) -> Apply:
    """The model in physical units."""
    mean, std = (tuple(np.asarray(x).tolist()) for x in normalization)
    return _physical(model_of(config), mean, std)


@functools.lru_cache(maxsize=8)
def _physical(model: Model, mean: tuple[float, ...], std: tuple[float, ...]) -> Apply:
    return normalized(model.apply, Normalization(jnp.asarray(mean), jnp.asarray(std)))


rollout_of = functools.lru_cache(maxsize=8)(make_rollout)


def load_params(stage: Stage, name: str) -> Params:
    """Trained parameters of a stage, on the device."""
    return jax.tree.map(jnp.asarray, checkpoint.load(stage.path / name))


def load_normalization(anchor_stage: Stage) -> Normalization:
    """The normalisation stored with the anchor, which all experts share."""
    stored = checkpoint.load_metadata(anchor_stage.path / "anchor")["normalization"]
    return Normalization(**{key: jnp.asarray(value) for key, value in stored.items()})


def load_family(config: ConfigDict, anchor_stage: Stage, experts: Stage) -> Family:
    """Anchor, experts, and the model that they are weights of."""
    _, apply = normalized_model(config, anchor_stage)
    both = tuple(load_params(experts, name) for name in ("low", "high"))
    shape = (config.model.history, config.calibration.frames, bank_of(config))
    return Family(load_params(anchor_stage, "anchor"), both, rollout_of(apply), *shape, mesh())


def load_plane(config: ConfigDict, layout: str, anchor_stage: Stage, experts: Stage) -> Family:
    """The same of a plane: its experts stand as the layout says, at corners with an interaction of both axes."""
    _, apply = normalized_model(config, anchor_stage)
    four = tuple(load_params(experts, name) for name in EXPERTS)
    shape = (config.model.history, config.calibration.frames, np.zeros(0))
    features = Multilinear(2) if layout == "corners" else Polynomial(dim=2)
    where: dict[str, Any] = {"coordinates": LAYOUTS[layout], "features": features}
    return Family(load_params(anchor_stage, "anchor"), four, rollout_of(apply), *shape, mesh(), **where)
