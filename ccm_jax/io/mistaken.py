"""What arrives in place of a file that was meant: a pointer to it, a web page, an archive of it, a part of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

# How a file begins -> what it is, and what to do.
_BEGINS = {
    b"version https://git-lfs": "a pointer of Git LFS and not the file; run git lfs pull",
    b"<": "a web page; fetch the file itself",
    b"\x1f\x8b": "compressed by gzip; unpack it",
    b"BZh": "compressed by bzip2; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard; unpack it",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file; load it where it was written and save its arrays as safetensors",
}


def mistaken_for(path: Path) -> str | None:
    """What a file is, and what to do; None where its first bytes tell nothing."""
    with open(path, "rb") as file:
        head = file.read(64)
    return next((what for begin, what in _BEGINS.items() if head.lstrip().startswith(begin)), None)


def holds_trajectories(path: Path) -> bool:
    """Whether a zip archive of arrays holds frames, as :func:`ccm_jax.io.recordings.write_recording` names them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "frames.npy" in archive.namelist()
    except (zipfile.BadZipFile, OSError):  # whatever is wrong with it, its reader says
        return False


def part_of_checkpoint(folder: Path) -> str | None:
    """What a folder lacks to be a checkpoint; None if nothing in it looks like one of Hugging Face's."""
    names = [file.name for file in folder.iterdir()]
    shards = sorted(name for name in names if "-of-" in name and name.endswith((".safetensors", ".bin")))
    if shards:
        return f"parts of a checkpoint, {shards[0]} and others, and no index; fetch the *.index.json beside them"
    if any(name.startswith("adapter_model.") for name in names):
        return "a LoRA adapter; pass it as an expert, beside the anchor that it was trained from"
    return None
