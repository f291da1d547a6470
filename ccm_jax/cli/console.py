"""The terminal that commands write to."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ccm_jax.io.boundary import one_line


class Terminal(Console):
    """A console that leaves it to the command what a closed pipe means; rich ends the program."""

    def on_broken_pipe(self) -> None:
        """Raises the error that it is called for."""
        raise  # noqa: PLE0704


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
