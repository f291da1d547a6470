"""Who may import whom, what each library is imported by, and what the base installation does without the others."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ccm_jax
from ccm_jax.cli.strips import draw_rollout
from ccm_jax.interop import fno_to_neuraloperator
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.models import make_model
from tests.torchfiles import Storage, Tensor, write

ROOT = Path(__file__).parent.parent
CODE = ("ccm_jax", "solvers", "experiments", "benchmarks")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DISTRIBUTIONS = {"PIL": "pillow", "absl": "absl-py", "jaxlib": "jax", "orbax": "orbax-checkpoint", "yaml": "pyyaml"}
DISTRIBUTIONS |= {"griffe": "mkdocstrings"}  # which brings it with its handler of Python

# Each library is imported in these places of ccm_jax and nowhere else; `(late)` inside functions only.
OWNERS = {
    "flax": ("models/",),
    "optax": ("train.py",),
    "orbax": ("io/checkpoint.py",),
    "torch (late)": ("interop/torch",),
    "h5py (late)": ("io/recordings/",),
    "scipy (late)": ("io/recordings/", "cli/verdict.py", "cli/pictures.py"),
    "xarray (late)": ("io/recordings/stores.py",),
    "yaml": ("io/", "cli/"),
    "click": ("cli/",),
    "rich": ("cli/",),
    "matplotlib (late)": ("cli/pictures.py",),
    "PIL (late)": ("cli/pictures.py",),
}

# Folders and modules of ccm_jax outside its core, and what of ccm_jax each may use beside the core.
OUTER = {
    "__main__": {"cli"},
    "models": set(),
    "train": set(),
    "train_chart": {"train"},
    "interop": {"models"},
    "io": set(),
    "surrogate": {"models", "interop", "io"},
    "loading": {"interop", "io"},
    "example": {"surrogate", "io"},
    "cli": {"models", "interop", "io", "surrogate", "example"},
}

# Wings of experiments, and which others each may use.
WINGS = {
    "configs": set(),
    "runner": set(),
    "pipeline": {"runner"},
    "report": {"configs", "runner", "pipeline"},
    "study": {"configs", "runner", "pipeline", "report"},
}
# The commands tie wings together; only modules that are themselves run use them.
COMMANDS = {"arguments", "command", "options"}


def code(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@functools.cache
def imported(path: Path, *, top_only: bool = False) -> set[str]:
    """Dotted names that a file imports; those below ``if TYPE_CHECKING`` cost nothing and do not count."""
    tree = ast.parse(path.read_text())
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skipped = {id(inner) for node in typing for statement in node.body for inner in ast.walk(statement)}
    late = (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef)
    if top_only:
        skipped |= {id(inner) for n in ast.walk(tree) if isinstance(n, late) for inner in ast.walk(n)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def roots(path: Path, *, top_only: bool = False) -> set[str]:
    return {name.split(".")[0] for name in imported(path, top_only=top_only)}


def others(path: Path) -> set[str]:
    """The libraries of others that a file imports."""
    return roots(path) - set(sys.stdlib_module_names) - {*CODE, "tests"}


def parts(path: Path, package: str) -> set[str]:
    """The first-level folders and modules of one of our packages that a file imports."""
    there = {p.stem for p in (ROOT / package).iterdir()}
    names = (name.split(".") for name in imported(path) if name.startswith(f"{package}."))
    return {name[1] for name in names if name[1] in there}


def place(path: Path, package: str) -> str:
    return path.relative_to(ROOT / package).parts[0].removesuffix(".py")


def declared(*extras: str) -> set[str]:
    """What the base installation has, and extras with those that they name."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    found = {re.split(r"[\[<>=]", line)[0] for line in lines}
    nested = {name for line in lines if line.startswith("ccm_jax[") for name in line[8:-1].split(",")}
    return found - {"ccm_jax"} | (declared(*nested) if nested else set())


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("ccm_jax", {"solvers", "experiments", "tests", "benchmarks"}),
        ("solvers", {"ccm_jax", "experiments", "tests", "benchmarks"}),
        ("experiments", {"tests", "benchmarks", "notebooks", "flax", "optax", "orbax", "h5py"}),
    ],
)
def test_the_direction_of_imports(package: str, forbidden: set[str]) -> None:
    files = list(code(package))
    assert files
    for path in files:
        assert not roots(path) & forbidden, path


def test_the_core_and_the_solvers_know_jax_and_numpy_only() -> None:
    core = [path for path in code("ccm_jax") if place(path, "ccm_jax") not in OUTER]
    assert len(core) > 15
    for path in [*core, *code("solvers")]:
        assert others(path) <= {"jax", "jaxlib", "numpy"}, path


