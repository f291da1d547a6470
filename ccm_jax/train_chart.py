"""Trains a chart's origin and basis together, on trajectories of labelled regimes.

    weights(c) = origin + sum_k phi_k(c) basis_k,    min over origin, basis of E loss(weights(c_i), frames_i)

Calibration-Conditioned Merge needs two fine-tuned experts and trains no chart. If you can train on all regimes,
continue from the merged chart. A network with the parameter as an input channel is the chart whose basis is zero in all
leaves but one, the bias behind the channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_merged
from ccm_jax._convolutions import rollout_for_training
from ccm_jax.chart import Chart, Features, as_coordinate, complete
from ccm_jax.choose_chart import Regime
from ccm_jax.metrics import relative_l2
from ccm_jax.rollout import Apply
from ccm_jax.train import Loss, batch_order, init_state, make_optimizer, train_chunk

Array = jax.Array
Params = Any
CHUNK = 100  # steps in one compiled scan


class Trained(NamedTuple):
    """Which parts of a chart are trained; the others stay bitwise unchanged.

    Attributes:
        origin: whether the origin is trained. A gated chart can return to its anchor only if it is not.
        leaves: ``(path, leaf) -> bool``: whether a leaf of the origin has a trained basis; by default all do.
        features: numbers of the features whose basis is trained, such as ``(2,)`` for the correction of
            :class:`~ccm_jax.Interior` without the line; by default all are.
    """

    origin: bool = True
    leaves: Callable[[Any, Any], bool] = lambda path, leaf: True
    features: tuple[int, ...] | None = None


class Schedule(NamedTuple):
    """Adam with a cosine schedule to zero, see :func:`~ccm_jax.train.make_optimizer`."""

    steps: int
    learning_rate: float = 1e-3
    batch_size: int = 16
    unroll: int = 1  # autoregressive steps in the loss
    seed: int = 0  # of the order of the batches


def train_chart(
    chart: Chart,
    apply: Apply,
    regimes: Sequence[Regime],
    schedule: Schedule,
    *,
    history: int = 1,
    trained: Trained | None = None,
) -> tuple[Chart, np.ndarray]:
    """Continues training a chart on labelled regimes; each sample is predicted by the weights at its own coordinate.

    Args:
        chart: where to start: a fitted one, or ``fit_chart(anchor, [anchor, anchor], [-1, 1])``, whose basis is zero.
        apply: ``(params, window [N, history, *space, C]) -> frame [N, *space, C]``.
        regimes: trajectories of equal shape ``[N, T, *space, C]`` with their coordinates; N may differ.
        schedule: steps, rate, and size of a batch.
        history: frames in the model's window.
        trained: which parts are trained; by default all of them.

    Returns:
        The new chart, and the loss of every step ``[steps]``.

    Raises:
        ValueError: for no regimes, shapes that differ, a context, or a loss that stops being finite.

    Example:
        >>> from ccm_jax import Polynomial
        >>> apply = lambda params, window: params["gain"] * window[:, -1]
        >>> start = {"gain": jnp.array(0.5)}
        >>> frames = lambda s: (0.6 + 0.2 * s) ** jnp.arange(4.0)[None, :, None, None] * jnp.ones((8, 4, 2, 1))
        >>> chart = Chart(start, {"gain": jnp.zeros(2)}, Polynomial())
        >>> regimes = [Regime(s, frames(s)) for s in (-1.0, 1.0)]
        >>> found, losses = train_chart(chart, apply, regimes, Schedule(300, 0.02))
        >>> bool(abs(found(0.5)["gain"] - 0.7) < 0.01)
        True
    """
    trained = Trained() if trained is None else trained
    x = labelled(chart.features, regimes)
    frames = history + schedule.unroll
    count = x.shape[0] * (x.shape[1] - frames + 1)
    if count < 1:
        raise ValueError(
            f"train_chart: trajectories have {x.shape[1]} frames, expected {frames} or more: {history} of the window "
            f"and {schedule.unroll} to predict."
        )
    loss_fn = chart_loss(chart, apply, history=history, unroll=schedule.unroll, trained=trained)
    optimizer = make_optimizer(schedule.learning_rate, schedule.steps)
    # A copy, because chunks reuse the memory of the state that they are given.
    state = init_state(jax.tree.map(jnp.copy, weights_of(chart)), optimizer)
    losses = np.zeros(0, np.float32)
    while len(losses) < schedule.steps:
        first = len(losses)
        size = min(CHUNK, schedule.steps - first)
        order = jnp.asarray(batch_order(schedule.seed, first, size, count, schedule.batch_size))
        state, new = train_chunk(state, x, order, loss_fn=loss_fn, optimizer=optimizer, frames=frames)
        losses = np.concatenate([losses, np.asarray(new)])
        if not np.isfinite(losses).all():
            raise ValueError(
                f"train_chart: the loss is not finite at step {int(np.argmin(np.isfinite(losses)))}; lower the "
                "schedule's learning_rate, and check that the trajectories are what you expect."
            )
    return chart_with(chart, state.params), losses


def chart_loss(
    chart: Chart, apply: Apply, *, history: int = 1, unroll: int = 1, trained: Trained | None = None
) -> Loss:
    """Mean relative L2 error of ``unroll`` steps, each sample at the weights of its own coordinate.

    Args:
        chart: its features, its warp, and the leaves that do not merge.
        apply: ``(params, window) -> frame``.
        history: frames in the model's window.
        unroll: autoregressive steps.
        trained: which parts have a gradient.

    Returns:
        ``loss(weights, frames [N, history + unroll, *space, C + dim])`` of the :func:`weights_of` a chart and frames
        that are :func:`labelled`.
    """
    parts = Trained() if trained is None else trained
    rollout_fn = rollout_for_training(jax.checkpoint(apply) if unroll > 1 else apply)
    dim = chart.features.dim
    with_slopes = jax.tree_util.tree_map_with_path(lambda path, leaf: bool(parts.leaves(path, leaf)), chart.origin)
    # A basis that is zero and stays so costs nothing: its leaf is the origin's for all samples of a batch at once.
    absent = jax.tree.map(
        lambda slopes, b: not slopes and not bool(np.asarray(jnp.any(b != 0))), with_slopes, chart.basis
    )

    def weights_at(given: Chart, c: Array) -> Params:
        phi = given.features(c if given.warp is None else given.warp(c))

        def at(origin: Array, basis: Array, slopes: bool, nothing: bool) -> Array:
            if not is_merged(origin):
                return origin
            if not parts.origin:
                origin = jax.lax.stop_gradient(origin)
            if nothing:
                return origin
            rows = [j for j in range(len(basis)) if slopes and (parts.features is None or j in parts.features)]
            terms = (phi[j] * (basis[j] if j in rows else jax.lax.stop_gradient(basis[j])) for j in range(len(basis)))
            return sum(terms, origin).astype(origin.dtype)

        return jax.tree.map(at, given.origin, given.basis, with_slopes, absent)

    def loss(weights: Params, frames: Array) -> Array:
        given = chart_with(chart, weights)
        labels, states = frames[:, 0].reshape(len(frames), -1, frames.shape[-1])[:, 0, -dim:], frames[..., :-dim]

        def one(c: Array, window: Array) -> Array:
            return rollout_fn(weights_at(given, c), window[None], unroll)[0]

        predicted = jax.vmap(one)(labels, states[:, :history])
        return jnp.mean(relative_l2(predicted, states[:, history:]))

    return loss


def weights_of(chart: Chart) -> Params:
    """What is trained of a chart: ``{"origin", "basis"}``, with None for leaves that do not merge."""
    origin = jax.tree.map(lambda leaf: leaf if is_merged(leaf) else None, chart.origin)
    basis = jax.tree.map(lambda leaf, b: b if is_merged(leaf) else None, chart.origin, chart.basis)
    return {"origin": origin, "basis": basis}


def chart_with(chart: Chart, weights: Params) -> Chart:
    """The chart with other weights, as :func:`weights_of` gives them."""

    def fill(old: Any, new: Any) -> Any:
        return old if new is None else new

    origin = jax.tree.map(fill, chart.origin, weights["origin"])
    return Chart(origin, jax.tree.map(fill, chart.basis, weights["basis"]), chart.features, chart.warp)


def labelled(features: Features, regimes: Sequence[Regime]) -> Array:
    """All trajectories with their coordinate appended as ``dim`` constant channels: ``[N, T, *space, C + dim]``.

    A batch of samples then carries its coordinates, so that :func:`~ccm_jax.train.train_chunk` works for charts as for
    weights.
    """
    if not regimes:
        raise ValueError("train_chart: regimes are empty, expected one or more with trajectories.")
    parts: list[Array] = []
    for i, regime in enumerate(regimes):
        x = jnp.asarray(regime.trajectories)
        if regime.context is not None:
            raise ValueError(f"train_chart: regimes[{i}] has a context, which charts are not trained with; omit it.")
        if parts and x.shape[1:] != (*parts[0].shape[1:-1], parts[0].shape[-1] - features.dim):
            raise ValueError(
                f"train_chart: regimes[{i}].trajectories have shape {x.shape}, expected frames like those of "
                "regimes[0]; cut or resample them."
            )
        c = as_coordinate("train_chart", complete(features, regime.coordinate), features.dim).astype(x.dtype)
        parts.append(jnp.concatenate([x, jnp.broadcast_to(c, (*x.shape[:-1], features.dim))], axis=-1))
    return jnp.concatenate(parts)
