"""A correction inside the range of the experts that leaves the line unchanged at the ends and beyond."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ccm_jax._checks import as_count
from ccm_jax.chart import FEATURES

Array = jax.Array


@dataclass(frozen=True)
class Interior:
    """The line, and a bump between the ends: ``(1, c, b, c b, ...)`` with ``b = max(0, 1 - c^2)``.

    A quadratic through a third expert in the middle bends the chart everywhere: it improves interpolation at the cost
    of extrapolation. This correction is zero at -1 and +1, where the end experts stand, and beyond. With more than
    three experts, fit it with weights that keep the ends fixed, as :func:`~ccm_jax.choose_chart` does; plain least
    squares would let the inner experts move the line.

    Attributes:
        degree: number of corrections: 1 is symmetric, 2 may be asymmetric.

    Example:
        >>> Interior()(jnp.array([0.5])).tolist(), Interior()(jnp.array([2.0])).tolist()
        ([1.0, 0.5, 0.75], [1.0, 2.0, 0.0])
        >>> Interior(degree=2)(jnp.array([0.5])).tolist()
        [1.0, 0.5, 0.75, 0.375]
    """

    dim: int = 1
    degree: int = 1

    def __post_init__(self) -> None:
        if self.dim != 1:
            raise ValueError(f"Interior: dim is {self.dim}, expected 1; use Polynomial for several coordinates.")
        as_count("Interior: degree", self.degree)

    @property
    def constant(self) -> bool:
        """Whether ``1`` is a feature, which a gate can scale."""
        return True

    def __call__(self, coordinate: Array) -> Array:
        c = coordinate[0]
        bump = jnp.maximum(0.0, 1.0 - c**2)
        return jnp.stack([jnp.ones_like(c), c, *(bump * c**k for k in range(self.degree))])


FEATURES["Interior"] = Interior
