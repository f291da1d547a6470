"""The oldest and the newest versions that pyproject.toml names, each in an environment of its own.

    nox -s floor     every requirement at its floor, Python 3.11
    nox -s latest    the newest of all, Python 3.13
    nox -s lock      requirements-ci.txt: the versions that CI installs, with their hashes
    nox -s audit     known vulnerabilities of those versions, by pip-audit
    nox -s build     the wheel and the sdist, the same bytes each time, in dist/

The first two run the part of the tests that tests/versions.py names; arguments behind ``--`` replace it. What came out
goes to results/reliability/versions.json.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

EXTRAS = ("models", "files", "xarray", "experiments", "test")
FOUND = "results/reliability/versions.json"


def floors() -> list[str]:
    """Requirements of pyproject.toml at their floors, ``NAME==VERSION``."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for name in EXTRAS for line in project["optional-dependencies"][name])]
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)>=([\w.]+)", line) for line in lines]
    return sorted({f"{match[1]}=={match[2]}" for match in found if match})


def _run(session: nox.Session, *constraints: str) -> None:
    session.install("-e", ".[test]", *constraints)
    session.run("python", "-m", "pip", "freeze", "--exclude-editable")
    session.run("python", "-m", "tests.versions", session.name.partition("-")[0], FOUND, *session.posargs)


@nox.session(python="3.11")
def floor(session: nox.Session) -> None:
    """Every requirement at its floor."""
    file = Path(session.create_tmp()) / "floors.txt"
    file.write_text("\n".join(floors()), encoding="utf-8")
    _run(session, "--constraint", str(file))


@nox.session(python=["3.13"])
def latest(session: nox.Session) -> None:
    """The newest of all."""
    _run(session, "--upgrade")


LOCK = "requirements-ci.txt"


@nox.session
def lock(session: nox.Session) -> None:
    """Pins what the tests need, on every platform, with hashes."""
    session.install("uv")
    how = ("--universal", "--python-version", "3.11", "--extra", "test", "--generate-hashes", "--upgrade")
    session.run("uv", "pip", "compile", *how, "--custom-compile-command", "nox -s lock", "-o", LOCK, "pyproject.toml")


@nox.session
def audit(session: nox.Session) -> None:
    """Asks PyPI's advisories about each pinned version."""
    session.install("pip-audit")
    session.run("pip-audit", "--require-hashes", "--disable-pip", "-r", LOCK)


@nox.session
def build(session: nox.Session) -> None:
    """Builds both, reproducibly."""
    session.install("setuptools>=77")
    Path("dist").mkdir(exist_ok=True)
    session.run("python", "-m", "tests.builds", "dist")
