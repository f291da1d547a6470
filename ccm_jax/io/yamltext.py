"""YAML as plain data, bounded: no tags, no text of a few bytes that stands for more than memory holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

LARGEST = 1 << 20  # bytes of a text; a recipe of a hundred experts takes ten thousand
VALUES = 10**5  # with each alias counted as often as it is used
DEPTH = 50


class _Once(yaml.SafeLoader):
    """Plain values only, and no key twice, of which the last would count."""


def _mapping(loader: _Once, node: yaml.MappingNode) -> Any:
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
    if len(set(names)) < len(names):
        raise ValueError(f"the key {max(names, key=names.count)} is there twice")
    return yaml.SafeLoader.construct_yaml_map(loader, node)


_Once.add_constructor("tag:yaml.org,2002:map", _mapping)


def load_yaml(text: str | bytes) -> Any:
    """What a text holds: names, lists, numbers and text.

    Raises:
        ValueError: in one line, for what is no YAML, has tags, or stands for too much.

    Example:
        >>> load_yaml("experts: [{path: low.pt, coordinate: -1}]")
        {'experts': [{'path': 'low.pt', 'coordinate': -1}]}
    """
    if len(text) > LARGEST:
        raise ValueError(f"it has {len(text)} bytes, more than {LARGEST}")
    try:
        content = yaml.load(text, _Once)  # a safe loader
    except RecursionError as error:
        raise ValueError(f"its values are nested deeper than {DEPTH}") from error
    except (yaml.YAMLError, ValueError, OverflowError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error  # dates and numbers that there are not, too
    _check_size(content)
    return content


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """What a file holds; see :func:`load_yaml`.

    Raises:
        ValueError: that names the file.
    """
    try:
        with open(Path(path), "rb") as file:
            return load_yaml(file.read(LARGEST + 1).decode("utf-8"))
    except ValueError as error:  # what is no UTF-8 is a ValueError as well
        raise ValueError(f"{path} is not a YAML file: {error}") from error


def _check_size(content: Any) -> None:
    """Raises ValueError for values that aliases multiply beyond ``VALUES``, or that contain themselves."""
    left = VALUES
    stack = [(content, 0)]
    while stack:
        value, depth = stack.pop()
        left -= 1
        if left < 0 or depth > DEPTH:
            what = (
                f"it stands for more than {VALUES} values" if left < 0 else f"its values are nested deeper than {DEPTH}"
            )
            raise ValueError(what)
        if isinstance(value, dict):
            stack += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, (list, tuple, set)):
            stack += [(part, depth + 1) for part in value]
