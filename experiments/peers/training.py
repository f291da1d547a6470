"""The trainings of the peers, each a stage: what is trained, on which trajectories, for how long and how fast."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.normalize import Normalization
from experiments.peers import conditioned
from experiments.pipeline import data, networks, stages
from experiments.pipeline.networks import load_params, model_of, normalized_model
from experiments.pipeline.stages import Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage
from experiments.pipeline.training import Batches, fit, loss_of
from experiments.runner.progress import finished

Array = jax.Array
Params = Any

VERSION = 1
ORDER = 5  # of batches, beside those of experiments.pipeline.stages


class Recipe(NamedTuple):
    """One training of a peer.

    Attributes:
        kind: ``"plain"`` is told no parameter; ``"channel"``, ``"biases"`` and ``"all"`` are given it, see
            :mod:`experiments.peers.conditioned`.
        data: the anchor's trajectories, the experts', or both.
        start: from the anchor's weights, or from untrained ones.
        steps: updates.
        rate: peak of the learning rate.
    """

    kind: Literal["plain", "channel", "biases", "all"]
    data: Literal["support", "ends", "all"]
    start: Literal["anchor", "scratch"]
    steps: int
    rate: float


class Given(NamedTuple):
    """The finished stages that peers start from."""

    support: Stage
    ends: Stage
    anchor: Stage


def given(run: Run) -> Given:
    """The data and the anchor of an experiment, made if they are not there yet."""
    support, ends = stages.support_data(run), stages.endpoint_data(run)
    return Given(support, ends, stages.anchor(run, support))


def total_steps(run: Run) -> int:
    """The steps of an anchor and both experts."""
    return run.config.train.steps + tuning_steps(run)


def tuning_steps(run: Run) -> int:
    """The steps of both experts."""
    return 2 * run.config.finetune.steps


@functools.lru_cache(maxsize=4)
def _channel_loss(model: Any, mean: tuple[float, ...], std: tuple[float, ...], history: int) -> Any:
    normalization = Normalization(jnp.asarray(mean), jnp.asarray(std))
    return conditioned.channel_loss(model.apply, normalization, history=history)


_conditioned_loss = functools.lru_cache(maxsize=4)(conditioned.conditioned_loss)


def train(run: Run, recipe: Recipe, there: Given) -> Stage:
    """Trains one peer; :func:`load_network` reads it."""
    config = run.config
    history, channels = config.model.history, networks.stored_channels(config)

    def build(work: Path) -> dict[str, float]:
        normalization, apply = normalized_model(config, there.anchor)
        x = labelled(run, recipe, there)
        key = jax.random.fold_in(jax.random.key(config.seed), 20)
        scratch = recipe.start == "scratch"
        if scratch:
            window = jnp.zeros((1, history, *x.shape[3:-1], len(channels)))
            weights = model_of(config).init(jax.random.fold_in(jax.random.key(config.seed), 0), window)
        else:
            weights = load_params(there.anchor, "anchor")
        if recipe.kind == "plain":
            x, loss_fn = x[..., :-1], loss_of(apply, history=history)
        elif recipe.kind == "channel":
            drawn = key if scratch else None
            weights = conditioned.with_channel(weights, drawn, history=history, channels=len(channels))
            mean, std = (tuple(np.asarray(v).tolist()) for v in normalization)
            loss_fn = _channel_loss(model_of(config), mean, std, history)
        else:
            weights = conditioned.start(weights, recipe.kind, key if scratch else None)
            loss_fn = _conditioned_loss(apply, history=history)
        settings = (config.train if scratch else config.finetune).copy_and_resolve_references()
        settings.learning_rate, settings.unroll, settings.noise = recipe.rate, 1, 0.0
        batches = Batches(x, history, recipe.steps, 10 * config.seed + ORDER)
        metadata = stages.metadata_of(config, normalization) | {"recipe": recipe._asdict()}
        return fit("network", loss_fn, weights, batches, settings, work=work, metadata=metadata)

    settings = {"recipe": recipe._asdict(), **stages.settings_of(config, "model", "seed", "axis", "regimes")}
    name = f"peer_{recipe.kind}"
    stage = run_stage(run.root, name, settings, there, build, version=VERSION)
    losses = np.load(stage.path / "network-losses.npy")[-100:].mean()
    finished(stage, f"{recipe.steps} steps at {recipe.rate:g}, {recipe.data}, from {recipe.start}: loss {losses:.4f}")
    return stage


def labelled(run: Run, recipe: Recipe, there: Given) -> np.ndarray:
    """The trajectories of a recipe with their normalised parameter as a last channel, ``[1, N, T, *space, C + 1]``."""
    regimes = run.config.regimes.support
    ends = (run.config.axis.low, run.config.axis.high)
    parts = {"support": [(there.support, regimes)], "ends": [(there.ends, ends)]}
    parts["all"] = parts["support"] + parts["ends"]
    found = []
    for stage, values in parts[recipe.data]:
        for x, value in zip(load_trajectories(stage), values, strict=True):
            label = np.full((*x.shape[:-1], 1), data.coordinate_of(run.config, float(value)), np.float32)
            found.append(np.concatenate([x, label], axis=-1))
    return np.concatenate(found)[None]


def load_network(run: Run, recipe: Recipe, stage: Stage) -> Params:
    """The trained weights: of plain kind as they are, of the others ``{"base", "slopes"}``."""
    weights = load_params(stage, "network")
    if recipe.kind != "channel":
        return weights
    channels = len(networks.stored_channels(run.config))
    return conditioned.without_channel(weights, history=run.config.model.history, channels=channels)
