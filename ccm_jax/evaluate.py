"""Evaluation on future frames only: the prefix is for calibration, and only the frames after it are scored.

A trajectory consists of ``history`` frames that fill the model's window, K prefix frames, and the future. Every
method restarts from the last ``history`` observed frames and is scored on the same future. ``context`` holds a model's
additional inputs, a tree of arrays ``[N, ...]``; see :func:`~ccm_jax.rollout.call_rollout`.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._evaluated import as_rows, check_future, in_order
from ccm_jax.chart import Chart
from ccm_jax.metrics import relative_l2
from ccm_jax.parallel import candidates_at_once, map_candidates, over_mesh, over_trajectories, place
from ccm_jax.rollout import RolloutFn, call_rollout, shape_of

__all__ = [
    "future_error",
    "future_error_each",
    "future_error_sweep",
    "future_frames",
    "persistence_error",
    "split_future",
    "sweep_errors",
]

Array = jax.Array
Params = Any


def __dir__() -> list[str]:
    return sorted(__all__)


def split_future(trajectories: Array, *, history: int, frames: int) -> tuple[Array, Array, Array]:
    """Cuts trajectories ``[N, T, ...]`` into observed frames, the window to restart from, and the future."""
    check_future("split_future: trajectories", trajectories, history, frames)
    observed = history + frames
    return trajectories[:, :observed], trajectories[:, frames:observed], trajectories[:, observed:]


@in_order
@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames"))
def future_frames(
    params: Params,
    rollout_fn: RolloutFn,
    trajectories: Array,
    *,
    history: int = 1,
    frames: int = 4,
    context: Any = None,
) -> Array:
    """The predicted future of trajectories ``[N, T, ...]``: ``[N, T - history - frames, ...]``."""
    check_future("future_frames: trajectories", trajectories, history, frames)

    def predict(trajectories: Array) -> Array:
        _, window, truth = split_future(trajectories, history=history, frames=frames)
        return call_rollout(rollout_fn, params, window, truth.shape[1], context, history + frames)

    try:
        return predict(trajectories)
    except ValueError as error:
        if context is None and shape_of(predict, trajectories[None]) is not None:
            raise ValueError(
                f"future_frames: trajectories have shape {list(trajectories.shape)}, expected [N, T, *space, C]; for "
                "one trajectory, pass x[None]."
            ) from error
        raise


@in_order
@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames", "mesh"))
def future_error(
    params: Params,
    rollout_fn: RolloutFn,
    trajectories: Array,
    *,
    history: int = 1,
    frames: int = 4,
    context: Any = None,
    mesh: Mesh | None = None,
) -> Array:
    """Relative L2 error of each future frame of a rollout that starts from the last observed ones.

        error_k = |predicted_k - true_k| / |true_k|

    Args:
        params: weights, such as ``chart(found)``.
        rollout_fn: ``(params, window [N, history, *space, C], steps) -> frames``, such as ``make_rollout(apply)``.
        trajectories: ``[N, T, *space, C]``, in the model's units; the first ``history + frames`` frames are not scored.
        history: frames in the model's window.
        frames: the K observed frames after it.
        context: the model's inputs besides the window, a tree of arrays ``[N, ...]``.
        mesh: devices to spread over, from :func:`~ccm_jax.parallel.make_mesh`.

    Returns:
        ``[N, T - history - frames]``.

    Raises:
        ValueError: for trajectories without frames after the observed ones, without a batch axis, or that the model
            does not take.

    Example:
        >>> from ccm_jax import make_rollout
        >>> rollout_fn = make_rollout(lambda params, window: params * window[:, -1])
        >>> halving = 0.5 ** jnp.arange(8.0)[None, :, None, None] * jnp.ones((1, 8, 16, 1))
        >>> future_error(jnp.array(0.5), rollout_fn, halving).tolist()  # frames 6 to 8
        [[0.0, 0.0, 0.0]]
        >>> future_error(jnp.array(1.0), rollout_fn, halving).tolist()
        [[1.0, 3.0, 7.0]]
    """

    def errors(params: Params, given: tuple[Array, Any], _: Array) -> Array:
        x, context = given
        _, _, truth = split_future(x, history=history, frames=frames)
        return relative_l2(future_frames(params, rollout_fn, x, history=history, frames=frames, context=context), truth)

    nothing = jnp.zeros((len(trajectories), 0))  # the weights are those of all trajectories
    return over_trajectories(errors, mesh)(params, (trajectories, context), nothing)


@functools.partial(jax.jit, static_argnames=("history", "frames"))
def persistence_error(trajectories: Array, *, history: int = 1, frames: int = 4) -> Array:
    """Relative L2 error of repeating the last observed frame, which every model should beat: ``[N, T_future]``."""
    check_future("persistence_error: trajectories", trajectories, history, frames)
    _, window, truth = split_future(trajectories, history=history, frames=frames)
    return relative_l2(jnp.broadcast_to(window[:, -1:], truth.shape), truth)


@as_rows
@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames", "mesh"))
def future_error_sweep(
    chart: Chart,
    rollout_fn: RolloutFn,
    trajectories: Array,
    candidates: Array,
    *,
    history: int = 1,
    frames: int = 4,
    context: Any = None,
    mesh: Mesh | None = None,
) -> Array:
    """Relative L2 error of each future frame at every candidate coordinate ``[n, d]``: ``[n, N, T_future]``."""

    def errors(chart: Chart, given: tuple[Array, Any], candidates: Array) -> Array:
        x, context = given

        def one(c: Array) -> Array:
            return future_error(chart(c), rollout_fn, x, history=history, frames=frames, context=context)

        return map_candidates(one, candidates, candidates_at_once(chart.origin, x, len(candidates)))

    return over_mesh(errors, mesh)(chart, (trajectories, context), candidates)


@as_rows
@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames", "mesh"))
def future_error_each(
    chart: Chart,
    rollout_fn: RolloutFn,
    trajectories: Array,
    coordinates: Array,
    *,
    history: int = 1,
    frames: int = 4,
    context: Any = None,
    mesh: Mesh | None = None,
) -> Array:
    """Relative L2 error of each future frame, each trajectory at its own coordinate ``[N, d]``: ``[N, T_future]``."""
    if len(coordinates) != len(trajectories):
        raise ValueError(
            f"future_error_each: coordinates have shape {list(np.shape(coordinates))}, trajectories "
            f"{list(np.shape(trajectories))}; expected one coordinate per trajectory."
        )

    def errors(chart: Chart, given: tuple[Array, Any], coordinates: Array) -> Array:
        def one(each: tuple[Array, tuple[Array, Any]]) -> Array:
            coordinate, (trajectory, context) = jax.tree.map(lambda a: a[None], each)
            how = {"history": history, "frames": frames, "context": context}
            return future_error(chart(coordinate[0]), rollout_fn, trajectory, **how)[0]

        size = candidates_at_once(chart.origin, given[0][:1], len(coordinates))
        return jax.lax.map(one, (coordinates, given), batch_size=size if size > 1 else None)

    return over_trajectories(errors, mesh)(chart, (trajectories, context), coordinates)


def sweep_errors(
    chart: Chart,
    rollout_fn: RolloutFn,
    trajectories: Any,
    candidates: Any,
    *,
    history: int = 1,
    frames: int = 4,
    context: Any = None,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """:func:`future_error_sweep` of any number of candidates and trajectories, in calls of a few: ``[n, N, T_future]``.

    One compiled program serves any number of them, and the trajectories of a call fit into a CPU's cache.
    """
    spread, how = place(chart, mesh), {"history": history, "frames": frames, "mesh": mesh}

    def errors(given: tuple[Array, Any], bank: Array) -> Array:
        x, context = given
        return future_error_sweep(spread, rollout_fn, x, bank, context=context, **how)

    return in_groups(errors, (trajectories, context), candidates, mesh)


GROUP = 16  # trajectories rolled out side by side
TOGETHER = 7  # candidates in a call on a CPU: a bank of 21 has three such parts


def in_groups(errors: Any, trajectories: Any, candidates: Any, mesh: Mesh | None = None) -> np.ndarray:
    """Evaluates ``errors(trajectories, candidates) -> [n, N, ...]`` a few at a time.

    Args:
        errors: a function of trajectories and of candidates ``[n, d]``.
        trajectories: ``[N, T, *space, C]``, or a tree of arrays with that leading axis.
        candidates: ``[n, d]``.
        mesh: devices that the arrays are placed on.
    """
    bank, size = np.asarray(candidates, np.float32), GROUP * (1 if mesh is None else mesh.shape["data"])
    together = TOGETHER if jax.default_backend() == "cpu" and jax.process_count() == 1 else len(bank)
    # The last one again, to fill the last call.
    padded = np.concatenate([bank, np.repeat(bank[-1:], -len(bank) % together, axis=0)])
    parts = [place(padded[i : i + together], mesh) for i in range(0, len(padded), together)]
    count = len(jax.tree.leaves(trajectories)[0])
    cut = [jax.tree.map(lambda leaf, i=i: leaf[i : i + size], trajectories) for i in range(0, count, size)]
    groups = [place(group, mesh) for group in cut]
    found = [[np.asarray(errors(x, part)) for x in groups] for part in parts]
    return np.concatenate([np.concatenate(row, axis=1) for row in found])[: len(bank)]


def as_error(values: Any) -> Array:
    """Mean over all entries; infinite if any entry is not finite, so that divergence never wins."""
    mean = jnp.mean(jnp.asarray(values))
    return jnp.where(jnp.isfinite(mean), mean, jnp.inf)
