"""Names of the leaves of a tree in a file: joined by dots, or by slashes, as flax.traverse_util does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dotted(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays by names that are joined by dots; slashes are taken for dots where no name has a dot.

    Example:
        >>> dotted({"Dense_0/bias": 1, "Dense_0/kernel": 2})
        {'Dense_0.bias': 1, 'Dense_0.kernel': 2}
    """
    slashes = not any("." in name for name in arrays)
    return {name.replace("/", ".") if slashes else name: leaf for name, leaf in arrays.items()}


def at_level(arrays: Mapping[str, Any], wanted: set[str], level: str = "params") -> dict[str, Any]:
    """Arrays by name with or without a first level, as those that are wanted have it.

    Example:
        >>> at_level({"params.w": 1}, {"w"}), at_level({"w": 1}, {"params.w"})
        ({'w': 1}, {'params.w': 1})
    """
    first = f"{level}."
    there, asked = (bool(names) and all(n.startswith(first) for n in names) for names in (arrays, wanted))
    if there == asked:
        return dict(arrays)
    return {name.removeprefix(first) if there else first + name: leaf for name, leaf in arrays.items()}
