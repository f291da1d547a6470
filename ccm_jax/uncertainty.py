"""The uncertainty of a readout's coordinate: learned on validation regimes, applied at the minimum found.

    var_found = inflation^2 * ((floor^2 + tightness^2 * loss / curvature) * far^2 + newton^2 + off^2)

Loss over curvature is the variance of a least-squares fit whose residuals have the size of the loss. Its factor, a
floor and the inflation that makes intervals cover are fitted; ``newton`` is the step that a minimum would still take,
which is large where a coordinate was drawn back from its minimum.

A coordinate ``a`` whose gate ``g`` is unusual on validation, near 0 above all, was never compared with a value there.
With the nearest usual gate, ``h``, it might have been ``a`` itself, or ``a h / g``, which has the same direction of the
update: ``off = |a| |h / g - 1|``, ``far = max(1, h / g)``. For usual gates they are 0 and 1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from ccm_jax._shown import shown
from ccm_jax.curve import Curve
from ccm_jax.forecast import Residual
from ccm_jax.membership import Membership
from ccm_jax.posterior import Posterior, Prior, log_prior

Array = jax.Array

TINY = 1e-12
ABRUPT = 1e-6  # of the variance at the outermost regime: less than this the curve's own may not grow, for precision
FALLS = 30.0  # deviations: by more than this no curve falls, for precision


class Local(NamedTuple):
    """The minimum that a readout ends at, for each trajectory and axis that is read as a value.

    Attributes:
        variance: loss over curvature, ``[N, d]``; infinite where the anchor is kept, which carries no information about
            the value.
        newton: length of the step that a minimum would still take, ``[N, d]``.
    """

    variance: Array
    newton: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Converts coordinates found by a readout into posteriors; see :func:`ccm_jax.fit_uncertainty`.

    Attributes:
        curves: for each axis the coordinate at which a value is found; empty where no regime was labelled.
        values: grid of physical values, ``[d, G]``.
        floor: scatter of found coordinates that no observation removes, ``[d]``.
        tightness: scatter per root of ``loss / curvature``, ``[d]``.
        inflation: factor by which intervals are widened to cover on validation, ``[d]``.
        membership: decides whether any point of the chart explains the frames.
        residual: the model's error at the right coordinate; None without future frames.
        logarithmic: for each axis whether its curve takes the logarithm of the value.
        gates: the smallest and the largest gate that are usual on validation, ``[2]``; None for a chart without a gate.
    """

    curves: tuple[Curve, ...]
    values: Array
    floor: Array
    tightness: Array
    inflation: Array
    membership: Membership | None = None
    residual: Residual | None = None
    logarithmic: tuple[bool, ...] = field(default=(), metadata={"static": True})
    gates: Array | None = None

    def __repr__(self) -> str:
        return shown(self)

    def deviation(self, local: Local, pooled: int = 1, found: Array | None = None) -> Array:
        """Standard deviations of coordinates ``[N, d]``; of one from ``pooled`` trajectories, ``[1, d]``.

        With the coordinates ``found``, ``[N, D]``, deviations are larger where their gate is unusual.
        """
        floor, tightness, inflation = (a[None] for a in (self.floor, self.tightness, self.inflation))
        # An infinite variance stays so, also where the tightness is 0.
        variance = jnp.where(jnp.isfinite(local.variance), tightness**2 * local.variance, jnp.inf)
        scatter = (floor**2 + variance) / pooled
        if found is None or self.gates is None:
            return inflation * jnp.sqrt(scatter + local.newton**2)
        gate = found[:, -1:]  # at 0 the anchor is kept: its variance is infinite already
        ratio = jnp.clip(gate, *self.gates) / jnp.where(gate > 0, gate, 1.0)
        off = found[:, : self.values.shape[0]] * (ratio - 1)
        return inflation * jnp.sqrt(scatter * jnp.maximum(ratio, 1.0) ** 2 + local.newton**2 + off**2)

    def __call__(self, found: Array, local: Local, prior: Prior | None = None, pooled: int = 1) -> Posterior:
        """The posterior of each coordinate ``[N, D]``, of which the first d axes are read as values."""
        posterior = _posterior(self, found, local, log_prior(prior, self.values), pooled)
        ends = self.reached()
        return (
            posterior if ends is None else posterior._replace(reached=jnp.broadcast_to(ends, (len(found), *ends.shape)))
        )

    def known(self) -> Array | None:
        """The lowest and the highest value of the validation regimes, ``[d, 2]``; None where none was labelled."""
        if not self.curves:
            return None
        ends = [jnp.stack([curve.begin, curve.begin + curve.width]) for curve in self.curves]
        return jnp.stack([jnp.exp(two) if log else two for two, log in zip(ends, self.logarithmic, strict=True)])

    def reached(self) -> Array | None:
        """Coordinates at which the lowest and the highest value are found, ``[d, 2]``; None where none was labelled."""
        if not self.curves:
            return None
        return jnp.stack([curve(jnp.stack([curve.begin, curve.begin + curve.width]))[0] for curve in self.curves])

    def expected(self) -> tuple[Array, Array]:
        """Mean and variance of the coordinate at which each value of the grid is found, ``[d, G]``."""
        if not self.curves:
            return self.values, jnp.zeros_like(self.values)
        rows = [
            curve(jnp.log(v) if log else v)
            for curve, v, log in zip(self.curves, self.values, self.logarithmic, strict=True)
        ]
        return jnp.stack([mean for mean, _ in rows]), jnp.stack([variance for _, variance in rows])


