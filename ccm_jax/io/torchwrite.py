"""Files that ``torch.load(..., weights_only=True)`` reads, written without PyTorch, their numbers yet to be filled in.

An archive of stored members: a pickle that describes a ``state_dict``, and bytes of tensors, at multiples of 64.

Source: ``torch/serialization.py`` and ``caffe2/serialize/inline_container.h``, PyTorch 2.13; APPNOTE.TXT of PKWARE.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax.io.tensors import STORAGES
from ccm_jax.io.torchfile import SAID

KINDS = {np.dtype(dtype): name for name, dtype in STORAGES.items()}
ROOT = "archive/"
_ALIGNED, _WIDE = 64, 0xFFFFFFFF  # a multiple; sizes from here on need 64 bits


class Member(NamedTuple):
    """A member of the archive: where its header and its bytes begin, and how many there are."""

    name: bytes
    header: int
    begin: int
    size: int


def begin_torch(
    path: Path, like: Mapping[str, Any], metadata: Mapping[str, str], versions: Any = None
) -> tuple[dict[str, int], list[Member]]:
    """Makes a file for arrays with the shapes and types of ``like``.

    Args:
        path: of the file.
        like: arrays by name.
        metadata: what the file says beside PyTorch.
        versions: the attribute ``_metadata`` of the ``state_dict``, plain values.

    Returns:
        Where the bytes of each array go, and the members, for :func:`finish_torch`.
    """
    small = {
        "data.pkl": _program(like, versions),
        "byteorder": b"little",
        "version": b"3\n",
        SAID: json.dumps(dict(metadata)).encode(),
    }
    members: list[Member] = []
    begins: dict[str, int] = {}
    with open(path, "wb") as file:
        for name, content in small.items():
            members.append(_header(file, name, len(content)))
            file.write(content)
        for i, (name, leaf) in enumerate(like.items()):
            member = _header(file, f"data/{i}", leaf.size * np.dtype(leaf.dtype).itemsize)
            members.append(member)
            begins[name] = member.begin
            file.seek(member.begin + member.size)
            file.truncate()
    return begins, members


def finish_torch(path: Path, members: list[Member]) -> None:
    """Computes the checksums of what was filled in, and writes the directory of the archive."""
    directory = b""
    with open(path, "r+b") as file:
        for member in members:
            file.seek(member.begin)
            total, left = 0, member.size
            while left:
                block = file.read(min(left, 1 << 24))
                total, left = zlib.crc32(block, total), left - len(block)
            file.seek(member.header + 14)
            file.write(struct.pack("<I", total))
            directory += _entry(member, total)
        begin = file.seek(0, 2)
        file.write(directory)
        count = len(members)
        if begin >= _WIDE or count >= 0xFFFF:
            wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), begin)
            file.write(wide + struct.pack("<4sIQI", b"PK\6\7", 0, begin + len(directory), 1))
        few, near = min(count, 0xFFFF), min(begin, _WIDE)
        file.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, few, few, len(directory), near, 0))


def _header(file: Any, name: str, size: int) -> Member:
    """Writes the header of a member, so long that its bytes begin at a multiple of 64."""
    encoded, at = (ROOT + name).encode(), file.tell()
    extra = struct.pack("<HHQQ", 1, 16, size, size) if size >= _WIDE else b""
    padding = -(at + 30 + len(encoded) + len(extra) + 4) % _ALIGNED
    extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    narrow = min(size, _WIDE)
    file.write(
        struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0x800, 0, 0, 33, 0, narrow, narrow, len(encoded), len(extra))
        + encoded
        + extra
    )
    return Member(encoded, at, file.tell(), size)


def _entry(member: Member, checksum: int) -> bytes:
    """What the directory says of a member."""
    wide = [member.size] * 2 * (member.size >= _WIDE) + [member.header] * (member.header >= _WIDE)
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    narrow = min(member.size, _WIDE)
    head = struct.pack("<4sHHHHHHIII", b"PK\1\2", 45, 45, 0x800, 0, 0, 33, checksum, narrow, narrow)
    rest = struct.pack("<HHHHHII", len(member.name), len(extra), 0, 0, 0, 0, min(member.header, _WIDE))
    return head + rest + member.name + extra


def _program(like: Mapping[str, Any], versions: Any) -> bytes:
    """The pickle of a ``state_dict``."""
    ordered = b"ccollections\nOrderedDict\n" + pickle.EMPTY_TUPLE + pickle.REDUCE
    parts = [pickle.PROTO + b"\2", ordered, pickle.MARK]
    for i, (name, leaf) in enumerate(like.items()):
        dtype = np.dtype(leaf.dtype)
        if dtype not in KINDS:
            raise ValueError(f"save_weights: {name} is {dtype}, expected one of {', '.join(map(str, KINDS))}.")
        shape = tuple(int(n) for n in leaf.shape)
        strides = tuple(math.prod(shape[j + 1 :]) for j in range(len(shape)))
        kind = f"ctorch\n{KINDS[dtype]}\n".encode()
        pid = _tuple(_text("storage"), kind, _text(str(i)), _text("cpu"), _plain(int(leaf.size)))
        arguments = (pid + pickle.BINPERSID, _plain(0), _tuple(*map(_plain, shape)), _tuple(*map(_plain, strides)))
        tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + _tuple(*arguments, pickle.NEWFALSE, ordered) + pickle.REDUCE
        parts += [_text(name), tensor]
    parts.append(pickle.SETITEMS)
    if versions is not None:
        parts += [_plain({"_metadata": versions}), pickle.BUILD]
    return b"".join(parts) + pickle.STOP


def _tuple(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _text(value: str) -> bytes:
    encoded = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded


def _plain(value: Any) -> bytes:
    """A plain value in a pickle."""
    if value is None or isinstance(value, bool):
        return {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
    if isinstance(value, int):
        if -(1 << 31) <= value < 1 << 31:
            return pickle.BININT + struct.pack("<i", value)
        encoded = pickle.encode_long(value)
        return pickle.LONG1 + bytes([len(encoded)]) + encoded
    if isinstance(value, float):
        return pickle.BINFLOAT + struct.pack(">d", value)
    if isinstance(value, Mapping):
        items = b"".join(_plain(part) for item in value.items() for part in item)
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    if isinstance(value, (list, tuple)):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_plain, value)) + pickle.APPENDS
    return _text(str(value))
