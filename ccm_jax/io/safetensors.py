"""Safetensors files, memory-mapped, and merging them leaf by leaf: trees larger than memory merge too.

The format is eight bytes of length, a JSON header of names, types, shapes and offsets, and the numbers. It is read and
written here, rather than by its own library, because that one wants every tensor in memory before it writes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ccm_jax.chart import Features, Polynomial, expert_weights
from ccm_jax.io.atomic import replacing
from ccm_jax.io.names import flatten, unflatten

Path_ = str | os.PathLike[str]

DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "C64": np.complex64},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
BLOCK = 1 << 20  # numbers that are merged at a time: few enough for a cache, many for threads that share an interpreter


class File(NamedTuple):
    """An open file: read-only arrays that are views of the disk, and what else its header says."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]


def open_safetensors(path: Path_) -> File:
    """Maps a file into memory; nothing is read before it is used.

    Raises:
        ValueError: if it is not a whole safetensors file.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"open_safetensors: {path} is cut off or not a safetensors file.")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_once)
            metadata = header.pop("__metadata__", {})
            spans = {name: _span(name, entry, size - 8 - length) for name, entry in header.items()}
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"open_safetensors: {path} has no valid header: {error}.") from error
    ordered = sorted(spans.values())
    if any(a[1] != b[0] for a, b in itertools.pairwise([(0, 0), *ordered, (size - 8 - length,) * 2])):
        raise ValueError(f"open_safetensors: {path} has tensors that overlap or leave gaps; it is damaged.")
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
    arrays = {
        name: data[begin:end].view(DTYPES[header[name]["dtype"]]).reshape(header[name]["shape"])
        for name, (begin, end) in spans.items()
    }
    return File(arrays, metadata)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)!r} is there twice")
    return dict(pairs)


def _span(name: str, entry: Any, available: int) -> tuple[int, int]:
    """Where a tensor's bytes begin and end, or a ValueError that says what is wrong with its entry."""

    def counts(values: Any) -> bool:
        return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)

    if not isinstance(entry, dict) or not counts(entry.get("shape")) or not counts(entry.get("data_offsets")):
        raise ValueError(f"{name!r} has no shape or offsets")
    if entry.get("dtype") not in list(DTYPES):
        raise ValueError(f"{name!r} is {entry.get('dtype')}, expected one of {', '.join(DTYPES)}")
    size = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
    if len(entry["data_offsets"]) != 2 or entry["data_offsets"][1] - entry["data_offsets"][0] != size:
        raise ValueError(f"the offsets of {name!r} do not hold its {size} bytes")
    if entry["data_offsets"][1] > available:
        raise ValueError(f"{name!r} ends at byte {entry['data_offsets'][1]} of {available}; the file is cut off")
    return entry["data_offsets"][0], entry["data_offsets"][1]


