"""Predictive intervals of a rollout, from the coordinate's posterior and the model's error at the right coordinate.

    variance(x, t) = variance over coordinates + (residual_t * size_t)^2,   log residual_t = a_t + b . evidence

``size`` is the root mean square of a channel's predicted frame. The evidence indicates how well the model works here:
its loss on the prefix, and the coordinate's distance from the experts.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_traced
from ccm_jax._doubts import warn
from ccm_jax._shown import shown, sized
from ccm_jax.chart import Chart
from ccm_jax.posterior import Posterior
from ccm_jax.rollout import RolloutFn, call_rollout

Array = jax.Array

STEP = 3**0.5  # deviations: with weights 1/6, 2/3, 1/6 three points have the moments of a normal distribution
LEVELS = (0.5, 0.8, 0.9, 0.95)
RIDGE = 1e-2


class Forecast(NamedTuple):
    """A rollout with predictive intervals; a batch has one leading axis.

    Attributes:
        mean: ``[steps, *space, C]``.
        deviation: of each number, ``[steps, *space, C]``.
        factors: half-widths of central intervals of ``LEVELS``, in deviations, ``[steps, L]``.
        outside: whether the value that was found lies outside the validation regimes, on any axis; ``[]``.
    """

    mean: Array
    deviation: Array
    factors: Array
    outside: Array | None = None

    def __repr__(self) -> str:
        if is_traced(self) or self.outside is None:
            return shown(self)
        return shown(self._replace(outside=None), outside_validation=self.outside)

    def interval(self, level: float = 0.9) -> tuple[Array, Array]:
        """Lower and upper end of the central interval of each number.

        Raises:
            ValueError: for a level beyond those that were fitted.

        Warns:
            UserWarning: where the value lies outside the validation regimes: what a model gets wrong was learned there.
        """
        if self.outside is not None and not is_traced(self) and np.any(self.outside):
            warn(
                "Forecast.interval: the value lies outside the validation regimes, so the interval is probably too "
                "narrow; pass regimes beyond it to fit_uncertainty."
            )
        if not LEVELS[0] <= level <= LEVELS[-1]:
            raise ValueError(
                f"Forecast.interval: level is {level}, expected {LEVELS[0]} to {LEVELS[-1]}, as validation was fitted."
            )
        factor = jnp.vectorize(lambda f: jnp.interp(level, jnp.array(LEVELS), f), signature="(l)->()")(self.factors)
        half = factor.reshape(factor.shape + (1,) * (self.mean.ndim - factor.ndim)) * self.deviation
        return self.mean - half, self.mean + half


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Residual:
    """How large a model's error is at the right coordinate, and how it is distributed.

    Attributes:
        level: logarithm of the residual of each future frame, ``[steps]``.
        slopes: of the evidence, ``[e]``.
        centre: of the evidence on validation, ``[e]``.
        factors: half-widths of central intervals in deviations, ``[steps, L]``.
    """

    level: Array
    slopes: Array
    centre: Array
    factors: Array

    def __repr__(self) -> str:
        return sized(self)

    def size(self, evidence: Array) -> Array:
        """Relative residuals ``[N, steps]`` for evidence ``[N, e]``."""
        return jnp.exp(self.level[None] + ((evidence - self.centre[None]) @ self.slopes)[:, None])


@jax.jit
def evidence_of(loss: Array, coordinate: Array) -> Array:
    """What residuals depend on, ``[N, 2]``: the log of the prefix's loss, and the squared distance from the middle."""
    return jnp.stack([jnp.log(jnp.maximum(loss, 1e-12)), jnp.sum(coordinate**2, axis=-1)], axis=-1)


@functools.partial(jax.jit, static_argnames=("rollout_fn", "steps", "start"))
def spread_of(
    chart: Chart, rollout_fn: RolloutFn, window: Array, posterior: Posterior, *, steps: int, start: int, context: Any
) -> tuple[Array, Array]:
    """Mean and variance of rollouts over what the coordinate may be, by ``2 d + 1`` coordinates for each trajectory.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: the model.
        window: ``[N, history, *space, C]``.
        posterior: of each trajectory.
        steps: frames to predict.
        start: index of the first of them in the trajectory.
        context: the model's inputs besides the window, ``[N, ...]``, or None.

    Returns:
        Both ``[N, steps, *space, C]``.
    """
    axes = posterior.mean.shape[-2]

    def one(of: Any) -> tuple[Array, Array]:
        window, context, centre, deviation = of
        window, context = window[None], jax.tree.map(lambda leaf: leaf[None], context)
        step = STEP * jnp.diag(deviation)
        step = jnp.pad(step, ((0, 0), (0, len(centre) - axes)))
        places = jnp.concatenate([centre[None], centre[None] + step, centre[None] - step])

        def roll(c: Array) -> Array:
            return call_rollout(rollout_fn, chart(c), window, steps, context, start)[0]

        frames = jax.lax.map(roll, places)
        middle, up, down = frames[0], frames[1 : axes + 1], frames[axes + 1 :]
        mean = middle + jnp.sum(up + down - 2 * middle[None], axis=0) / 6
        second = jnp.sum((up - middle[None]) ** 2 + (down - middle[None]) ** 2, axis=0) / 6
        return mean, jnp.maximum(second - (mean - middle) ** 2, 0.0)

    given = (window, context, posterior.coordinate(), posterior.coordinate_deviation())
    return jax.lax.map(one, given)


@jax.jit
def scale_of(mean: Array) -> Array:
    """Root mean square of each channel of each frame, ``[N, steps, *1, C]``."""
    return jnp.sqrt(jnp.mean(mean**2, axis=tuple(range(2, mean.ndim - 1)), keepdims=True))


def fit_residual(truth: Any, mean: Any, variance: Any, evidence: Any) -> Residual:
    """Fits residuals on validation trajectories.

    Args:
        truth: future frames ``[N, steps, *space, C]``.
        mean: predicted ones.
        variance: over coordinates.
        evidence: ``[N, e]``.
    """
    truth, mean, variance = (np.asarray(a, np.float64) for a in (truth, mean, variance))
    size = np.asarray(scale_of(jnp.asarray(mean)), np.float64)
    fields = tuple(range(2, mean.ndim))
    relative = np.mean(((truth - mean) ** 2 - variance) / np.maximum(size, 1e-12) ** 2, axis=fields)  # [N, steps]
    floor = 1e-2 * np.mean(((truth - mean) / np.maximum(size, 1e-12)) ** 2, axis=fields)
    log = 0.5 * np.log(np.maximum(relative, floor) + 1e-24)
    level, given = log.mean(axis=0), np.asarray(evidence, np.float64)
    centre = given.mean(axis=0)
    away = given - centre
    ridge = RIDGE * len(away) * np.diag(away.var(axis=0) + 1e-12)
    slopes = np.linalg.solve(away.T @ away + ridge, away.T @ (log - level).mean(axis=1))
    slopes = np.maximum(slopes, 0.0)  # a worse fit, or a place further out, is no reason to be more sure
    residual = np.exp(level + (away @ slopes)[:, None]).reshape(*log.shape, *(1,) * len(fields))
    deviation = np.sqrt(variance + (residual * size) ** 2)
    z = np.abs(truth - mean) / np.maximum(deviation, 1e-30)
    factors = np.stack([np.quantile(z[:, k], LEVELS) for k in range(z.shape[1])])
    return Residual(*(jnp.asarray(a, jnp.float32) for a in (level, slopes, centre, factors)))
