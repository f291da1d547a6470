"""An anchor and its experts side by side: names, types and counters that training wraps and counts differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax._wrappers import unwrapped
from ccm_jax.io.safetensors import check_same_names
from ccm_jax.io.weights import Weights

COUNTERS = ("num_batches_tracked", "n_averaged")  # of BatchNorm and averaged models: no prediction depends on them


def match(
    function: str, anchor: Weights, experts: Sequence[Weights], *, cast: bool = False
) -> tuple[list[Weights], list[str]]:
    """Gives experts the anchor's names where only wrappers differ, and its counters of batches.

    Args:
        function: for the messages.
        anchor: whose names and types count.
        experts: to be matched.
        cast: whether experts of another precision are converted, in memory; a merge of files reads them as they are.

    Returns:
        The experts, and what is to be said.

    Raises:
        ValueError: if they do not have the same names, shapes and kinds of numbers.
    """
    matched, notes, counted = [], [], []
    for expert in experts:
        arrays = dict(expert.arrays)
        if set(arrays) != set(anchor.arrays):
            arrays, seen = _renamed(anchor.arrays, arrays)
            notes += [f"{expert.path}: {seen}"] * bool(seen)
        kept = [name for name in arrays if name in anchor.arrays and _counts_differently(name, anchor.arrays, arrays)]
        if kept:
            arrays |= {name: anchor.arrays[name] for name in kept}
            counted.append((str(expert.path), f"counters ({kept[0]}{_more(kept)}) are left as the anchor's."))
        other = [
            name for name in arrays if name in anchor.arrays and _only_precision(anchor.arrays[name], arrays[name])
        ]
        checked = arrays | {name: _As(arrays[name], anchor.arrays[name].dtype) for name in other}
        check_same_names(function, str(anchor.path), anchor.arrays, str(expert.path), checked)
        if other:
            name = other[0]
            notes.append(
                f"{expert.path}: {name}{_more(other)} {'is' if len(other) == 1 else 'are'} {arrays[name].dtype}, and "
                f"{anchor.arrays[name].dtype} in the anchor; merged in the wider type, and stored as the anchor's."
            )
        if cast:
            arrays |= {name: np.asarray(arrays[name]).astype(anchor.arrays[name].dtype) for name in other}
        matched.append(expert._replace(arrays={name: arrays[name] for name in anchor.arrays}))
    for said in dict.fromkeys(said for _, said in counted):  # once for all experts of which it is true
        notes.append(f"{' and '.join(path for path, of in counted if of == said)}: {said}")
    return matched, notes


class _As:
    """An array as if it were of another type."""

    def __init__(self, leaf: np.ndarray, dtype: np.dtype) -> None:
        self.shape, self.dtype = leaf.shape, dtype


def _renamed(anchor: Mapping[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Arrays under the anchor's names, if those are the same without the prefixes of wrappers, and a note."""
    ours, theirs = ({plain: full for full, plain in unwrapped(names).items()} for names in (anchor, arrays))
    if set(ours) != set(theirs) or len(ours) != len(anchor) or len(theirs) != len(arrays):
        return arrays, ""
    plain, name = next((plain, full) for plain, full in theirs.items() if ours[plain] != full)
    note = f"names as {name} are taken for the anchor's {ours[plain]}."
    return {ours[plain]: arrays[full] for plain, full in theirs.items()}, note


def _counts_differently(name: str, anchor: Mapping[str, Any], arrays: Mapping[str, Any]) -> bool:
    if name.rpartition(".")[2] not in COUNTERS or np.shape(anchor[name]) != np.shape(arrays[name]):
        return False
    return anchor[name].dtype != arrays[name].dtype or not np.array_equal(anchor[name], arrays[name])


def _only_precision(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays differ in the precision of their numbers only."""
    both = all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in (a, b))
    return both and a.dtype != b.dtype and a.shape == b.shape and np.iscomplexobj(a) == np.iscomplexobj(b)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
