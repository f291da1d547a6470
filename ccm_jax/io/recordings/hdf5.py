"""What all layouts in HDF5 need: its signature, its text, and the arrays of numbers in a group."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ccm_jax._reasons import clean
from ccm_jax.io.boundary import allowed

if TYPE_CHECKING:  # imported where a file needs it: frames in numpy's files do not
    import h5py

LOOKED_AT = 1 << 26  # bytes
_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # at byte 0, or after a block of the user's at 512, 1024, 2048, ...


def is_hdf5(path: Path) -> bool:
    """Whether a file has the signature of HDF5."""
    if not path.is_file():
        return False
    size, at = path.stat().st_size, 0
    with open(path, "rb") as file:
        while at + len(_SIGNATURE) <= size:
            file.seek(at)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            at = 2 * at or 512
    return False


def check_heaps(path: Path) -> None:
    """Raises ValueError for a table of texts and lists in which HDF5's library would go round for ever.

    It walks each "global heap collection" by the sizes of its objects, and an unused one of size 0 keeps it in place.
    Looked at are the first bytes of a file, which are all of a small one.

    Source: the HDF5 file format specification, section III.E.
    """
    with open(path, "rb") as file:
        content = file.read(LOOKED_AT)
    at = -1
    while (at := content.find(b"GCOL\1\0\0\0", at + 1)) >= 0:
        size = int.from_bytes(content[at + 8 : at + 16], "little")
        place, end = at + 16, min(at + size, len(content))
        while place + 16 <= end:
            number, length = (int.from_bytes(content[place + i : place + j], "little") for i, j in ((0, 2), (8, 16)))
            needed = length if number == 0 else 16 + (length + 7) // 8 * 8
            if needed == 0:
                raise ValueError(f"open_recording: {path} is damaged: its global heap at byte {at} has no end.")
            place += needed


def text(value: Any) -> str:
    """Text of an attribute, which may be bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def members(group: h5py.Group) -> dict[str, Any]:
    """What stands in a group, by name, without links to what is not there."""
    found = {key: group.get(key) for key in group}
    return {key: each for key, each in found.items() if each is not None}


def arrays_in(group: h5py.Group) -> tuple[dict[str, Any], list[str]]:
    """The arrays of real numbers, by name, and the names of everything else."""
    arrays = {key: found for key, found in members(group).items() if getattr(found, "shape", None) is not None}
    arrays = {key: array for key, array in arrays.items() if array.dtype.kind in "fiu"}
    return arrays, [key for key in group if key not in arrays]


def check_alone(path: Path, file: h5py.File) -> None:
    """Raises ValueError for a file whose numbers lie in others, which are not those that the user gave.

    HDF5 has three ways to say so, each with any path: external links, virtual data sets, and external storage.
    """
    import h5py

    def of_link(name: bytes, link: Any) -> str | None:
        return text(name) if link.type == h5py.h5l.TYPE_EXTERNAL else None

    def of_object(name: str, found: Any) -> str | None:
        if not isinstance(found, h5py.Dataset):
            return None
        kept = found.id.get_create_plist()
        return name if kept.get_layout() == h5py.h5d.VIRTUAL or kept.get_external_count() else None

    elsewhere = file.id.links.visit(of_link, info=True) or file.visititems(of_object)
    if elsewhere is not None:
        raise ValueError(
            f"open_recording: {path}: the numbers of {clean(elsewhere)} lie in another file; copy them into one, as "
            "h5repack does."
        )


def whole(array: Any) -> np.ndarray:
    """All of an array that is small in an honest file, such as the points along an axis.

    Raises:
        ValueError: if it would take far more memory than its file, which may have holes.
    """
    size = Path(array.file.filename).stat().st_size
    if array.nbytes > allowed(size):
        raise ValueError(f"{array.name} takes {array.nbytes} bytes, and the file has {size}")
    return np.asarray(array[()])
