"""The linear algebra of a Kalman filter whose observations are quadratics of a coordinate.

    prior:        x = (c, v),  c moves by v and by process noise, v by rate noise
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
    """Mean and covariance of the coordinate and its rate.

    Attributes:
        coordinate: mean of c, ``[d]``.
        rate: mean of v, the change of c per frame, ``[d]``.
        covariance: of both together, ``[2 d, 2 d]``.
    """

    coordinate: Array
    rate: Array
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


def predict(belief: Belief, process_noise: Array, rate_noise: Array) -> Belief:
    """One frame ahead; standard deviations ``[d]`` of what is added to the coordinate and to its rate."""
    c, rate, covariance = belief
    eye = jnp.eye(c.shape[0], dtype=c.dtype)
    move = jnp.block([[eye, eye], [jnp.zeros_like(eye), eye]])
    added = jnp.concatenate([process_noise, rate_noise]) ** 2
    return Belief(c + rate, rate, move @ covariance @ move.T + jnp.diag(added))


def weigh(prior: Belief, seen: Quadratic, noise: Array) -> Array:
    """The weights w, ``[d]``: the posterior mean of the coordinate is ``c - S w``."""
    slope = seen.gradient + seen.hessian @ (prior.coordinate - seen.point)
    return jnp.linalg.solve(_balance(prior, seen, noise), slope / noise**2)


def condition(prior: Belief, seen: Quadratic, noise: Array, w: Array) -> Belief:
    """The posterior, its mean by the weights w and its covariance by the curvature of the quadratic."""
    d = prior.coordinate.shape[0]
    across = prior.covariance[:, :d]
    shift = across @ w
    told = across @ jnp.linalg.solve(_balance(prior, seen, noise), seen.hessian / noise**2) @ across.T
    covariance = prior.covariance - (told + told.T) / 2
    return Belief(prior.coordinate - shift[:d], prior.rate - shift[d:], covariance)


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


def _balance(prior: Belief, seen: Quadratic, noise: Array) -> Array:
    """``I + H S``: 1 where a frame tells nothing that is not known."""
    eye = jnp.eye(prior.coordinate.shape[0], dtype=prior.coordinate.dtype)
    return eye + (seen.hessian / noise**2) @ prior.spread
