"""Files of ``torch.save``, new and old, and of Flax, written without either."""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


class Global:
    """Pickles as a name of a module, called with arguments."""

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, arguments


class Storage:
    """Pickles as a persistent id, as PyTorch's storages do."""

    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", Name("torch", kind), key, "cpu", count)


class Name:
    """Pickles as a name alone."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Tensor:
    """Pickles as a call of PyTorch's function that rebuilds tensors."""

    def __init__(self, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.arguments = (storage, offset, size, stride, False, collections.OrderedDict())


class Writer(pickle._Pickler):  # type: ignore[name-defined]
    """Writes the names above as a pickle does, whether or not they exist here."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Storage) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if isinstance(obj, Name):
            return self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        if isinstance(obj, (Tensor, Global)):
            name = Name("torch._utils", "_rebuild_tensor_v2") if isinstance(obj, Tensor) else Name("os", obj.name)
            self.save(name)
            self.save(obj.arguments)
            return self.write(pickle.REDUCE)
        return super().save(obj, save_persistent_id)


def write(path: Path, content: Any, storages: dict[str, np.ndarray]) -> Path:
    stream = io.BytesIO()
    Writer(stream, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", stream.getvalue())
        archive.writestr("weights/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"weights/data/{key}", array.tobytes())
    return path


def write_legacy(path: Path, content: Any, storages: dict[str, np.ndarray]) -> Path:
    """A file as PyTorch wrote it before version 1.6: five pickles, and the storages behind them."""

    class Old(Writer):
        def persistent_id(self, obj: Any) -> Any:
            return (*obj.pid, None) if isinstance(obj, Storage) else None

    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, facts, content, list(storages)):
            Old(file, protocol=2).dump(part)
        for array in storages.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path


def dump_pickle(content: Any) -> bytes:
    """A pickle of Python's own."""
    return pickle.dumps(content, protocol=4)


def pack_msgpack(content: Any) -> bytes:
    """A tree as ``flax.serialization.to_bytes`` writes it."""
    if isinstance(content, dict):
        return (
            b"\xde" + struct.pack(">H", len(content)) + b"".join(pack_msgpack(x) for kv in content.items() for x in kv)
        )
    if isinstance(content, str):
        return b"\xd9" + bytes([len(content.encode())]) + content.encode()
    if isinstance(content, int):
        return b"\xd3" + struct.pack(">q", content)
    array = np.asarray(content)
    shape = bytes([0x90 + array.ndim]) + b"".join(map(pack_msgpack, array.shape))
    numbers = b"\xc6" + struct.pack(">I", array.nbytes) + array.tobytes()
    body = b"\x93" + shape + pack_msgpack(array.dtype.name) + numbers
    return b"\xc9" + struct.pack(">I", len(body)) + bytes([3 if isinstance(content, np.generic) else 1]) + body
