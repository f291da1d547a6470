"""CoDA and GEPS: a code for each environment, learned with the weights, and adapted to a trajectory from its prefix.

    CoDA    weights(c) = base + sum_k c_k slope_k,  slopes of all weights
    GEPS    weights(c) = base + A diag(c) B^T       for every matrix of every layer; slopes of biases as in CoDA

Both are charts, so their codes are read in two ways: by Adam on the code alone, as in the papers, and by our prefix
readout. An environment is a value of the parameter; its number is known in training, the value never.

References: Kirchmeyer et al., Generalizing to New Physical Systems via Context-Informed Dynamics Model (2022); Kassai
Koupai et al., GEPS: Boosting Generalization in Parametric PDE Neural Solvers through Adaptive Conditioning (2024).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import Chart
from ccm_jax.evaluate import future_error_each
from ccm_jax.metrics import relative_l2
from ccm_jax.rollout import Apply
from ccm_jax.train import ADAM, Loss
from experiments.peers.adapt import TRIED, pairs_of
from experiments.peers.conditioned import chart_of, weights_at
from experiments.peers.judge import OBSERVED, Judge, by_prefix, judge_of, seconds_of
from experiments.peers.training import Given, Recipe, given, labelled, total_steps
from experiments.peers.trials import Found, Trial, at_rates, choose, regimes_of, size_of
from experiments.pipeline import stages
from experiments.pipeline.family import mean_error
from experiments.pipeline.networks import load_params, model_of, normalized_model
from experiments.pipeline.stages import Run
from experiments.pipeline.store import run_stage
from experiments.pipeline.training import Batches, Diverged, fit, loss_of

Array = jax.Array
Params = Any
Method = Literal["coda", "geps"]

VERSION = 1
ORDER = 6  # of batches, beside those of experiments.peers.training
DIM = 2  # numbers in a code
TOGETHER = 4  # samples of one environment in a batch: its weights are made once for all of them
SHARE = 4  # trials of a training take a part of its steps
SPREAD = 0.1  # size of the first slopes, in units of each leaf's

# CoDA's penalties: of each weight's slopes (their norm over the code) and of codes (their square).
SLOPE_PENALTY = 1e-6
CODE_PENALTY = 1e-4

# Of the adaptation by Adam: codes are in units of the training codes' spread.
ADAPTATIONS: list[Trial] = [
    {"steps": 30, "rate": 0.1},
    {"steps": 100, "rate": 0.05},
    {"steps": 200, "rate": 0.02},
]


def start(method: Method, base: Params, key: Array, environments: int) -> Params:
    """An untrained network: ``base``, ``codes [E, DIM]`` that are zero, and slopes or their factors, which are drawn.

    Args:
        method: ``"coda"`` has ``slopes``, ``[DIM, *leaf]``; ``"geps"`` has factors, ``left [DIM, ..., i]`` and
            ``right [DIM, ..., o]`` of leaves ``[..., i, o]``, and the whole slope of others in ``left``.
        base: untrained weights.
        key: of the draw.
        environments: their number, ``E``.
    """
    leaves, structure = jax.tree.flatten(base)
    keys = jax.random.split(key, 2 * len(leaves)).reshape(len(leaves), 2)
    sizes = [SPREAD * jnp.std(leaf) for leaf in leaves]

    def drawn(of: Any) -> Params:
        return jax.tree.unflatten(structure, [of(*each) for each in zip(leaves, sizes, keys, strict=True)])

    def slope(leaf: Array, size: Array, key: Array) -> Array:
        return size * jax.random.normal(key[0], (DIM, *leaf.shape))

    def left(leaf: Array, size: Array, key: Array) -> Array:
        if leaf.ndim < 2:
            return slope(leaf, size, key)
        return jnp.sqrt(size) * jax.random.normal(key[0], (DIM, *leaf.shape[:-1]))

    def right(leaf: Array, size: Array, key: Array) -> Array:
        shape = (DIM, *leaf.shape[:-2], leaf.shape[-1])
        return jnp.sqrt(size) * jax.random.normal(key[1], shape) if leaf.ndim > 1 else jnp.zeros(())

    learned = {"slopes": drawn(slope)} if method == "coda" else {"left": drawn(left), "right": drawn(right)}
    return {"base": base, "codes": jnp.zeros((environments, DIM)), **learned}


def slopes_of(network: Params) -> Params:
    """The slopes ``[DIM, *leaf]`` of a network of either method."""
    if "slopes" in network:
        return network["slopes"]
    return jax.tree.map(
        lambda a, b: a[..., :, None] * b[..., None, :] if b.ndim else a, network["left"], network["right"]
    )


def codes_loss(apply: Apply, *, history: int = 1) -> Loss:
    """Mean relative L2 error of one step at the code of each sample's environment, with the penalties of CoDA.

    Returns:
        ``loss(network, frames [G, history + 1, TOGETHER, *space, C + 1])``: groups of samples of one environment,
        whose number is in the last channel.
    """

    def loss(network: Params, frames: Array) -> Array:
        environment = frames[:, 0].reshape(len(frames), -1)[:, -1].astype(jnp.int32)
        codes, tree = network["codes"][environment], {"base": network["base"], "slopes": slopes_of(network)}
        samples = jnp.moveaxis(frames[..., :-1], 2, 1)  # [G, TOGETHER, history + 1, *space, C]
        predicted = jax.vmap(lambda c, x: apply(weights_at(tree, c), x))(codes, samples[:, :, :history])
        truth = samples[:, :, history:].reshape(-1, 1, *predicted.shape[2:])
        error = jnp.mean(relative_l2(predicted.reshape(truth.shape), truth))
        penalty = CODE_PENALTY * jnp.mean(jnp.sum(codes**2, axis=-1))
        if "slopes" in network:
            rows = [jnp.sum(jnp.sqrt(jnp.sum(s**2, axis=0) + 1e-12)) for s in jax.tree.leaves(network["slopes"])]
            penalty += SLOPE_PENALTY * sum(rows)
        return error + penalty

    return loss


_loss_of = functools.lru_cache(maxsize=4)(codes_loss)


def grouped(x: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Trajectories in groups of one environment, which stay together in all batches, and the number of environments.

    Args:
        x: ``[1, N, T, *space, C + 1]`` with the parameter in the last channel, of :func:`labelled`.
        seed: of the groups.

    Returns:
        ``[1, N / TOGETHER, T, TOGETHER, *space, C + 1]`` with the number of the environment there instead.
    """
    labels = x[0, :, 0].reshape(x.shape[1], -1)[:, -1]
    values, environment = np.unique(labels, return_inverse=True)
    draw, groups = np.random.default_rng(seed), []
    for e in range(len(values)):
        members = draw.permutation(np.flatnonzero(environment == e))
        groups += list(members[: len(members) // TOGETHER * TOGETHER].reshape(-1, TOGETHER))
    picked = np.moveaxis(x[0][np.array(groups)], 1, 2)
    picked[..., -1] = environment[np.array(groups)[:, 0]].reshape(-1, *[1] * (picked.ndim - 2))
    return picked[None], len(values)


def train_codes(run: Run, method: Method, steps: int, rate: float, there: Given) -> Params:
    """Trains a network with codes from scratch on all labelled trajectories; see :func:`start`."""
    config = run.config

    def build(work: Path) -> dict[str, float]:
        normalization, apply = normalized_model(config, there.anchor)
        x, environments = grouped(labelled(run, Recipe("plain", "all", "scratch", steps, rate), there), config.seed)
        key, history = jax.random.key(config.seed), config.model.history
        base = model_of(config).init(
            jax.random.fold_in(key, 0), jnp.zeros((1, history, *x.shape[4:-1], x.shape[-1] - 1))
        )
        network = start(method, base, jax.random.fold_in(key, 21), environments)
        settings = config.train.copy_and_resolve_references()
        settings.learning_rate, settings.unroll, settings.noise = rate, 1, 0.0
        settings.batch_size = max(1, settings.batch_size // TOGETHER)
        batches = Batches(x, history, steps, 10 * config.seed + ORDER)
        metadata = stages.metadata_of(config, normalization)
        loss_fn = _loss_of(apply, history=history)
        return fit("network", loss_fn, network, batches, settings, work=work, metadata=metadata)

    settings = {"steps": steps, "rate": rate, **stages.settings_of(config, "model", "seed", "axis", "regimes")}
    stage = run_stage(run.root, f"peer_{method}", settings, there, build, version=VERSION)
    return load_params(stage, "network")


def as_chart(network: Params) -> Chart:
    """The chart of a trained network: 0 is the mean of the training codes, and they lie within ``[-1, 1]``."""
    codes, slopes = network["codes"], slopes_of(network)
    middle = codes.mean(axis=0, keepdims=True)
    size = jnp.maximum(jnp.abs(codes - middle).max(axis=0), 1e-8)
    base = weights_at({"base": network["base"], "slopes": slopes}, middle[0])
    scaled = jax.tree.map(lambda s: s * size.reshape(-1, *[1] * (s.ndim - 1)), slopes)
    return chart_of({"base": base, "slopes": scaled})


@functools.partial(jax.jit, static_argnames=("loss_fn", "history"))
def adapted_codes(
    chart: Chart, trajectories: Array, rate: Array, steps: Array, *, loss_fn: Loss, history: int = 1
) -> Array:
    """Codes ``[N, d]`` of trajectories ``[N, T, *space, C]`` by Adam from 0 on the one-step loss of their prefix."""

    def one(x: Array) -> Array:
        pairs = pairs_of(x[:OBSERVED], history)
        slope = jax.grad(lambda c: loss_fn(chart(c), pairs))

        def body(_: Any, state: Any) -> Any:
            c, adam = state
            direction, adam = ADAM.update(slope(c), adam)
            return c - rate * direction, adam

        first = jnp.zeros(chart.features.dim)
        return jax.lax.fori_loop(0, steps, body, (first, ADAM.init(first)))[0]

    return jax.lax.map(one, trajectories)


def coda(run: Run, known: Found) -> Found:
    """Errors of CoDA, its codes found by Adam and by our readout, and the seconds that either takes."""
    return _measured("coda", run, known)


def geps(run: Run, known: Found) -> Found:
    """Errors of GEPS, likewise."""
    return _measured("geps", run, known)


def _measured(method: Method, run: Run, known: Found) -> Found:
    there, smoke = given(run), run.config.size == "smoke"
    judge, steps = judge_of(run, there.anchor), total_steps(run)
    _, apply = normalized_model(run.config, there.anchor)
    how: dict[str, Any] = {"loss_fn": loss_of(apply, history=judge.history), "history": judge.history}
    tried = [x[:TRIED] for x in judge.validation]

    def found(chart: Chart, sets: Any, trial: Trial) -> list[float]:
        return [_error(judge, chart, x, _adapt(chart, x, trial, how)) for x in sets]

    def after_trial(trial: Trial) -> list[float]:
        network = train_codes(run, method, max(1, steps // SHARE), trial["rate"], there)
        return found(as_chart(network), tried, ADAPTATIONS[1])

    rates = at_rates(run.config.train.learning_rate)[: 1 if smoke else None]
    chosen = {"training": choose(rates, after_trial, known.get("training"))}
    try:
        network = train_codes(run, method, steps, chosen["training"]["chosen"]["rate"], there)
    except Diverged:
        infinite = [float("inf")] * len(judge.test)
        return {"choices": chosen, "errors": {"adam": infinite, "prefix": infinite}} | regimes_of(run)
    chart = as_chart(network)
    ways = [{"steps": 2, "rate": 0.1}] if smoke else ADAPTATIONS
    chosen["adaptation"] = choose(ways, lambda trial: found(chart, tried, trial), known.get("adaptation"))
    best = chosen["adaptation"]["chosen"]
    read = by_prefix(judge, chart)
    errors = {"adam": found(chart, judge.test, best), "prefix": read.pop("prefix")}
    alone = judge.test[0][:1]
    seconds = {"adam": seconds_of(lambda: _adapt(chart, alone, best, how)), "prefix": read["seconds"]}
    settings = {
        "codes": np.asarray(network["codes"]).tolist(),
        "batch": f"{run.config.train.batch_size // TOGETHER} groups of {TOGETHER} samples of one environment",
        "steps": steps,
        "trial_steps": max(1, steps // SHARE),
        "trial_trajectories": TRIED,
    }
    sizes = {"weights": size_of(network), "settings": settings}
    return {"choices": chosen, "errors": errors, "seconds": seconds, "prefix": read, **sizes} | regimes_of(run)


def _adapt(chart: Chart, x: Any, trial: Trial, how: dict[str, Any]) -> Array:
    return adapted_codes(chart, jnp.asarray(x), jnp.float32(trial["rate"]), jnp.int32(trial["steps"]), **how)


def _error(judge: Judge, chart: Chart, x: Any, found: Array) -> float:
    return mean_error(future_error_each(chart, judge.rollout_fn, jnp.asarray(x), found, **judge.protocol))
