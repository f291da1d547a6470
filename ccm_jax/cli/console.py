"""The terminal that commands write to."""

from rich.console import Console

console = Console(highlight=False)


def say(text: str) -> None:
    """Prints text as it is: brackets are no markup, and the terminal breaks long lines, not we."""
    console.print(text, markup=False, soft_wrap=True)
