"""Fine-tuning on the observed frames of each test trajectory: all weights, the last layers, or a low-rank update.

    weights = anchor + update,    update = argmin  sum_t |step(window_t) - frame_t+1| / |frame_t+1|  over the prefix

by Adam from the anchor, on all pairs of the prefix in every step. A trajectory has nothing to validate on: numbers of
steps are given, and the rate is chosen on validation regimes.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from ccm_jax.evaluate import future_error
from ccm_jax.rollout import RolloutFn
from ccm_jax.train import ADAM, Loss
from experiments.peers.judge import OBSERVED, judge_of, seconds_of
from experiments.peers.training import given
from experiments.peers.trials import Found, Trial, choose, regimes_of
from experiments.pipeline.family import mean_error
from experiments.pipeline.networks import load_params, normalized_model
from experiments.pipeline.stages import Run
from experiments.pipeline.training import loss_of

Array = jax.Array
Params = Any
Kind = Literal["all", "last", "low_rank"]

RANK = 4
STEPS = (10, 100)
LAST = ("project_0", "project_1")  # the pointwise network behind an FNO's last spectral layer
TRIED = 2  # trajectories of each validation regime that rates are compared on
JUDGED = 8  # of each test regime

# Rates of Adam, times that of the experts' fine-tuning: fewer weights bear larger steps.
RATES: dict[Kind, tuple[float, ...]] = {"all": (0.05, 0.2, 1.0), "last": (0.2, 1.0, 5.0), "low_rank": (0.2, 1.0, 5.0)}


def start(kind: Kind, anchor: Params) -> Params:
    """The numbers that are tuned, of an update that is zero: a tree like the anchor, with empty leaves where frozen.

    Args:
        kind: ``"all"`` weights; those of the ``"last"`` layers; or ``"low_rank"``, factors ``{"left", "right"}`` of
            the last two axes of every leaf that has two.
        anchor: weights.
    """

    def is_last(path: Any) -> bool:
        return any(getattr(part, "key", None) in LAST for part in path)

    def left(leaf: Array) -> Array:
        shape = (*leaf.shape[:-1], min(RANK, *leaf.shape[-2:]))
        return jax.random.normal(jax.random.key(leaf.size), shape, leaf.dtype) * leaf.shape[-2] ** -0.5

    def right(leaf: Array) -> Array:
        return jnp.zeros((*leaf.shape[:-2], min(RANK, *leaf.shape[-2:]), leaf.shape[-1]), leaf.dtype)

    def of_matrices(make: Any) -> Params:
        return jax.tree.map(lambda leaf: make(leaf) if leaf.ndim > 1 else jnp.zeros((0,)), anchor)

    if kind == "low_rank":
        return {"left": of_matrices(left), "right": of_matrices(right)}
    kept = jax.tree_util.tree_map_with_path(lambda path, leaf: kind == "all" or is_last(path), anchor)
    return jax.tree.map(lambda leaf, k: jnp.zeros_like(leaf) if k else jnp.zeros((0,)), anchor, kept)


def updated(anchor: Params, tuned: Params) -> Params:
    """The anchor's weights with what was tuned from :func:`start`."""
    if set(tuned) == {"left", "right"}:
        factors = (tuned["left"], tuned["right"])
        return jax.tree.map(lambda leaf, a, b: leaf + a @ b if a.size else leaf, anchor, *factors)
    return jax.tree.map(lambda leaf, t: leaf + t if t.size else leaf, anchor, tuned)


def pairs_of(observed: Array, history: int) -> Array:
    """Every window of observed frames ``[T, *space, C]`` with its next frame: ``[T - history, history + 1, ...]``."""
    index = jnp.arange(len(observed) - history)[:, None] + jnp.arange(history + 1)[None]
    return observed[index]


