"""A correction inside the range of the experts, which leaves the line as it is at the ends and beyond."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ccm_jax.chart import FEATURES

Array = jax.Array


@dataclass(frozen=True)
class Interior:
    """The line, and ``max(0, 1 - c^2)``: ``(1, c, max(0, 1 - c^2))``.

    A quadratic through a third expert in the middle bends the chart everywhere, and extrapolation pays for what
    interpolation gains. This correction is zero at the experts of the ends, at -1 and +1, and beyond.

    Example:
        >>> Interior()(jnp.array([0.5])).tolist(), Interior()(jnp.array([2.0])).tolist()
        ([1.0, 0.5, 0.75], [1.0, 2.0, 0.0])
    """

    dim: int = 1

    def __post_init__(self) -> None:
        if self.dim != 1:
            raise ValueError(f"Interior: dim is {self.dim}, expected 1; use Polynomial for several coordinates.")

    @property
    def constant(self) -> bool:
        """Whether ``1`` is a feature, which a gate can scale."""
        return True

    def __call__(self, coordinate: Array) -> Array:
        c = coordinate[0]
        return jnp.stack([jnp.ones_like(c), c, jnp.maximum(0.0, 1.0 - c**2)])


FEATURES["Interior"] = Interior
