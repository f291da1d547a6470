"""Arrays of numpy and jax in pickles: a function that makes an empty one, and a state that fills it.

Source: ``numpy/_core/src/multiarray/methods.c`` (``array_reduce``, ``array_setstate``) and ``descriptor.c``;
``jax/_src/array.py`` (``_reconstruct_array``).
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax.io.unpickle import Placeholder

_BFLOAT16 = ("bfloat16", "E", "ml_dtypes.bfloat16", "jax.numpy.bfloat16")


class Described:
    """A type of numbers, whose order of bytes follows."""

    def __init__(self, name: str) -> None:
        self.dtype = np.dtype(jnp.bfloat16) if name in _BFLOAT16 else np.dtype(name)
        if self.dtype.kind not in "fciubV" or self.dtype.names or (self.dtype.kind == "V" and name not in _BFLOAT16):
            raise ValueError(f"its pickle has an array of {name}, expected numbers")

    def build(self, state: Any) -> None:
        """Takes the order of bytes."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class Emptied:
    """An array whose numbers follow."""

    array: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Its size, once its numbers are there."""
        return 0 if self.array is None else self.array.nbytes

    def build(self, state: Any) -> None:
        """Takes shape, type and numbers."""
        match state:
            case (_, tuple(shape), Described() as described, fortran, bytes(numbers)):
                self.array = _array(numbers, described, shape, "F" if fortran else "C")
            case _:
                raise ValueError("its pickle has an array of objects")


def _array(numbers: bytes | bytearray, described: Described, shape: tuple[Any, ...], order: Any) -> np.ndarray:
    if any(type(n) is not int or n < 0 for n in shape) or len(shape) > 64 or order not in ("C", "F"):
        raise ValueError("its pickle has an array of no shape")
    if math.prod(shape) * described.dtype.itemsize != len(numbers):
        raise ValueError(f"its pickle has {len(numbers)} bytes for an array of shape {shape}")
    return np.frombuffer(bytes(numbers), described.dtype).reshape(shape, order=order)


def numpy_call(function: str, arguments: tuple[Any, ...]) -> Any:
    """What a call of a function of numpy or jax gives; of others nothing but their name is left."""
    match function.replace("numpy.core.", "numpy._core."), arguments:
        case "numpy.dtype", (Placeholder(name) | str(name), *_):
            return Described(name)
        case "numpy._core.multiarray._reconstruct", (Placeholder("numpy.ndarray"), *_):
            return Emptied()
        case "numpy._core.numeric._frombuffer", (
            bytes() | bytearray() as numbers,
            Described() as kind,
            tuple(n),
            order,
        ):
            return _array(numbers, kind, n, order)
        case "numpy._core.multiarray.scalar", (Described() as described, bytes(number)):
            return _array(number, described, (), "C")
        case "_codecs.encode", (str(text), "latin1"):
            return text.encode("latin1")
        case "jax._src.array._reconstruct_array", (Placeholder(inner), tuple(given), state, _):
            array = numpy_call(inner, given)
            if isinstance(array, Emptied):
                array.build(state)
            return array
        case "flax.core.frozen_dict.FrozenDict", (dict(content),):
            return content
    return Placeholder(function)


def finished(content: Any) -> Any:
    """The same containers with arrays in the place of what was described in two steps."""
    if isinstance(content, Emptied):
        if content.array is None:
            raise ValueError("its pickle has an array without numbers")
        content.array = finished(content.array)
        return content.array
    if isinstance(content, np.ndarray) and not content.dtype.isnative:
        return content.astype(content.dtype.newbyteorder("="))
    if isinstance(content, Described):
        return str(content.dtype)
    if isinstance(content, dict):
        for key, value in content.items():
            content[key] = finished(value)
    elif isinstance(content, list):
        content[:] = [finished(value) for value in content]
    elif type(content) is tuple:
        return tuple(finished(value) for value in content)
    return content
