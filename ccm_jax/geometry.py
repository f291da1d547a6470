"""The geometry of weight updates: norms and cosines, leaf by leaf, as evidence for or against a direction."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ccm_jax._checks import check_same_tree, is_merged
from ccm_jax.merge import split_residuals

Array = jax.Array
Params = Any


class LayerGeometry(NamedTuple):
    """How two experts left their anchor, in one leaf (or in the whole tree).

    Attributes:
        name: path of the leaf.
        anchor_norm: norm of the anchor's leaf.
        low_norm: norm of the low expert's update.
        high_norm: norm of the high expert's update.
        shared_norm: norm of the shared adaptation.
        direction_norm: norm of the physical direction.
        cosine: cosine between the two updates; -1 is a pure direction, +1 a pure shared adaptation.
    """

    name: str
    anchor_norm: Array
    low_norm: Array
    high_norm: Array
    shared_norm: Array
    direction_norm: Array
    cosine: Array


def tree_vdot(a: Params, b: Params) -> Array:
    """Real inner product over all leaves that merge; complex leaves count as pairs of reals."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return jnp.asarray(sum(jnp.vdot(x, y).real for x, y in pairs if is_merged(x) and x.size), float)


def tree_norm(a: Params) -> Array:
    """Euclidean norm over all leaves that merge."""
    return jnp.sqrt(tree_vdot(a, a))


def tree_cosine(a: Params, b: Params) -> Array:
    """Cosine between two trees; 0 if either is zero."""
    norms = tree_norm(a) * tree_norm(b)
    return jnp.where(norms > 0, tree_vdot(a, b) / jnp.where(norms > 0, norms, 1.0), 0.0)


def residual_geometry(anchor: Params, low: Params, high: Params) -> list[LayerGeometry]:
    """Norms and cosines of the residuals per leaf; the last entry, ``"(all)"``, is the whole tree."""
    check_same_tree("residual_geometry", {"anchor": anchor, "low": low, "high": high}, "give one family.")
    split = split_residuals(anchor, low, high)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(anchor)[0]]
    columns = [jax.tree.leaves(tree) for tree in (anchor, split.shared, split.direction)]
    rows = [(name, *leaves) for name, *leaves in zip(paths, *columns, strict=True) if is_merged(leaves[0])]
    rows.append(("(all)", *([row[j] for row in rows] for j in (1, 2, 3))))
    result = []
    for name, base, shared, direction in rows:
        plus = jax.tree.map(jnp.add, shared, direction)
        minus = jax.tree.map(jnp.subtract, shared, direction)
        norms = (tree_norm(t) for t in (base, minus, plus, shared, direction))
        result.append(LayerGeometry(name, *norms, tree_cosine(minus, plus)))
    return result
