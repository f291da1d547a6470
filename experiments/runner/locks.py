"""Locks on files, which go with the process that holds them, however that ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def hold(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a file, which says who holds it and is gone afterwards.

    Raises:
        BlockingIOError: if another process holds it and this one does not wait; its argument is what the file says.
    """
    with _locked(path, wait) as file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if fcntl is not None:
                path.unlink(missing_ok=True)  # while it is held: who waits for it sees that, and makes it anew


def _locked(path: Path, wait: bool) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            with file:
                file.seek(0)
                raise BlockingIOError(file.read() or "unknown") from error
        except OSError:
            return file  # a file system without locks
        with contextlib.suppress(FileNotFoundError):  # its holder may remove it between our opening and our locking
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
