"""The terminal that commands write to."""

from rich.console import Console

from ccm_jax.io.boundary import one_line

console = Console(highlight=False)


def say(text: str) -> None:
    """Prints text as it is: brackets are no markup, and the terminal breaks long lines, not we."""
    lines = "\n".join(map(one_line, text.split("\n")))
    console.print(lines, markup=False, soft_wrap=True)
