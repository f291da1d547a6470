"""Arrays of numpy's own files: ``.npz`` archives, and the ``.eqx`` of Equinox, which is one array behind the other.

Arrays that are not compressed are views of the disk. Numpy knows no bfloat16 and forgets the name of the type: two
bytes of no type are read as one.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax.io.archive import Archive
from ccm_jax.io.unpickle import Stream

MAGIC = b"\x93NUMPY"


def open_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray] | None:
    """The arrays of an archive of numpy's, by name; None if it is an archive of something else.

    Raises:
        Exception: of any type, if it is damaged, or if its arrays hold Python objects.
    """
    with open(path, "rb") as file:
        archive = Archive(file)
        if not archive.names and Path(path).suffix == ".npz":
            raise ValueError("it holds no arrays")
        if not archive.names or not all(name.endswith(".npy") for name in archive.names):
            return None
        arrays = {}
        for name in archive.names:
            stored = archive.stored(name)
            data = archive.view(name) if stored else np.frombuffer(archive.unpacked(name), np.uint8)
            arrays[name.removesuffix(".npy")], end = read_array(data, 0, name)
            if end != data.size:
                raise ValueError(f"{name} has {data.size} bytes, expected {end}")
        return arrays


def open_leaves(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file of Equinox in their order, ``"0"``, ``"1"``, ...: their names are in the program."""
    arrays: dict[str, np.ndarray] = {}
    data, at = np.memmap(path, np.uint8, "r"), 0
    while at < data.size:
        arrays[str(len(arrays))], at = read_array(data, at, f"array {len(arrays)}")
    if Path(path).suffix == ".npy":
        raise ValueError("it is one array, and a checkpoint has several, by name")
    return arrays


def read_array(data: np.ndarray, begin: int, name: str) -> tuple[np.ndarray, int]:
    """An array as numpy writes it, a view of its bytes, and where it ends.

    Raises:
        ValueError: if it holds objects, or if it is not whole.
    """
    stream: Any = Stream(data.data, begin)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"{name} is of version {version} of numpy's format")
        shape, fortran, dtype = read(stream)
    except ValueError as error:
        if str(error).startswith("EOF"):
            raise ValueError(f"{name} has no whole header: it is cut off") from error
        raise
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    if dtype == np.dtype("V2"):
        dtype = np.dtype(jnp.bfloat16)
    if dtype.kind not in "fciub" and dtype != jnp.bfloat16:
        raise ValueError(f"{name} is of type {dtype}, expected numbers")
    if len(shape) > 32 or any(n < 0 for n in shape):
        raise ValueError(f"{name} has no shape")
    end = stream.at + math.prod(shape) * dtype.itemsize
    if end > data.size:
        raise ValueError(f"{name} has {data.size - stream.at} bytes, expected {end - stream.at}: it is cut off")
    array = np.ndarray(math.prod(shape), dtype, data[stream.at : end]) if end > stream.at else np.zeros(0, dtype)
    array = array.reshape(shape, order="F" if fortran else "C")
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    return array, end
