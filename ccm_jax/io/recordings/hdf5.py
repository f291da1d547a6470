"""What all layouts in HDF5 need: its signature, its text, and the arrays of numbers in a group."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ccm_jax.io.boundary import allowed, shown

if TYPE_CHECKING:  # imported where a file needs it: frames in numpy's files do not
    import h5py

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


def text(value: Any) -> str:
    """Text of an attribute, which may be bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def arrays_in(group: h5py.Group) -> tuple[dict[str, Any], list[str]]:
    """The arrays of real numbers, by name, and the names of everything else."""
    arrays = {key: group[key] for key in group if getattr(group[key], "shape", None) is not None}
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
            f"open_recording: {path}: the numbers of {shown(elsewhere)} lie in another file; copy them into one, as "
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
