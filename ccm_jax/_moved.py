"""Modules that moved keep their old names for one version: they import, and warn with the new name."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name, and gives the new one."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.moved = moved

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.moved:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = self.moved[spec.name]
        warn_moved(spec.name, new)
        module = importlib.import_module(new)
        alias = ModuleType(spec.name, module.__doc__)
        kept = ("__all__", "__path__")
        alias.__dict__.update({k: v for k, v in module.__dict__.items() if not k.startswith("__") or k in kept})
        return alias

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run."""


def warn_moved(old: str, new: str) -> None:
    """Warns whoever called the caller that a name is another now."""
    warnings.warn(f"{old} is now {new}; the old name goes with the next version.", FutureWarning, 3)


def keep_old_names(moved: Mapping[str, str]) -> None:
    """Makes ``import OLD`` give the module ``moved[OLD]``, with a FutureWarning that names it."""
    sys.meta_path.append(_Moved(moved))
