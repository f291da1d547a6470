"""What is typed after a command: names of configurations, one line where something is wrong, and the help."""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import configs

HELP = ("-h", "-help", "--help", "-helpshort", "--helpshort", "-helpfull", "--helpfull", "-?", "--?")
OVERRIDE = re.compile(r"--?(?:no)?config\.([\w.]+)")
KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "values in brackets"}
PYTHON = (("invalid literal for int", KINDS[int]), ("could not convert string to float", KINDS[float]))
FIELD = re.compile(r" +c\.([\w.]+) = .*?  # (.*)")  # a line of configs/base.py
WIDTH = 110


def program() -> str:
    """The command that runs, as it is typed: ``experiments.run``."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem


def resolve_arguments(argv: list[str]) -> list[str]:
    """Replaces the name of a configuration by its file, wherever it stands among the arguments."""
    resolved = list(argv)
    for i, argument in enumerate(argv):
        if argument in ("--config", "-config") and i + 1 < len(argv):
            resolved[i + 1] = _find(argv[i + 1])
        elif argument.startswith(("--config=", "-config=")):
            resolved[i] = f"--config={_find(argument.split('=', 1)[1])}"
    return resolved


def _find(name: str) -> str:
    """The file of a configuration; what lies beside it may be imported, as beside any program."""
    file = configs.resolve(name)
    folder = str(Path(file.partition(":")[0]).absolute().parent)
    if Path(folder) != Path(configs.__file__).parent and folder not in sys.path:
        sys.path.append(folder)
    return file


def parse(argv: list[str]) -> None:
    """Reads the flags of resolved arguments.

    Raises:
        ValueError: with one line, for whatever cannot be read.
    """
    try:
        rest = flags.FLAGS(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        raise ValueError(_unknown(error.flagname)) from error
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(_explained(error, argv)) from error
    if rest:
        named = rest[0].partition(":")[0] in configs.names() or rest[0].partition(":")[0].endswith(".py")
        hint = f"did you mean --config={rest[0]}?" if named else "options begin with --, and --help shows them."
        raise ValueError(f"{rest[0]} is no option; {hint}")
    _check_numbers(argv)


def _check_numbers(argv: list[str]) -> None:
    """Raises ValueError for words where a field has numbers in brackets: no parser looks into those."""
    changed = {name: value for name, value in overrides().items() if isinstance(value, tuple)}
    config = _loaded(argv) if changed else None
    defaults = {} if config is None else flat(config)
    for name, value in changed.items():
        default = defaults.get(name) or ()
        if any(isinstance(one, str) for one in value) and default and not any(isinstance(one, str) for one in default):
            given = value[0] if len(value) == 1 else value
            raise ValueError(f"--config.{name}={given}: expected numbers in brackets, as in {_typed(name, default)}.")


def _unknown(name: str) -> str:
    if name.startswith("config."):
        return f"--{name} changes a field of a configuration; give that first, as --config=NAME."
    near = difflib.get_close_matches(name, list(flags.FLAGS), n=1)
    return f"--{name} is no option; " + (f"did you mean --{near[0]}?" if near else "--help shows all.")


def _explained(error: Exception, argv: list[str]) -> str:
    """What a failed reading of the flags says, in one line that names the flag."""
    config = _loaded(argv)
    defaults = {} if config is None else flat(config)
    for argument in argv[1:] if defaults else ():
        found = OVERRIDE.match(argument)
        if found and not _is_field(found[1], defaults):
            near = difflib.get_close_matches(found[1], list(defaults), n=1)
            hint = f"did you mean --config.{near[0]}?" if near else "--config=NAME --help lists the fields."
            return f"--config.{found[1]}: there is no such field; {hint}"
        if found and found[1] not in defaults:
            inner = next(field for field in defaults if field.startswith(f"{found[1]}."))
            return f"{argument}: a group of fields; set one of them, as in {_typed(inner, defaults[inner])}."
        if (
            found
            and isinstance(error, config_flags.config_flags.FlagOrderError)
            and _loaded(argv[: argv.index(argument)]) is None
        ):
            return f"--config.{found[1]} stands before --config; give --config=NAME first."
    said = " ".join(str(error.args[0] if error.args else error).split())  # of a KeyError, str() is quoted once more
    found = re.match(r"flag --([\w.]+)=(.*?): (.*)", said)
    if said.startswith("Missing value for flag "):
        return f"{said.rpartition(' ')[2]}: its value is missing."
    if not found:
        return f"--config: {said}"
    name, value, why = found.groups()
    field = name.removeprefix("config.")
    if field == name:
        kind = next((words for begin, words in PYTHON if why.startswith(begin)), None)
        return f"--{name}={value}: {f'expected {kind}' if kind else why}."
    kind = next((words for kind, words in KINDS.items() if type(defaults.get(field)) is kind), None)
    if kind is None and defaults.get(field, why) is None:
        kind = next((words for begin, words in PYTHON if why.startswith(begin)), None)
        return f"--{name}={value}: {f'expected {kind}, or None' if kind else why}."
    told = f"expected {kind}, as in {_typed(field, defaults[field])}" if kind else why
    return f"--{name}={value}: {told}."


def _is_field(name: str, defaults: dict[str, Any]) -> bool:
    return name in defaults or any(field.startswith(f"{name}.") for field in defaults)


def _loaded(argv: list[str]) -> ConfigDict | None:
    """The configuration that resolved arguments name, without overrides; None if there is none that can be read."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if re.match(r"--?config(=|$)", word):
            with contextlib.suppress(Exception):  # files of users may raise anything, which is said elsewhere
                path = word.partition("=")[2] if "=" in word else following
                found = config_flags.config_flags.ConfigFileFlagParser("config").parse(path)
                return found if isinstance(found, ConfigDict) else None
    return None


