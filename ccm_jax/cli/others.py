"""The methods of others, of :data:`ccm_jax.baselines.BASELINES`, on the arrays of files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ccm_jax import baselines
from ccm_jax.baselines import BASELINES, complex_view, pair_view
from ccm_jax.cli.recipe import Recipe
from ccm_jax.io.description import model_name
from ccm_jax.io.stream import keep_equal_or_refuse, refuse_not_finite
from ccm_jax.io.weights import Weights
from ccm_jax.models import pairs_of

Arrays = dict[str, Any]

# Those that need nothing but weights and numbers.
OTHERS = tuple(name for name, baseline in BASELINES.items() if not baseline.needs)


def tells_coordinate(recipe: Recipe) -> bool:
    """Whether the merged weights depend on the coordinate of the recipe."""
    if recipe.method in BASELINES:
        return BASELINES[recipe.method].located and "t" not in dict(recipe.arguments)
    return True


def real_pairs(model: str | None) -> Callable[[str, Any], bool]:
    """Which arrays, by name, hold complex weights as pairs of reals: of registered networks, and of PyTorch's DPOT."""
    is_pair = pairs_of(model)
    return lambda name, leaf: is_pair(name.split("."), leaf)


def merge_by_other(recipe: Recipe, family: list[Weights], *, model: str | None = None) -> Arrays:
    """The weights that another method merges, in memory; pairs of reals are merged as the complex numbers they are.

    Args:
        recipe: the method, its arguments, and where to merge.
        family: the anchor and its experts.
        model: what the weights are of, see :data:`ccm_jax.io.description.HELP`.

    Raises:
        ValueError: for arguments that the method does not take, or weights that are not finite.
    """
    anchor, *experts = ({name: np.asarray(leaf) for name, leaf in weights.arrays.items()} for weights in family)
    for name in anchor:  # methods that trim or drop entries would lose a NaN without a word
        refuse_not_finite(name, [tree[name].reshape(-1) for tree in (anchor, *experts)])
    is_pair = real_pairs(model_name(family[0], model))
    wide = any(leaf.dtype.itemsize // (2 if leaf.dtype.kind == "c" else 1) == 8 for leaf in anchor.values())
    merge = BASELINES[recipe.method].merge
    before = jax.numpy.zeros(()).dtype == np.float64
    jax.config.update("jax_enable_x64", bool(before or wide))  # jax would cut numbers of 64 bits
    try:
        a, *e = (complex_view(tree, lambda path, leaf: is_pair(path[-1].key, leaf)) for tree in (anchor, *experts))
        merged = pair_view(merge(a, e, recipe.coordinates, recipe.coordinate, **dict(recipe.arguments)), anchor)
        found = {name: np.array(merged[name]).astype(leaf.dtype) for name, leaf in anchor.items()}  # jax sorts names
        for name, leaf in found.items():
            keep_equal_or_refuse(name, [tree[name].reshape(-1) for tree in (anchor, *experts)], leaf.reshape(-1))
        return found
    except TypeError as error:
        signatures = (inspect.signature(f).parameters.values() for f in (merge, getattr(baselines, recipe.method)))
        takes = list(dict.fromkeys(p.name for ps in signatures for p in ps if p.kind is p.KEYWORD_ONLY))
        unknown = [name for name, _ in recipe.arguments if name not in takes]
        said = f"takes no {unknown[0]}; there are: {', '.join(takes) or 'none'}" if unknown else str(error)
        raise ValueError(f"method {recipe.method}: {said}.") from error
    finally:
        jax.config.update("jax_enable_x64", bool(before))
