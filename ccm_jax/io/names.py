"""Nested parameters as flat arrays by name, and back: what files of named arrays can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from ccm_jax._article import with_article
from ccm_jax._names import dotted


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and lists as one dictionary, names and numbers joined by dots.

    Args:
        tree: arrays in dictionaries, lists and tuples; ``None`` is an empty place. Of other pytrees, such as a module
            of Equinox or the state of nnx, the arrays are taken, as ``layers.0.weight``; their other leaves are not.
        prefix: what all names begin with.

    Raises:
        ValueError: if two names become one, or for a leaf that is no array.
    """
    if isinstance(tree, Mapping):
        items = [(str(key), value) for key, value in tree.items()]
    elif isinstance(tree, (list, tuple)):
        items = [(str(i), value) for i, value in enumerate(tree)]
    elif tree is None:
        return {}
    elif _is_array(tree):
        return {prefix: tree}
    elif not jax.tree_util.all_leaves([tree]):
        items = [(_name_of(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if _is_array(leaf)]
    else:
        raise ValueError(
            f"flatten: {prefix or '(root)'} is {with_article(type(tree).__name__)}, expected arrays in dictionaries "
            "and lists."
        )
    flat: dict[str, Any] = {}
    for key, value in items:
        for name, leaf in flatten(value, f"{prefix}.{key}" if prefix else key).items():
            if name in flat:
                raise ValueError(f"flatten: two leaves become {name!r}; rename one.")
            flat[name] = leaf
    return flat


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _name_of(path: Any) -> str:
    """The path of a leaf, without the ``value`` that nnx puts at its end."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries again: names are cut at dots, or at slashes where they have no dots.

    Raises:
        ValueError: if a name is both a leaf and a folder of leaves.
    """
    tree: dict[str, Any] = {}
    for name, leaf in dotted(flat).items():
        *path, last = name.split(".")
        node = tree
        for key in path:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ValueError(f"unflatten: {name!r} lies below another leaf; use the flat names.")
        if last in node:
            raise ValueError(f"unflatten: {name!r} is a leaf and holds others; use the flat names.")
        node[last] = leaf
    return tree


def restore(flat: Mapping[str, Any], like: Any, prefix: str = "") -> Any:
    """The other way round from :func:`flatten`, into the containers of ``like``."""
    if isinstance(like, Mapping):
        return {key: restore(flat, value, f"{prefix}.{key}" if prefix else str(key)) for key, value in like.items()}
    if isinstance(like, (list, tuple)):
        return [restore(flat, value, f"{prefix}.{i}" if prefix else str(i)) for i, value in enumerate(like)]
    return None if like is None else flat[prefix]