@functools.partial(jax.jit, static_argnames=("kind", "loss_fn", "history"))
def adapted(
    anchor: Params, observed: Array, rate: Array, steps: Array, *, kind: Kind, loss_fn: Loss, history: int = 1
) -> Params:
    """The weights after some steps of Adam on the observed frames of one trajectory.

    Args:
        anchor: weights.
        observed: ``[T, *space, C]``.
        rate: of Adam, constant.
        steps: updates; one program serves all numbers and rates.
        kind: what is tuned, see :func:`start`.
        loss_fn: ``(params, frames [N, history + 1, *space, C]) -> scalar``.
        history: frames in the model's window.
    """
    pairs = pairs_of(observed, history)

    def body(_: Any, state: Any) -> Any:
        tuned, adam = state
        gradient = jax.grad(lambda t: loss_fn(updated(anchor, t), pairs))(tuned)
        direction, adam = ADAM.update(gradient, adam)
        return jax.tree.map(lambda t, d: t - rate * d, tuned, direction), adam

    tuned = start(kind, anchor)
    tuned, _ = jax.lax.fori_loop(0, steps, body, (tuned, ADAM.init(tuned)))
    return updated(anchor, tuned)


class Tuning(NamedTuple):
    """What is tuned, see :func:`start`, by which loss, and the network: its rollout and the frames in its window."""

    kind: Kind
    loss_fn: Loss
    rollout_fn: RolloutFn
    history: int = 1


@functools.partial(jax.jit, static_argnames="tuning")
def errors_adapted(anchor: Params, trajectories: Array, rate: Array, steps: Array, *, tuning: Tuning) -> Array:
    """Errors of the future of trajectories ``[N, T, *space, C]``, each at weights of its own: ``[N, T_future]``."""
    kind, loss_fn, rollout_fn, history = tuning

    def one(x: Array) -> Array:
        weights = adapted(anchor, x[:OBSERVED], rate, steps, kind=kind, loss_fn=loss_fn, history=history)
        return future_error(weights, rollout_fn, x[None], history=history, frames=OBSERVED - history)[0]

    return jax.lax.map(one, trajectories)


def prefix_tuning(run: Run, known: Found) -> Found:
    """Errors of the anchor, fine-tuned on the prefix of each trajectory, and the seconds that one takes."""
    there = given(run)
    judge, rate = judge_of(run, there.anchor), run.config.finetune.learning_rate
    _, apply = normalized_model(run.config, there.anchor)
    anchor = load_params(there.anchor, "anchor")
    how: dict[str, Any] = {"loss_fn": loss_of(apply, history=judge.history), "history": judge.history}
    tried, judged = [x[:TRIED] for x in judge.validation], [x[:JUDGED] for x in judge.test]
    found: dict[str, Found] = {"choices": {}, "errors": {}, "seconds": {}}
    for (kind, factors), steps in itertools.product(RATES.items(), (2, 4) if run.config.size == "smoke" else STEPS):
        name = f"{kind}_{steps}"
        run_on = functools.partial(_errors, Tuning(kind, rollout_fn=judge.rollout_fn, **how), anchor, steps)
        trials = [{"rate": factor * rate} for factor in factors]
        choice = choose(trials, functools.partial(run_on, tried), known.get(name))
        found["choices"][name] = choice
        found["errors"][name] = run_on(judged, choice["chosen"])
        observed, at = jnp.asarray(judged[0][0][:OBSERVED]), _at(choice["chosen"], steps)
        work = functools.partial(adapted, anchor, observed, *at, kind=kind, **how)
        found["seconds"][name] = seconds_of(work)
    return found | {"trajectories": {"validation": TRIED, "test": JUDGED}} | regimes_of(run)


def _at(trial: Trial, steps: int) -> tuple[Array, Array]:
    return jnp.float32(trial["rate"]), jnp.int32(steps)


def _errors(tuning: Tuning, anchor: Params, steps: int, sets: Any, trial: Trial) -> list[float]:
    """Mean error on each set of trajectories after some steps at a trial's rate."""
    return [mean_error(errors_adapted(anchor, jnp.asarray(x), *_at(trial, steps), tuning=tuning)) for x in sets]
