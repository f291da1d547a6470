"""A result records the commit of our clone, and of no repository that happens to surround it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.pipeline import store

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a file of its own."""
    git(tmp_path, "init", "-q")
    (tmp_path / "own.txt").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "a")
    return tmp_path


def placed(folder: Path) -> Path:
    """A copy of the module at its place in a clone that begins at ``folder``."""
    file = folder / store.NAME
    file.parent.mkdir(parents=True)
    shutil.copy(store.__file__, file)
    return file


def test_the_commit_of_the_clone_that_tracks_the_code(repository: Path) -> None:
    file = placed(repository)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "b")
    assert store.commit_of(file) == git(repository, "rev-parse", "--short", "HEAD")
    (repository / "own.txt").write_text("2")
    assert store.commit_of(file) == git(repository, "rev-parse", "--short", "HEAD") + "-dirty"


def test_no_commit_from_a_virtual_environment_in_somebody_else_s_repository(repository: Path) -> None:
    assert store.commit_of(placed(repository / ".venv" / "lib" / "site-packages")) is None


def test_no_commit_from_a_copy_that_somebody_else_s_repository_tracks(repository: Path) -> None:
    file = placed(repository / "third_party" / "ccm_jax")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "b")
    assert store.commit_of(file) is None


def test_no_commit_outside_of_any_repository(tmp_path: Path) -> None:
    assert store.commit_of(placed(tmp_path)) is None


def test_no_commit_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert store.commit_of(Path(store.__file__)) is None
    assert store.provenance()["git"] is None
