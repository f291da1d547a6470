"""An equation whose parameter changes while it is simulated.

Between two stored frames the parameter is constant, so every step is one of the equation's own; with the values at the
middles of the intervals the frames follow a smooth change to second order in the time between them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def rollout_drift(step_at: Callable[[Any], Callable[[Array], Array]], values: Any, state: Array) -> Array:
    """Frames of an equation with parameters of its own for every interval between two frames.

        u_{k+1} = step(values_k)(u_k)

    Args:
        step_at: ``value -> (state -> state)``, one interval at a value, which is traced.
        values: of the parameter, ``[T]``, or a tree of arrays ``[T, ...]`` for several.
        state: the first frame, ``[*space, C]``.

    Returns:
        ``[T + 1, *space, C]``, the first frame among them.

    Example:
        >>> from solvers.burgers import make_step
        >>> frames = rollout_drift(
        ...     lambda viscosity: make_step(dt=0.1, substeps=4, viscosity=viscosity),
        ...     jnp.linspace(1e-2, 3e-2, 5),
        ...     jnp.sin(2 * jnp.pi * jnp.arange(32) / 32)[:, None],
        ... )
        >>> frames.shape
        (6, 32, 1)
    """

    def body(state: Array, value: Any) -> tuple[Array, Array]:
        state = step_at(value)(state)
        return state, state

    _, frames = jax.lax.scan(body, state, values)
    return jnp.concatenate([state[None], frames])
