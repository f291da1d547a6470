"""Convolutions in training on CPU, where XLA runs their gradient many times slower inside a loop than outside.

Source: https://github.com/jax-ml/jax/issues/12868
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ccm_jax.rollout import Apply, RolloutFn, advance, make_rollout


def slow_in_loops(function: Callable[..., Any], *given: Any) -> bool:
    """Whether a function that is to be differentiated has convolutions, and runs on CPU.

    Args:
        function: of trees of arrays.
        *given: its arguments; shapes are enough. False where it does not take them.
    """
    if jax.default_backend() != "cpu":
        return False
    leaves, structure = jax.tree.flatten(given)
    try:
        return _has_convolutions(function, structure, tuple((jnp.shape(x), jnp.result_type(x)) for x in leaves))
    except Exception:  # networks of others may raise anything, and say it better where they are called
        return False


@functools.lru_cache(maxsize=64)
def _has_convolutions(function: Callable[..., Any], structure: Any, shapes: tuple[Any, ...]) -> bool:
    given = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*each) for each in shapes])
    return "conv_general_dilated" in str(jax.make_jaxpr(function)(*given))


def rollout_for_training(apply: Apply) -> RolloutFn:
    """``make_rollout(apply)``, without its loop over steps where the gradient of that would be slow."""
    rollout_fn = make_rollout(apply)

    def rollout(params: Any, window: jax.Array, steps: int) -> jax.Array:
        if not slow_in_loops(apply, params, window):
            return rollout_fn(params, window, steps)
        frames = []
        for _ in range(steps):
            window, frame = advance(apply, params, window)
            frames.append(frame)
        return jnp.stack(frames, axis=1)

    return rollout
