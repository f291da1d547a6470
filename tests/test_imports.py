"""Who may import whom; and that the merge core needs only jax and numpy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"flax", "optax", "orbax", "ml_collections", "matplotlib", "rich", "jinja2", "absl", "scipy"}
# Each of these libraries is known to one module, or one folder, of ccm_jax only.
OWNERS = {"flax": "models", "optax": "train.py", "orbax": "checkpoint.py"}


def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    absolute = (node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level)
    return names | {node.module for node in absolute if node.module}


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("ccm_jax", {"solvers", "experiments", "tests", "benchmarks"} | (HEAVY - set(OWNERS))),
        ("solvers", {"ccm_jax", "experiments", "tests", "benchmarks"} | HEAVY),
        ("experiments", {"tests", "benchmarks", "notebooks", "flax"}),
    ],
)
def test_the_direction_of_imports(package: str, forbidden: set[str]) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not roots(path) & forbidden, path


def test_each_heavy_library_has_one_owner() -> None:
    for path in (ROOT / "ccm_jax").rglob("*.py"):
        for library in roots(path) & set(OWNERS):
            assert path.relative_to(ROOT / "ccm_jax").parts[0] == OWNERS[library]


def test_configurations_know_only_ml_collections() -> None:
    for path in (ROOT / "experiments" / "configs").glob("*.py"):
        assert roots(path) <= {"__future__", "ml_collections", "experiments", "difflib", "pathlib"}, path


def test_the_core_needs_only_jax_and_numpy() -> None:
    script = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(HEAVY - {"scipy"})!r}:
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())
import ccm_jax, jax.numpy as jnp
tree = {{"w": jnp.ones(2)}}
assert ccm_jax.merge_pytree(tree, tree, tree, 1.0)["w"].tolist() == [1.0, 1.0]
ccm_jax.fit_chart(tree, [tree, tree], [-1.0, 1.0])(0.5)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
