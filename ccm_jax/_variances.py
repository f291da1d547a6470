"""Variances that BatchNorm remembers: a merge beyond the experts may make them negative, and networks then give NaN."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_merged, is_traced
from ccm_jax._doubts import warn

HOLDERS = ("value", "raw_value")  # in which Flax NNX keeps an array
NAMES = ("running_var", "moving_variance", "var")  # of PyTorch, Keras, Flax


def is_variance(name: str) -> bool:
    """Whether a leaf, by its name, holds the variances that BatchNorm remembers.

    Example:
        >>> [is_variance(name) for name in ("1.running_var", "batch_stats/norm/var", "bn.var.value", "var.weight")]
        [True, True, True, False]
    """
    return bool(variance_of(name))


def variance_of(name: str) -> str:
    """The end of a name that says that it is a variance, such as ``var.value``; empty for others."""
    parts = name.replace("/", ".").split(".")
    at = next((i for i in reversed(range(len(parts))) if parts[i] not in HOLDERS), 0)
    return ".".join(parts[at:]) if parts[at] in NAMES else ""


def negative_variance(tree: Any) -> tuple[str, float] | None:
    """The first leaf of variances with a negative number, and its lowest; None if there is none, or it is not known."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if is_variance(name) and is_merged(leaf) and not is_traced(leaf) and np.size(leaf):
            lowest = float(jnp.min(jnp.real(jnp.asarray(leaf))))
            if lowest < 0:
                return name, lowest
    return None


def warn_of_variance(function: str, tree: Any, anchor: Any) -> Any:
    """The tree; with a warning of variances that are negative in it, and not in its anchor, where they are known."""
    found = negative_variance(tree)
    if found is not None and negative_variance(anchor) is None:
        name, lowest = found
        warn(
            f"{function}: {name} becomes negative here ({lowest:.3g}), which is invalid for a variance: BatchNorm "
            "would give NaN. Merge nearer to the experts, or keep the anchor's with keep_leaves."
        )
    return tree
