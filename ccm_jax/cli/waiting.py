"""What a terminal shows while a verb works: what it does, for how long, and the time left where that is known."""

from __future__ import annotations

import math
import sys
import threading
import time
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
SHARE, TIMED = 0.25, 60.0  # of the steps, or seconds of them, before which their pace is not known
LONG = 10.0  # seconds after which a log is told the time left; then again whenever as much time has passed as till then


@contextmanager
def waiting(what: str, *, steps: bool = False) -> Iterator[Progress]:
    """Shows a line on stderr until the block ends; where there is no terminal, once, if that takes some seconds.

    With steps, work that takes long says the time left there, too: after 10 seconds, 20, 40 and so on, once a quarter
    of the steps is done or they have been timed for a minute. The first step, which compiles, does not count for it.

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
            yield _left(what, sys.stderr)
        return
    with progress.Progress(*columns, console=terminal, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _left(what: str, stream: TextIO) -> Progress:
    """A progress that writes a line with the time left, sparsely."""
    begin, after = time.monotonic(), LONG
    first: tuple[float, int] | None = None  # when the first steps, which compile, were done, and how many

    def progress(done: int, total: int) -> None:
        nonlocal after, first
        now = time.monotonic()
        if first is None or done <= first[1]:
            first = (now, done) if done > 0 else None
            return
        if now - begin < after or done >= total:
            return
        if done - first[1] < SHARE * (total - first[1]) and now - first[0] < TIMED:
            return
        after = 2 * (now - begin)
        left = (now - first[0]) * (total - done) / (done - first[1])
        _write(f"{what}: {done} of {total}, about {spell(left)} left", stream)

    return progress


def spell(seconds: float) -> str:
    """A time left in words, no more exact than it can be known.

    Example:
        >>> spell(7.2), spell(95.0), spell(5400.0)
        ('8 s', '2 min', '1.5 h')
    """
    if seconds < 60:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _write(line: str, stream: TextIO) -> None:
    with suppress(OSError, ValueError):  # whoever reads may be gone
        print(f"ccm: {line}", file=stream, flush=True)


@contextmanager
def _said(what: str, stream: TextIO) -> Iterator[None]:
    """Writes one line if the block takes longer than a moment."""
    timer = threading.Timer(MOMENT, _write, (f"{what} …", stream))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
