"""Merging leaf by leaf, from files to files: trees larger than memory merge too."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ccm_jax._variances import is_variance, variance_of

Place = tuple[Path, int]  # a file, and where in it bytes begin

BLOCK = 1 << 20  # numbers that are merged at a time: few enough for a cache, many for threads that share an interpreter


def fill(
    places: Mapping[str, Place],
    trees: Sequence[Mapping[str, np.ndarray]],
    weights: Callable[[str], np.ndarray],
    *,
    threads: int | None = None,
) -> None:
    """Writes ``anchor + sum_i weights(name)[i] (expert_i - anchor)`` to its places, a block of numbers at a time.

    Args:
        places: where the bytes of each tensor go, in files that are there.
        trees: arrays by name, the anchor's first; mapped ones are read as they are used.
        weights: of the experts, for each name.
        threads: that merge side by side; by default one a core.
    """

    def one(name: str, cut: slice) -> None:
        # Views, but a copy of a tensor that was saved transposed: only while its turn lasts.
        leaves = [t[name].reshape(-1)[cut] for t in trees]
        merged = np.empty_like(leaves[0])
        merge_block(leaves, weights(name), merged, name)
        path, begin = places[name]
        write_at(path, begin + cut.start * merged.itemsize, merged)
        for leaf in leaves:
            release(leaf)

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        jobs = [
            pool.submit(one, name, cut)
            for name, leaf in trees[0].items()
            for cut in (_cuts(leaf.size) if all(_in_order(t[name]) for t in trees) else [slice(0, leaf.size)])
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def release(leaf: np.ndarray) -> None:
    """Gives back the memory in which a flat leaf of a mapped file was read; it may be read again.

    Without that, all that was read stays until the system needs it, and counts as this process's.
    """
    whole = leaf
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if not isinstance(whole.base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED") or not leaf.size:
        return
    offset = getattr(whole, "offset", None)
    if offset is None or not leaf.flags.c_contiguous:  # one number that is met many times is no stretch of memory
        return
    page = mmap.PAGESIZE
    begin = leaf.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    begin += offset % mmap.ALLOCATIONGRANULARITY  # where the map begins
    first, last = -(-begin // page) * page, (begin + leaf.nbytes) // page * page
    if last > first:
        whole.base.madvise(mmap.MADV_DONTNEED, first, last - first)


def write_at(path: Path, begin: int, values: np.ndarray) -> None:
    """Writes numbers at a place in a file. (Mapped memory would be slower, and a full disk would end the process.)"""
    with open(path, "r+b") as file:
        file.seek(begin)
        file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def _in_order(leaf: np.ndarray) -> bool:
    return bool(np.asarray(leaf).flags.c_contiguous)


def _cuts(size: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, size)) for start in range(0, max(size, 1), BLOCK))


def merge_block(leaves: Sequence[np.ndarray], weights: np.ndarray, out: np.ndarray, name: str = "a leaf") -> None:
    """``out = leaves[0] + sum_i weights[i] (leaves[i + 1] - leaves[0])``, flat arrays, a cacheful at a time.

    A leaf of no weight is not read: on the line through two experts, the anchor's. Leaves that do not merge (integers,
    booleans) take the anchor's values, and must be equal unless all weights are 0. The sum is formed in the widest type
    of the leaves, of at least single precision, and stored in that of ``out``.

    What is not finite and equal in all leaves (a mask of -inf) stays as it is.

    Raises:
        ValueError: for such leaves that differ, for a variance that becomes negative, or for a sum that is not finite.
    """
    anchor, *experts = leaves
    if not jnp.issubdtype(anchor.dtype, jnp.inexact):
        if np.any(weights) and any(not np.array_equal(anchor, e) for e in experts):
            raise ValueError(
                f"merge_safetensors: {name}, of {anchor.dtype}, does not merge and differs between files; keep the "
                "anchor's (in a recipe: filters, keep: anchor), or make them equal."
            )
        out[...] = anchor
        return
    rest = 1.0 - float(np.sum(weights))
    if abs(rest) < 64 * np.finfo(np.float64).eps * float(np.sum(np.abs(weights))):  # what rounding left of nothing
        rest = 0.0
    wide = np.result_type(np.float32, *(_numpy_type(leaf.dtype) for leaf in leaves))
    weighted = [(leaf, wide.type(w)) for leaf, w in zip(leaves, [rest, *weights], strict=True) if w]
    (first, of_first), *others = weighted
    total, part = np.empty(min(BLOCK, anchor.size), wide), np.empty(min(BLOCK, anchor.size), wide)
    positive = is_variance(name) and float(np.min(anchor, initial=0.0)) >= 0
    for start in range(0, anchor.size, BLOCK):
        cut = slice(start, min(start + BLOCK, anchor.size))
        t, p = out[cut] if out.dtype == wide else total[: cut.stop - start], part[: cut.stop - start]
        with np.errstate(over="ignore", invalid="ignore"):  # checked below, by name
            np.multiply(first[cut], of_first, out=t)
            for leaf, weight in others:
                np.multiply(leaf[cut], weight, out=p)
                np.add(t, p, out=t)
            if positive:
                check_variance(name, t)
            if out.dtype != wide:
                out[cut] = t
            # One sum tells of most blocks that all is well; it may itself overflow.
            if not np.isfinite(np.sum(out[cut], dtype=wide)):
                keep_equal_or_refuse(name, [leaf[cut] for leaf in leaves], out[cut])


def refuse_not_finite(name: str, leaves: Sequence[np.ndarray]) -> None:
    """Raises ValueError for flat leaves that are not finite somewhere, unless they are equal there."""
    if not jnp.issubdtype(leaves[0].dtype, jnp.inexact):
        return
    finite = np.all([np.isfinite(leaf) for leaf in leaves], axis=0)
    keep_equal_or_refuse(name, leaves, np.where(finite, 0, np.nan).astype(leaves[0].dtype))


def keep_equal_or_refuse(name: str, leaves: Sequence[np.ndarray], out: np.ndarray) -> None:
    """Puts what all leaves have in common where a sum is not finite.

    Raises:
        ValueError: where they differ, with what is wrong.
    """
    inexact = jnp.issubdtype(out.dtype, jnp.inexact)
    bad = np.flatnonzero(~np.isfinite(out)) if inexact else np.zeros(0, int)
    if not bad.size:
        return
    first, *others = (leaf[bad] for leaf in leaves)
    for other in others:
        same = (first == other) | ((first != first) & (other != other))
        if not same.all():
            at = bad[np.argmin(same)]
            wrong = [i for i, leaf in enumerate(leaves) if not np.isfinite(leaf[at])]
            ends = ("the anchor", "the low expert", "the high expert")
            named = wrong == [0] or len(leaves) == len(ends)
            who = "" if not wrong else ends[wrong[-1]] if named else f"expert {wrong[-1]}"
            why, remedy = f"in {who}", "a merge needs finite weights: train that one again"
            if not wrong:
                why = f"here: the sum leaves the range of {out.dtype}"
                remedy = "merge nearer to the experts, or store them in a wider type"
            raise ValueError(f"merge: {name} is NaN or infinite {why}; {remedy}.")
    out[bad] = first


def _numpy_type(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32) if dtype == jnp.bfloat16 else dtype


def check_variance(name: str, values: np.ndarray) -> None:
    """Raises ValueError if a variance is negative, from which a network would take a root."""
    if values.size and float(np.min(values)) < 0:
        raise ValueError(
            f"merge: {name} becomes negative here ({float(np.min(values)):.3g}), which is invalid for a variance: "
            "BatchNorm would give NaN. Merge nearer to the experts, or keep those of one place in a recipe: filters: "
            f"[{{name: '*{variance_of(name)}', coordinate: 1}}]."
        )
