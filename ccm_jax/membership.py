"""Whether any point of a chart explains the observed frames: a p-value against the residuals of validation regimes.

    T = mean_k log |step(weights(c), frame_k) - frame_k+1| / |frame_k+1|,   p = P(T_validation(c) >= T)

Each frame is predicted from the true one before it, so that one bad step does not dominate. Mean and scatter of T on
the chart's own regimes, as functions of the coordinate, are fitted on validation.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._shown import sized
from ccm_jax.chart import Chart
from ccm_jax.curve import Curve, fit_curve
from ccm_jax.metrics import relative_l2
from ccm_jax.observed import Frames, Observed, complete_of
from ccm_jax.rollout import RolloutFn, call_rollout

Array = jax.Array

FEWEST = 3  # points of a curve
SCATTER = 1e-3  # of T, at least: trajectories that agree to the last bit do not make strangers of all others
ALARM = 0.05  # the p-value that left-out validation regimes fall below in this share of their trajectories
STRANGE = 1e-3  # a p-value at which hardly any frames of the family itself are


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Membership:
    """The distribution of T on the regimes of a family.

    Attributes:
        curve: its mean as a function of the coordinate, see :func:`place_of`.
        scatter: its standard deviation around that.
        inflation: of the scatter, so that the trajectories of left-out regimes are covered.
        doubt: inflation of the curve's own deviation, so that the means of left-out regimes are covered.
    """

    curve: Curve
    scatter: Array
    inflation: Array
    doubt: Array

    def __repr__(self) -> str:
        return sized(self)

    def __call__(self, statistic: Array, coordinate: Array) -> Array:
        """The p-value of statistics ``[N]`` at coordinates ``[N, d]``."""
        return _p_value(self, statistic, coordinate)


@jax.jit
def _p_value(family: Membership, statistic: Array, coordinate: Array) -> Array:
    mean, variance = family.curve(place_of(coordinate))
    z = (statistic - mean) / jnp.sqrt(family.doubt**2 * variance + (family.inflation * family.scatter) ** 2)
    return jnp.where(jnp.isfinite(z), jax.scipy.stats.norm.sf(z), 0.0)


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames"))
def statistic_of(
    chart: Chart, rollout_fn: RolloutFn, x: Frames, coordinate: Array, *, history: int, frames: int, context: Any = None
) -> Array:
    """T of trajectories ``[N, T, *space, C]`` at a coordinate ``[N, d]`` of their own (or ``[1, d]``), ``[N]``."""
    each = jnp.broadcast_to(coordinate, (len(complete_of(x)), coordinate.shape[-1]))

    def one(of: Any) -> Array:
        x, context, c = of
        context, params = jax.tree.map(lambda leaf: leaf[None], context), chart(c)

        def error(k: Array) -> Array:
            window = jax.lax.dynamic_slice_in_dim(complete_of(x), k, history)
            target, mask = (x.frames, x.mask) if isinstance(x, Observed) else (x, None)
            truth = jax.lax.dynamic_slice_in_dim(target, k + history, 1)[None]
            mask = None if mask is None else jax.lax.dynamic_slice_in_dim(mask, k + history, 1)[None]
            # The time of a step is static for models that take it: that of the first.
            predicted = call_rollout(rollout_fn, params, window[None], 1, context, history)
            return relative_l2(predicted, truth, mask)[0, 0]

        logs = jnp.log(jnp.maximum(jax.lax.map(error, jnp.arange(frames)), 1e-12))
        if not isinstance(x, Observed):
            return jnp.mean(logs)
        seen = x.mask.any(axis=tuple(range(1, x.mask.ndim)))  # steps to and from frames that were observed
        both = jnp.stack([seen[i : i + frames] for i in range(history + 1)]).all(axis=0)
        return jnp.sum(jnp.where(both, logs, 0.0)) / both.sum()

    return jax.lax.map(one, (x, context, each))


def place_of(coordinate: Any) -> Any:
    """What T may depend on, ``[N, d] -> [N]``: the coordinate; with several axes, how far out it lies."""
    return coordinate[:, 0] if coordinate.shape[-1] == 1 else jnp.linalg.norm(coordinate, axis=-1)


def fit_membership(statistic: Any, coordinate: Any, regime: Any) -> Membership:
    """Fits the distribution of T on validation regimes.

    Args:
        statistic: of each trajectory, ``[N]``.
        coordinate: ``[N, d]``, along the axes that are read as values.
        regime: index of its regime, ``[N]``.

    Raises:
        ValueError: for fewer than three regimes, or coordinates.
    """
    known = len(np.unique(regime))
    if known < FEWEST:
        raise ValueError(
            f"fit_uncertainty: one-step errors are finite in {known} of the regimes, expected {FEWEST} or more; check "
            "that channels, units and normalization are those that the model was trained on."
        )
    t, c, r = np.asarray(statistic), np.asarray(place_of(np.asarray(coordinate))), np.asarray(regime)
    regimes = np.unique(r)
    mean = np.array([t[r == i].mean() for i in regimes])
    place = np.array([c[r == i].mean() for i in regimes])
    if len(distinct := np.unique(place)) < FEWEST:
        raise ValueError(
            f"fit_uncertainty: the coordinates found in {len(place)} regimes are only {len(distinct)} different ones ("
            f"{', '.join(f'{at:+.2f}' for at in distinct)}), expected {FEWEST} or more: coordinates beyond the search "
            "range are all found at its edge; pass regimes nearer to the experts, or search further (reach=...)."
        )
    inner = t - mean[np.searchsorted(regimes, r)]
    scatter = max(float(np.sqrt((inner**2).sum() / max(len(inner) - len(regimes), 1))), SCATTER)
    noise = np.array([scatter / np.sqrt((r == i).sum()) for i in regimes])
    if coordinate.shape[-1] > 1:  # regimes at the same distance differ
        noise = np.hypot(noise, mean.std())
    doubt = 1.0
    for i in range(len(regimes)) if len(regimes) > FEWEST else ():
        rest = np.arange(len(regimes)) != i
        if len(np.unique(place[rest])) < FEWEST:
            continue
        centre, variance = (float(a) for a in fit_curve(place[rest], mean[rest], noise[rest])(place[i]))
        doubt = max(doubt, (abs(mean[i] - centre) - noise[i]) / variance**0.5)
    curve = fit_curve(place, mean, noise)
    z = np.sort(inner / scatter)
    rank = min(len(z), int(np.ceil((len(z) + 1) * (1 - ALARM)))) - 1
    inflation = max(z[rank] / NormalDist().inv_cdf(1 - ALARM), 1.0)
    return Membership(curve, *(jnp.asarray(a, jnp.float32) for a in (scatter, inflation, doubt)))
