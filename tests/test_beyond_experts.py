"""More experts for the steps of two: every arm of the study takes no more, and says what it takes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import pytest

from experiments.beyond import experts
from experiments.beyond.experts import ARMS, split_of
from experiments.peers.training import Given
from experiments.pipeline.stages import Run
from experiments.study.jobs import configured
from experiments.study.rows import Row


@pytest.mark.parametrize("size", ["", "smoke"])
def test_every_arm_takes_the_steps_of_two(size: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    run = Run(configured(Row("experts", "rd_ood", "experts"), size, 0), tmp_path)
    taken: list[int] = []

    def tune(run: Any, name: str, pieces: Any, *_: Any) -> Any:
        taken.extend(piece.steps for piece in pieces)
        return {piece.name: {"w": jnp.full(2, 1.0 + i)} for i, piece in enumerate(pieces)}

    def curves(there: Any, judge: Any, at: Any) -> Any:
        return sorted(at), ""

    monkeypatch.setattr(experts, "tune", tune)
    monkeypatch.setattr(experts, "_curves", curves)
    monkeypatch.setattr(experts, "load_params", lambda *_: {"w": jnp.zeros(2)})
    total, there = split_of(run).total, Given(*"abc")  # type: ignore[arg-type]
    assert total == 2 * run.config.finetune.steps
    for name in ("equal 3", "equal 5", "short 3", "short 5", "short 5, slow", "middle first"):
        taken.clear()
        points, _ = ARMS[name](run, there, None)
        assert total - 3 <= sum(taken) <= total, name
        assert points == ([-1.0, 0.0, 1.0] if name.endswith("3") else [-1.0, -0.5, 0.0, 0.5, 1.0])


def test_the_page_past_the_paper_is_that_of_the_results() -> None:
    """``python -m experiments.beyond.docs`` was run after the results were written."""
    from ccm_jax.io.atomic import read_json
    from experiments.beyond import docs

    content = read_json(docs.RESULTS)
    drawn = list(docs.figures_of(content))
    assert docs.PAGE.read_text(encoding="utf-8") == docs.page(content, drawn)
    assert all((docs.PAGE.with_suffix("") / f"{name}.svg").exists() for name in drawn)
