"""Members of zip archives as views of the disk: archives of PyTorch and of numpy hold plain bytes."""

from __future__ import annotations

import struct
import zipfile
from typing import BinaryIO

import numpy as np

from ccm_jax.io.boundary import allowed

MEMBERS = 10**6  # a directory of more names takes more memory than any checkpoint is worth


class Archive:
    """A zip archive that is open: its bytes, mapped, and the names of its members."""

    def __init__(self, file: BinaryIO) -> None:
        self.zip = zipfile.ZipFile(file)
        self.names = self.zip.namelist()
        if len(self.names) > MEMBERS:
            raise ValueError(f"it has {len(self.names)} members, more than {MEMBERS}")
        self.data = np.memmap(file, np.uint8, "r")
        self.left = allowed(self.data.size)

    def stored(self, name: str) -> bool:
        """Whether the bytes of a member lie in the file as they are, so they are no larger than it."""
        info = self.zip.getinfo(name)
        return (
            info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size and not info.flag_bits & 1
        )

    def view(self, name: str) -> np.ndarray:
        """The bytes of a member that is stored.

        Raises:
            zipfile.BadZipFile: if they are not where the archive says.
        """
        info = self.zip.getinfo(name)
        begin = info.header_offset
        head = self.data[begin : begin + 30].tobytes() if begin >= 0 else b""
        if len(head) < 30 or head[:4] != b"PK\3\4":
            raise zipfile.BadZipFile(f"{name} is not where the archive says")
        begin += 30 + sum(struct.unpack("<HH", head[26:]))  # the name, and the padding before the bytes
        if begin + info.file_size > self.data.size:
            raise zipfile.BadZipFile(f"{name} ends beyond the end of the file")
        return self.data[begin : begin + info.file_size]

    def unpacked(self, name: str) -> bytes:
        """The bytes of a member that is compressed, as far as :func:`~ccm_jax.io.boundary.allowed`."""
        info = self.zip.getinfo(name)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"{name} is compressed by method {info.compress_type}"
            )  # unpacks in one piece, of any size
        size = info.file_size
        self.left -= size
        if self.left < 0:
            raise ValueError(f"its {self.data.size} bytes unpack to more than {allowed(self.data.size)}")
        with self.zip.open(name) as member:
            content = member.read(size + 1)
        if len(content) != size:
            raise zipfile.BadZipFile(f"{name} has {len(content)} bytes, expected {size}")
        return content
