"""Features for several interacting physical parameters: products of distinct coordinates."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ccm_jax._checks import as_count
from ccm_jax.chart import FEATURES

Array = jax.Array


@dataclass(frozen=True)
class Multilinear:
    """All products of distinct coordinates, in order of their number: for two ``(1, a, b, a b)``.

    Four experts at the corners of a rectangle determine it: linear along each axis, with an interaction. Experts at the
    ends of two axes, with the other parameter in its middle, determine ``Polynomial(dim=2)``, which has none.

    Attributes:
        dim: number of coordinates.

    Example:
        >>> Multilinear(2)(jnp.array([2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0, 6.0]
    """

    dim: int = 2

    def __post_init__(self) -> None:
        as_count("Multilinear: dim", self.dim)

    @property
    def constant(self) -> bool:
        """Whether ``1`` is a feature, which a gate can scale."""
        return True

    def __call__(self, coordinate: Array) -> Array:
        terms = [term for n in range(self.dim + 1) for term in itertools.combinations(range(self.dim), n)]
        one = jnp.ones_like(coordinate[0])
        return jnp.stack([jnp.prod(jnp.stack([coordinate[i] for i in term])) if term else one for term in terms])


FEATURES["Multilinear"] = Multilinear
