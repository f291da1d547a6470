"""Flax's files of msgpack (``flax.serialization.to_bytes``) as nested dictionaries of numpy arrays, without Flax."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

Path_ = str | os.PathLike[str]

ARRAY, COMPLEX, SCALAR = 1, 2, 3  # Flax's types beyond those of msgpack
CHUNKED = "__msgpack_chunked_array__"


def open_msgpack(path: Path_) -> Any:
    """What a file holds: dictionaries and lists of arrays and numbers. Arrays are views of the file's bytes.

    Raises:
        ModuleNotFoundError: if msgpack is not installed, which comes with the extra ``models``.
        ValueError: if it is cut off, or of another kind.
    """
    import msgpack

    data = Path(path).read_bytes()
    try:
        tree = msgpack.unpackb(data, ext_hook=_extension, raw=False, strict_map_key=False)
        if not isinstance(tree, dict):
            raise ValueError(f"it holds {type(tree).__name__}, expected a dictionary")
        return _whole(tree)
    except Exception as error:  # of which type depends on the bytes
        reason = repr(f"{type(error).__name__} {error}"[:160])[1:-1]
        raise ValueError(
            f"open_msgpack: {path} is cut off, or not a file of flax.serialization.to_bytes: {reason}."
        ) from error


def _extension(code: int, data: bytes) -> Any:
    import msgpack

    if code in (ARRAY, SCALAR):
        shape, dtype, content = msgpack.unpackb(data, raw=True)
        return _array(shape, dtype.decode(), content)
    if code == COMPLEX:
        return np.complex128(complex(*msgpack.unpackb(data)))
    raise ValueError(f"a value is of the unknown type {int(code)}")


def _array(shape: Any, dtype: str, content: bytes) -> np.ndarray:
    kind = np.dtype(jnp.bfloat16) if dtype in ("bfloat16", "V2") else np.dtype(dtype)
    if kind.hasobject or math.prod(shape) * kind.itemsize != len(content):
        raise ValueError(f"an array {dtype}{list(shape)} has {len(content)} bytes")
    return np.frombuffer(content, kind).reshape(shape)


def _whole(tree: Any) -> Any:
    """Arrays of more than a gigabyte, which Flax cuts into pieces, in one piece."""
    if isinstance(tree, list):
        return [_whole(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if CHUNKED not in tree:
        return {str(key): _whole(value) for key, value in tree.items()}
    shape, pieces = ([tree[name][str(i)] for i in range(len(tree[name]))] for name in ("shape", "chunks"))
    return np.concatenate(pieces).reshape([int(n) for n in shape])
