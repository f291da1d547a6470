"""The page of the peers; for now the gathered rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.pipeline.store import write_json


def publish(rows: Any, gathered: dict[str, Any], workdir: Path, output: Path | None, *, jobs: int) -> None:
    """Writes what rows found."""
    write_json(output or workdir / "peers.json", gathered)
