"""Predictions with weights that change over time, along a path of coordinates."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ccm_jax._reasons import raised
from ccm_jax.chart import Chart
from ccm_jax.metrics import relative_l2
from ccm_jax.rollout import RolloutFn, call_rollout

Array = jax.Array


def rollout_along(
    chart: Chart, rollout_fn: RolloutFn, window: Array, path: Array, *, context: Any = None, start: int | None = None
) -> Array:
    """Rolls out a model with a separate coordinate, and therefore separate weights, for every frame.

        frame_k = model(weights(path_k), frames before)

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: ``(params, window [1, history, *space, C], steps) -> [1, steps, *space, C]``; see
            :func:`~ccm_jax.rollout.call_rollout`.
        window: the last observed frames of one trajectory, ``[history, *space, C]``.
        path: a coordinate for each frame that is predicted, ``[T, d]``.
        context: the model's inputs besides the window, a tree of arrays without a batch axis.
        start: index within the trajectory of the first predicted frame; the default is ``history``.

    Returns:
        Frames ``[T, *space, C]``.

    Raises:
        ValueError: for a window that the model does not take with a batch axis in front.

    Example:
        >>> from ccm_jax import fit_chart, make_rollout
        >>> chart = fit_chart({"rate": jnp.ones(1)}, [{"rate": jnp.zeros(1)}, {"rate": 2 * jnp.ones(1)}], [-1.0, 1.0])
        >>> rollout_fn = make_rollout(lambda params, window: window[:, -1] * params["rate"][0])
        >>> rollout_along(chart, rollout_fn, jnp.ones((1, 1, 1)), jnp.array([[0.0], [1.0], [2.0]])).ravel().tolist()
        [1.0, 2.0, 6.0]
    """
    first = len(window) if start is None else start
    given = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)

    def body(window: Array, each: tuple[Array, Array]) -> tuple[Array, Array]:
        coordinate, at = each
        frame = call_rollout(rollout_fn, chart(coordinate), window[None], 1, given, at)[0]
        return jnp.concatenate([window[1:], frame]), frame[0]

    try:
        return jax.lax.scan(body, window, (path, first + jnp.arange(len(path))))[1]
    except ValueError as error:
        raise ValueError(
            f"rollout_along: window has shape {list(window.shape)}, path {list(jnp.shape(path))}, expected [history, "
            f"*space, C] and [T, {chart.features.dim}]. {raised(error)}"
        ) from error


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history"))
def one_step_errors(
    chart: Chart, rollout_fn: RolloutFn, frames: Array, path: Array, *, history: int = 1, context: Any = None
) -> Array:
    """Relative L2 error of every frame after the first window, predicted from the observed frames before it.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: see :func:`rollout_along`.
        frames: trajectories, ``[N, T, *space, C]``.
        path: the coordinate that each frame is predicted with, ``[N, T - history, d]``.
        history: frames in the model's window.
        context: the model's inputs besides the window, a tree of arrays ``[N, ...]``.

    Returns:
        ``[N, T - history]``.

    Raises:
        ValueError: if the path does not have one coordinate for each predicted frame.
    """
    expected = (len(frames), frames.shape[1] - history)
    if path.ndim != 3 or path.shape[:2] != expected:
        raise ValueError(
            f"one_step_errors: path has shape {path.shape}, expected ({expected[0]}, {expected[1]}, d): a coordinate "
            "for every frame after the first window."
        )

    def one(given: tuple[Array, Array, Any]) -> Array:
        x, path, context = given

        def step(each: tuple[Array, Array]) -> Array:
            coordinate, at = each
            window = jax.lax.dynamic_slice_in_dim(x, at, history)
            frame = call_rollout(rollout_fn, chart(coordinate), window[None], 1, context, at + history)
            return relative_l2(frame, jax.lax.dynamic_slice_in_dim(x, at + history, 1)[None])[0, 0]

        context = jax.tree.map(lambda leaf: leaf[None], context)
        return jax.lax.map(step, (path, jnp.arange(len(path))))

    return jax.lax.map(one, (frames, path, context))
