"""Whether an output may take the place of what is there: only where a user forces it, and never of what is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class _Wish:
    """What the user of a command says, and the files and folders that the command reads."""

    force: bool
    read: set[Path] = field(default_factory=set)


_wish: ContextVar[_Wish | None] = ContextVar("overwrite", default=None)  # None outside of a command that has --force


@contextmanager
def overwriting(force: bool) -> Iterator[None]:
    """Within the block outputs replace files if ``force``; else their messages name ``--force``."""
    token = _wish.set(_Wish(force))
    try:
        yield
    finally:
        _wish.reset(token)


def is_read(*paths: Path | None) -> None:
    """Notes what a command reads, which it must not replace."""
    wish = _wish.get()
    if wish is not None:
        wish.read |= {path.resolve() for path in paths if path is not None}


def check_taken(path: Path) -> None:
    """Raises ValueError for an output that is there already and may not be replaced, with the remedy."""
    if not os.path.lexists(path):
        return
    wish = _wish.get()
    if wish is None or not wish.force:
        remedy = "choose a new path or remove it" if wish is None else "choose a new path, remove it, or add --force"
        raise ValueError(f"{path} exists, and nothing is overwritten; {remedy}.")
    if path.is_dir() and not path.is_symlink():
        raise ValueError(f"{path} is a folder, and --force replaces files only; choose a new path or remove it.")
    there = path.resolve()
    if wish.read & {there, *there.parents}:
        raise ValueError(f"{path} is read by this command, and --force does not replace it; choose a new path.")
