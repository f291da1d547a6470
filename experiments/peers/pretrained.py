"""A pretrained backbone: one network for three equations, each seen at the middle of its axis alone.

It knows the equations and never saw that their parameter may change. States are normalised for each system and filled
up with channels of zeros, which cost nothing: a channel that is zero everywhere is not in the loss. What a system then
fine-tunes is the same network without those channels, an ordinary anchor.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io import checkpoint
from ccm_jax.metrics import relative_l2
from ccm_jax.models import Model, make_model
from ccm_jax.normalize import Normalization, fit_normalization
from ccm_jax.rollout import Apply
from ccm_jax.train import Loss
from experiments.peers import judge as judging
from experiments.peers.judge import Judge, judge_of
from experiments.peers.training import Given
from experiments.peers.trials import Found, choose, regimes_of, size_of
from experiments.pipeline import networks, stages
from experiments.pipeline.networks import stored_channels
from experiments.pipeline.plans import plan
from experiments.pipeline.stages import Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage
from experiments.pipeline.training import Batches, fit
from experiments.runner.progress import finished

Array = jax.Array
Params = Any

VERSION = 1
SYSTEMS = ("rd_ood", "ns_ood", "rdb_gravity")
CHANNELS = 2  # of a frame, of the system that has the most
BOUNDARIES = ("padded", "periodic", "zero-flux")  # the three trials; each system has another one
STEPS = 7500
RATE = 2e-3
ORDER = 6  # of batches, beside those of experiments.peers.training
ARGUMENTS = {"modes": (8, 8), "width": 32, "depth": 4, "padding": 0.125}
SMOKE = {"modes": (4, 4), "width": 8, "depth": 2, "padding": 0.125}


def _arguments(size: str, boundary: str) -> dict[str, Any]:
    return (SMOKE if size == "smoke" else ARGUMENTS) | {"boundary": boundary}


@functools.lru_cache(maxsize=4)
def backbone_model(size: str, boundary: str) -> Model:
    """The network of all systems, on normalised states of ``CHANNELS`` channels."""
    return make_model("fno", out_channels=CHANNELS, **_arguments(size, boundary))


def with_backbone(run: Run, boundary: str) -> Run:
    """An experiment whose network is the backbone's, with the channels of its own system."""
    config = run.config.copy_and_resolve_references()
    config.model = ConfigDict({"name": "fno", "history": 1, "args": _arguments(config.size, boundary)})
    return Run(config, run.root)


def at_middle(run: Run, system: str) -> Run:
    """A system of the backbone, with the middle of its axis as its only validation regime."""
    size = "smoke" if run.config.size == "smoke" else ""
    config = importlib.import_module(f"experiments.configs.{system}").get_config(size)
    config.seed = run.config.seed
    if not size:
        config.data.endpoint = 120  # twice as many trajectories, the same number of each system
    config.regimes.validation = (plan(config, "data_same_regime")[0].value,)
    return Run(config, run.root)


def _middle_data(run: Run) -> dict[str, Stage]:
    return {name: stages.trajectories(at_middle(run, name), "data_same_regime") for name in SYSTEMS}


def normalization_of(stage: Stage) -> Normalization:
    """The normalisation of a system: that of its trajectories at the middle."""
    return fit_normalization(jnp.asarray(load_trajectories(stage)))


def filled(trajectories: np.ndarray, normalization: Normalization) -> np.ndarray:
    """Normalised trajectories ``[..., C]`` with channels of zeros, ``[..., CHANNELS]``."""
    mean, std = (np.asarray(v) for v in normalization)
    x = (np.asarray(trajectories) - mean) / std
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, CHANNELS - x.shape[-1])]).astype(np.float32)


@functools.lru_cache(maxsize=4)
def pretraining_loss(apply: Apply) -> Loss:
    """Mean relative L2 error of one step on normalised states; channels that are zero everywhere are not looked at.

    Returns:
        ``loss(params, frames [N, 2, *space, CHANNELS])``.
    """

    def loss(params: Params, frames: Array) -> Array:
        space = tuple(range(1, frames.ndim - 1))
        real = jnp.any(frames != 0, axis=space, keepdims=True)
        predicted = jnp.where(real, apply(params, frames[:, :1])[:, None], 0.0)
        return jnp.mean(relative_l2(predicted, frames[:, 1:]))

    return loss


