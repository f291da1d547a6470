"""Experts of other lengths, starts and regimes than an experiment's endpoints, kept as stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.pipeline import data, stages
from experiments.pipeline.networks import load_params, normalized_model
from experiments.pipeline.stages import PAIR, Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage
from experiments.pipeline.training import Batches, fit, loss_of
from experiments.runner.progress import finished

Params = Any

VERSION = 1


class Piece(NamedTuple):
    """One fine-tuning.

    Attributes:
        name: of the expert.
        part: number of its regime in the data stage.
        steps: updates.
        rate: peak of the learning rate.
        order: of the batches; experts that share one see the same samples.
    """

    name: str
    part: int
    steps: int
    rate: float
    order: int = PAIR


def tune(
    run: Run,
    name: str,
    pieces: Sequence[Piece],
    regimes: Stage,
    inputs: Sequence[Stage],
    start: Callable[[Piece], Params],
) -> dict[str, Params]:
    """Fine-tunes one expert for each piece on a regime of a data stage, and returns their weights by name.

    Args:
        run: the experiment.
        name: of the stage; it stands for what ``start`` does.
        pieces: the fine-tunings.
        regimes: the data stage.
        inputs: the anchor first, and the other stages that ``start`` depends on.
        start: weights that each piece starts from.

    Raises:
        Diverged: if a loss stops being finite.
    """
    config = run.config

    def build(work: Path) -> dict[str, float]:
        x, facts = load_trajectories(regimes), []
        normalization, apply = normalized_model(config, inputs[0])
        loss_fn = loss_of(apply, history=config.model.history, unroll=config.finetune.unroll)
        metadata = stages.metadata_of(config, normalization)
        for piece in pieces:
            settings = config.finetune.copy_and_resolve_references()
            settings.learning_rate = piece.rate
            batches = Batches(x, config.model.history, piece.steps, 10 * config.seed + piece.order, part=piece.part)
            facts.append(fit(piece.name, loss_fn, start(piece), batches, settings, work=work, metadata=metadata))
        return {key: sum(f[key] for f in facts) for key in facts[0]}

    settings = {"pieces": [piece._asdict() for piece in pieces], **stages.settings_of(config, "finetune", "seed")}
    stage = run_stage(run.root, f"beyond_{name}", settings, (regimes, *inputs), build, version=VERSION)
    finished(stage, f"{sum(piece.steps for piece in pieces)} steps in all")
    return {piece.name: load_params(stage, piece.name) for piece in pieces}


def support_parts(run: Run) -> dict[float, int]:
    """The support regimes between and at the ends: number in the anchor's data, by coordinate."""
    found = {data.coordinate_of(run.config, float(v)): i for i, v in enumerate(run.config.regimes.support)}
    return {s: i for s, i in found.items() if abs(s) <= 1}
