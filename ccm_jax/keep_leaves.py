"""Leaves that a merge leaves alone, such as statistics of batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ccm_jax._checks import check_listed

Params = Any


def keep_leaves(anchor: Params, experts: Sequence[Params], keep: Callable[[str], bool]) -> list[Params]:
    """Experts whose chosen leaves are the anchor's, so that every merge of them has the anchor's value there.

    Statistics of batch normalization are such leaves: an extrapolated variance can become negative, and counters, which
    do not merge, must be equal.

    Args:
        anchor: weights of the family anchor.
        experts: trees like ``anchor``.
        keep: a function of the name of a leaf, as :func:`jax.tree_util.keystr` writes it, for instance
            ``"['norm']['var']"``; True where the leaf keeps the anchor's value.

    Returns:
        The experts, in the same order.

    Raises:
        ValueError: if no leaf is kept, or if an expert lacks one.

    Example:
        >>> import jax.numpy as jnp
        >>> from ccm_jax import merge_pytree
        >>> anchor = {"w": jnp.zeros(2), "norm": {"var": jnp.ones(2), "count": 3}}
        >>> low, high = ({"w": jnp.full(2, s), "norm": {"var": jnp.full(2, 2.0 + s), "count": 9}} for s in (-1.0, 1.0))
        >>> low, high = keep_leaves(anchor, [low, high], lambda name: "norm" in name)
        >>> merge_pytree(anchor, low, high, 2.0)["norm"]["var"].tolist(), low["norm"]["count"]
        ([1.0, 1.0], 3)
    """
    check_listed("keep_leaves", experts)
    ours = dict(jax.tree_util.tree_flatten_with_path(anchor)[0])
    names = {path: jax.tree_util.keystr(path) for path in ours}
    kept = {path for path, name in names.items() if keep(name)}
    if not kept:
        raise ValueError(f"keep_leaves: no leaf is kept; names are {', '.join(list(names.values())[:5])} and so on.")

    def one(i: int, expert: Params) -> Params:
        leaves, structure = jax.tree_util.tree_flatten_with_path(expert)
        missing = kept - {path for path, _ in leaves}
        if missing:
            name = names[missing.pop()]
            raise ValueError(f"keep_leaves: experts[{i}] has no leaf {name}, expected a tree like anchor.")
        return jax.tree.unflatten(structure, [ours[path] if path in kept else leaf for path, leaf in leaves])

    return [one(i, expert) for i, expert in enumerate(experts)]
