"""Flax's ``.msgpack`` files: nested dictionaries of arrays, the arrays as views of the disk.

Source: the MessagePack specification; ``flax/serialization.py`` (``_MsgpackExtType``, ``_chunk``).
"""

from __future__ import annotations

import math
import os
import struct
from typing import Any

import jax.numpy as jnp
import numpy as np

DEPTH = 100
_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    **{0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"},
    **{0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"},
}
_ARRAY, _SCALAR = 1, 3  # types of extensions of Flax; 2 is a complex number


def looks_like_msgpack(head: bytes) -> bool:
    """Whether a file begins with a dictionary."""
    return bool(head) and (0x80 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF))


def open_msgpack(path: str | os.PathLike[str]) -> Any:
    """What a file of ``flax.serialization.to_bytes`` holds.

    Raises:
        ValueError: if it is damaged, or not of this kind.
    """
    data = np.memmap(path, np.uint8, "r")
    reader = _Reader(data)
    content = reader.value()
    if reader.at != data.size:
        raise ValueError(f"it continues past its end, byte {reader.at} of {data.size}")
    return _joined(content)


class _Reader:
    """Bytes, and how far they are read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.at, self.depth = data, 0, 0

    def take(self, size: int) -> np.ndarray:
        """The next bytes."""
        if size > self.data.size - self.at:
            raise ValueError("it is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, kind: str) -> Any:
        """The next number."""
        return struct.unpack(kind, self.take(struct.calcsize(kind)).tobytes())[0]

    def value(self) -> Any:
        """The next value."""
        code = self.number(">B")
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 256
        if code in _FIXED:
            return _FIXED[code]
        if code in _NUMBERS:
            return self.number(_NUMBERS[code])
        if code < 0x90 or code in (0xDE, 0xDF):
            return self.dictionary(code & 15 if code < 0x90 else self.number({0xDE: ">H", 0xDF: ">I"}[code]))
        if code < 0xA0 or code in (0xDC, 0xDD):
            return self.items(code & 15 if code < 0xA0 else self.number({0xDC: ">H", 0xDD: ">I"}[code]))
        if code < 0xC0 or 0xD9 <= code <= 0xDB:
            size = code & 31 if code < 0xC0 else self.number({0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}[code])
            return self.take(size).tobytes().decode()
        if 0xC4 <= code <= 0xC6:
            return self.take(self.number({0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}[code]))
        if 0xC7 <= code <= 0xC9 or 0xD4 <= code <= 0xD8:
            size = 1 << code - 0xD4 if code >= 0xD4 else self.number({0xC7: ">B", 0xC8: ">H", 0xC9: ">I"}[code])
            return self.extension(self.number(">b"), self.take(size))
        raise ValueError(f"it has the invalid code {code:#x}")

    def items(self, count: int) -> list[Any]:
        """So many values; none is reserved before it is there."""
        self.depth += 1
        if self.depth > DEPTH or count > self.data.size - self.at:
            raise ValueError(f"it is cut off, or nested more than {DEPTH} deep")
        found = [self.value() for _ in range(count)]
        self.depth -= 1
        return found

    def dictionary(self, count: int) -> dict[Any, Any]:
        """So many keys with values."""
        found = self.items(2 * count)
        keys = found[::2]
        if not all(isinstance(key, (str, int)) for key in keys) or len(set(keys)) < len(keys):
            raise ValueError("it has a key that is not text, or a key twice")
        return dict(zip(keys, found[1::2], strict=True))

    def extension(self, kind: int, data: np.ndarray) -> Any:
        """An array, or a number; Flax has no others."""
        inner = _Reader(data)
        match kind, inner.value():
            case _, [list(shape), str(name), np.ndarray() as numbers] if kind in (_ARRAY, _SCALAR):
                if inner.at != data.size:
                    raise ValueError("an array continues past its end")
                return _array(shape, name, numbers)
            case 2, [float() | int() as real, float() | int() as imaginary]:
                return complex(real, imaginary)
        raise ValueError(f"it has an extension of type {kind}, which Flax does not write")


def _array(shape: list[Any], name: str, numbers: np.ndarray) -> np.ndarray:
    dtype = np.dtype(jnp.bfloat16) if name == "bfloat16" else np.dtype(name)
    if dtype.kind not in "fciub" and dtype != jnp.bfloat16:
        raise ValueError(f"an array is of type {dtype}, expected numbers")
    if len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("an array has no shape")
    if math.prod(shape) * dtype.itemsize != numbers.size:
        raise ValueError(f"{numbers.size} bytes are there for an array {dtype}{shape}")
    return np.ndarray(shape, dtype, numbers) if numbers.size else np.zeros(shape, dtype)


def _joined(content: Any) -> Any:
    """Arrays of more than 1 GiB are written in pieces: the same tree with them put together."""
    if not isinstance(content, dict):
        return [_joined(item) for item in content] if isinstance(content, list) else content
    if content.get("__msgpack_chunked_array__") is True:
        shape, pieces = (list(content[key].values()) for key in ("shape", "chunks"))
        return np.concatenate([np.ravel(piece) for piece in pieces]).reshape(shape)
    return {key: _joined(value) for key, value in content.items()}