def test_each_library_has_its_owners_in_ccm_jax() -> None:
    owners = {name.removesuffix(" (late)"): places for name, places in OWNERS.items()}
    late = {name.removesuffix(" (late)") for name in OWNERS if name.endswith("(late)")}
    for path in code("ccm_jax"):
        where = path.relative_to(ROOT / "ccm_jax").as_posix()
        for library in others(path) - {"jax", "jaxlib", "numpy"}:
            assert where.startswith(owners[library]), f"{where} imports {library}"
        assert not roots(path, top_only=True) & late, f"{where} imports at its top what should be imported on use"


def test_the_rooms_of_ccm_jax() -> None:
    for path in code("ccm_jax"):
        here = place(path, "ccm_jax")
        if here == "__init__":
            continue
        allowed = OUTER.get(here, set()) | {here}
        assert not (parts(path, "ccm_jax") & set(OUTER)) - allowed, path


def test_the_wings_of_experiments() -> None:
    for path in code("experiments"):
        wing = place(path, "experiments")
        if wing not in WINGS:
            continue
        runs = 'if __name__ == "__main__"' in path.read_text() or path.name == "__main__.py"
        used = parts(path, "experiments") - {wing} - (COMMANDS | {"run"} if runs or wing == "study" else set())
        assert used <= WINGS[wing], f"{path} uses {used - WINGS[wing]}"


def test_configurations_know_only_ml_collections() -> None:
    for path in code("experiments/configs"):
        assert others(path) <= {"ml_collections"}, path


def test_everything_imported_is_declared() -> None:
    for path in code(*CODE, "tests"):
        folder = path.relative_to(ROOT).parts[0]
        extras = {
            "ccm_jax": ("models", "files", "xarray", "torch"),
            "solvers": (),
            "experiments": ("experiments", "logs", "docs"),
            "benchmarks": ("bench",),
            "tests": ("test", "bench", "notebooks", "dev"),  # tests skip what only the latter have
        }[folder]
        by_hand = {"clawpack"}  # needs a Fortran compiler; see CONTRIBUTING.md
        names = {DISTRIBUTIONS.get(name, "neuraloperator" if name == "neuralop" else name) for name in others(path)}
        assert names - by_hand <= declared(*extras), path


def test_the_extras_that_errors_name_are_those_of_pyproject() -> None:
    from ccm_jax._extras import EXTRAS

    # What opens a store with xarray names the extra itself, with the file.
    others = {"click", "rich", "yaml", "scipy", "xarray"}
    assert set(EXTRAS) == {name.removesuffix(" (late)") for name in OWNERS} - others
    for library, extra in EXTRAS.items():
        assert DISTRIBUTIONS.get(library, library) in declared(extra) - declared()


def run_without(allowed: set[str], script: str, cwd: Path) -> str:
    """Runs a script where only the standard library, some libraries and what jax itself needs are installed."""
    needed = {"jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "opt_einsum", "ccm_jax"}
    refuse = f"""
import sys
from importlib.machinery import PathFinder

ALLOWED = {sorted(needed | allowed)!r}

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        root = name.split(".")[0]
        known = root in ALLOWED or root in sys.stdlib_module_names or root[0] == "_"
        return super().find_spec(name, path, target) if known else None

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
sys.path.insert(0, {str(ROOT)!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", refuse + script], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_and_its_namespaces_need_jax_and_numpy_only(tmp_path: Path) -> None:
    script = """
import ccm_jax, jax.numpy as jnp
tree = {"w": jnp.ones(2)}
assert ccm_jax.merge_pytree(tree, tree, tree, 1.0)["w"].tolist() == [1.0, 1.0]
ccm_jax.fit_chart(tree, [tree, tree], [-1.0, 1.0])(0.5)
ccm_jax.baselines.ties(tree, [tree, tree])
for name in ("evaluate", "geometry", "metrics", "normalize", "parallel", "example", "interop", "io", "models"):
    assert name in dir(ccm_jax) and getattr(ccm_jax, name).__name__ == f"ccm_jax.{name}"
assert ccm_jax.io.safetensors.load_safetensors and ccm_jax.io.weights.open_weights and ccm_jax.io.names.flatten
assert ccm_jax.interop.torch_rollout is ccm_jax.interop.torch.torch_rollout
for use in (lambda: ccm_jax.train, lambda: ccm_jax.io.checkpoint):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error)
"""
    assert run_without(set(), script, tmp_path).splitlines() == [
        f"{library} is not installed; run: pip install 'ccm_jax[models]'." for library in ("optax", "orbax")
    ]


def test_modules_of_io_and_interop_are_there_without_their_import() -> None:
    script = """
