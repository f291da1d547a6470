"""Checksums of the files of a folder, in the form that ``sha256sum --check SHA256SUMS`` reads."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ccm_jax._reasons import clean
from ccm_jax.io.atomic import MARK, write_text

FILE = "SHA256SUMS"


def write_checksums(folder: str | os.PathLike[str]) -> Path:
    """Writes the SHA-256 of every file of a folder to a file in it, the last of all to be written.

    Args:
        folder: whose files are whole.

    Returns:
        The file of checksums.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.txt").write_text("a")
        >>> path = write_checksums(folder)
        >>> check_checksums("load", folder, "make it again")
        >>> _ = (folder / "a.txt").write_text("b")
        >>> check_checksums("load", folder, "make it again")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: load: .../a.txt does not match its checksum in SHA256SUMS; make it again.
    """
    folder = Path(folder)
    lines = [f"{digest}  {name}\n" for name, digest in _digests(folder).items()]
    write_text(folder / FILE, "".join(lines))
    return folder / FILE


def check_checksums(function: str, folder: str | os.PathLike[str], remedy: str) -> None:
    """Reads every file that a folder's checksums name; a folder without them is not checked.

    Args:
        function: that reads, for the message.
        folder: that :func:`write_checksums` was called on.
        remedy: a sentence without its full stop, for the message.

    Raises:
        ValueError: for the first file that is missing or is not what it was, with its path.
    """
    folder = Path(folder)
    try:
        lines = (folder / FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        raise ValueError(f"{function}: {folder / FILE} is damaged; {remedy}.") from error
    for line in lines:
        digest, separator, name = line.partition("  ")
        path = folder / name
        if not separator or len(digest) != 64 or not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{function}: {folder / FILE} is damaged, at the line {clean(line)}; {remedy}.")
        if not path.is_file():
            raise ValueError(f"{function}: {path}, which {FILE} names, is missing; {remedy}.")
        if _digest(path) != digest:
            raise ValueError(f"{function}: {path} does not match its checksum in {FILE}; {remedy}.")
    unknown = sorted(set(_names(folder)) - {line.partition("  ")[2] for line in lines})
    if unknown:
        raise ValueError(f"{function}: {folder / FILE} does not name {clean(unknown[0])}; {remedy}.")


def _names(folder: Path) -> dict[str, Path]:
    """The files of a folder by their paths in it, without that of checksums and what is half-written."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: path for name, path in names.items() if name != FILE and not path.name.startswith(MARK)}


def _digests(folder: Path) -> dict[str, str]:
    return {name: _digest(path) for name, path in _names(folder).items()}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
