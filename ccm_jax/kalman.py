"""The linear algebra of a Kalman filter whose observations are quadratics of a coordinate.

    prior:        x = (c, v, a),  c moves by v + a / 2, v by a, and each by noise of its own
    observation:  |r(c)|^2 ~ |r|^2 + 2 g.(c - point) + (c - point).H.(c - point),  r with isotropic noise
    posterior:    x - P E w,  P - P E (I + H S)^-1 H E^T P     with w = (I + H S)^-1 (g + H (c - point))

E picks c out of x, S is the covariance of c, and H and g are in units of the noise's variance. Covariances are never
inverted, so exactly known axes and uninformative frames are not special cases.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Belief(NamedTuple):
    """Mean and covariance of the coordinate, its rate and its acceleration.

    Attributes:
        coordinate: mean of c, ``[d]``.
        rate: mean of v, the change of c per frame, ``[d]``.
        acceleration: mean of a, the change of v per frame, ``[d]``.
        covariance: of all together, ``[3 d, 3 d]``.
    """

    coordinate: Array
    rate: Array
    acceleration: Array
    covariance: Array

    @property
    def spread(self) -> Array:
        """The covariance of the coordinate, ``[d, d]``."""
        d = self.coordinate.shape[-1]
        return self.covariance[..., :d, :d]


class Quadratic(NamedTuple):
    """The squared relative residual of a frame near a coordinate.

    Attributes:
        point: where it was expanded, ``[d]``.
        loss: ``|r|^2`` there; infinite where the residual is not finite.
        gradient: half of the loss's, ``g = J^T r``, ``[d]``.
        hessian: half of Gauss-Newton's, ``H = J^T J``, ``[d, d]``.
    """

    point: Array
    loss: Array
    gradient: Array
    hessian: Array


class Noises(NamedTuple):
    """Standard deviations, ``[d]``, of what is added in each frame to the coordinate, its rate and its acceleration."""

    process: Array
    rate: Array
    acceleration: Array


def predict(belief: Belief, noises: Noises) -> Belief:
    """One frame ahead."""
    c, v, a, covariance = belief
    one = jnp.eye(c.shape[0], dtype=c.dtype)
    none = jnp.zeros_like(one)
    move = jnp.block([[one, one, one / 2], [none, one, one], [none, none, one]])
    added = jnp.concatenate(noises) ** 2
    return Belief(c + v + a / 2, v + a, a, move @ covariance @ move.T + jnp.diag(added))


def jumped(prior: Belief, std: Array) -> Belief:
    """The prior if the coordinate has jumped by an unknown distance of standard deviation ``std``, ``[d]``."""
    d = len(std)
    index = jnp.arange(d)
    return prior._replace(covariance=prior.covariance.at[index, index].add(std**2))


def weigh(prior: Belief, seen: Quadratic, noise: Array) -> Array:
    """The weights w, ``[d]``: the posterior mean of the coordinate is ``c - S w``."""
    slope = seen.gradient + seen.hessian @ (prior.coordinate - seen.point)
    return jnp.linalg.solve(_balance(prior, seen, noise), slope / noise**2)


def condition(prior: Belief, seen: Quadratic, noise: Array, w: Array) -> Belief:
    """The posterior, its mean by the weights w and its covariance by the curvature of the quadratic."""
    across = prior.covariance[:, : prior.coordinate.shape[0]]
    shift = across @ w
    told = across @ jnp.linalg.solve(_balance(prior, seen, noise), seen.hessian / noise**2) @ across.T
    covariance = prior.covariance - (told + told.T) / 2
    c, v, a = jnp.split(shift, 3)
    return Belief(prior.coordinate - c, prior.rate - v, prior.acceleration - a, covariance)


def log_evidence(prior: Belief, seen: Quadratic, noise: Array) -> Array:
    """Logarithm of the probability density of a frame, but for what no noise changes: of r along J's directions.

    0 for a frame that tells nothing.
    """
    eye = jnp.eye(prior.coordinate.shape[0], dtype=prior.coordinate.dtype)
    slope = seen.gradient + seen.hessian @ (prior.coordinate - seen.point)
    total = noise**2 * _balance(prior, seen, noise)
    ridge = 1e-6 * jnp.trace(seen.hessian) + 1e-30
    size = slope @ jnp.linalg.solve(seen.hessian + ridge * eye, jnp.linalg.solve(total, slope))
    value = -(jnp.linalg.slogdet(total)[1] + size) / 2
    return jnp.where(jnp.isfinite(seen.loss), value, 0.0)


def noise_of(seen: Quadratic, noise: Array, relative: Array) -> Array:
    """The noise of a frame: larger where much of its residual is left at the coordinate that explains it best."""
    left = jnp.where(jnp.isfinite(seen.loss), seen.loss, 0.0)
    return jnp.sqrt(noise**2 + relative**2 * left)


def jump_odds(prior: Belief, wide: Belief, seen: Quadratic, noise: Array, probability: Array) -> Array:
    """Logarithm of how much more probable a frame makes a jump than none: above 0, it jumped."""
    jump = log_evidence(wide, seen, noise) + jnp.log(probability)
    return jump - (log_evidence(prior, seen, noise) + jnp.log1p(-probability))


def _balance(prior: Belief, seen: Quadratic, noise: Array) -> Array:
    """``I + H S``: 1 where a frame tells nothing that is not known."""
    eye = jnp.eye(prior.coordinate.shape[0], dtype=prior.coordinate.dtype)
    return eye + (seen.hessian / noise**2) @ prior.spread
