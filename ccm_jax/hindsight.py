"""The best coordinate in hindsight, with the smallest error on future frames, for charts of any number of axes.

It needs the future, so it is not a readout. On validation regimes it serves to fit maps, on test regimes as a bound.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._given import check_model
from ccm_jax.chart import Chart, Gated, complete
from ccm_jax.evaluate import as_error, split_future, sweep_errors
from ccm_jax.fit_readout import COARSE, REACH
from ccm_jax.minimize import Minimum, Problem, minimize
from ccm_jax.rollout import RolloutFn, call_rollout

Array = jax.Array


class Best(NamedTuple):
    """The best coordinate of a regime.

    Attributes:
        coordinate: ``[d]``, without a gate.
        error: mean relative L2 error of the future there; infinite if every rollout diverged.
    """

    coordinate: np.ndarray
    error: float


def best_in_hindsight(
    chart: Chart,
    rollout_fn: RolloutFn,
    trajectories: Any,
    *,
    history: int = 1,
    frames: int = 4,
    candidates: Any = None,
    context: Any = None,
    mesh: Mesh | None = None,
) -> Best:
    """The one coordinate of a regime with the smallest mean error of the future: the best candidate, then Gauss-Newton.

        coordinate = argmin_c  mean_{n, t} |rollout_{n, t}(weights(c)) - frame_{n, t}| / |frame_{n, t}|

    Args:
        chart: weights as a function of coordinates (with a gate, which is 1).
        rollout_fn: ``(params, window [N, history, *space, C], steps) -> [N, steps, *space, C]``.
        trajectories: of one regime, ``[N, T, *space, C]``, with frames after the prefix.
        history: frames in the model's window.
        frames: observed frames after it, from the last of which rollouts start.
        candidates: coordinates ``[n, d]`` that are tried first; by default :func:`coarse_grid`.
        context: the model's inputs besides the window, ``[N, ...]``.
        mesh: devices to spread the candidates over.

    Returns:
        A :class:`Best`. The search goes no further than the candidates do.

    Raises:
        ValueError: for candidates of another shape, or trajectories without a future.

    Example:
        >>> from ccm_jax import Multilinear, fit_chart, make_rollout
        >>> corners = [(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
        >>> anchor = {"rates": jnp.array([-1.0, -2.0])}
        >>> experts = [{"rates": jnp.array([-1.0 + 0.5 * a, -2.0 + 0.5 * b])} for a, b in corners]
        >>> chart = fit_chart(anchor, experts, corners, features=Multilinear(2))
        >>> rollout_fn = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rates"][None, None]))
        >>> truth = jnp.exp(0.1 * jnp.arange(9.0)[:, None] * jnp.array([[-0.7, -2.2]]))  # a = 0.6, b = -0.4
        >>> best = best_in_hindsight(chart, rollout_fn, jnp.ones((1, 9, 4, 2)) * truth[None, :, None])
        >>> [round(float(c), 2) for c in best.coordinate]
        [0.6, -0.4]
    """
    check_model("best_in_hindsight", chart, rollout_fn)
    x, axes = jnp.asarray(trajectories), chart.features.dim - isinstance(chart.features, Gated)
    tried = np.asarray(coarse_grid(axes) if candidates is None else candidates, np.float32)
    if tried.ndim != 2 or not len(tried) or tried.shape[1] != axes:
        raise ValueError(
            f"best_in_hindsight: candidates have shape {tried.shape}, expected [n, {axes}], one number for each axis."
        )
    whole = np.asarray(complete(chart.features, tried))
    how: dict[str, Any] = {"history": history, "frames": frames, "context": context}
    errors = [float(as_error(e)) for e in sweep_errors(chart, rollout_fn, x, whole, mesh=mesh, **how)]
    first = int(np.argmin(errors))
    if not np.isfinite(errors[first]):
        return Best(tried[first], float("inf"))
    found = _search(chart, rollout_fn, x, Region.around(whole[first], tried), **how)
    if not float(found.loss) < errors[first]:
        return Best(tried[first], errors[first])
    return Best(np.asarray(found.coordinate)[:axes], float(found.loss))


def coarse_grid(axes: int) -> np.ndarray:
    """Coordinates ``[n, axes]`` on a coarse grid over ``[-2.5, 2.5]^axes``."""
    side = np.linspace(-REACH, REACH, COARSE.get(axes, 3))
    return np.array(list(itertools.product(side, repeat=axes)), np.float32)


class Region(NamedTuple):
    """Where a search starts, and its bounds.

    Attributes:
        start: ``[dim]``, with a gate where the chart has one.
        radius: of the first trust region: the distance of the candidates from their nearest neighbours, at most.
        low: ``[d]``, without a gate.
        high: ``[d]``.
    """

    start: Array
    radius: Array
    low: Array
    high: Array

    @classmethod
    def around(cls, start: np.ndarray, tried: np.ndarray) -> Region:
        """The region that candidates ``[n, d]`` cover."""
        between = np.linalg.norm(tried[:, None] - tried[None], axis=-1)
        nearest = np.where(between > 0, between, np.inf).min(axis=1)
        radius = float(nearest.max()) if np.isfinite(nearest).all() else 1.0
        return cls(jnp.asarray(start), jnp.asarray(radius), jnp.asarray(tried.min(0)), jnp.asarray(tried.max(0)))


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames"))
def _search(
    chart: Chart,
    rollout_fn: RolloutFn,
    x: Array,
    region: Region,
    *,
    history: int,
    frames: int,
    context: Any,
) -> Minimum:
    """The minimum of the mean error from a start, within the region."""
    _, window, truth = split_future(x, history=history, frames=frames)
    count, steps = truth.shape[:2]
    size = jnp.sqrt(jnp.sum(truth**2, tuple(range(2, truth.ndim)), keepdims=True))

    def residuals(c: Array) -> Array:
        predicted = call_rollout(rollout_fn, chart(c), window, steps, context, history + frames)
        return ((predicted - truth) / size).reshape(count * steps, -1)

    start, low, high = region.start, region.low, region.high
    low, high = (jnp.concatenate([end, jnp.ones(len(start) - len(end), end.dtype)]) for end in (low, high))
    weights = jnp.full(count * steps, 1.0 / (count * steps), truth.dtype)
    axes = tuple(range(chart.features.dim - isinstance(chart.features, Gated)))
    return minimize(Problem(residuals, weights, axes, low, high, jnp.zeros_like(start)), start, region.radius)
