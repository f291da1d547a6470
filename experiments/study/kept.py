"""A study whose rows are kept in the repository: names by definition, choices taken over, sources of each result."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from ccm_jax.io.atomic import read_json
from experiments.runner.sources import ROOT, sources_of
from experiments.study.jobs import Job, Study, configured, first_seeds_first, prepare
from experiments.study.rows import Row

REPEATED = "repeated"  # the name of a folder in which kept rows are measured again


class Wing(NamedTuple):
    """The folder of experiments that a study is measured by.

    Attributes:
        name: of the folder, of the study and of the folder of its results.
        measures: module of the folder that measures each kind of row by a function ``(run, known) -> found`` of the
            kind's name. It is imported by the row that needs it, so that a row depends on its own sources alone.
        rows_of: the rows of a size.
        versions: numbers that are raised when a measure changes its meaning.
        ordered: ``rows -> jobs``, in the order in which they begin.
        needs: ``(row, seed) -> jobs`` whose choices a seed of a row takes over.
        adjust: ``(row, config, choices)`` changes a configuration by choices that were taken over.
    """

    name: str
    measures: Mapping[str, str]
    rows_of: Callable[[str], list[Row]]
    versions: Callable[[], list[int]]
    ordered: Callable[[Sequence[Row]], list[Job]] = first_seeds_first
    needs: Callable[[Row, int], list[Job]] = lambda row, seed: []
    adjust: Callable[[Row, ConfigDict, dict[str, Any]], None] = lambda row, config, known: None


def key_of(wing: Wing, row: Row, size: str, seed: int) -> str:
    """The name of the file of a seed of a row: another one as soon as its definition differs."""
    from experiments.pipeline import stages

    config = configured(row, size, seed).to_dict()
    versions = [*wing.versions(), stages.VERSIONS["data"], stages.VERSIONS["train"]]
    content = json.dumps([row.kind, size, config, versions], sort_keys=True, default=list)
    return f"{row.name.replace(' ', '-')}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def kept_in(name: str) -> Path:
    """The folder in the repository: rows are hours apart, and a folder of stages may not survive."""
    return ROOT / "results" / name


def folder_of(wing: Wing, workdir: Path) -> Path:
    """Where the results of rows are kept: those of the study's own size in the repository."""
    aside = workdir.name.endswith("smoke") or workdir.name == REPEATED
    return workdir / "rows" if aside else kept_in(wing.name)


def measured(wing: Wing, row: Row, size: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Runs one seed of a row in this process, and returns what it measured."""
    from experiments.pipeline.stages import Run

    prepare()
    known: dict[str, Any] = {}
    kept = kept_in(wing.name) if workdir.name == REPEATED else folder_of(wing, workdir)
    for other, first in wing.needs(row, seed):
        path = kept / f"{key_of(wing, other, size, first)}.json"
        if not path.exists():
            raise ValueError(f"{row.name}, seed {seed}: {other.name} of seed {first} has no result; run that first.")
        choices = read_json(path)["found"].get("choices", {})
        known |= {name: choice["chosen"] for name, choice in choices.items()}
    module = importlib.import_module(f"experiments.{wing.name}.{wing.measures[row.kind]}")
    config = configured(row, size, seed)
    wing.adjust(row, config, known)
    found = getattr(module, row.kind)(Run(config, workdir / "stages"), known)
    return found | {"sources": sources_of(), "row": row.name}


def study_of(wing: Wing) -> Study:
    """The study of a wing; its page is that of the wing's module ``page``."""

    def publish(rows: Any, gathered: Any, workdir: Path, output: Path | None, *, jobs: int) -> None:
        importlib.import_module(f"experiments.{wing.name}.page").publish(rows, gathered, workdir, output, jobs=jobs)

    return Study(
        wing.rows_of,
        lambda row, size, seed: key_of(wing, row, size, seed),
        lambda row, size, seed, workdir: measured(wing, row, size, seed, workdir),
        publish,
        lambda workdir: folder_of(wing, workdir),
        wing.ordered,
        wing.needs,
    )
