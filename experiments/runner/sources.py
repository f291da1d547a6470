"""What a result depends on: the sources of this repository that its process had loaded, as programs and not as text."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
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
NAMES = ("__init__.py", "version.py", "_moved.py", "_extras.py", "_extensions.py")


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
    """The modules among these that are not what they were, or gone."""
    return [
        name
        for name, seen in sources.items()
        if _counts(name) and (not (ROOT / name).exists() or hash_of(ROOT / name) != seen)
    ]