def flat(config: ConfigDict) -> dict[str, Any]:
    """Every field by its name with dots.

    Example:
        >>> flat(ConfigDict({"a": {"b": 1}, "c": (2,)}))
        {'a.b': 1, 'c': (2,)}
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        inner = flat(value) if isinstance(value, ConfigDict) else None
        found |= {name: value} if inner is None else {f"{name}.{key}": one for key, one in inner.items()}
    return found


def _typed(field: str, value: Any) -> str:
    """A field as it is typed; what a shell would read otherwise is quoted.

    Example:
        >>> print(_typed("axis.parameters", ("viscosity",)))
        --config.axis.parameters="('viscosity',)"
    """
    text = value if isinstance(value, str) else repr(value)
    quoted = shlex.quote(text)
    if quoted != text and text and not set(text) & set('"$`\\!'):
        quoted = f'"{text}"'
    return f"--config.{field}={quoted}"


def overrides() -> dict[str, Any]:
    """The fields that were typed, with their values; the seed, which has a flag of its own, is left out."""
    flag = flags.FLAGS["config"]
    typed = {} if flag.value is None else config_flags.get_override_values(flag)
    return {name: value for name, value in typed.items() if name != "seed"}


def help_text(doc: str | None, argv: list[str]) -> str:
    """The help of a command: its text, its options, and the fields of the configuration that ``argv`` names."""
    lines = [(doc or "").strip().replace("``", "`"), "", "Options:"]
    for flag in sorted(flags.FLAGS.get_key_flags_for_module(sys.argv[0]), key=lambda one: one.name != "config"):
        name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}=…"
        shown = flag.default_as_str if flag.default not in (None, [], False) and flag.name != "config" else None
        lines += _entry(name, flag.help + (f" Default: {shown.strip(chr(39))}." if shown else ""))
    lines += _entry("--config.FIELD=…", "Changes a field of the configuration.")
    config, comments = _loaded(argv), _comments()
    if config is None:
        told = f"Experiments: {', '.join(configs.names())}. With --config=NAME, --help lists the fields as well."
        return "\n".join([*lines, "", *textwrap.wrap(told, WIDTH)])
    lines += ["", "Fields, with their values:"]
    for field, value in flat(config).items():
        if field not in ("name", "size"):
            typed = f"  {_typed(field, value)}"
            lines.append(f"{typed:<46}  {comments[field]}" if field in comments else typed)
    return "\n".join(lines)


def _entry(name: str, text: str) -> list[str]:
    first, *more = textwrap.wrap(text, WIDTH - 28) or [""]
    return [f"  {name:<24}  {first}", *(" " * 28 + line for line in more)]


def _comments() -> dict[str, str]:
    """What configs/base.py says of each field."""
    text = (Path(configs.__file__).parent / "base.py").read_text(encoding="utf-8")
    return {found[1]: found[2] for line in text.splitlines() if (found := FIELD.match(line))}
