"""The geometry of weight updates: norms and cosines, leaf by leaf, as evidence for or against a direction."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ccm_jax._checks import check_same_tree, is_merged
from ccm_jax._updates import update_of

__all__ = ["LayerGeometry", "residual_geometry", "tree_cosine", "tree_norm", "tree_vdot"]

Array = jax.Array
Params = Any


def __dir__() -> list[str]:
    return sorted(__all__)


class LayerGeometry(NamedTuple):
    """Updates of two experts relative to their anchor, in one leaf (or in the whole tree).

    Attributes:
        name: path of the leaf.
        anchor_norm: norm of the anchor's leaf.
        low_norm: norm of the low expert's update.
        high_norm: norm of the high expert's update.
        shared_norm: norm of the shared update.
        direction_norm: norm of the physical direction.
        cosine: cosine between the two updates; -1 is a pure direction, +1 a pure shared update.
    """

    name: str
    anchor_norm: Array
    low_norm: Array
    high_norm: Array
    shared_norm: Array
    direction_norm: Array
    cosine: Array


def tree_vdot(a: Params, b: Params) -> Array:
    """Real inner product over all leaves that merge, at least in float32; complex leaves count as pairs of reals."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    wide = ((x, y, jnp.promote_types(x.dtype, jnp.float32)) for x, y in pairs if is_merged(x) and x.size)
    return jnp.asarray(sum(jnp.vdot(x.astype(t), y.astype(t)).real for x, y, t in wide), float)


def tree_norm(a: Params) -> Array:
    """Euclidean norm over all leaves that merge."""
    return jnp.sqrt(tree_vdot(a, a))


def tree_cosine(a: Params, b: Params) -> Array:
    """Cosine between two trees; 0 if either is zero."""
    norms = tree_norm(a) * tree_norm(b)
    return jnp.where(norms > 0, tree_vdot(a, b) / jnp.where(norms > 0, norms, 1.0), 0.0)


def residual_geometry(anchor: Params, low: Params, high: Params) -> list[LayerGeometry]:
    """Norms and cosines of the residuals, i.e. weight updates (task vectors), leaf by leaf.

    The last entry, ``"(all)"``, is the whole tree.
    """
    check_same_tree(
        "residual_geometry", {"anchor": anchor, "low": low, "high": high}, "pass an anchor and its experts."
    )
    named = jax.tree_util.tree_flatten_with_path(anchor)[0]
    paths = [jax.tree_util.keystr(path) for path, leaf in named if is_merged(leaf)]
    merged = [[leaf for leaf in jax.tree.leaves(tree) if is_merged(leaf)] for tree in (anchor, low, high)]
    leaves = [_products(*parts) for parts in zip(*merged, strict=True)]
    zero = (jnp.zeros(()),) * 6
    whole = tuple(sum(column) for column in zip(zero, *leaves, strict=True))
    return [LayerGeometry(name, *_row(*sums)) for name, sums in zip([*paths, "(all)"], [*leaves, whole], strict=True)]


@jax.jit
def _products(anchor: Array, low: Array, high: Array) -> tuple[Array, ...]:
    """Squared norms of a leaf, of its two updates and of their two parts, and the inner product of the updates."""
    minus, plus = update_of(low, anchor), update_of(high, anchor)
    shared, direction = (plus + minus) / 2, (plus - minus) / 2
    squares = (tree_vdot(a, a) for a in (anchor, minus, plus, shared, direction))
    return (*squares, tree_vdot(minus, plus))


@jax.jit
def _row(*sums: Array) -> tuple[Array, ...]:
    """The norms, and the cosine between the updates; 0 if either is zero."""
    *squares, inner = sums
    norms = [jnp.sqrt(square) for square in squares]
    product = norms[1] * norms[2]
    return (*norms, jnp.where(product > 0, inner / jnp.where(product > 0, product, 1.0), 0.0))
