"""Random pytrees of weights, for property-based tests."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

DTYPES = (np.float32, np.complex64, jnp.bfloat16, np.int32, np.bool_)
SHAPES = ((), (1,), (3,), (2, 3), (3, 1, 2))  # few: every operation compiles once for each of them


@st.composite
def families(draw: st.DrawFn, count: int = 3, dtypes: tuple[Any, ...] = DTYPES) -> list[Any]:
    """``count`` trees of the same structure; leaves that do not merge are equal in all of them."""
    leaf = st.tuples(st.sampled_from(SHAPES), st.sampled_from(dtypes))

    def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(st.dictionaries(st.sampled_from("abc"), inner, max_size=3), st.lists(inner, max_size=2))

    layout = draw(st.recursive(leaf, nested, max_leaves=5))
    seed = draw(st.integers(0, 2**31 - 1))

    def build(layout: Any, rng: np.random.Generator, fixed: np.random.Generator) -> Any:
        if isinstance(layout, dict):
            return {key: build(value, rng, fixed) for key, value in layout.items()}
        if isinstance(layout, list):
            return [build(value, rng, fixed) for value in layout]
        shape, dtype = layout
        if np.issubdtype(dtype, np.complexfloating):
            return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape), dtype)
        if jnp.issubdtype(dtype, jnp.floating):
            return jnp.asarray(rng.normal(size=shape), dtype)
        return jnp.asarray(fixed.integers(0, 2, size=shape), dtype)

    return [build(layout, np.random.default_rng([seed, i]), np.random.default_rng(seed)) for i in range(count)]
