"""PyTorch's checkpoint files as mapped numpy arrays: without PyTorch, and without running what the file holds.

A ``.pt`` file is a zip archive: a pickle that says how tensors lie in storages, and the storages, each as plain bytes.
Four of the functions that pickles may call are known here, by name; every other one becomes an inert
:class:`Placeholder`, as the callables that neuraloperator stores beside its weights.

Source: ``torch/serialization.py``, PyTorch 2.13; the format of ``torch.save`` since version 1.6.
"""

from __future__ import annotations

import math
import os
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from ccm_jax.io.unpickle import Placeholder, unpickle

Path_ = str | os.PathLike[str]

SPREAD = 64  # what a file holds, written out in full, may be so many times as large as the file, or as 1 MiB
DEPTH = 100  # containers within containers

_STORAGES = {
    **{"DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16},
    **{"BFloat16Storage": jnp.bfloat16, "ComplexFloatStorage": np.complex64, "ComplexDoubleStorage": np.complex128},
    **{"LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8},
    **{"ByteStorage": np.uint8, "BoolStorage": np.bool_},
}
_WRAPPERS = ("model", "state_dict", "model_state_dict", "module")


@dataclass(frozen=True, slots=True, eq=False)
class _Storage:
    """The mapped bytes of a storage. Only :meth:`_Reader.storage` makes one, and none leaves :func:`open_torch`."""

    data: np.ndarray
    dtype: np.dtype


class _Reader:
    """An open file: its members, its storages, and the tensors that its pickle describes."""

    def __init__(self, file: BinaryIO) -> None:
        self.archive = zipfile.ZipFile(file)
        names = [name for name in self.archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it has no data.pkl; a TorchScript file or another archive")
        self.root = names[0].removesuffix("data.pkl")
        self.data = np.memmap(file, np.uint8, "r")
        self.left = SPREAD * max(self.data.size, 1 << 20)

    def load(self) -> Any:
        """What the pickle holds."""
        if f"{self.root}byteorder" in self.archive.namelist() and self.member("byteorder").tobytes() != b"little":
            raise ValueError("it was written on a big-endian machine")
        program = self.member("data.pkl").tobytes()
        if zlib.crc32(program) != self.archive.getinfo(f"{self.root}data.pkl").CRC:
            raise zipfile.BadZipFile("data.pkl is damaged: its checksum does not fit")
        content = unpickle(program, self.call, self.storage)
        self.check(content)
        return content

    def member(self, name: str) -> np.ndarray:
        """The bytes of a member. PyTorch compresses none, so that they are views of the file and no larger than it."""
        info = self.archive.getinfo(self.root + name)
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise ValueError(f"{name} is compressed or encrypted, which torch.save does not do")
        begin = info.header_offset
        head = self.data[begin : begin + 30].tobytes() if begin >= 0 else b""
        if len(head) < 30 or head[:4] != b"PK\3\4":
            raise zipfile.BadZipFile(f"{name} is not where the archive says")
        begin += 30 + sum(struct.unpack("<HH", head[26:]))  # the name, and the padding before the bytes
        if begin + info.file_size > self.data.size:
            raise zipfile.BadZipFile(f"{name} ends beyond the end of the file")
        return self.data[begin : begin + info.file_size]

    def spend(self, size: int) -> None:
        """Counts bytes of what the file stands for: a few could stand for more than any memory holds."""
        self.left -= size
        if self.left < 0:
            raise ValueError(f"its {self.data.size} bytes stand for more than {SPREAD} times as many, or {SPREAD} MiB")

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """What a call gives: four functions are known, and of any other nothing but its name is left."""
        match function, arguments:
            case "collections.OrderedDict", ():
                return OrderedDict()
            case "torch.Size", (tuple(size),):
                return size
            case "torch._utils._rebuild_parameter", (data, _, _):
                return data
            case "torch._utils._rebuild_tensor_v2", (Placeholder() as unknown, *_):
                return unknown
            case "torch._utils._rebuild_tensor_v2", (_Storage() as storage, offset, tuple(size), tuple(stride), *rest):
                return self.tensor(storage, offset, size, stride, *rest)
            case "torch._utils._rebuild_tensor_v2", _:
                raise ValueError("a tensor is no view of a storage")
        return Placeholder(function)

    def storage(self, pid: Any) -> _Storage | Placeholder:
        """The bytes of a storage as they lie in the file; a placeholder where the type of its numbers is not known."""
        match pid:
            case ("storage", Placeholder(kind), str(key), _, int(count)):
                pass
            case _:
                raise ValueError("its pickle refers to something that is no storage")
        if kind.removeprefix("torch.") not in _STORAGES:
            return Placeholder(kind)
        dtype, data = np.dtype(_STORAGES[kind.removeprefix("torch.")]), self.member(f"data/{key}")
        if data.size != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {data.size} bytes, expected {count} numbers of {dtype}")
        return _Storage(data, dtype)

    def tensor(
        self,
        storage: _Storage,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        _gradient: Any,
        _hooks: Any,
        bits: Any = None,
    ) -> np.ndarray:
        """A view of a storage, which must hold all of it: a stride beyond its end would read other memory.

        Strides of ``expand`` are 0, and those of ``unfold`` overlap, so that a view may be larger than its storage: as
        far as :meth:`spend` allows. PyTorch conjugates and negates lazily: it says so in ``bits``, and the storage is
        as it was.
        """
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
            raise ValueError("a tensor is no view of a storage: expected natural numbers as size, stride and offset")
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
                if isinstance(node, _Storage):
                    raise ValueError("it holds a storage that belongs to no tensor")
                if isinstance(node, dict):
                    deeper += [*node, *node.values(), *getattr(node, "__dict__", {}).values()]
                elif isinstance(node, (list, tuple, set, frozenset)):
                    deeper += node
            if not deeper:
                return
            level = deeper
        raise ValueError(f"it is nested more than {DEPTH} deep, or within itself")


def open_torch(path: Path_) -> Any:
    """What a file of ``torch.save`` holds, tensors as read-only arrays that are views of the disk.

    Nothing in the file is executed, and PyTorch is not needed. Objects that are not data become placeholders. The
    content, written out in full, may take ``SPREAD`` times the size of the file, or that many MiB.

    Raises:
        ValueError: if it is not a whole file of this kind, naming the remedy.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        try:
            return _Reader(file).load()
        except Exception as error:  # of which type depends on the bytes; callers need not know them all
            cut = isinstance(error, zipfile.BadZipFile)
            what = "is cut off, or not a file of torch.save since version 1.6" if cut else "cannot be read"
            reason = f"{error}" if cut or type(error) is ValueError else f"{type(error).__name__} {error}"
            raise ValueError(
                f"open_torch: {path} {what}: {_shown(reason)}. Load it where it was written and save its state_dict "
                "as safetensors."
            ) from error


def _shown(value: Any) -> str:
    """Text of a file within one line of a terminal: not all of it, and no control characters."""
    return repr(str(value)[:160])[1:-1]


def _kind(value: Any) -> str:
    return _shown(value.name) if isinstance(value, Placeholder) else type(value).__name__


def state_dict_of(content: Any, path: Path_ = "the file") -> dict[str, np.ndarray]:
    """The arrays by name of what :func:`open_torch` gave; training scripts wrap them as ``model`` or ``state_dict``.

    Beside a wrapped one, losses and counters are left out; among the arrays themselves only ``_metadata``, numbers and
    text are, so that no weight goes missing.

    Raises:
        ValueError: if there are none, if it is not clear which, or if one of them cannot be read.
    """
    if isinstance(content, np.ndarray):
        return {"tensor": content}
    if isinstance(content, Mapping):
        wrapped = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if len(wrapped) > 1:
            raise ValueError(f"state_dict_of: {path} holds {' and '.join(wrapped)}; save the one that is meant.")
        if wrapped:
            return state_dict_of(content[wrapped[0]], path)
        arrays = {str(name): leaf for name, leaf in content.items() if isinstance(leaf, np.ndarray)}
        if len(arrays) < sum(isinstance(leaf, np.ndarray) for leaf in content.values()):
            raise ValueError(f"state_dict_of: {path}: two tensors have one name as text; save them under other names.")
        plain = (np.ndarray, bool, int, float, str, type(None))
        unread = {k: v for k, v in content.items() if k != "_metadata" and not isinstance(v, plain)}
        if arrays and unread:
            name, value = next(iter(unread.items()))
            raise ValueError(
                f"state_dict_of: {path}: {_shown(name)} is {_kind(value)}, which is not read here; save a state_dict "
                "of plain, dense tensors."
            )
        if arrays:
            return arrays
    said = _shown(list(content)) if isinstance(content, Mapping) else _kind(content)
    raise ValueError(f"state_dict_of: {path} holds no arrays by name, but {said}; save a state_dict.")
