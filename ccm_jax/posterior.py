"""The posterior over the physical value and over the coordinate, given observed frames.

    p(value | found) ~ p(value) N(found; curve(value), var_curve(value) + var_found)

The curve models the coordinate at which trajectories of a value are found. :func:`ccm_jax.fit_uncertainty` fits it and
both variances on validation regimes. The posterior is stored on a grid, so that it can have any shape.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import check_level, check_real, is_traced, kind_of
from ccm_jax._shown import shown

Array = jax.Array
CUT = 0.02  # of the largest probability: more than this at an end of the grid is cut off


class Prior(NamedTuple):
    """Uncertain metadata: a normal distribution of the physical value, on each axis.

    Attributes:
        value: mean of that distribution, in units of the axis; a number or ``[d]``.
        deviation: its standard deviation, positive; infinite for no information.
    """

    value: Any
    deviation: Any


class Posterior(NamedTuple):
    """Probabilities on a grid of physical values for each axis; a batch has one leading axis more.

    Attributes:
        values: physical values in rising order, ``[d, G]``; coordinates where no regime was labelled.
        probability: probability of each value, with sum 1, ``[d, G]``.
        mean: mean of the coordinate, given the value, ``[d, G]``.
        deviation: standard deviation of the coordinate, given the value, ``[d, G]``.
        rest: coordinates that are not read as a value, the gate, ``[D - d]``.
        known: lowest and highest value of the validation regimes, ``[d, 2]``; None where no regime was labelled.
        reached: coordinates found at these two values, ``[d, 2]``; None where no regime was labelled.
        gates: the smallest and the largest gate that are usual on validation, ``[2]``; None without a gate.
    """

    values: Array
    probability: Array
    mean: Array
    deviation: Array
    rest: Array
    known: Array | None = None
    reached: Array | None = None
    gates: Array | None = None

    def __repr__(self) -> str:
        if is_traced(self) or not all(getattr(leaf, "is_fully_addressable", True) for leaf in self):
            return shown(self)
        outside = None if self.known is None else self.beyond()
        return shown(self, **{"value()": self.value(), "interval(0.9)": self.interval(), "beyond()": outside})

    def value(self) -> Array:
        """The median physical value of each axis, ``[d]``."""
        return self.quantile(0.5)

    def quantile(self, q: float | Array) -> Array:
        """The physical value below which a share ``q`` of the probability lies, on each axis, ``[..., d]``."""

        return _quantile(self.values, self.probability, jnp.asarray(q, self.values.dtype))

    def interval(self, level: float = 0.9) -> Array:
        """The central credible interval of the physical value on each axis, ``[..., d, 2]``.

        Raises:
            ValueError: for a level that is not between 0 and 1.
        """
        check_level("Posterior.interval", level)
        tail = (1 - level) / 2
        return jnp.stack([self.quantile(tail), self.quantile(1 - tail)], axis=-1)

    def flat(self, level: float = 0.9) -> Array:
        """Whether an interval is nearly as wide as the grid, because the frames are uninformative; ``[..., d]``."""
        ends = self.interval(level)
        whole = level * (self.values[..., -1] - self.values[..., 0])
        return ends[..., 1] - ends[..., 0] > 0.9 * whole

    def beyond(self) -> Array:
        """Whether the value lies outside the validation regimes, where intervals are not calibrated; ``[..., d]``."""
        if self.known is None:
            return jnp.zeros(self.probability.shape[:-1], bool)
        value = self.value()
        return (value < self.known[..., 0]) | (value > self.known[..., 1])

    def partly_beyond(self, level: float = 0.9) -> Array:
        """Whether the value lies inside the validation regimes and part of its interval outside, ``[..., d]``."""
        if self.known is None:
            return jnp.zeros(self.probability.shape[:-1], bool)
        ends = self.interval(level)
        return ((ends[..., 0] < self.known[..., 0]) | (ends[..., 1] > self.known[..., 1])) & ~self.beyond()

    def unusual_gate(self) -> Array:
        """Whether the gate is unusual on validation, so that intervals are wider for it; ``[...]``."""
        if self.gates is None:
            return jnp.zeros(self.rest.shape[:-1], bool)
        gate = self.rest[..., -1]
        return ((gate < self.gates[..., 0]) | (gate > self.gates[..., 1])) & (gate > 0)

    def cut(self) -> Array:
        """Whether the grid ends, below and above, before the probability has become small; ``[..., d, 2]``.

        That end of an interval is then not known: it depends on where the grid was made to end.
        """
        ends = jnp.stack([self.probability[..., 0], self.probability[..., -1]], axis=-1)
        return ends > CUT * self.probability.max(axis=-1)[..., None]

    def coordinate(self) -> Array:
        """The mean coordinate, ``[..., D]``."""
        return jnp.concatenate([jnp.sum(self.probability * self.mean, axis=-1), self.rest], axis=-1)

    def coordinate_deviation(self) -> Array:
        """The standard deviation of the coordinate on each axis, ``[..., d]``."""
        middle = jnp.sum(self.probability * self.mean, axis=-1, keepdims=True)
        second = jnp.sum(self.probability * (self.deviation**2 + (self.mean - middle) ** 2), axis=-1)
        return jnp.sqrt(second)

    def sample(self, key: Array, n: int) -> Array:
        """Draws coordinates, ``[n, ..., D]``: weights to roll out for a predictive distribution."""
        if not hasattr(key, "dtype"):
            raise ValueError(f"Posterior.sample: key is {kind_of(key)}, expected a key of jax.random.key(seed).")
        place, noise = jax.random.split(key)
        shape = (n, *self.probability.shape[:-1])
        index = jax.random.categorical(place, jnp.log(self.probability), shape=shape)[..., None]
        drawn = [
            jnp.take_along_axis(jnp.broadcast_to(a, (n, *a.shape)), index, axis=-1)[..., 0]
            for a in (self.mean, self.deviation)
        ]
        c = drawn[0] + drawn[1] * jax.random.normal(noise, shape, drawn[0].dtype)
        return jnp.concatenate([c, jnp.broadcast_to(self.rest, (n, *self.rest.shape))], axis=-1)


@jax.jit
def _quantile(values: Array, probability: Array, q: Array) -> Array:
    def one(values: Array, probability: Array) -> Array:
        # The grid's cells are centred on its values, so half of a cell lies below its value.
        below = jnp.cumsum(probability) - probability / 2
        return jnp.interp(q, below, values)

    return jnp.vectorize(one, signature="(g),(g)->()")(values, probability)


def log_prior(prior: Prior | None, values: Array) -> Array:
    """The logarithm of a prior on a grid ``[d, G]``, without its constant; 0 without one.

    A prior that is narrower than half a cell of the grid is shared among the two values that its own lies between.

    Raises:
        ValueError: for a width that is not above 0, or a value that is not finite, or beyond the grid.
    """
    if prior is None:
        return jnp.zeros_like(values)
    for name, number in zip(Prior._fields, prior, strict=True):
        check_real(f"PrefixReadout: the prior's {name} is", number)
    value, deviation = (jnp.broadcast_to(jnp.asarray(a, values.dtype), values.shape[:1]) for a in prior)
    known = not (is_traced(value) or is_traced(deviation))
    if known and not (np.isfinite(value).all() and (np.asarray(deviation) > 0).all()):
        raise ValueError(
            f"PrefixReadout: prior is {tuple(prior)}, expected a finite value and a deviation above 0; a value that is "
            "known for certain needs no prior: use fit_scale_readout."
        )
    if known and not is_traced(values):
        beyond = np.flatnonzero((value < values[:, 0]) | (value > values[:, -1]))
        if len(beyond):
            i = int(beyond[0])
            raise ValueError(
                f"PrefixReadout: prior has the value {float(value[i]):g} on axis {i}, expected within "
                f"{float(values[i, 0]):.4g} to {float(values[i, -1]):.4g}, the range that validation reaches; check "
                "its unit, or fit_uncertainty on regimes nearer to it, or with a larger reach."
            )
    cell, away = (values[:, 1] - values[:, 0])[:, None], jnp.abs(values - value[:, None])
    shares = jnp.where(away < cell, 1 - away / cell, 1.0)  # the logarithm of 0 has no derivative
    shared = jnp.where(away < cell, jnp.log(shares), -jnp.inf)
    bell = -0.5 * (away / jnp.maximum(deviation[:, None], cell / 2)) ** 2
    return jnp.where(deviation[:, None] < cell / 2, shared, bell)