import sys, ccm_jax
assert not {"torch", "orbax", "flax", "h5py"} & set(sys.modules)
ccm_jax.interop.torch_rollout, ccm_jax.io.lora, ccm_jax.io.recordings
assert "torch" not in sys.modules and "orbax" not in sys.modules
ccm_jax.io.checkpoint.save
for package in (ccm_jax.io, ccm_jax.interop):
    assert dir(package) and all(hasattr(package, name) for name in dir(package))
    assert not hasattr(package, "nothing")
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=240, check=True)


@pytest.mark.parametrize("name", ["baselines", "evaluate", "geometry", "metrics", "normalize", "parallel"])
def test_namespaces_list_what_is_public(name: str) -> None:
    module = getattr(ccm_jax, name)
    assert dir(module) == sorted(module.__all__)
    assert {getattr(module, n).__module__ for n in dir(module) if callable(getattr(module, n))} == {module.__name__}
    pages = " ".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    assert set(re.findall(rf"::: ccm_jax\.{name}\.(\w+)", pages)) <= set(module.__all__)


@pytest.mark.long
def test_the_base_installation_inspects_and_merges_and_names_the_extra_for_the_rest(tmp_path: Path) -> None:
    settings = {"modes": (2, 2), "width": 4, "depth": 1, "out_channels": 1, "lifting": 2, "channel_mlp": 0.5}
    model = make_model("fno", activation="gelu_exact", residual=False, **settings)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, 4, 4, 1)))
    for i, name in enumerate(("anchor", "low", "high")):
        params = jax.tree.map(lambda s, i=i: np.full(s.shape, 1 + 0.1 * i * (-1) ** i, s.dtype), shapes)
        tree = {key: np.asarray(leaf) for key, leaf in fno_to_neuraloperator(params).items()}
        save_safetensors(tmp_path / f"{name}.safetensors", tree)
        np.savez(tmp_path / f"{name}.npz", **tree)  # type: ignore[arg-type]
        tensor = {"w": Tensor(Storage("FloatStorage", "0", 2), 0, (2,), (1,))}
        write(tmp_path / f"{name}.pt", tensor, {"0": np.array([0, i], np.float32)})
    np.save(tmp_path / "seen.npy", np.ones((6, 4, 4, 1), np.float32))
    (tmp_path / "seen.h5").write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(64))
    (tmp_path / "orbax").mkdir()
    script = """
from ccm_jax import example
from ccm_jax.cli import main

sys.stderr = sys.stdout

def ccm(*words):
    try:
        main(words, standalone_mode=False)
    except SystemExit as end:
        return end.code
    return 0

FAMILY = [word for name in ("anchor", "low", "high") for word in (f"--{name}", f"{name}.safetensors")]
for kind in ("safetensors", "npz", "pt"):
    family = [word.replace("safetensors", kind) for word in FAMILY]
    assert ccm("inspect", *family[1::2]) == 0
    assert ccm("merge", *family, "-c", "1.4", "-o", f"{kind}.safetensors") == 0
assert ccm("merge", *FAMILY, "--method", "ties", "-o", "ties.safetensors") == 0
assert ccm("data", "describe", "seen.npy") == 0
for words in (
    ["inspect", "orbax"],
    ["data", "describe", "seen.h5"],
    ["calibrate", *FAMILY, "--model", "neuraloperator", "--prefix", "seen.npy"],
    ["rollout", "npz.safetensors", "--model", "neuraloperator", "--initial", "seen.npy", "-o", "out.npz"],
):
    print(ccm(*words))
assert ccm("inspect", str(example.path("anchor.safetensors"))) == 0
try:
    example.load()
except ModuleNotFoundError as error:
    print(error)
"""
    told = run_without({"click", "yaml", "rich", "pygments", "markdown_it", "mdurl"}, script, tmp_path)
    expected = [
        *("ccm: orbax is not installed; run: pip install 'ccm_jax[models]'.", "2"),
        *("ccm: h5py is not installed; run: pip install 'ccm_jax[files]'.", "2"),
        *("ccm: flax is not installed; run: pip install 'ccm_jax[models]'.", "2") * 2,
        "flax is not installed; run: pip install 'ccm_jax[models]'.",
    ]
    assert [line for line in told.splitlines() if line == "2" or "is not installed" in line] == expected


def test_without_matplotlib_a_command_says_so_and_keeps_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    draw_rollout(np.ones((2, 4, 4, 1)), None, tmp_path / "out.npz")
    assert capsys.readouterr().out == ("No picture: matplotlib is not installed; run: pip install 'ccm_jax[files]'.\n")
    assert not list(tmp_path.iterdir())
