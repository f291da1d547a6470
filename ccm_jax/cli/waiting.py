"""What a terminal shows while a verb works: what it does, for how long, and the time left where that is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]


@contextmanager
def waiting(what: str, total: int | None = None) -> Iterator[Advance]:
    """Shows a line on stderr until the block ends; only on a terminal, so that logs stay clean.

    Args:
        what: the work, as in "fitting the readout".
        total: number of steps, which gives a bar with the time left; None shows the elapsed time only.

    Yields:
        ``advance(steps)``, to call when steps are done.
    """
    terminal = Console(stderr=True, highlight=False)
    columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
    if total is not None:
        columns += [BarColumn(), TextColumn("left"), TimeRemainingColumn()]
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.update(task, advance=steps)
