"""The study of the paper's evidence: its rows, and how a seed of one is measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from experiments.study.jobs import Study, configured, prepare
from experiments.study.page import publish
from experiments.study.rows import Row, rows_of


def key_of(row: Row, size: str, seed: int) -> str:
    """The name of the file of a seed of a row: another one as soon as its definition, or that of a stage, differs."""
    from experiments.pipeline import stages
    from experiments.study import ablations, controls, measures, paths

    modules = (measures, controls, ablations, paths)
    versions = [stages.VERSIONS, *(module.VERSION for module in modules)]
    content = json.dumps([*row, size, configured(row, size, seed).to_dict(), versions], sort_keys=True, default=list)
    return f"{row.name}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def measure(row: Row, size: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Runs one seed of a row in this process, and returns what it measured."""
    from experiments.pipeline.stages import Run
    from experiments.study.measures import MEASURES

    prepare()
    return MEASURES[row.kind](Run(configured(row, size, seed), workdir / "stages"))


STUDY = Study(rows_of, key_of, measure, publish, lambda workdir: workdir / "rows")
