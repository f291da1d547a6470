"""A study of two rows that share a stage, for tests: ``python -m experiments.study --config=tests.tiny_study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import write_json
from experiments.pipeline import stages
from experiments.pipeline.stages import Run
from experiments.study.jobs import Study, prepare
from experiments.study.rows import Row
from tests.tiny import tiny_config

ROWS = [Row("first", "rd_ood", "trained", (0,)), Row("second", "rd_ood", "trained", (0, 1))]


def measure(row: Row, size: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Trains an anchor, and in the second row experts: their last losses."""
    prepare()
    config = tiny_config()
    config.seed = seed
    run = Run(config, workdir / "stages")
    anchor = stages.anchor(run, stages.support_data(run))
    made = [anchor] if row.name == "first" else [anchor, stages.endpoints(run, stages.endpoint_data(run), anchor)]
    return {"keys": [stage.key for stage in made]}


def publish(rows: Any, gathered: Any, workdir: Path, output: Path | None, *, jobs: int) -> None:
    """What was found, as a file."""
    found = {name: [{key: one.get(key) for key in ("seed", "found")} for one in gathered[name]] for name in gathered}
    write_json(workdir / "found.json", found)


STUDY = Study(
    rows_of=lambda size: ROWS,
    key_of=lambda row, size, seed: f"{row.name}-{seed}",
    measure=measure,
    publish=publish,
    folder=lambda workdir: workdir / "rows",
)
