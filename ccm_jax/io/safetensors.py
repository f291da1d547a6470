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
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import kind_of
from ccm_jax._names import dotted
from ccm_jax._reasons import clean
from ccm_jax.chart import Features, Polynomial
from ccm_jax.expert_weights import expert_weights
from ccm_jax.io.atomic import replacing
from ccm_jax.io.boundary import Unreadable, reading
from ccm_jax.io.mistaken import mistaken_for
from ccm_jax.io.names import flatten, unflatten
from ccm_jax.io.stream import fill, write_at

Path_ = str | os.PathLike[str]

DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "C64": np.complex64},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
HEADER = 1 << 25  # bytes; the largest models there are take a tenth of it
METADATA = "__metadata__"  # the one entry of a header that is no tensor
REMEDY = "save it again with safetensors"


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
    with open(path, "rb") as file, reading("open_safetensors", path, REMEDY):
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8 or length > HEADER:
            what = mistaken_for(Path(path)) or f"cut off or not a safetensors file; {REMEDY}"
            raise Unreadable(f"open_safetensors: {path} is {what}.")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_once)
            metadata = header.pop(METADATA, {})
            narrow = [name for name, entry in header.items() if isinstance(entry, dict) and _is_narrow(entry)]
            if narrow:
                kind = clean(header[narrow[0]]["dtype"])
                raise Unreadable(
                    f"open_safetensors: {path}: {clean(narrow[0])} is {kind}, which is too narrow to merge; store it "
                    "as BF16 or wider."
                )
            if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
                raise ValueError(f"{METADATA} is no text by name")
            spans = {name: _span(name, entry, size - 8 - length) for name, entry in header.items()}
        except Unreadable:
            raise
        except Exception as error:  # of which type depends on the bytes
            raise Unreadable(
                f"open_safetensors: {path} has no valid header: {clean(error)}; it is damaged: {REMEDY}."
            ) from error
        ordered = sorted(spans.values())
        if any(a[1] != b[0] for a, b in itertools.pairwise([(0, 0), *ordered, (size - 8 - length,) * 2])):
            raise Unreadable(
                f"open_safetensors: {path} has tensors that overlap or leave gaps; it is damaged: {REMEDY}."
            )
        data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.zeros(0, np.uint8)
        arrays = {
            name: data[begin:end].view(DTYPES[header[name]["dtype"]]).reshape(header[name]["shape"])
            for name, (begin, end) in spans.items()
        }
    return File(arrays, metadata)


def _is_narrow(entry: dict[str, Any]) -> bool:
    return str(entry.get("dtype")).startswith(("F8_", "F6_", "F4"))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"{max(names, key=names.count)!r} is there twice")
    return dict(pairs)


def _span(name: str, entry: Any, available: int) -> tuple[int, int]:
    """Where a tensor's bytes begin and end, or a ValueError that says what is wrong with its entry."""

    def counts(values: Any) -> bool:
        return (
            isinstance(values, list) and len(values) <= 64 and all(type(n) is int and 0 <= n < 1 << 63 for n in values)
        )

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


def begin_file(
    function: str, path: Path, like: Mapping[str, Any], metadata: Mapping[str, str] | None
) -> dict[str, int]:
    """Makes a file for arrays with the shapes and dtypes of ``like``, and says where the bytes of each begin."""
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    offset, offsets = 0, {}
    for name, leaf in like.items():
        dtype = np.dtype(leaf.dtype)
        if name == METADATA:
            raise ValueError(f"{function}: a tensor is called {name}, which safetensors keeps for text; rename it.")
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


def save_safetensors(path: Path_, tree: Any, metadata: Mapping[str, str] | None = None) -> Path:
    """Writes the arrays of a tree, names joined by dots, to a path that does not exist yet.

    Args:
        path: of the new file; :func:`~ccm_jax.loading.load_like` reads it back into a module.
        tree: nested dictionaries and lists of arrays, or a module of Equinox or the state of nnx.
        metadata: text for the header.

    Raises:
        ValueError: for a tree without arrays, leaves that are none, or a path that exists.
    """
    flat = flatten(tree)
    if not flat:
        raise ValueError(
            f"save_safetensors: tree is {kind_of(tree)} without arrays, expected some; check what is saved."
        )
    with _new_file("save_safetensors", path) as partial:
        begins = begin_file("save_safetensors", partial, flat, metadata)
        for name, leaf in flat.items():
            write_at(partial, begins[name], np.asarray(leaf))
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
        begins = begin_file("write_merged", partial, trees[0], metadata)
        fill({name: (partial, begin) for name, begin in begins.items()}, trees, weights, threads=threads)
    return Path(output)


def check_same_names(
    function: str, first: str, expected: Mapping[str, Any], second: str, got: Mapping[str, Any]
) -> None:
    """Raises ValueError unless both have the same names, shapes and types."""
    for name in [*expected, *got]:
        if name not in got or name not in expected:
            there, missing = (first, second) if name in expected else (second, first)
            remedy = "experts must come from this anchor"
            if set(dotted(expected)) == set(dotted(got)):
                remedy = "one file joins names by dots and the other by slashes: write both in the same way"
            raise ValueError(f"{function}: tensor {name} of {there} is missing in {missing}; {remedy}.")
        a, b = (f"{x[name].dtype}{list(x[name].shape)}" for x in (expected, got))
        if a != b:
            raise ValueError(
                f"{function}: tensor {name} is {b} in {second}, {a} in {first}; experts must come from this anchor."
            )


@contextlib.contextmanager
def _new_file(function: str, path: Path_) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` at the end."""
    if os.path.lexists(path):
        raise ValueError(f"{function}: {path} exists, and nothing is overwritten; choose a new path or remove it.")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path)) as partial:
        yield partial
