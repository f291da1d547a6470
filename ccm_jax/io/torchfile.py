"""PyTorch's checkpoint files as mapped numpy arrays: without PyTorch, and without running what the file holds.

A ``.pt`` file is a zip archive: a pickle that says how tensors lie in storages, and the storages, each as plain bytes.
Pickles may call any function that they name. Here five names are known; every other one becomes an inert
:class:`Placeholder`, as the callables that neuraloperator stores beside its weights.

Source: ``torch/serialization.py``, PyTorch 2.13; the format of ``torch.save`` since version 1.6.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

Path_ = str | os.PathLike[str]

_STORAGES = {
    **{"DoubleStorage": np.float64, "FloatStorage": np.float32, "HalfStorage": np.float16},
    **{"BFloat16Storage": jnp.bfloat16, "ComplexFloatStorage": np.complex64, "ComplexDoubleStorage": np.complex128},
    **{"LongStorage": np.int64, "IntStorage": np.int32, "ShortStorage": np.int16, "CharStorage": np.int8},
    **{"ByteStorage": np.uint8, "BoolStorage": np.bool_},
}
_WRAPPERS = ("model", "state_dict", "model_state_dict", "module")


class Placeholder:
    """Stands for what a pickle names and this reader does not know; it takes anything and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Placeholder:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Takes an item of a list that is none."""

    def extend(self, items: Any) -> None:
        """Takes items of a list that is none."""

    def add(self, item: Any) -> None:
        """Takes an item of a set that is none."""

    def __repr__(self) -> str:
        return "<not loaded>"


class _StorageType(NamedTuple):
    dtype: Any


class _Reader(pickle.Unpickler):
    """An unpickler that can make dictionaries, lists, numbers, text and arrays, and nothing else."""

    def __init__(self, path: Path_, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self.path, self.archive, self.root = path, archive, root

    def find_class(self, module: str, name: str) -> Any:
        """The few names that tensors need; a placeholder for all others."""
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("torch", "Size"): tuple,
        }
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        return known.get((module, name), type(f"{module}.{name}", (Placeholder,), {}))

    def persistent_load(self, pid: Any) -> np.ndarray:
        """The bytes of a storage, as they lie in the file."""
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _StorageType) or type(count) is not int or count < 0:
            raise ValueError(f"a storage of an unknown kind: {pid!r}")
        dtype, member = np.dtype(storage.dtype), self.archive.getinfo(f"{self.root}data/{key}")
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {member.file_size} bytes, expected {count} numbers of {dtype}")
        if not count:
            return np.zeros(0, dtype)
        with open(self.path, "rb") as file:
            file.seek(member.header_offset + 26)  # the lengths of the name and of the padding before the bytes
            name, extra = struct.unpack("<HH", file.read(4))
        begin = member.header_offset + 30 + name + extra
        return np.memmap(self.path, np.uint8, "r", begin, (member.file_size,)).view(dtype)


def _tensor(
    storage: Any,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    _gradient: Any = None,
    _hooks: Any = None,
    bits: Any = None,
) -> np.ndarray:
    """A view of a storage, which must hold all of it: a stride beyond its end would read other memory.

    PyTorch conjugates and negates lazily: it says so in ``bits`` and leaves the storage as it was.
    """
    if bits and not (isinstance(bits, dict) and set(bits) <= {"conj", "neg"}):
        raise ValueError(f"a tensor with metadata {bits!r}, which are unknown")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if not isinstance(storage, np.ndarray) or min((offset, *size, *stride)) < 0:
        raise ValueError("a tensor is no view of a storage")
    if 0 not in size and last >= storage.size:
        raise ValueError(f"a tensor of shape {size} reaches beyond its storage of {storage.size} numbers")
    steps = tuple(step * storage.itemsize for step in stride)
    view = np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)
    view = np.conj(view) if bits and bits.get("conj") else view
    return -view if bits and bits.get("neg") else view


def open_torch(path: Path_) -> Any:
    """What a file of ``torch.save`` holds, tensors as read-only arrays that are views of the disk.

    Nothing in the file is executed, and PyTorch is not needed. Objects that are not data become placeholders.

    Raises:
        ValueError: if it is not a whole file of this kind, naming the remedy.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(names) != 1:
                raise ValueError("it has no data.pkl; a TorchScript file or another archive")
            root = names[0].removesuffix("data.pkl")
            if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
                raise ValueError("it was written on a big-endian machine")
            return _Reader(path, archive, root).load()
    except (zipfile.BadZipFile, struct.error, EOFError) as error:
        raise ValueError(
            f"open_torch: {path} is cut off, or not a file of torch.save since version 1.6: {error}. "
            "Load it where it was written and save its state_dict as safetensors."
        ) from error
    except (pickle.UnpicklingError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"open_torch: {path} cannot be read without running code: {error}.") from error


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
        plain = (np.ndarray, bool, int, float, str, type(None))
        unread = {k: v for k, v in content.items() if k != "_metadata" and not isinstance(v, plain)}
        if arrays and unread:
            name, value = next(iter(unread.items()))
            raise ValueError(
                f"state_dict_of: {path}: {name} is {type(value).__name__}, which is not read here; save a state_dict "
                "of plain, dense tensors."
            )
        if arrays:
            return arrays
    said = list(content) if isinstance(content, Mapping) else type(content).__name__
    raise ValueError(f"state_dict_of: {path} holds no arrays by name, but {said}; save a state_dict.")
