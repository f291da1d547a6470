"""The future-only protocol: the prefix is for calibration, the error counts the frames after it.

A trajectory is ``history`` frames that fill the model's window, K prefix frames, and the future. Every method,
calibrated or not, restarts from the last ``history`` observed frames and is scored on the same future. ``context`` is
what a model takes beside its window, a tree of arrays ``[N, ...]``; see :func:`~ccm_jax.rollout.call_rollout`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ccm_jax.chart import Chart
from ccm_jax.metrics import relative_l2
from ccm_jax.parallel import candidates_at_once, map_candidates, over_mesh, over_trajectories
from ccm_jax.rollout import RolloutFn, call_rollout

Array = jax.Array
Params = Any


def split_future(trajectories: Array, *, history: int, prefix: int) -> tuple[Array, Array, Array]:
    """Cuts trajectories ``[N, T, ...]`` into observed frames, the window to restart from, and the future."""
    observed = history + prefix
    if trajectories.shape[1] <= observed:
        raise ValueError(
            f"split_future: trajectories have {trajectories.shape[1]} frames, expected more than the {history} of the "
            f"window and {prefix} of the prefix together."
        )
    return trajectories[:, :observed], trajectories[:, prefix:observed], trajectories[:, observed:]


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "prefix"))
def future_frames(
    params: Params,
    rollout_fn: RolloutFn,
    trajectories: Array,
    *,
    history: int = 1,
    prefix: int = 4,
    context: Any = None,
) -> Array:
    """The predicted future of trajectories ``[N, T, ...]``: ``[N, T - history - prefix, ...]``."""
    _, window, truth = split_future(trajectories, history=history, prefix=prefix)
    return call_rollout(rollout_fn, params, window, truth.shape[1], context, history + prefix)


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "prefix"))
def future_error(
    params: Params,
    rollout_fn: RolloutFn,
    trajectories: Array,
    *,
    history: int = 1,
    prefix: int = 4,
    context: Any = None,
) -> Array:
    """Relative L2 error of each future frame: ``[N, T - history - prefix]``."""
    _, _, truth = split_future(trajectories, history=history, prefix=prefix)
    predicted = future_frames(params, rollout_fn, trajectories, history=history, prefix=prefix, context=context)
    return relative_l2(predicted, truth)


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "prefix", "mesh"))
def future_error_sweep(
    chart: Chart,
    rollout_fn: RolloutFn,
    trajectories: Array,
    candidates: Array,
    *,
    history: int = 1,
    prefix: int = 4,
    context: Any = None,
    mesh: Mesh | None = None,
) -> Array:
    """The same for every candidate coordinate ``[n, d]``: ``[n, N, T_future]``."""

    def errors(chart: Chart, given: tuple[Array, Any], candidates: Array) -> Array:
        x, context = given

        def one(c: Array) -> Array:
            return future_error(chart(c), rollout_fn, x, history=history, prefix=prefix, context=context)

        return map_candidates(one, candidates, candidates_at_once(chart.origin, x, len(candidates)))

    return over_mesh(errors, mesh)(chart, (trajectories, context), candidates)


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "prefix", "mesh"))
def future_error_each(
    chart: Chart,
    rollout_fn: RolloutFn,
    trajectories: Array,
    coordinates: Array,
    *,
    history: int = 1,
    prefix: int = 4,
    context: Any = None,
    mesh: Mesh | None = None,
) -> Array:
    """The same with a coordinate, and so weights, of its own for each trajectory: ``coordinates [N, d]``."""
    if len(coordinates) != len(trajectories):
        raise ValueError(
            f"future_error_each: {len(coordinates)} coordinates for {len(trajectories)} trajectories, expected as many."
        )

    def errors(chart: Chart, given: tuple[Array, Any], coordinates: Array) -> Array:
        def one(each: tuple[Array, tuple[Array, Any]]) -> Array:
            coordinate, (trajectory, context) = jax.tree.map(lambda a: a[None], each)
            how = {"history": history, "prefix": prefix, "context": context}
            return future_error(chart(coordinate[0]), rollout_fn, trajectory, **how)[0]

        size = candidates_at_once(chart.origin, given[0][:1], len(coordinates))
        return jax.lax.map(one, (coordinates, given), batch_size=size if size > 1 else None)

    return over_trajectories(errors, mesh)(chart, (trajectories, context), coordinates)


def as_error(values: Any) -> Array:
    """Mean over all entries; infinite as soon as one is not finite, so that divergence never wins."""
    mean = jnp.mean(jnp.asarray(values))
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)
