"""How many frames after a model's window are the prefix: one option and one default for all verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

FRAMES = 4  # that are observed after the window, if nothing else is said


def frames_option(
    help: str, *, least: int = 1, default: int | None = FRAMES
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--frames N``.

    Args:
        help: what these frames are for in this verb.
        least: the smallest number that makes sense.
        default: None where a verb must know whether the option was given; the help then says the usual number.
    """
    kind, usual = click.IntRange(min=least), f"  [default: {FRAMES}]" * (default is None)
    return click.option(
        "--frames", type=kind, metavar="N", default=default, show_default=default is not None, help=f"{help}{usual}"
    )
