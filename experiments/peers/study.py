"""The study of peers: which module measures which kind of row, and what a row takes over from others."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from experiments.peers.rows import NEED_FIRST, needs, ordered, rows_of
from experiments.study.kept import Wing, study_of
from experiments.study.rows import Row

VERSION = 3
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
    "convergence": "convergence",
    "split": "split",
    "solver": "classical",
    "backbone": "pretrained",
    "budget_one_merged": "budget",
    "budget_one_conditioned": "budget",
    "budget_pretrained_merged": "budget",
    "budget_pretrained_conditioned": "budget",
}


def _versions() -> list[int]:
    from experiments.peers import training

    return [VERSION, training.VERSION]


def _start_from_the_best(row: Row, config: ConfigDict, known: dict[str, Any]) -> None:
    if row.kind in NEED_FIRST:  # what starts from the one-frame anchor starts from the best one
        config.train.learning_rate = known["anchor"]["rate"]


WING = Wing("peers", MEASURES, rows_of, _versions, ordered, needs, _start_from_the_best)
STUDY = study_of(WING)
