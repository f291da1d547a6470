"""Normalization of states: fitted once on the anchor's data and shared by every expert."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ccm_jax.rollout import Apply, RolloutFn

__all__ = ["Normalization", "fit_normalization", "normalized", "normalized_rollout"]

Array = jax.Array


def __dir__() -> list[str]:
    return sorted(__all__)


class Normalization(NamedTuple):
    """Mean and standard deviation of each channel, ``[C]``, in physical units."""

    mean: Array
    std: Array


def fit_normalization(trajectories: Array) -> Normalization:
    """Mean and standard deviation per channel of ``[..., C]``.

    Raises:
        ValueError: if a channel is constant, contains NaN or infinity, or has numbers whose squares overflow.
    """
    x = jnp.asarray(trajectories).reshape(-1, trajectories.shape[-1])
    mean, std = x.mean(axis=0), x.std(axis=0)
    if not bool(jnp.all(jnp.isfinite(mean) & jnp.isfinite(std))):
        raise ValueError(
            f"fit_normalization: means are {mean.tolist()} and standard deviations {std.tolist()}, expected finite "
            "numbers; drop trajectories that are not finite, or take units in which squares do not overflow."
        )
    if not bool(jnp.all(std > 0)):
        raise ValueError(f"fit_normalization: standard deviations are {std.tolist()}; drop channels that are constant.")
    return Normalization(mean, std)


def normalized(apply: Apply, normalization: Normalization) -> Apply:
    """Wraps a model of normalized states as a model of physical states, ``apply(params, window) -> frame``."""
    mean, std = normalization

    def physical(params: object, window: Array) -> Array:
        # An axis of its own for each axis of the state, so that silent rank promotion may be an error.
        shift, scale = (jnp.expand_dims(x, tuple(range(window.ndim - 1))) for x in (mean, std))
        return apply(params, (window - shift) / scale) * scale[0] + shift[0]

    return physical


def normalized_rollout(rollout_fn: RolloutFn, normalization: Normalization) -> RolloutFn:
    """Wraps a rollout of normalized states as one of physical states: scaled once before and once after."""
    mean, std = normalization

    def physical(params: object, window: Array, steps: int, *context: object) -> Array:
        shift, scale = (jnp.expand_dims(x, tuple(range(window.ndim - 1))) for x in (mean, std))
        return rollout_fn(params, (window - shift) / scale, steps, *context) * scale + shift

    return physical
