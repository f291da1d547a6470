"""What the wheel holds, and that it works away from the source."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ccm_jax
from ccm_jax.interop import fno_to_neuraloperator
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.models import make_model

ROOT = Path(__file__).parent.parent
LIMIT = 2 << 20  # bytes of data files beside the code


def ours() -> list[Path]:
    """The files of the package, as the source has them."""
    return [p for p in (ROOT / "ccm_jax").rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def test_the_configuration_ships_ccm_jax_alone_with_all_its_files() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert setuptools["packages"]["find"]["include"] == ["ccm_jax*"]
    matched = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    data = {path for path in ours() if path.suffix != ".py"}
    assert data == matched, "files that package-data of pyproject.toml does not name"
    assert sum(path.stat().st_size for path in data) < LIMIT
    for path in ours():
        assert (path.parent / "__init__.py").exists(), f"{path.parent} is no package, so the wheel leaves it out"


def test_the_readme_s_commands_name_extras_that_exist() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for file in ("README.md", "CONTRIBUTING.md", "docs/index.md"):
        for named in re.findall(r"pip install[^\n]*?\[([a-z0-9,]+)\]", (ROOT / file).read_text()):
            assert set(named.split(",")) <= extras, file


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True, timeout=900, check=False)


def test_an_editable_install_works_in_the_folder_that_holds_the_clone(tmp_path: Path) -> None:
    """There, the clone's folder ``ccm_jax`` looks like a namespace, which an editable install by a finder loses to."""
    pytest.importorskip("setuptools", minversion="77")
    clone, out = tmp_path / "ccm_jax", tmp_path / "out"
    (clone / "ccm_jax").mkdir(parents=True)
    out.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "ccm_jax/version.py"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    (clone / "ccm_jax" / "__init__.py").write_text("found = True\n")
    build = f"from setuptools.build_meta import build_editable; build_editable({str(out)!r})"
    built = run(sys.executable, "-c", build, cwd=clone)
    assert built.returncode == 0, built.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [archive.read(name).decode().strip() for name in archive.namelist() if name.endswith(".pth")]
    assert path == str(clone)  # and no program that finds the package
    seen = run(sys.executable, "-c", f"import sys; sys.path.append({path!r}); import ccm_jax.version", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    # From a copy without what earlier builds left behind.
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "ccm_jax", "pyproject.toml", "README.md", "LICENSE", "solvers", "experiments"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")[:-1]
    for name in tracked:
        copy = tmp_path / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, "./source", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("ccm_jax-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (top,) = [name for name in names if name.endswith("top_level.txt")]
        assert archive.read(top).decode().split() == ["ccm_jax"]
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"ccm_jax"}
    assert {name for name in names if name.startswith("ccm_jax/")} == {n for n in tracked if n.startswith("ccm_jax/")}

    assert run(sys.executable, "-m", "venv", "empty", cwd=tmp_path).returncode == 0
    scripts = tmp_path / "empty" / ("Scripts" if os.name == "nt" else "bin")
    installed = run(scripts / "python", "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    settings = {"modes": (2, 2), "width": 4, "depth": 1, "out_channels": 1, "lifting": 2, "channel_mlp": 0.5}
    model = make_model("fno", activation="gelu_exact", residual=False, **settings)
    family: list[str | Path] = []
    work = tmp_path / "away"
    work.mkdir()
    params = [jax.jit(model.init)(jax.random.key(i), jnp.zeros((1, 1, 4, 4, 1))) for i in range(3)]
    for name, tree in zip(("anchor", "low", "high"), params, strict=True):
        flat = {k: np.array(v) for k, v in fno_to_neuraloperator(tree).items()}
        save_safetensors(work / f"{name}.safetensors", flat)
        family += [f"--{name}", f"{name}.safetensors"]
    start = jax.random.normal(jax.random.key(3), (1, 1, 4, 4, 1))
    frames = ccm_jax.make_rollout(model.apply)(ccm_jax.merge_pytree(*params, 1.0), start, 5)
    np.save(work / "seen.npy", np.concatenate([start, frames], axis=1))

    def ccm(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return run(scripts / "ccm", *words, cwd=work)

    inspected = ccm("inspect", *family[1::2])
    assert inspected.returncode == 0 and "cosine" in inspected.stdout.lower(), inspected.stderr
    merged = ccm("merge", *family, "-c", "1.4", "-o", "merged.safetensors")
    assert merged.returncode == 0, merged.stderr
    a, lo, hi, m = (open_safetensors(work / f"{n}.safetensors").arrays for n in ("anchor", "low", "high", "merged"))
    for name in a:
        expected = (lo[name] + hi[name]) / 2 + 0.7 * (hi[name] - lo[name])
        np.testing.assert_allclose(m[name], expected, rtol=1e-4, atol=1e-5)
    refused = ccm("calibrate", *family, "--model", "neuraloperator", "--prefix", "seen.npy")
    assert refused.returncode == 2
    assert refused.stderr == "ccm: flax is not installed; run: pip install 'ccm_jax[models]'.\n"

    for extras, report, picture in (("models", "m", False), ("models,files", "f", True)):
        extra = run(scripts / "python", "-m", "pip", "install", "-q", f"{wheel}[{extras}]", cwd=tmp_path)
        assert extra.returncode == 0, extra.stderr
        how = ("--model", "neuraloperator", "--prefix", "seen.npy", "--report", f"{report}.json")
        calibrated = ccm("calibrate", *family, *how)
        assert calibrated.returncode == 0, calibrated.stderr
        assert (work / f"{report}.json").exists() and (work / f"{report}.png").exists() == picture
        assert ("No picture: matplotlib is not installed" in calibrated.stdout) != picture

    where = run(scripts / "python", "-c", "from ccm_jax import example; print(example.path())", cwd=work)
    shipped = Path(where.stdout.strip())
    assert tmp_path / "empty" in shipped.parents
    options = [part for name in ("anchor", "low", "high") for part in (f"--{name}", shipped / f"{name}.safetensors")]
    tried = ccm("calibrate", *options, "--prefix", shipped / "test-0.0025.npz", "-o", "example.safetensors")
    assert tried.returncode == 0 and (work / "example.safetensors").exists(), tried.stderr
