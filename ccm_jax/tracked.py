"""The path of a coordinate over time that a tracker finds, with intervals."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from ccm_jax._checks import check_level
from ccm_jax._shown import shown

Array = jax.Array


class Track(NamedTuple):
    """A filtered path: the estimate after each frame that follows the first window. Batches have a leading axis.

    Attributes:
        coordinate: estimated coordinate, ``[T, d]``.
        rate: change per frame, ``[T, d]``.
        std: standard deviation of the coordinate, with the tracker's ``bias_std``, ``[T, d]``.
        predicted: the predicted coordinate before each frame was observed, ``[T, d]``.
        error: relative L2 error of the rollout at ``coordinate`` that ends in the frame, ``[T]``; infinite if the frame
            gave no information.
    """

    coordinate: Array
    rate: Array
    std: Array
    predicted: Array
    error: Array

    def __repr__(self) -> str:
        return shown(self)

    def interval(self, level: float = 0.9) -> Array:
        """Credible intervals, low and high ends along the last axis: ``[T, d, 2]``."""
        reach = _quantile(level) * self.std
        return jnp.stack([self.coordinate - reach, self.coordinate + reach], axis=-1)

    def first_narrow(self, width: float, level: float = 0.9) -> Array:
        """The number K of frames after the first window at which every interval is at most ``width`` wide.

        Returns:
            The first K whose intervals are at most ``width`` wide, a whole number; -1 if there is none.
        """
        narrow = jnp.all(2 * _quantile(level) * self.std <= width, axis=-1)
        return jnp.where(jnp.any(narrow, axis=-1), jnp.argmax(narrow, axis=-1) + 1, -1)


def _quantile(level: float) -> Array:
    check_level("Track", level)
    return ndtri(jnp.asarray((1 + level) / 2, jnp.float32))
