"""The paper's line through two endpoint experts, the simplest chart."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import check_finite, check_same_tree, counted, is_merged, kind_of
from ccm_jax._doubts import warn_alike, warn_far, warn_not_finite
from ccm_jax._shown import shown
from ccm_jax._updates import update_of
from ccm_jax._variances import warn_of_variance
from ccm_jax.chart import fit_chart

if TYPE_CHECKING:
    from ccm_jax.coordinate import Estimate

Array = jax.Array
Params = Any
How = ParamSpec("How")

_REMEDY = "experts must be fine-tuned from this anchor."


class Split(NamedTuple):
    """The two parts of a pair of weight updates; leaves that do not merge are zeros in both."""

    shared: Params
    direction: Params

    def __repr__(self) -> str:
        return shown(self)


def split_residuals(anchor: Params, low: Params, high: Params) -> Split:
    """Splits two weight updates into a shared update and a physical direction.

        shared = (high + low) / 2 - anchor,    direction = (high - low) / 2

    The updates are the residuals ``low - anchor`` and ``high - anchor``, also known as task vectors.

    Args:
        anchor: weights of the family anchor.
        low: weights of the expert at the low end of the parameter, fine-tuned from ``anchor``.
        high: weights of the expert at the high end.

    Returns:
        ``Split(shared, direction)``, trees like ``anchor``.

    Raises:
        ValueError: if the trees differ in structure, shapes or dtypes.

    Example:
        >>> split = split_residuals({"w": jnp.ones(2)}, {"w": jnp.zeros(2)}, {"w": jnp.full(2, 4.0)})
        >>> split.shared["w"].tolist(), split.direction["w"].tolist()
        ([1.0, 1.0], [2.0, 2.0])

    Reference: Discovering Physical Directions in Weight Space, arXiv 2605.14546.
    """
    check_same_tree("split_residuals", {"anchor": anchor, "low": low, "high": high}, _REMEDY)
    basis = fit_chart(anchor, [low, high], [-1.0, 1.0]).basis

    def part(j: int) -> Params:  # as narrow as the weights, which a chart's basis is not
        def one(leaf: Array, like: Any) -> Array:
            return leaf[j].astype(jnp.asarray(like).dtype) if is_merged(like) else _nothing(like)

        return jax.tree.map(one, basis, anchor)

    return Split(part(0), part(1))


def _nothing(like: Any) -> Array:
    """The update of a leaf that does not merge; of keys, to which nothing can be added, none."""
    key = jnp.issubdtype(getattr(like, "dtype", np.dtype(int)), jax.dtypes.extended)
    return jnp.zeros(0) if key else jnp.zeros_like(like)


def _one_by_one(function: Callable[How, Params]) -> Callable[How, Params]:
    """Says how experts are given where they come as a list, before Python misses an argument."""

    @functools.wraps(function)
    def checked(*given: How.args, **named: How.kwargs) -> Params:
        if len(given) == 3 and isinstance(given[1], (list, tuple)) and not named.keys() & {"high", "coordinate"}:
            raise ValueError(
                f"merge_pytree: low is {kind_of(given[1])} of {counted(len(given[1]), 'tree')}, expected one "
                "expert; the arguments are (anchor, low, high, coordinate): pass *[low, high], or for more experts "
                "fit_chart(anchor, experts, coordinates)."
            )
        return function(*given, **named)

    return checked


@_one_by_one
def merge_pytree(
    anchor: Params,
    low: Params,
    high: Params,
    coordinate: float | Array | Estimate,
    *,
    shared_scale: float | Array = 1.0,
    in_place: bool = False,
) -> Params:
    """Merges an anchor and two endpoint experts at a coordinate of the physical direction.

        weights = anchor + shared_scale * shared + coordinate * direction

    -1 gives the low expert, +1 the high one, 0 their average, and beyond ±1 the line extrapolates. With ``shared_scale
    = 0`` and ``coordinate = 0`` it is the anchor. Equivalent to ``fit_chart`` with two experts, but in one pass over
    the leaves, without storing both parts. Works under ``jit``, ``grad``, and ``vmap`` over the coordinate, and keeps
    the dtype of each leaf (as everywhere in jax, 64-bit floats only with ``jax_enable_x64``; leaves that do not merge
    are returned unchanged).

    Args:
        anchor: weights of the family anchor, a tree of arrays of any framework that jax reads.
        low: weights of the expert at the low end of the parameter.
        high: weights of the expert at the high end.
        coordinate: position on the physical direction, a scalar, or an :class:`~ccm_jax.Estimate` of one.
        shared_scale: weight of the shared update, a scalar.
        in_place: whether to reuse the memory of ``anchor``, whose arrays are then deleted (except those shared with an
            expert).

    Returns:
        A tree like ``anchor``.

    Raises:
        ValueError: if the trees differ in structure, shapes or dtypes, or if integer, boolean or key leaves
            are not equal.

    Example:
        >>> anchor, low, high = {"w": jnp.zeros(2)}, {"w": -jnp.ones(2)}, {"w": jnp.ones(2)}
        >>> merge_pytree(anchor, low, high, 1.5)["w"].tolist()
        [1.5, 1.5]
    """
    given = {"anchor": anchor, "low": low, "high": high}
    check_same_tree("merge_pytree", given, _REMEDY)
    warn_alike("merge_pytree", given)
    place: Any = getattr(coordinate, "coordinate", coordinate)
    for name, value in (("coordinate", place), ("shared_scale", shared_scale)):
        if np.size(value) != 1:
            raise ValueError(
                f"merge_pytree: {name} has shape {np.shape(value)}, expected a scalar; for several at once use "
                "jax.vmap, for a gate or several physical axes fit_chart and chart(coordinate)."
            )
        check_finite("merge_pytree", name, value)
    warn_far("merge_pytree", place)
    alpha = jnp.asarray(place, float).reshape(())
    sigma = jnp.asarray(shared_scale, float).reshape(())
    leaves = [jax.tree.leaves(tree) for tree in (anchor, low, high)]
    # Memory that another leaf shares (frozen layers, tied weights) is not given away.
    owners = collections.Counter(part for tree in leaves for leaf in tree for part in _memory(leaf) if in_place)

    def merge(a: Any, lo: Any, hi: Any) -> Any:
        if not is_merged(a):
            return a  # outside of jit, which would cut 64 bits
        alone = in_place and all(owners[part] == 1 for part in _memory(a))
        return (_merge_leaf_in_place if alone else _merge_leaf_apart)(a, lo, hi, alpha, sigma)

    merged = [merge(*parts) for parts in zip(*leaves, strict=True)]
    tree = jax.tree.unflatten(jax.tree.structure(anchor), merged)
    warn_not_finite("merge_pytree", tree, "merged", given)
    return tree if in_place else warn_of_variance("merge_pytree", tree, anchor)  # of memory that was not given away


def _memory(leaf: Any) -> list[int]:
    """What tells whether two leaves share memory: addresses of buffers, of which several arrays may be views."""
    if not is_merged(leaf) or not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
        return [id(leaf)]
    return [shard.data.unsafe_buffer_pointer() for shard in leaf.addressable_shards]


def _merge_leaf(anchor: Array, low: Array, high: Array, alpha: Array, sigma: Array) -> Array:
    minus, plus = update_of(low, anchor), update_of(high, anchor)
    a = anchor.astype(minus.dtype)
    alpha, sigma = alpha.astype(a.real.dtype), sigma.astype(a.real.dtype)
    merged = a + (sigma - alpha) / 2 * minus + (sigma + alpha) / 2 * plus
    return merged.astype(anchor.dtype)


_merge_leaf_apart = jax.jit(_merge_leaf)
_merge_leaf_in_place = jax.jit(_merge_leaf, donate_argnums=0)
