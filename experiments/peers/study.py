"""The study of peers: how a seed of a row is measured, under which name it is kept, and what it depends on."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import read_json
from experiments.peers.rows import NEED_FIRST, needs, ordered, rows_of
from experiments.peers.sources import sources_of
from experiments.study.jobs import ROOT, Study, configured, prepare
from experiments.study.rows import Row

VERSION = 3
# Imported by the row that needs it, so that a row depends on its own sources alone.
MEASURES = {
    "window": "windows",
    "scratch_window": "windows",
    "conditioned_scratch": "conditioning",
    "conditioned_channel": "conditioning",
    "conditioned_biases": "conditioning",
    "conditioned_all": "conditioning",
    "posthoc": "posthoc",
    "prefix_tuning": "adapt",
    "coda": "codes",
    "geps": "codes",
    "ceiling": "ceiling",
    "solver": "classical",
    "backbone": "pretrained",
    "budget_one_merged": "budget",
    "budget_one_conditioned": "budget",
    "budget_pretrained_merged": "budget",
    "budget_pretrained_conditioned": "budget",
}
KEPT = ROOT / "results" / "peers"  # in the repository: rows are hours apart, and a folder of stages may not survive


def key_of(row: Row, size: str, seed: int) -> str:
    """The name of the file of a seed of a row: another one as soon as its definition differs."""
    from experiments.peers import training
    from experiments.pipeline import stages

    config = configured(row, size, seed).to_dict()
    versions = [VERSION, training.VERSION, stages.VERSIONS["data"], stages.VERSIONS["train"]]
    content = json.dumps([row.kind, size, config, versions], sort_keys=True, default=list)
    return f"{row.name.replace(' ', '-')}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def folder_of(workdir: Path) -> Path:
    """Where the results of rows are kept: those of the study's own size in the repository."""
    return workdir / "rows" if workdir.name.endswith("smoke") else KEPT


def measure(row: Row, size: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Runs one seed of a row in this process, and returns what it measured."""
    from experiments.pipeline.stages import Run

    prepare()
    known: dict[str, Any] = {}
    for other, first in needs(row, seed):
        path = folder_of(workdir) / f"{key_of(other, size, first)}.json"
        if not path.exists():
            raise ValueError(f"{row.name}, seed {seed}: {other.name} of seed {first} has no result; run that first.")
        choices = read_json(path)["found"].get("choices", {})
        known |= {name: choice["chosen"] for name, choice in choices.items()}
    module = importlib.import_module(f"experiments.peers.{MEASURES[row.kind]}")
    config = configured(row, size, seed)
    if row.kind in NEED_FIRST:  # what starts from the one-frame anchor starts from the best one
        config.train.learning_rate = known["anchor"]["rate"]
    found = getattr(module, row.kind)(Run(config, workdir / "stages"), known)
    return found | {"sources": sources_of(), "row": row.name}


def publish(rows: Any, gathered: Any, workdir: Path, output: Path | None, *, jobs: int) -> None:
    """Writes the page and the tables."""
    from experiments.peers.page import publish as write

    write(rows, gathered, workdir, output, jobs=jobs)


STUDY = Study(rows_of, key_of, measure, publish, folder_of, ordered, needs)
