"""The boundary around every reader of files: whatever goes wrong inside is one line that names the file and the remedy.

Files come from anywhere. Which error a damaged one causes depends on its bytes and on the library that reads it, and
none of that is of use to the caller.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from ccm_jax._reasons import reason_of

Path_ = str | os.PathLike[str]

FACTOR, LEAST = 64, 1 << 26  # what a file stands for may take so many times its size, or so many bytes


class Unreadable(ValueError):
    """A file that cannot be read. The message is whole: it names the file and the remedy, and passes the boundary."""


@contextlib.contextmanager
def reading(function: str, path: Path_, remedy: str) -> Iterator[None]:
    """Turns every error but that of a missing file, or of a missing library, into one line.

    Args:
        function: that reads, for the message.
        path: of the file.
        remedy: a sentence without its full stop.

    Raises:
        Unreadable: instead of any other error.

    Example:
        >>> with reading("open_weights", "a.npz", "save it again"):
        ...     {}["w"]
        Traceback (most recent call last):
        ccm_jax.io.boundary.Unreadable: open_weights: a.npz cannot be read: KeyError 'w'; save it again.
    """
    try:
        yield
    except (Unreadable, FileNotFoundError, PermissionError, IsADirectoryError, ModuleNotFoundError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error) and "\n" not in str(error):
            raise  # it names the file, as ours do
        raise Unreadable(f"{function}: {path} cannot be read: {reason_of(error)}; {remedy}.") from error


def one_line(text: str) -> str:
    """Text for a terminal that obeys nothing in it: what is no printable character is shown by its number."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def check_names(function: str, path: Path_, names: Iterable[str]) -> None:
    """Raises ValueError for a name that a terminal would obey, or that reads as another: no honest file has one."""
    for name in names:
        if not str(name).isprintable():
            raise Unreadable(
                f"{function}: {path} has the name {ascii(name)[:160]}, expected printable characters; rename it."
            )


def memory() -> int | None:
    """Bytes of memory of this machine; None where that is not told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def allowed(size: int) -> int:
    """How many bytes of memory a file of a size may ask for."""
    return max(FACTOR * size, LEAST)
