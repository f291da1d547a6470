"""Opening checkpoints for a verb, with a line on stderr for each thing that was taken for another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ccm_jax._reasons import missing
from ccm_jax.cli.card import check_card
from ccm_jax.cli.faults import line_of
from ccm_jax.io.description import model_name
from ccm_jax.io.family import match
from ccm_jax.io.lora import open_expert
from ccm_jax.io.options import share_options
from ccm_jax.io.overwrite import is_read
from ccm_jax.io.parts import split_part
from ccm_jax.io.weights import Weights, open_weights

SAID = f"{__name__}.said"  # of click's context: lines of a command, some of which open the same files twice


def open_checkpoints(function: str, paths: Sequence[Path], *, cast: bool = False) -> list[Weights]:
    """An anchor and others of the same network, under the anchor's names.

    Args:
        function: for the messages.
        paths: the anchor's first.
        cast: whether arrays of another precision are converted, in memory.

    Raises:
        ValueError: if they do not have the same names, shapes, kinds of numbers and options, or if one is not what the
            card beside it says.
    """
    for path in paths:
        is_read(split_part(path)[0])
        check_card(path)
    anchor = open_weights(paths[0])
    others = [open_expert(path, anchor) for path in paths[1:]]
    matched, notes = match(function, anchor, others, cast=cast)
    anchor, more = share_options(function, anchor, matched)
    note(*(line for weights in (anchor, *others) for line in weights.notes), *notes, *more)
    return [anchor, *matched]


def check_says(model: str | None, others: Sequence[Weights]) -> None:
    """Raises ValueError, by the name of the file, if one beside the anchor says that its network is a module.

    Without ``--model``, the anchor counts as of the same network, and would be named though it says nothing.
    """
    for weights in () if model is not None else others:
        model_name(weights, None)


def check_there(*paths: Path | None) -> None:
    """Raises FileNotFoundError for the first path, without its part, where there is nothing."""
    for file in (split_part(path)[0] for path in paths if path is not None):
        if not file.exists():
            raise FileNotFoundError(missing(file))


def new_folder(output: Path | None) -> str:
    """Said after the name of an output, before it is written: a mistyped path makes a folder, too."""
    return "" if output is None or output.parent.exists() else " (in a new folder)"


def warn(*lines: str) -> None:
    """Says what is doubtful about a result, each line once in a command."""
    _say("warning", *lines)


def note(*lines: str) -> None:
    """Says what is worth knowing and changes no result, each line once in a command."""
    _say("note", *lines)


def _say(what: str, *lines: str) -> None:
    context = click.get_current_context(silent=True)
    said: set[str] = set() if context is None else context.meta.setdefault(SAID, set())
    for line in map(line_of, lines):
        if line not in said:
            said.add(line)
            click.echo(f"ccm: {what}: {line}", err=True)
