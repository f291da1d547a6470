"""PyTorch's checkpoint files as mapped numpy arrays: without PyTorch, and without running what the file holds.

Since version 1.6 a ``.pt`` file is a zip archive: a pickle that says how tensors lie in storages, and the storages,
each as plain bytes. Before, it was five pickles, one behind the other, and the storages behind them. Pickles of Python
itself are read, too: they hold no tensors, but arrays of numpy and jax.

Source: ``torch/serialization.py``, PyTorch 2.13.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ccm_jax._reasons import clean
from ccm_jax.io.archive import Archive
from ccm_jax.io.boundary import Unreadable, reading
from ccm_jax.io.tensors import STORAGES, Tensors
from ccm_jax.io.unpickle import Placeholder, Stream, end_of, unpickle

__all__ = ["SAID", "Placeholder", "TorchFile", "open_torch", "open_torch_file"]

Path_ = str | os.PathLike[str]

MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # in the first pickle of a file before version 1.6
SAID = "ccm.json"  # a member of ours beside PyTorch's, who ignores it: what the header of a safetensors file would say
REMEDY = "load it where it was written and save its state_dict as safetensors"


class TorchFile(NamedTuple):
    """An open file.

    Attributes:
        content: what its pickle holds, tensors as read-only arrays that are views of the disk.
        metadata: what :mod:`ccm_jax` wrote beside it.
        kind: ``"torch"``, ``"torch (before 1.6)"`` or ``"pickle"``.
    """

    content: Any
    metadata: dict[str, Any]
    kind: str


class _Zipped(Tensors):
    """The archive that ``torch.save`` writes since version 1.6."""

    def __init__(self, file: BinaryIO) -> None:
        self.archive = Archive(file)
        super().__init__(self.archive.data)
        names = [name for name in self.archive.names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it has no data.pkl; a TorchScript file or another archive")
        self.root = names[0].removesuffix("data.pkl")

    def load(self) -> TorchFile:
        """What the file holds."""
        if f"{self.root}constants.pkl" in self.archive.names:
            raise ValueError("it is a TorchScript file, which is a program")
        if f"{self.root}byteorder" in self.archive.names and self.member("byteorder").tobytes() != b"little":
            raise ValueError("it was written on a big-endian machine")
        program = self.member("data.pkl").tobytes()
        if zlib.crc32(program) != self.archive.zip.getinfo(f"{self.root}data.pkl").CRC:
            raise zipfile.BadZipFile("data.pkl is damaged: its checksum does not fit")
        said = json.loads(self.member(SAID).tobytes()) if self.root + SAID in self.archive.names else {}
        if not isinstance(said, dict):
            raise ValueError(f"{SAID} holds no names")
        return TorchFile(self.whole(program), said, "torch")

    def member(self, name: str) -> np.ndarray:
        """The bytes of a member. PyTorch compresses none, so they are views of the file and no larger than it."""
        if not self.archive.stored(self.root + name):
            raise ValueError(f"{name} is compressed or encrypted, which torch.save does not do")
        return self.archive.view(self.root + name)

    def storage_bytes(self, key: str, count: int, dtype: np.dtype) -> np.ndarray:
        """Those of a member of their own."""
        return self.member(f"data/{key}")


class _Pickled(Tensors):
    """A pickle, or the five of PyTorch before version 1.6 and the storages behind them."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(np.memmap(file, np.uint8, "r"))
        self.stream = Stream(self.data.data)
        self.begins: dict[str, int] = {}

    def load(self) -> TorchFile:
        """What the file holds."""
        if MAGIC not in self.data[:20].tobytes():
            return TorchFile(self.whole(self.stream), {}, "pickle")
        self.stream.at = end_of(self.stream)
        version, facts, begin = self.whole(self.stream), self.whole(self.stream), self.stream.at
        if version != 1001 or not (isinstance(facts, dict) and facts.get("little_endian") is True):
            raise ValueError("it is of an unknown version of PyTorch, or of a big-endian machine")
        kinds: dict[str, tuple[int, np.dtype]] = {}

        def note(pid: Any) -> Placeholder:
            match pid:
                case ("storage", Placeholder(kind), str(key), _, int(count), None) if count >= 0:
                    kinds[key] = count, np.dtype(STORAGES.get(kind.removeprefix("torch."), np.void))
            return Placeholder("storage")

        unpickle(self.stream, lambda function, arguments: Placeholder(function), note)
        keys = self.whole(self.stream)
        for key in keys if isinstance(keys, list) else ():
            count = int.from_bytes(self.stream.read(8), "little")
            if key not in kinds or count != kinds[key][0] or kinds[key][1] == np.void:
                raise ValueError(f"it is cut off, or its storage {clean(key)} is of an unknown type")
            self.begins[key] = self.stream.at
            self.stream.at += count * kinds[key][1].itemsize
        if self.stream.at != self.data.size:
            raise ValueError(f"it has {self.data.size} bytes, expected {self.stream.at}: it is cut off")
        return TorchFile(self.whole(Stream(self.data.data, begin)), {}, "torch (before 1.6)")

    def storage_bytes(self, key: str, count: int, dtype: np.dtype) -> np.ndarray:
        """Those behind the pickles."""
        begin = self.begins[key]
        return self.data[begin : begin + count * dtype.itemsize]


def open_torch_file(path: Path_) -> TorchFile:
    """What a file of ``torch.save`` or ``pickle.dump`` holds, and what we wrote beside it.

    Nothing in the file is executed, and PyTorch is not needed. Objects that are not data become placeholders. The
    content, written out in full, may take 64 times the size of the file, or 64 MiB.

    Raises:
        ValueError: if it is not a whole file of this kind, naming the remedy.
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file, reading("open_torch", path, REMEDY):
        pickled = file.read(1) == b"\x80"
        file.seek(0)
        try:
            return (_Pickled if pickled else _Zipped)(file).load()
        except zipfile.BadZipFile as error:
            raise Unreadable(
                f"open_torch: {path} is cut off, or not a file of torch.save: {clean(error)}; {REMEDY}."
            ) from error


def open_torch(path: Path_) -> Any:
    """What a file of ``torch.save`` holds, tensors as read-only arrays that are views of the disk.

    See :func:`open_torch_file`, which says more of the file.
    """
    return open_torch_file(path).content
