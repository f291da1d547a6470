"""``ccm``: from checkpoint files and a few observed frames to a merged checkpoint, in the terminal."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from ccm_jax._extras import remedy
from ccm_jax.cli.faults import Suggesting, exit_interrupted, exit_with_usage, line_of, line_of_run, quiet_threads
from ccm_jax.cli.verbs import VERBS
from ccm_jax.io.boundary import one_line


class Verbs(Suggesting):
    """The verbs, by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names in the order of a session."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a verb; None if there is none."""
        return importlib.import_module(f"ccm_jax.cli.{name}").command if name in VERBS else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs that begin as typed, without importing any."""
        verbs = [CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A line for each, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """The context of ``ccm`` itself; options that it does not have are one line, too."""
        try:
            return super().make_context(*args, **extra)
        except click.ClickException as error:
            exit_with_usage(error, "ccm")

    def invoke(self, ctx: click.Context) -> Any:
        """Wrong input, or a library that is not installed, is one line on stderr and exit code 2.

        A warning is a line, too.
        """
        quiet_threads()
        for stream in (sys.stdout, sys.stderr):  # one that cannot write "±", as on an old Windows, gets "?"
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _note
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            exit_interrupted()
        except BrokenPipeError:  # whoever reads has enough: click ends the program without a word
            raise
        except click.ClickException as error:
            exit_with_usage(error, f"ccm {ctx.invoked_subcommand or ''}".rstrip())
        except (ValueError, OSError) as error:
            click.echo(f"ccm: {line_of(error)}", err=True)
            sys.exit(2)
        except RuntimeError as error:
            if "KeyboardInterrupt" in str(error):  # within a callback of a compiled program
                exit_interrupted()
            line = line_of_run(error)
            if line is None:
                raise
            click.echo(f"ccm: {line}", err=True)
            sys.exit(2)
        except SystemExit as error:  # of the network's code: ours is none
            said = "" if error.code is None else f" ({one_line(str(error.code))})"
            click.echo(
                f"ccm: the code of --model ended the program by sys.exit{said}; let it raise an error.", err=True
            )
            sys.exit(2)
        except ModuleNotFoundError as error:
            line = remedy(error)
            if line is None:
                raise
            click.echo(f"ccm: {line}", err=True)
            sys.exit(2)


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """Takes the place of ``warnings.showwarning``: a warning is a note, which the terminal says once."""
    from ccm_jax.cli.checkpoints import note  # not for --help

    note(str(message))


def _completion(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
    """Prints what a shell evaluates to complete verbs, options and files."""
    found = None if shell is None else get_completion_class(shell)
    if found is not None:
        click.echo(found(main, {}, "ccm", "_CCM_COMPLETE").source())
        ctx.exit()


@click.group("ccm", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ccm_jax", prog_name="ccm")
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_completion,
    help='Print the shell\'s completion script: eval "$(ccm --completion bash)".',
)
def main() -> None:
    """Merge fine-tuned neural operators along a physical direction.

    Checkpoints can be safetensors, PyTorch files (read without executing them), Orbax or Hugging Face folders, npz,
    msgpack and more. FILE::part selects a part of a file.

    \b
    ccm example
    ccm inspect anchor.pt low.pt high.pt
    ccm merge --anchor anchor.pt --low low.pt --high high.pt --coordinate 1.4 -o merged.safetensors
    """
