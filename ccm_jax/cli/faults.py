"""What a terminal says of a fault: the system's errors and names that there are not, with what to do."""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from ccm_jax._reasons import FAILED
from ccm_jax.cli.verbs import VERBS
from ccm_jax.io.atomic import MARK
from ccm_jax.io.boundary import one_line

INTERRUPTED = 130  # exit code: 128 and the number of the signal
LONGEST = 4000  # characters of an error, which may quote a file
DISK = "nothing was written: free some space, or choose an output on another disk"
PLACE = "check its permissions, or choose another path"
REMEDIES = {
    errno.ENOENT: "check that the path is right, from the folder that ccm runs in",
    errno.EACCES: PLACE,
    errno.EPERM: PLACE,
    errno.EROFS: PLACE,
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "a part of the path is a file; choose another folder",
    errno.ENOSPC: DISK,
    errno.EDQUOT: DISK,
    errno.EFBIG: DISK,
}


NAMED = re.compile(r"(?:^|(?<=: ))([A-Za-z_]\w*)(?:: |, (?=validation\[))")  # at the start, or behind an option
ARGUMENT = re.compile(r" \(\w+=\.\.\.[^)]*\)")  # what only Python calls by name, beside an option or without one


def without_python(text: str) -> str:
    """A message without what only Python calls by name: functions of this package, and arguments beside options.

    Example:
        >>> import ccm_jax.io.weights
        >>> without_python("open_weights: there is no a.pt; check the path.")
        'there is no a.pt; check the path.'
    """
    text = NAMED.sub(lambda found: "" if _is_ours(found[1], first=found.start() == 0) else found[0], text)
    return ARGUMENT.sub("", text)


def _is_ours(name: str, *, first: bool) -> bool:
    """Whether a name is that of a function or class of this package: no verb, no file, no plain word inside a line."""
    plain = name.islower() and "_" not in name
    if name in VERBS or (plain and not first) or Path(name).exists():
        return False
    modules = [module for key, module in list(sys.modules.items()) if module and key.partition(".")[0] == "ccm_jax"]
    return any(callable(vars(module).get(name)) for module in modules)


def line_of(error: Exception | Warning | str) -> str:
    """An error as one line; one of the system names the path and the remedy."""
    text = without_python(str(error))
    if isinstance(error, OSError) and error.strerror:
        path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
        mark = rf"{re.escape(MARK)}\d+\.[0-9a-f]+-"  # of what was on its way to its place
        path = re.sub(mark, "", re.sub(rf"{mark}[^/\\]+[/\\]", "", path))
        remedy = REMEDIES.get(error.errno or 0, "check the disk, and the name")
        text = f"{path}: {error.strerror.lower()}; {remedy}." if path else f"{error.strerror}; {remedy}."
    return one_line(text[:LONGEST])


def line_of_run(error: RuntimeError) -> str | None:
    """What failed while a network ran, as one line, with what its code raised; None for errors of others."""
    if type(error).__name__ not in ("JaxRuntimeError", "XlaRuntimeError"):
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["it says nothing"]
    ours = [line for line in lines if FAILED in line]
    said = ours[-1].partition(FAILED)[2] if ours else lines[0]
    return one_line(f"the network failed while it ran: {said[:LONGEST].rstrip('.')}; see --model.")


# What others call a command, or another command an option -> the name here.
CALLED = {"forecast": "rollout", "predict": "rollout", "run": "rollout", "compare": "evaluate", "score": "evaluate"}
CALLED |= {"fit": "calibrate", "infer": "calibrate", "describe": "data", "convert": "data"}
FILES = ("--prefix", "--initial", "--trajectories")  # the frames that a command reads


def meant(name: str, names: Sequence[str]) -> str:
    """The name that is meant, as a question after a message: in other words, or the nearest; empty if unknown."""
    if CALLED.get(name) in names:
        return f" Did you mean {CALLED[name]}?"
    near = [other for other in FILES if name in FILES and other in names] or difflib.get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def quiet_threads() -> None:
    """Keeps Orbax's threads from printing, beside the line that says what failed, that their event loop is closed."""
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    if before is sys.__unraisablehook__:
        sys.unraisablehook = hook


def exit_with_usage(error: click.ClickException, command: str) -> NoReturn:
    """Options and arguments that a verb does not take end the program as other input does: one line, exit code 2.

    Args:
        error: of click.
        command: whose help is pointed to, where the error does not know it.
    """
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
        raise error
    click.echo(f"ccm: {_line_of_usage(error, command)}", err=True)
    sys.exit(2)


def exit_interrupted() -> NoReturn:
    """Ctrl-C ends the program with a line and the exit code that shells give it."""
    click.echo("\nccm: interrupted; no incomplete output is left.", err=True)
    sys.exit(INTERRUPTED)


def _line_of_usage(error: click.ClickException, command: str) -> str:
    said = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.NoSuchOption):
        ctx = error.ctx
        there = [] if ctx is None else [o for p in ctx.command.params if p.param_type_name == "option" for o in p.opts]
        near = meant(error.option_name, there or error.possibilities or [])
        said = f"there is no option {error.option_name}{near and '.' + near}"
    ctx = getattr(error, "ctx", None)
    see = f"see {command if ctx is None else ctx.command_path} --help."
    said = said[:1].lower() + said[1:]  # click's own begin with a capital
    return one_line(f"{said} S{see[1:]}" if said.endswith("?") else f"{said}; {see}")


class Suggesting(click.Group):
    """Commands of which the nearest is suggested where one is not known."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command and what follows it."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            names = self.list_commands(ctx)
            near = meant(args[0], names)
            if "describe" in names and Path(args[0]).exists():
                near = f" Did you mean {ctx.command_path} describe {args[0]}?"
            said = f"there is no command {args[0]}.{near} Commands: {', '.join(names)}"
            raise click.UsageError(said, ctx) from error
