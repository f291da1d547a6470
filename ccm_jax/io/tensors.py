"""Tensors as PyTorch's pickles describe them: views of storages, each of them plain bytes.

The functions that such pickles may call are known here, by name; every other one becomes an inert
:class:`~ccm_jax.io.unpickle.Placeholder`, as the callables that neuraloperator stores beside its weights.

Source: ``torch/_utils.py`` and ``torch/serialization.py``, PyTorch 2.13.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from ccm_jax.io.boundary import FACTOR, allowed
from ccm_jax.io.numpy_pickle import finished, numpy_call
from ccm_jax.io.unpickle import Attributes, Placeholder, Stream, unpickle

DEPTH = 100  # containers within containers

STORAGES = {
    **{"DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16},
    **{"BFloat16Storage": jnp.bfloat16, "ComplexFloatStorage": np.complex64, "ComplexDoubleStorage": np.complex128},
    **{"LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8},
    **{"ByteStorage": np.uint8, "BoolStorage": np.bool_},
}


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """The mapped bytes of a storage. Only :meth:`Tensors.described` makes one; none leaves :meth:`Tensors.whole`."""

    data: np.ndarray
    dtype: np.dtype


class Tensors:
    """What the pickles of a file describe: calls of known functions, and tensors as views of storages."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.left = data, allowed(data.size)

    def storage_bytes(self, key: str, count: int, dtype: np.dtype) -> np.ndarray:
        """The bytes of a storage; only a file of tensors has any."""
        raise ValueError("its pickle refers to something outside of it")

    def described(self, pid: Any) -> Storage | Placeholder:
        """The bytes of a storage as they lie in the file; a placeholder where the type of its numbers is not known."""
        match pid:
            case ("storage", Placeholder(kind), str(key), _, int(count), *_):
                pass
            case _:
                raise ValueError("its pickle refers to something that is not a storage")
        if kind.removeprefix("torch.") not in STORAGES:
            return Placeholder(kind)
        dtype = np.dtype(STORAGES[kind.removeprefix("torch.")])
        data = self.storage_bytes(key, count, dtype)
        if data.size != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {data.size} bytes, expected {count} numbers of {dtype}")
        return Storage(data, dtype)

    def whole(self, program: bytes | Stream) -> Any:
        """What a pickle holds, checked."""
        content = unpickle(program, self.call, self.described)
        self.check(content)
        return finished(content)

    def spend(self, size: int) -> None:
        """Counts bytes of what the file stands for: a few could stand for more than any memory holds."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"its {self.data.size} bytes stand for more than {FACTOR} times as many, or 64 MiB")

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """What a call gives: few functions are known, and of any other nothing but its name is left."""
        match function, arguments:
            case "collections.OrderedDict", ():
                return OrderedDict()
            case "torch.Size", (tuple(size),):
                return size
            case "torch._utils._rebuild_parameter", (data, _, _):
                return data
            case "torch._utils._rebuild_parameter_with_state", (data, _, _, _):
                return data
            case "torch._tensor._rebuild_from_type_v2", (Placeholder() as inner, _, tuple() as given, _):
                return self.call(inner.name, given)
            case "argparse.Namespace", ():
                return Attributes()
            case "torch._utils._rebuild_tensor", (Storage() as storage, offset, tuple(size), tuple(stride)):
                return self.tensor(storage, offset, size, stride, False, None)
            case "torch._utils._rebuild_tensor_v2", (Placeholder() as unknown, *_):
                return unknown
            case "torch._utils._rebuild_tensor_v2", (Storage() as storage, offset, tuple(size), tuple(stride), *rest):
                return self.tensor(storage, offset, size, stride, *rest)
            case "torch._utils._rebuild_tensor_v2", _:
                raise ValueError("a tensor is not a view of a storage")
        found = numpy_call(function, arguments)
        self.spend(len(found) if isinstance(found, bytes) else getattr(found, "nbytes", 0))
        return found

    def tensor(
        self,
        storage: Storage,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        _gradient: Any,
        _hooks: Any,
        bits: Any = None,
    ) -> np.ndarray:
        """A view of a storage, which must hold all of it: a stride beyond its end would read other memory.

        Strides of ``expand`` are 0, and those of ``unfold`` overlap, so a view may be larger than its storage: as
        far as :meth:`spend` allows. PyTorch conjugates and negates lazily: it says so in ``bits``, and the storage is
        as it was.
        """
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
            raise ValueError("a tensor is not a view of a storage: expected natural numbers as size, stride and offset")
        if bits and not (isinstance(bits, dict) and set(bits) <= {"conj", "neg"}):
            raise ValueError("a tensor has metadata that are unknown")
        if 0 in size:
            return np.ndarray(size, storage.dtype, b"")
        width, last = storage.dtype.itemsize, offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if last >= storage.data.size // width:
            raise ValueError(f"a tensor of shape {size} reaches beyond its storage of {storage.data.size} bytes")
        self.spend(math.prod(size) * width)
        view = np.ndarray(size, storage.dtype, storage.data.data, offset * width, [step * width for step in stride])
        if bits and bits.get("conj"):
            view = np.asarray(np.conj(view))
        if bits and bits.get("neg"):
            view = np.asarray(np.negative(view))
        view.flags.writeable = False
        return view

    def check(self, content: Any) -> None:
        """Refuses what nobody can walk through: too deep, within itself, or few objects that are met very often.

        Objects count as often as they are met: those that share their parts, and these theirs, grow exponentially.
        """
        level = [content]
        for _ in range(DEPTH):
            deeper: list[Any] = []
            for node in level:
                self.spend(sys.getsizeof(node) + getattr(node, "nbytes", 0))
                if isinstance(node, Storage):
                    raise ValueError("it holds a storage that belongs to no tensor")
                if isinstance(node, dict):
                    deeper += [*node, *node.values(), *getattr(node, "__dict__", {}).values()]
                elif isinstance(node, (list, tuple, set, frozenset)):
                    deeper += node
            if not deeper:
                return
            level = deeper
        raise ValueError(f"it is nested more than {DEPTH} deep, or within itself")


def plain(value: Any, depth: int = 8) -> Any:
    """A value of a file as JSON has it: names for what is not loaded, and nothing for arrays and what is too deep."""
    if isinstance(value, Placeholder):
        return value.name
    if isinstance(value, (str, bool, int, type(None))):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth and isinstance(value, dict):
        return {str(key): plain(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [plain(item, depth - 1) for item in value]
    return None
