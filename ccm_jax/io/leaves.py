"""Equinox's files (``equinox.tree_serialise_leaves``): the leaves of a tree, one ``.npy`` behind the other, unnamed."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

Path_ = str | os.PathLike[str]

MAGIC = b"\x93NUMPY"
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
LONGEST = 1 << 20  # bytes of the line of settings that may stand in front


def has_leaves(path: Path_) -> bool:
    """Whether a file begins as such a file does, at once or after a line of settings in JSON."""
    with open(path, "rb") as file:
        _skip_settings(file)
        return file.read(len(MAGIC)) == MAGIC


def open_leaves(path: Path_) -> dict[str, np.ndarray]:
    """The arrays of a file by their number, ``"0"``, ``"1"``, ...; views of the disk.

    Raises:
        ValueError: if it is cut off, or holds Python objects.
    """
    with open(path, "rb") as file:
        size, found = os.fstat(file.fileno()).st_size, {}
        _skip_settings(file)
        data = np.memmap(file, np.uint8, "r")
        while file.tell() < size:
            try:
                array = _next(file, data)
            except Exception as error:  # of which type depends on the bytes
                reason = repr(f"{error}"[:160])[1:-1]
                raise ValueError(
                    f"open_leaves: {path}: array {len(found)} cannot be read: {reason}. Expected a file of "
                    "equinox.tree_serialise_leaves, or arrays of numpy.save."
                ) from error
            found[str(len(found))] = array
    return found


def _skip_settings(file: BinaryIO) -> None:
    if file.read(1) == b"{":
        file.readline(LONGEST)
    else:
        file.seek(0)


def _next(file: BinaryIO, data: np.ndarray) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it is of version {version}")
    shape, column_major, kind = HEADERS[version](file)
    if kind.hasobject or kind.names:
        raise ValueError("it holds Python objects or records")
    begin, length = file.tell(), math.prod(shape) * kind.itemsize
    if begin + length > data.size:
        raise ValueError("the file is cut off")
    file.seek(begin + length)
    flat: Any = data[begin : begin + length].view(jnp.bfloat16 if kind == np.dtype("V2") else kind)
    return flat.reshape(shape[::-1]).T if column_major else flat.reshape(shape)
