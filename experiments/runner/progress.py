"""What a person sees while it runs: a bar per running stage, a line per finished one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.runner import notes
from experiments.runner.logs import log

AT = "at "  # begins the text of a step that was a regime
Advance = Callable[[int, str], None]


class Timed(Protocol):
    """What a line says of a finished stage."""

    @property
    def name(self) -> str: ...

    @property
    def seconds(self) -> float: ...

    @property
    def fresh(self) -> bool: ...


UNBROKEN = 10_000  # columns where no terminal says how many it has: files and pipes get whole lines

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=UNBROKEN)


@contextmanager
def bar(name: str, total: int, done: int = 0) -> Iterator[Advance]:
    """A progress bar; yields ``advance(steps, text)``. On a terminal only: logs get the line of the stage."""
    columns = (
        TextColumn("  {task.description:<18}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total, completed=done, text="")

        def advance(steps: int, text: str) -> None:
            if text.startswith(AT):
                notes.passed(text.removeprefix(AT))
            progress.update(task, advance=steps, text=text)

        yield advance


def finished(stage: Timed, text: str) -> None:
    """The line of a finished stage."""
    state = f"{stage.seconds:7.1f} s" if stage.fresh else "     kept"
    console.print(f"  {stage.name:<18} {state}   {text}", markup=False)
    log(stage.name, seconds=stage.seconds, kept=not stage.fresh, text=text)