def pretrain(run: Run, boundary: str) -> Stage:
    """Trains the backbone on all systems at once, with equal shares of the batches.

    Args:
        run: an experiment of any of the systems: its seed, its size and its folder count.
        boundary: of the network.
    """
    run, data = with_backbone(run, boundary), _middle_data(run)
    config = run.config
    steps = 40 if config.size == "smoke" else STEPS

    def build(work: Path) -> dict[str, float]:
        of_system = {name: normalization_of(stage) for name, stage in data.items()}
        parts = [filled(load_trajectories(stage), of_system[name]) for name, stage in data.items()]
        x = np.stack([part.reshape(-1, *part.shape[2:]) for part in parts])  # [systems, N, T, *space, CHANNELS]
        model = backbone_model(config.size, boundary)
        fresh = model.init(jax.random.fold_in(jax.random.key(config.seed), 30), jnp.asarray(x[0, :1, :1]))
        settings = config.train.copy_and_resolve_references()
        settings.update(learning_rate=RATE, unroll=1, noise=0.0)
        batches = Batches(x, 1, steps, 10 * config.seed + ORDER)
        metadata = {"seed": config.seed, "model": config.model.to_dict(), "systems": list(data)}
        return fit("network", pretraining_loss(model.apply), fresh, batches, settings, work=work, metadata=metadata)

    settings = stages.settings_of(config, "model", "seed") | {"steps": steps, "rate": RATE, "batch": 16}
    stage = run_stage(run.root, "pretrained", settings, tuple(data.values()), build, version=VERSION)
    losses = np.load(stage.path / "network-losses.npy")[-100:].mean()
    finished(stage, f"{steps} steps on {', '.join(data)}, {boundary}: loss {losses:.4f}")
    return stage


def without_padding(whole: Params, channels: int) -> Params:
    """The network of a system of some channels: the backbone without its padded ones, frame for frame the same.

    Args:
        whole: weights of an FNO with a window of one frame of ``CHANNELS`` channels.
        channels: of the system.
    """

    def cut(path: Any, leaf: Array) -> Array:
        names = [getattr(part, "key", None) for part in path]
        if "lift" in names and leaf.ndim == 2:
            return jnp.concatenate([leaf[:channels], leaf[CHANNELS:]])
        return leaf[..., :channels] if "project_1" in names else leaf

    return jax.tree_util.tree_map_with_path(cut, whole)


def anchor_of(run: Run, boundary: str) -> tuple[Run, Stage]:
    """The experiment of a system with the backbone's network, and its stage ``"anchor"``, pretrained.

    The normalisation beside it is that of the system's data at the middle, which all experts then share.
    """
    whole = pretrain(run, boundary)
    own, middle = with_backbone(run, boundary), _middle_data(run)[run.config.name]

    def build(work: Path) -> None:
        weights = without_padding(networks.load_params(whole, "network"), len(stored_channels(own.config)))
        checkpoint.save(work / "anchor", weights, stages.metadata_of(own.config, normalization_of(middle)))

    settings = {"system": run.config.name}
    return own, run_stage(run.root, "backbone", settings, (whole, middle), build, version=VERSION)


def pretrained_start(run: Run, boundary: str) -> tuple[Run, Given]:
    """What fine-tuning of a system from the backbone starts from."""
    support, ends = stages.support_data(run), stages.endpoint_data(run)
    own, anchor = anchor_of(run, boundary)
    return own, Given(support, ends, anchor)


def middle_errors(run: Run, boundary: str) -> list[float]:
    """The backbone's errors on other trajectories at the middle, one of each system."""
    found = []
    for name in SYSTEMS:
        middle = at_middle(run, name)
        own, anchor = anchor_of(middle, boundary)
        _, apply = networks.normalized_model(own.config, anchor)
        (x,) = load_trajectories(stages.validation_data(middle))
        judge = Judge(own, networks.rollout_of(apply), 1, (np.asarray(x),), ())
        found += judging.fixed(judge, networks.load_params(anchor, "anchor"), "validation")
    return found


def backbone(run: Run, known: Found) -> Found:
    """Pretrains the backbone with each boundary, and takes the one with the smallest errors at the middle."""
    trials = [{"boundary": boundary} for boundary in BOUNDARIES]
    chosen = choose(trials, lambda trial: middle_errors(run, trial["boundary"]), known.get("backbone"))
    boundary = chosen["chosen"]["boundary"]
    middle = dict(zip(SYSTEMS, middle_errors(run, boundary), strict=True))
    own, there = pretrained_start(run, boundary)
    judge, params = judge_of(own, there.anchor), networks.load_params(there.anchor, "anchor")
    errors = {"backbone": judging.fixed(judge, params), "persistence": judging.persistence(judge)}
    found = {"choices": {"backbone": chosen}, "errors": errors, "middle": middle, "weights": size_of(params)}
    return found | regimes_of(run)
