"""Logs for machines: every line is JSON, and other writers get the same numbers under names of their own."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from experiments.runner.logs import FILE, log, writing


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    log("anchor", 3, loss=0.5)
    assert not list(tmp_path.iterdir())


def test_every_line_is_json_and_a_second_run_goes_on(tmp_path: Path) -> None:
    for loss in (0.5, float("nan")):
        with writing(tmp_path, [], {"seed": 1}):
            log("anchor", 3, loss=loss)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "anchor"] * 2
    assert lines[0]["config"] == {"seed": 1}
    assert [line["loss"] for line in lines[1::2]] == [0.5, None]


class Recorder:
    """Stands for a SummaryWriter and for a run of W&B."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.seen: list[Any] = []

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def add_scalar(self, *arguments: Any) -> None:
        self.seen.append(arguments)

    def define_metric(self, *_: Any, **__: Any) -> None:
        pass

    def log(self, numbers: dict[str, Any]) -> None:
        self.seen.append(numbers)


def test_tensorboard_and_wandb_get_numbers_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board, run = Recorder(), Recorder()
    fake: dict[str, Any] = {"SummaryWriter": lambda path: board}
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(**fake))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **_: run))
    with writing(tmp_path, ["tensorboard", "wandb", "tensorboard"], {}):
        log("low", 20, loss=0.25, text="words")
    assert board.seen == [("low/loss", 0.25, 20)]
    assert run.seen == [{"low/loss": 0.25, "step": 20}]


def test_a_writer_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="--log=mlflow: unknown logger; choose from: jsonl, tensorboard, wandb"):
        writing(tmp_path, ["mlflow"], {}).__enter__()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'ccm_jax\[logs\]'"):
        writing(tmp_path, ["wandb"], {}).__enter__()
