"""Modules that moved keep their old names for one version: they import, and warn with the new name."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module under its old name, and gives the new one."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self.moved = moved

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        new = self._new_name(fullname)
        found = importlib.util.find_spec(new) if new else None
        if found is None:
            return None
        package = found.submodule_search_locations is not None  # its modules are sought here too: the path is empty
        return importlib.util.spec_from_loader(fullname, self, origin=found.origin, is_package=package)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = self._new_name(spec.name)
        warn_moved(spec.name, new)
        module = importlib.import_module(new)
        alias = ModuleType(spec.name, module.__doc__)
        alias.__dict__.update({k: v for k, v in module.__dict__.items() if not k.startswith("__") or k == "__all__"})
        return alias

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to run."""

    def get_code(self, fullname: str) -> CodeType | None:
        """The program of the new module, for ``python -m OLD``."""
        new = self._new_name(fullname)
        found = importlib.util.find_spec(new)
        if not fullname.endswith(".__main__"):  # of a package, whose import has warned
            warn_moved(fullname, new)
        loader = found and found.loader
        return loader.get_code(new) if isinstance(loader, importlib.abc.InspectLoader) else None

    def is_package(self, fullname: str) -> bool:
        """Whether the new module is a package."""
        found = importlib.util.find_spec(self._new_name(fullname))
        return found is not None and found.submodule_search_locations is not None

    def _new_name(self, fullname: str) -> str:
        """The new name of a module, or of one inside a package that moved; empty for others."""
        old, rest = fullname, ""
        while old and old not in self.moved:
            old, _, last = old.rpartition(".")
            rest = f".{last}{rest}"
        return self.moved[old] + rest if old else ""


def warn_moved(old: str, new: str) -> None:
    """Warns whoever called the caller that a name is another now."""
    warnings.warn(f"{old} is now {new}; the old name will be removed in the next release.", FutureWarning, 3)


def keep_old_names(moved: Mapping[str, str]) -> None:
    """Makes ``import OLD`` give the module ``moved[OLD]``, with a FutureWarning that names it."""
    sys.meta_path.append(_Moved(moved))
