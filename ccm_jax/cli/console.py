"""The terminal that commands write to."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ccm_jax.io.boundary import one_line


class Terminal(Console):
    """A console that leaves it to the command what a closed pipe means; rich ends the program."""

    def on_broken_pipe(self) -> None:
        """Raises the error that it is called for."""
        raise  # noqa: PLE0704


class Shortened:
    """A name in a table, whose middle makes way where the terminal is narrow: its ends tell names apart."""

    def __init__(self, name: str) -> None:
        self.name = one_line(name)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(shortened(self.name, options.max_width), no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, min(len(self.name), options.max_width))


def shortened(name: str, width: int) -> str:
    """A name with … for its middle, if it is wider than allowed.

    Example:
        >>> shortened("blocks.0.pointwise_0.kernel", 16), shortened("kernel", 16)
        ('block…e_0.kernel', 'kernel')
    """
    if len(name) <= width:
        return name
    front = max(width - 1, 0) // 3  # the end tells more names apart
    return f"{name[:front]}…{name[len(name) - max(width - 1 - front, 0) :]}"


console = Terminal(highlight=False)


def say(text: str) -> None:
    """Prints text as it is: brackets are no markup, and the terminal breaks long lines, not we."""
    lines = "\n".join(map(one_line, text.split("\n")))
    console.print(lines, markup=False, soft_wrap=True)


def show_table(title: str, *tables: Table) -> None:
    """Prints tables below their title, which their width does not break."""
    console.print(one_line(title), markup=False, soft_wrap=True, style="italic")
    for table in tables:
        console.print(table)
