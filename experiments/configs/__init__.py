"""Configurations by name: ``--config=rd_ood``, or with a size, ``--config=rd_ood:smoke``."""

from __future__ import annotations

import difflib
from pathlib import Path

SIZES = ("", "smoke", "paper")


def names() -> list[str]:
    """The configurations that exist: every module of this package with a ``get_config``."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "base"))


def resolve(name: str) -> str:
    """``rd_ood[:size] -> /path/to/rd_ood.py[:size]``, the form that ``ml_collections`` reads.

    Raises:
        ValueError: with the names or sizes that exist.
    """
    stem, _, size = name.partition(":")
    if stem.endswith(".py"):  # a configuration of the user's own
        if not Path(stem).is_file():
            raise ValueError(f"--config={name}: there is no file {stem}.")
        return name
    if stem not in names():
        near = difflib.get_close_matches(stem, names(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"--config={name}: no configuration {stem!r}; there are: {', '.join(names())}.{hint}")
    if size not in SIZES:
        raise ValueError(f"--config={name}: no size {size!r}; there are: {', '.join(s for s in SIZES if s)}, or none.")
    return str(Path(__file__).parent / f"{stem}.py") + (f":{size}" if size else "")
