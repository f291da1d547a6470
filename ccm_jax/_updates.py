"""The update of an expert's leaf from the anchor's: also known as residual, or task vector."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def update_of(expert: Array, anchor: Array) -> Array:
    """``expert - anchor``, at least in single precision; 0 where both are the same infinity, as in masks."""
    wide = jnp.promote_types(anchor.dtype, jnp.float32)
    same = jnp.isinf(anchor) & (expert == anchor)
    return jnp.where(same, 0, expert.astype(wide) - anchor.astype(wide))
