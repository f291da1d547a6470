"""What a terminal shows while a verb works: what it does, for how long, and the time left where that is known."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from rich import progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Progress = Callable[[int, int], None]
MOMENT = 5.0  # seconds


@contextmanager
def waiting(what: str, *, steps: bool = False) -> Iterator[Progress]:
    """Shows a line on stderr until the block ends; where there is no terminal, once, if that takes some seconds.

    Args:
        what: the work, as in "fitting the readout".
        steps: whether the block says how far it is, which gives a bar with the time left.

    Yields:
        ``progress(done, total)``, to call when steps are done.
    """
    terminal = Console(stderr=True, highlight=False)
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    if steps:
        columns += [BarColumn(), TextColumn("left"), TimeRemainingColumn()]
    if not terminal.is_terminal:
        with _said(what, sys.stderr):
            yield lambda done, total: None
        return
    with progress.Progress(*columns, console=terminal, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def _said(what: str, stream: TextIO) -> Iterator[None]:
    """Writes one line if the block takes longer than a moment."""

    def write() -> None:
        with suppress(OSError, ValueError):  # whoever reads may be gone
            print(f"ccm: {what} …", file=stream, flush=True)

    timer = threading.Timer(MOMENT, write)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
