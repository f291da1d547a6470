"""``ccm``: from checkpoint files and a few observed frames to a merged checkpoint, in the terminal."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any

import click

from ccm_jax._extras import remedy
from ccm_jax.io.boundary import one_line

# Verb -> its module, imported when it is asked for, so that --help answers at once.
VERBS = {
    "inspect": "what a checkpoint holds, and how experts left their anchor",
    "merge": "write the weights of a coordinate",
    "calibrate": "find the coordinate from observed frames, and merge there",
    "evaluate": "compare anchor, experts and merged weights on held-out trajectories",
    "rollout": "run a surrogate from an initial state",
    "data": "make or describe files of trajectories",
}


LONGEST = 4000  # characters of an error, which may quote a file


class Verbs(click.Group):
    """The verbs, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names in the order of a session."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a verb; None if there is none."""
        return importlib.import_module(f"ccm_jax.cli.{name}").command if name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A line for each, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Wrong input, or a library that is not installed, is one line on stderr and exit code 2.

        A warning is a line, too.
        """
        for stream in (sys.stdout, sys.stderr):  # one that cannot write "±", as on an old Windows, gets "?"
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _note
                return super().invoke(ctx)
        except (ValueError, OSError) as error:
            click.echo(f"ccm: {one_line(str(error)[:LONGEST])}", err=True)
            sys.exit(2)
        except ModuleNotFoundError as error:
            line = remedy(error)
            if line is None:
                raise
            click.echo(f"ccm: {line}", err=True)
            sys.exit(2)


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"ccm: note: {one_line(str(message))}", err=True)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ccm_jax", prog_name="ccm")
def main() -> None:
    """Merge fine-tuned neural operators along a physical direction.

    Checkpoints may be safetensors, PyTorch files (read without running their code), folders of Orbax or Hugging Face,
    npz, msgpack and more. FILE::part names what in a file is meant.

    \b
    ccm inspect anchor.pt low.pt high.pt
    ccm merge --anchor anchor.pt --low low.pt --high high.pt --coordinate 1.4 -o merged.safetensors
    """
