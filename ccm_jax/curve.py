"""A smooth curve through a few noisy points with its uncertainty, especially beyond them.

    y_i = f(x_i) + e_i,   f^(order) = roughness * white noise,   e_i ~ N(0, noise_i^2)

This is the Bayesian smoothing spline: its mean is the natural spline, continued as a polynomial beyond the points, and
its variance grows there with the distance. Order and roughness are averaged over by their restricted likelihood, so
that few points do not give false certainty about the curvature.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax._shown import sized

Array = jax.Array

ORDERS = (2, 3)  # continued by a line, by a parabola
ROUGHNESS = np.logspace(-3, 2, 21)  # per unit interval of x, for y of unit deviation
# A line through such points rises by about 3.5 along the interval; that its slope changes by more is not expected.
EXPECTED = 3.5
JITTER = 1e-8


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Curve:
    """A posterior over smooth functions of one variable; call it for mean and variance.

    Attributes:
        points: of the fit, in units of the interval, ``[n]``.
        solved: for each hypothesis on order and roughness, coefficients of mean ``[h, n + p]``.
        inverse: of the kriging system, ``[h, n + p, n + p]``.
        order: of each hypothesis, ``[h]``.
        roughness: of each hypothesis, ``[h]``.
        weight: of each hypothesis, ``[h]``, with sum 1.
        begin: lower end of the points.
        width: of the interval that they span.
        centre: subtracted from y.
        size: y is in units of it.
        likelihood: logarithm of the mean restricted likelihood over hypotheses; higher for a better choice of x.
    """

    points: Array
    solved: Array
    inverse: Array
    order: Array
    roughness: Array
    weight: Array
    begin: Array
    width: Array
    centre: Array
    size: Array
    likelihood: Array

    def __repr__(self) -> str:
        return sized(self)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of the curve at ``x``, any shape; the noise of points is not in the variance."""
        return _evaluate(self, jnp.asarray(x))


@jax.jit
def _evaluate(curve: Curve, x: Array) -> tuple[Array, Array]:
    u = ((x - curve.begin) / curve.width).reshape(-1)
    distance = jnp.abs(u[:, None] - curve.points[None])

    def one(solved: Array, inverse: Array, order: Array, roughness: Array) -> tuple[Array, Array]:
        cubic = distance**3 / 12
        covariance = roughness**2 * jnp.where(order == 2, cubic, -(distance**5) / 240)
        drift = jnp.stack([jnp.ones_like(u), u, jnp.where(order == 2, 0.0, u**2)], axis=-1)
        row = jnp.concatenate([covariance, drift], axis=-1)  # [m, n + p]
        return row @ solved, -jnp.einsum("mi,ij,mj->m", row, inverse, row)

    mean, variance = jax.vmap(one)(curve.solved, curve.inverse, curve.order, curve.roughness)
    middle = curve.weight @ mean
    spread = curve.weight @ (jnp.maximum(variance, 0.0) + (mean - middle[None]) ** 2)
    return (curve.centre + curve.size * middle).reshape(x.shape), (curve.size**2 * spread).reshape(x.shape)


