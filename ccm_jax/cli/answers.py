"""Where answers go: over files that are there, if a user forces it, or as JSON on stdout."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ccm_jax.cli.console import console
from ccm_jax.io.atomic import finite
from ccm_jax.io.overwrite import overwriting


def force_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option that lets outputs replace files; each new one is complete before."""

    @functools.wraps(function)
    def run(*args: Any, force: bool, **options: Any) -> Any:
        with overwriting(force):
            return function(*args, **options)

    return click.option(
        "--force", is_flag=True, help="Replace output files that exist, once the new ones are complete."
    )(run)


def json_option(function: click.decorators.FC) -> click.decorators.FC:
    """The option ``as_json``: nothing but :func:`tell` writes to stdout."""

    def begin(ctx: click.Context, _: click.Parameter, as_json: bool) -> bool:
        if as_json:
            ctx.with_resource(_quiet())
        return as_json

    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=begin,
        help="Print JSON instead of text; notes and warnings stay on stderr.",
    )(function)


@contextmanager
def _quiet() -> Iterator[None]:
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def tell(content: Any) -> None:
    """Prints JSON; numbers that are not finite become null."""
    click.echo(json.dumps(finite(content), indent=1, allow_nan=False, default=_plain))


def _plain(value: Any) -> Any:
    """A path as text, numbers of numpy as Python's."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
