"""The noise levels of a tracker that validation decides among, and the likelihood of frames under each of them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.kalman import Belief, Quadratic, condition, jump_odds, jumped, log_evidence, noise_of, predict, weigh
from ccm_jax.track import Tracker

Array = jax.Array

PRIOR = 1.0  # standard deviation of the first coordinate, and of a jump: a prior that holds both experts
RATE_PRIOR = 0.1  # of the first rate, per frame, where a rate is filtered
ACCELERATION_PRIOR = 0.03  # of the first acceleration, where one is filtered
# Standard deviations, those of the coordinate per frame, and probabilities of a jump.
OBSERVATION = np.geomspace(3e-5, 0.3, 5)
RELATIVE = (0.0, 0.03, 0.1, 0.3, 1.0)  # shares of the residual that is left
PROCESS = (0.0, *np.geomspace(0.01, 1.0, 5))
MOVES = (
    (0.0, 0.0),
    *((rate, 0.0) for rate in np.geomspace(3e-3, 0.3, 5)),
    *((0.0, acceleration) for acceleration in np.geomspace(1e-3, 0.1, 5)),
)
JUMP = (0.0, 0.02)
NOISES = np.array(
    [(o, r, p, *move, j) for o, r, p, move, j in itertools.product(OBSERVATION, RELATIVE, PROCESS, MOVES, JUMP)]
).astype(np.float32)  # observation and relative noise, process, rate and acceleration noise, probability of a jump
ORDERS = np.where(NOISES[:, 4] > 0, 2, NOISES[:, 3] > 0)  # of the trend: none, a rate, or an acceleration as well


def with_noises(
    plain: Tracker, observation: Any, relative: Any, process: Any, rate: Any, acceleration: Any, jump: Any
) -> Tracker:
    """A tracker with other noises, the same along every axis; what has noise is not known at first."""
    ones = jnp.ones_like(plain.mean)
    bent = jnp.asarray(acceleration) > 0
    return dataclasses.replace(
        plain,
        observation_noise=jnp.asarray(observation, jnp.float32),
        relative_noise=jnp.asarray(relative, jnp.float32),
        process_noise=process * ones,
        rate_noise=rate * ones,
        rate_std=jnp.where(bent | (jnp.asarray(rate) > 0), RATE_PRIOR, 0.0) * ones,
        acceleration_noise=acceleration * ones,
        acceleration_std=jnp.where(bent, ACCELERATION_PRIOR, 0.0) * ones,
        jump_probability=jnp.asarray(jump, jnp.float32),
    )


@jax.jit
def log_likelihoods(plain: Tracker, seen: Quadratic) -> Array:
    """Logarithms of the likelihood of all frames, given as quadratics ``[N, T, ...]``, for all ``NOISES``: ``[n]``."""

    def of_noises(noises: Array) -> Array:
        one = with_noises(plain, *noises)

        def of_trajectory(seen: Quadratic) -> Array:
            def body(belief: Belief, frame: Quadratic) -> tuple[Belief, Array]:
                noise, chance = noise_of(frame, one.observation_noise, one.relative_noise), one.jump_probability
                prior = predict(belief, one.noises)
                wide = jumped(prior, one.jump_std)
                odds = jump_odds(prior, wide, frame, noise, chance)
                value = log_evidence(prior, frame, noise) + jnp.log1p(-chance) + jnp.logaddexp(0.0, odds)
                likely = jax.tree.map(lambda jump, none: jnp.where(odds > 0, jump, none), wide, prior)
                return condition(likely, frame, noise, weigh(likely, frame, noise)), value

            return jax.lax.scan(body, one.belief, seen)[1].sum()

        return jax.vmap(of_trajectory)(seen).sum()

    return jax.vmap(of_noises)(jnp.asarray(NOISES))
