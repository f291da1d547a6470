"""Files that are whole or not there: written beside their target, then moved over it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yields a path beside ``target`` to write to, and moves it there at the end; an error leaves the old file.

    The name ends as the target's does, because some writers look at it.
    """
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Writes text as UTF-8."""
    with replacing(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, content: Any) -> None:
    """Writes JSON. Numbers that are not finite become null."""
    write_text(target, json.dumps(finite(content), indent=1, allow_nan=False))


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def finite(content: Any) -> Any:
    """The same content with every float that is not finite as None."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if isinstance(content, float) and not (float("-inf") < content < float("inf")):
        return None
    return content
