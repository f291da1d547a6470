"""What a terminal shows while a verb works: what it does, for how long, and the time left where that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@contextmanager
def waiting(what: str, *, steps: bool = False) -> Iterator[Progress]:
    """Shows a line on stderr until the block ends; only on a terminal, so that logs stay clean.

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
    with progress.Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