def fit_curve(x: Any, y: Any, noise: Any) -> Curve:
    """Fits a :class:`Curve` through points with known noise.

    Args:
        x: positions ``[n]``, at least three distinct ones.
        y: values ``[n]``.
        noise: standard deviation of each value, ``[n]`` or a number above 0.

    Returns:
        The curve. With three points it is continued by lines; with more, parabolas are a hypothesis too.

    Raises:
        ValueError: for fewer than three distinct points, or numbers that are not finite.

    Example:
        >>> curve = fit_curve([-1.0, 0.0, 1.0, 2.0], [-2.0, 0.0, 2.0, 4.0], 0.01)
        >>> mean, variance = curve(jnp.array([0.5, 4.0]))
        >>> mean.round(1).tolist(), bool(variance[1] > 10 * variance[0])
        ([1.0, 8.0], True)

    Source: G. Wahba, Spline Models for Observational Data (1990), chapter 1; restricted likelihood as in kriging.
    """
    places, values = (np.asarray(a, np.float64).reshape(-1) for a in (x, y))
    sd = np.broadcast_to(np.asarray(noise, np.float64), places.shape)
    if places.shape != values.shape or len(np.unique(places)) < 3:
        raise ValueError(
            f"fit_curve: {counted(len(values), 'value')} at {counted(len(np.unique(places)), 'distinct place')}, "
            "expected one value each at three or more."
        )
    if not (np.isfinite(places).all() and np.isfinite(values).all() and np.isfinite(sd).all() and (sd >= 0).all()):
        raise ValueError("fit_curve: places, values or noise are not finite; leave such points out.")
    begin, width = places.min(), np.ptp(places)
    centre, size = values.mean(), max(values.std(), 1e-12)
    u, v, e = (places - begin) / width, (values - centre) / size, np.maximum(sd / size, 1e-6)
    orders = [order for order in ORDERS if len(np.unique(places)) > order]
    found = [(order, rough, *_solve(u, v, e, order, rough)) for order in orders for rough in ROUGHNESS]
    likelihood = np.array([one[2] for one in found])
    weight = np.exp(likelihood - likelihood.max())
    kept = weight > 1e-4 * weight.max()
    weight = np.where(kept, weight, 0.0) / weight[kept].sum()
    # What is dropped leaves its place to the best, with weight 0: curves of one shape compile once.
    best = found[int(np.argmax(weight))]
    chosen = [one if keep else best for one, keep in zip(found, kept, strict=True)]
    mean = np.log(np.mean(np.exp(likelihood - likelihood.max()))) + likelihood.max()
    orders_of, roughness, _, solved, inverse = (np.stack(column) for column in zip(*chosen, strict=True))
    single = jnp.result_type(float)  # converted by numpy: jax would compile a program for each shape
    numbers = (u, solved, inverse, roughness, weight, begin, width, centre, size, mean)
    points, coefficients, inverses, rough, *rest = (jnp.asarray(np.asarray(a, single)) for a in numbers)
    return Curve(points, coefficients, inverses, jnp.asarray(orders_of), rough, *rest)


def _solve(u: np.ndarray, v: np.ndarray, e: np.ndarray, order: int, roughness: float) -> tuple[Any, ...]:
    """Restricted log likelihood, coefficients and inverse of the kriging system of one hypothesis.

    The system has three columns of drift whatever the order, so that hypotheses stack; an unused one is held at 0.
    """
    distance = np.abs(u[:, None] - u)
    power = 2 * order - 1
    sign = (-1) ** order
    scale = 2 * factorial(power)
    covariance = roughness**2 * sign * distance**power / scale + np.diag(e**2 + JITTER)
    drift = np.stack([u**k if k < order else np.zeros_like(u) for k in range(3)], axis=1)
    used = drift[:, :order]
    contrasts = np.linalg.svd(used, full_matrices=True)[0][:, order:]
    inner = contrasts.T @ covariance @ contrasts
    sign_of, logdet = np.linalg.slogdet(inner)
    seen = contrasts.T @ v
    likelihood = -0.5 * (logdet + seen @ np.linalg.solve(inner, seen)) if sign_of > 0 else -np.inf
    # Contrasts of other orders have other units: that of the drift's own Gram determinant makes them comparable.
    likelihood -= 0.5 * np.linalg.slogdet(used.T @ used)[1] if np.isfinite(likelihood) else 0.0
    corner = np.diag([0.0 if k < order else -1.0 for k in range(3)])
    inverse = np.linalg.inv(np.block([[covariance, drift], [drift.T, corner]]))
    solved = inverse @ np.concatenate([v, np.zeros(3)])
    # A third column that is fitted has its price: a standard normal prior on its coefficient.
    prior = -0.5 * solved[-1] ** 2 - np.log1p((roughness / EXPECTED) ** 2)
    return likelihood + prior, solved, inverse
