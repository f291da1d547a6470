"""What a result depends on: the sources of this repository that its process could reach, as programs and not as text.

``import ccm_jax`` loads the whole core. A result depends on the modules of it whose names the measuring code uses, and
on theirs; see :func:`reachable`. A change of a module that changes no number is recorded as such, with the rows that
gave the same bits when they were measured again; see :mod:`experiments.study.repeat`.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
EQUAL = ROOT / "results" / "equal_sources.json"  # changes of modules that were shown to change no number
PACKAGES = ("ccm_jax", "experiments", "solvers")
# Files, terminals, pages and the order of rows change no number.
OTHERS: tuple[str, ...] = (
    "ccm_jax/io/",
    "ccm_jax/cli/",
    "experiments/pipeline/store.py",
    "experiments/study/",
    "experiments/report/",
    "experiments/runner/",
)
OTHERS += tuple(f"experiments/{wing}/{name}.py" for wing in ("peers", "beyond") for name in ("study", "rows"))
NAMES = ("__init__.py", "version.py", "_extras.py", "_extensions.py")


def sources_of() -> dict[str, str]:
    """A short hash of each loaded module of this repository, by path; see :func:`hash_of`."""
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in PACKAGES]
    files = {getattr(module, "__file__", None) for module in modules} - {None}
    paths = sorted(path for path in (Path(str(file)).resolve() for file in files) if path.is_relative_to(ROOT))
    named = {path.relative_to(ROOT).as_posix(): path for path in paths}
    return {name: hash_of(path) for name, path in named.items() if _counts(name)}


def _counts(name: str) -> bool:
    return not name.startswith(OTHERS) and not name.endswith(NAMES)


def hash_of(path: Path) -> str:
    """A hash of a module's program: comments, docstrings and layout do not count."""
    return _hash(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=512)
def _hash(path: Path, modified: int) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:8]


def changed(sources: dict[str, str]) -> list[str]:
    """The modules among these that a result depends on, and that are not what they were, or gone."""
    measuring = [name for name in sources if name.startswith(("experiments/", "solvers/", "ccm_jax/models/"))]
    needed = set(measuring) | reachable(measuring)
    return [
        name
        for name, seen in sources.items()
        if _counts(name)
        if not (ROOT / name).exists() or (name in needed and not _gives_the_same(name, seen))
    ]


def _gives_the_same(name: str, seen: str) -> bool:
    """Whether a module is what it was, or was only changed in ways that were shown to change no number."""
    now, equal = hash_of(ROOT / name), {seen}
    while now not in equal and (more := {one for pair in _equal_pairs(name) if equal & pair for one in pair} - equal):
        equal |= more
    return now in equal


def _equal_pairs(name: str) -> list[set[str]]:
    """Pairs of hashes of a module that were shown to give the same numbers."""
    changes = json.loads(EQUAL.read_text(encoding="utf-8")) if EQUAL.exists() else []
    return [set(change["modules"][name]) for change in changes if name in change["modules"]]


def reachable(names: Iterable[str]) -> set[str]:
    """The modules that these import, and those that they import in turn, by path.

    A package's ``__init__`` is seen through: ``ccm_jax.fit_chart`` leads to the module that defines it, not to all that
    the package offers. What is imported for types alone does not count.
    """
    found: set[str] = set()
    waiting = [name for name in names if (ROOT / name).exists()]
    while waiting:
        new = _imports(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@functools.cache
def _imports(name: str) -> frozenset[str]:
    """The modules of this repository that one names, by path."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
    packages = {}  # names of whole packages and modules: what is used of them decides
    found: set[str] = set()
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                packages[one.asname or one.name.partition(".")[0]] = (
                    one.name if one.asname else one.name.partition(".")[0]
                )
                found |= _defining(one.name, None)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for one in node.names:
                found |= _defining(node.module, one.name)
                packages[one.asname or one.name] = f"{node.module}.{one.name}"
    for node in _nodes(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in packages:
            found |= _defining(packages[node.value.id], node.attr)
    return frozenset(found - {name})


def _nodes(tree: ast.AST) -> Iterable[ast.AST]:
    """All nodes but those behind ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node)


@functools.cache
def _defining(module: str, name: str | None) -> frozenset[str]:
    """The file that defines a name of a module of this repository; without a name, that of the module itself."""
    if module.partition(".")[0] not in PACKAGES:
        return frozenset()
    if name is not None and (submodule := _defining(f"{module}.{name}", None)):
        return submodule
    folder = ROOT / module.replace(".", "/")
    if folder.with_suffix(".py").exists():
        return frozenset({folder.with_suffix(".py").relative_to(ROOT).as_posix()})
    if name is None or not (folder / "__init__.py").exists():
        return frozenset()
    for node in _nodes(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for one in node.names:
                if (one.asname or one.name) == name:
                    return _defining(node.module, one.name)
    return frozenset()
