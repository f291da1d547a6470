"""The repository's address, as ``[project.urls]`` of pyproject.toml says it: for what links to the repository."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLACEHOLDER = "OWNER"  # the account, until there is one


def address(root: Path = ROOT) -> str:
    """What pyproject.toml says."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def published(root: Path = ROOT) -> str | None:
    """The address, or None while it holds the placeholder: then nothing should link to it."""
    found = address(root)
    return None if f"/{PLACEHOLDER}/" in found else found