def _begin(function: str, path: Path, like: Mapping[str, Any], metadata: Mapping[str, str] | None) -> dict[str, int]:
    """Makes a file for arrays with the shapes and dtypes of ``like``, and says where the bytes of each begin."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset, offsets = 0, {}
    for name, leaf in like.items():
        dtype = np.dtype(leaf.dtype)
        if dtype not in NAMES:
            raise ValueError(f"{function}: {name} is {dtype}, expected one of {', '.join(map(str, NAMES))}.")
        end = offset + math.prod(leaf.shape) * dtype.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(leaf.shape), "data_offsets": [offset, end]}
        offset, offsets[name] = end, offset
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)  # numbers begin at a multiple of their size
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + offset)
    return {name: 8 + len(text) + begin for name, begin in offsets.items()}


def _write(path: Path, begin: int, values: np.ndarray) -> None:
    """Writes numbers at a place in a file. (Mapped memory would be slower, and a full disk would end the process.)"""
    with open(path, "r+b") as file:
        file.seek(begin)
        file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)


def save_safetensors(path: Path_, tree: Any, metadata: Mapping[str, str] | None = None) -> Path:
    """Writes a tree of nested dictionaries, names joined by dots, to a path that does not exist yet."""
    flat = flatten(tree)
    with _new_file("save_safetensors", path) as partial:
        begins = _begin("save_safetensors", partial, flat, metadata)
        for name, leaf in flat.items():
            _write(partial, begins[name], np.asarray(leaf))
    return Path(path)


def load_safetensors(path: Path_) -> Any:
    """A file as nested dictionaries of mapped arrays, names cut at dots."""
    return unflatten(open_safetensors(path).arrays)


def merge_safetensors(
    anchor: Path_,
    experts: Sequence[Path_],
    coordinates: Any,
    coordinate: Any,
    output: Path_,
    *,
    features: Features | None = None,
    ridge: float = 0.0,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> Path:
    """Writes the weights of a chart at a coordinate, from files to a file, block by block.

    The same as ``fit_chart(anchor, experts, coordinates, ...)(coordinate)``: at one coordinate a chart is a weighted
    sum of the anchor and the residuals of its experts. Memory stays at a few blocks, whatever the size of the files.

    Args:
        anchor: file of the anchor.
        experts: files of the experts, with the same names, shapes and types.
        coordinates: ``[n, dim]``, one for each expert.
        coordinate: ``[dim]``, where to merge.
        output: file to make; it must not exist.
        features: of the chart; by default the line.
        ridge: of the fit.
        metadata: text for the header.
        threads: that merge side by side; by default one a core.

    Raises:
        ValueError: if the files do not match, or ``output`` exists.
    """
    trees = [open_safetensors(path).arrays for path in (anchor, *experts)]
    for path, tree in zip(experts, trees[1:], strict=True):
        check_same_names("merge_safetensors", str(anchor), trees[0], str(path), tree)
    c = np.reshape(np.asarray(coordinate, float), -1)
    weights = expert_weights(len(experts), coordinates, c, features or Polynomial(), ridge=ridge)
    return write_merged(output, trees, lambda name: weights, metadata=metadata, threads=threads)


def write_merged(
    output: Path_,
    trees: Sequence[Mapping[str, np.ndarray]],
    weights: Callable[[str], np.ndarray],
    *,
    metadata: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> Path:
    """Writes ``anchor + sum_i weights(name)[i] (expert_i - anchor)`` to a new file, a block of numbers at a time.

    Args:
        output: file to make; it must not exist.
        trees: arrays by name, the anchor's first; mapped ones are read as they are used.
        weights: of the experts, for each name.
        metadata: text for the header.
        threads: that merge side by side; by default one a core.
    """
    with _new_file("write_merged", output) as partial:
        begins = _begin("write_merged", partial, trees[0], metadata)

        def one(name: str, cut: slice) -> None:
            # Views, but a copy of a tensor that was saved transposed: only while its turn lasts.
            leaves = [t[name].reshape(-1)[cut] for t in trees]
            merged = np.empty_like(leaves[0])
            merge_block(leaves, weights(name), merged, name)
            _write(partial, begins[name] + cut.start * merged.itemsize, merged)

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
    return Path(output)


def _in_order(leaf: np.ndarray) -> bool:
    return bool(np.asarray(leaf).flags.c_contiguous)


def merge_block(leaves: Sequence[np.ndarray], weights: np.ndarray, out: np.ndarray, name: str = "a leaf") -> None:
    """``out = leaves[0] + sum_i weights[i] (leaves[i + 1] - leaves[0])``, flat arrays, a cacheful at a time.

    A leaf of no weight is not read: on the line through two experts, the anchor's. Leaves that do not merge (integers,
    booleans) take the anchor's values, and must be equal unless all weights are 0.
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
    wide = np.promote_types(anchor.dtype, np.float32) if anchor.dtype != jnp.bfloat16 else np.dtype(np.float32)
    rest = 1.0 - float(np.sum(weights))
    if abs(rest) < 4 * np.finfo(np.float32).eps * float(np.sum(np.abs(weights))):  # what rounding left of nothing
        rest = 0.0
    weighted = [(leaf, wide.type(w)) for leaf, w in zip(leaves, [rest, *weights], strict=True) if w]
    (first, of_first), *others = weighted
    total, part = np.empty(min(BLOCK, anchor.size), wide), np.empty(min(BLOCK, anchor.size), wide)
    for start in range(0, anchor.size, BLOCK):
        cut = slice(start, min(start + BLOCK, anchor.size))
        t, p = out[cut] if out.dtype == wide else total[: cut.stop - start], part[: cut.stop - start]
        np.multiply(first[cut], of_first, out=t)
        for leaf, weight in others:
            np.multiply(leaf[cut], weight, out=p)
            np.add(t, p, out=t)
        if out.dtype != wide:
            out[cut] = t


def _cuts(size: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, size)) for start in range(0, max(size, 1), BLOCK))


def check_same_names(
    function: str, first: str, expected: Mapping[str, Any], second: str, got: Mapping[str, Any]
) -> None:
    """Raises ValueError unless both have the same names, shapes and types."""
    for name in [*expected, *got]:
        if name not in got or name not in expected:
            there, missing = (first, second) if name in expected else (second, first)
            raise ValueError(
                f"{function}: {name} of {there} is missing in {missing}; experts must come from this anchor."
            )
        a, b = (f"{x[name].dtype}{list(x[name].shape)}" for x in (expected, got))
        if a != b:
            raise ValueError(
                f"{function}: {name} is {b} in {second}, {a} in {first}; experts must come from this anchor."
            )


@contextlib.contextmanager
def _new_file(function: str, path: Path_) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` at the end."""
    if os.path.lexists(path):
        raise ValueError(f"{function}: {path} exists, and nothing is overwritten; choose a new path or remove it.")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as partial:
        yield partial
