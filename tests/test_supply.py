"""What the package depends on, and what it is built to: dependencies are justified, builds are the same bytes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import versions
from tests.terminal import ccm, make_family, of

ROOT = Path(__file__).parent.parent


def test_each_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    body = text[text.index("dependencies = [") : text.index("[project.urls]")]
    lines = [line.strip() for line in body.splitlines() if re.search(r'"[A-Za-z][^"]*"', line)]
    bare = [line for line in lines if "#" not in line and not re.search(r'"ccm_jax\[', line)]
    assert not bare, bare


def test_the_lock_holds_every_direct_dependency_with_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in ("models", "files", "xarray", "experiments", "test"):
        wanted += project["optional-dependencies"][extra]
    names = {re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-") for line in wanted}  # type: ignore[index]
    lock = (ROOT / "requirements-ci.txt").read_text(encoding="utf-8")
    assert names - {"ccm-jax"} <= set(re.findall(r"^([a-z0-9.-]+)==", lock, re.M))
    pinned = re.findall(r"^[a-z0-9.-]+==.*\n(    --hash=sha256:[0-9a-f]{64})", lock, re.M)
    assert len(pinned) == len(re.findall(r"^[a-z0-9.-]+==", lock, re.M))
    assert "file:" not in lock and "http" not in lock


def test_the_floors_are_those_that_nox_tries() -> None:
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8").replace("import nox\n", "nox = None\n")
    scope: dict[str, Any] = {"__name__": "noxfile"}
    exec(source.partition("\ndef _run")[0], scope)
    floors = scope["floors"]()
    assert "jax==0.7.2" in floors and "zarr==2.18.7" in floors and all("==" in line for line in floors)
    assert all((ROOT / "tests" / name).exists() for name in versions.TESTS)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("the network is asked for")


@pytest.mark.long
def test_no_verb_asks_for_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    with pytest.raises(AssertionError):
        socket.create_connection(("127.0.0.1", 9))
    family = make_family(tmp_path)
    how, seen = ("--model", "neuraloperator"), ("--prefix", family / "seen.npy", "--accept-persistence")
    for words in (
        ("inspect", *of(family)[1::2]),
        ("merge", *of(family), "-c", "1.4", "-o", tmp_path / "m.safetensors"),
        ("data", "describe", family / "seen.npy"),
        ("calibrate", *of(family), *how, *seen, "--report", tmp_path / "found.json"),
    ):
        done = ccm(*words)
        assert done.exit_code == 0, done.output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wheel_and_sdist_are_the_same_bytes_twice(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", "77")
    from tests.builds import build

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    assert first == second and len(first) == 2


SNIPPET = """
import socket
def refuse(*_, **__): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
exec(open("snippet.py", encoding="utf-8").read())
import ccm_jax, numpy
print(ccm_jax.__file__)
print(numpy.asarray(found.coordinate).tolist())
"""


def snippet() -> str:
    """The first example of the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"<!-- snippet -->\n```python\n(.*?)```", readme, re.S)[1]  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_readme_s_example_runs_from_the_wheel_without_source_or_network(tmp_path: Path) -> None:
    from tests.builds import build

    (tmp_path / "made").mkdir()
    build(tmp_path / "made")
    (wheel,) = (tmp_path / "made").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    apart = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # or pip finds the source
    subprocess.run([python, "-m", "pip", "install", "-q", f"{wheel}[models]"], env=apart, check=True)
    away = tmp_path / "away"
    away.mkdir()
    (away / "snippet.py").write_text(snippet(), encoding="utf-8")
    clean = {"PATH": str(python.parent), "HOME": str(away)}
    done = subprocess.run([python, "-c", SNIPPET], cwd=away, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    where, coordinate = done.stdout.splitlines()[-2:]
    assert str(tmp_path / "venv") in where and np.isfinite(float(coordinate.strip("[]").split(",")[0]))