@functools.partial(jax.jit, static_argnames=("pooled",))
def _posterior(sure: Uncertainty, found: Array, local: Local, weight: Array, pooled: int) -> Posterior:
    """Of coordinates ``[N, D]``; ``weight`` is the logarithm of the prior on the grid, ``[d, G]``."""
    deviation, axes = sure.deviation(local, pooled, found), sure.values.shape[0]

    def one(c: Array, sd: Array) -> Posterior:
        centre, variance = sure.expected()
        measured = jnp.minimum(sd[:, None] ** 2, 1e12)
        total = jnp.maximum(variance + measured, TINY)  # where both are 0, nothing would be left
        log = weight - 0.5 * ((c[:axes, None] - centre) ** 2 / total + jnp.log(total))
        log = log + _monotone(sure, c[:axes], measured, centre, variance)
        probability = jax.nn.softmax(log, axis=-1)
        # Both the curve and the frames speak of the coordinate; each counts by its precision.
        share = variance / jnp.maximum(total, TINY)
        mean = centre + share * (c[:axes, None] - centre)
        return Posterior(
            sure.values, probability, mean, jnp.sqrt(share * measured), c[axes:], sure.known(), gates=sure.gates
        )

    return jax.vmap(one)(found, deviation)


def _monotone(sure: Uncertainty, c: Array, measured: Array, centre: Array, variance: Array) -> Array:
    """What it adds to the log likelihood ``[d, G]`` that the coordinate goes on in one direction beyond validation.

    Far outside, a curve through a few regimes may be anywhere, also back among their coordinates. With the curve's rise
    from the outermost regime on, of mean ``m`` and variance ``t^2``, taken to be positive, its normal likelihood of a
    coordinate that lies ``a`` beyond that regime's becomes that of a normal plus a truncated normal variable, by a
    factor

        Phi((m s^2 + a t^2) / (s t sqrt(s^2 + t^2))) / Phi(m / t),    s^2: variance of the coordinate at that regime

    Args:
        sure: with its curves.
        c: coordinates that were found, ``[d]``.
        measured: their variances, ``[d, 1]``.
        centre: of the curve on the grid, ``[d, G]``.
        variance: of the curve there, ``[d, G]``.

    Source: Azzalini and Capitanio, The Skew-Normal and Related Families (2014), section 2.2.
    """
    if not sure.curves:
        return jnp.zeros_like(centre)
    ends = [curve(jnp.stack([curve.begin, curve.begin + curve.width])) for curve in sure.curves]
    at, of = (jnp.stack([end[i] for end in ends])[..., None] for i in (0, 1))  # [d, 2, 1]
    known = sure.known()
    assert known is not None
    rising = jnp.sign(at[:, 1] - at[:, 0])[:, None] * jnp.array([-1.0, 1.0])[None, :, None]
    outside = jnp.stack([sure.values < known[:, :1], sure.values > known[:, 1:]], axis=1)  # [d, 2, G]
    s = of + measured[:, None]
    t = jnp.maximum(variance[:, None] - of, ABRUPT * s)
    m = jnp.maximum(rising * (centre[:, None] - at), -FALLS * jnp.sqrt(t))
    a = rising * (c[:, None, None] - at)
    factor = log_ndtr((m * s + a * t) / jnp.sqrt(s * t * (s + t))) - log_ndtr(m / jnp.sqrt(t))
    return jnp.sum(jnp.where(outside, factor, 0.0), axis=1)


def fit_scatter(residual: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Floor and tightness of normal residuals ``[n]``, by likelihood; ``variance`` is that of :class:`Local`."""
    size = float(np.sqrt(np.mean(residual**2)) + TINY)
    typical = float(np.sqrt(np.median(variance)) + TINY)
    shares = np.linspace(0.0, 1.5, 31)
    floor, tight = (a.ravel() for a in np.meshgrid(shares * size, shares * size / typical))
    total = floor[:, None] ** 2 + tight[:, None] ** 2 * variance + (1e-3 * size) ** 2
    score = (np.log(total) + residual**2 / total).sum(axis=1)
    best = int(np.argmin(score))
    return float(floor[best]), float(tight[best])


def usual_gates(gate: np.ndarray) -> np.ndarray:
    """The smallest and the largest gate ``[2]`` that are usual for gates ``[N]`` of validation.

    Those of a normal distribution of their mean and deviation, of which 99 % lie within, and in any case their own.

    Example:
        >>> usual_gates(np.array([0.9, 1.0, 1.1] * 4)).round(2).tolist()
        [0.74, 1.26]
    """
    share = 0.99
    z = NormalDist().inv_cdf(0.5 + share / 2)
    away = z * small_sample(len(gate) - 1, share) * gate.std(ddof=1)
    return np.array([max(min(gate.min(), gate.mean() - away), 0.0), max(gate.max(), gate.mean() + away)])


def small_sample(freedom: int, level: float = 0.9) -> float:
    """The factor by which a normal interval grows where the deviation was estimated with so many degrees of freedom.

    That of Student's distribution, by the expansion of its quantile.

    Example:
        >>> [round(small_sample(freedom), 2) for freedom in (3, 5, 10, 90)]
        [1.43, 1.22, 1.1, 1.01]

    Source: Abramowitz and Stegun (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return 1 + sum(term / freedom ** (i + 1) for i, term in enumerate(terms)) / z


def inflation_of(standardised: Sequence[float] | np.ndarray, level: float = 0.9) -> float:
    """The factor by which deviations grow so that a central interval of normal errors covers a share ``level``.

    That of split conformal prediction: the quantile is corrected for the number of residuals.
    """
    z = np.sort(np.abs(np.asarray(standardised, float)))
    rank = min(len(z), int(np.ceil((len(z) + 1) * level))) - 1
    return float(z[rank]) / NormalDist().inv_cdf(0.5 + level / 2)
