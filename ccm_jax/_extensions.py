"""Modules of others that register networks or file layouts, imported when something is looked up."""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import traceback
from importlib.metadata import entry_points
from pathlib import Path

from ccm_jax._extras import import_ours, remedy, with_remedy

GROUP = "ccm_jax"  # entry points of an installed package: each names a module
ON_PATH = "put its folder on PYTHONPATH"
VARIABLE = "CCM_EXTENSIONS"  # modules on Python's path, separated by commas


@functools.cache
def load_extensions(package: str) -> None:
    """Imports all modules of one of our packages, then what installed ones and ``CCM_EXTENSIONS`` name; once.

    Raises:
        ModuleNotFoundError: for a library that is not installed, with the extra that brings it.
        ValueError: for a module of others that cannot be imported.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        import_ours(f"{package}.{module.name}")
    for entry in entry_points(group=GROUP):
        entry.load()
    for name in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        import_extension(name, VARIABLE)


def import_extension(module: str, who: str) -> None:
    """Imports a module for what it registers.

    Raises:
        ModuleNotFoundError: if it imports a library of an extra that is not installed.
        ValueError: if Python does not find it, or something else that it imports.
    """
    try:
        importlib.import_module(module)
    except Exception as error:  # a module of others may raise anything
        if isinstance(error, ModuleNotFoundError) and remedy(error):
            raise with_remedy(error) from error
        if module.endswith(".py") or "/" in module or "\\" in module:
            name = Path(module.replace("\\", "/")).name.removesuffix(".py")
            raise ValueError(
                f"{who}: {module} is a path, expected the name of a module: {name}, with its folder on PYTHONPATH."
            ) from error
        if isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0]):
            here = Path(f"{module.replace('.', '/')}.py")
            how = f"{here} is in this folder: write PYTHONPATH=. before the command" if here.exists() else ON_PATH
            raise ValueError(f"{who}: {module} cannot be imported: {error}; {how}.") from error
        raise ValueError(f"{who}: {module} cannot be imported: {_fault(error)}.") from error


def _fault(error: Exception) -> str:
    """What went wrong in a module of others, and where."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({Path(error.filename or 'its code').name}, line {error.lineno})"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).suffix == ".py"]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"
