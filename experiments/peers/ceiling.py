"""What data of the regime itself would give: an expert fine-tuned there, for the steps of our experts."""

from __future__ import annotations

from experiments.peers import judge as judging
from experiments.peers.judge import judge_of
from experiments.peers.training import given
from experiments.peers.trials import Found, regimes_of
from experiments.pipeline import stages
from experiments.pipeline.networks import load_params
from experiments.pipeline.plans import plan
from experiments.pipeline.stages import Run


def ceiling(run: Run, known: Found) -> Found:
    """Errors of experts trained on each test regime outside the support, at the rate chosen for our experts.

    Returns:
        ``errors`` with None for regimes inside the support.
    """
    config = run.config.copy_and_resolve_references()
    config.finetune.learning_rate = known.get("experts", {}).get("rate", config.finetune.learning_rate)
    run = Run(config, run.root)
    there = given(run)
    judge, targets = judge_of(run, there.anchor), stages.trajectories(run, "data_ceiling")
    names = {row.value: f"expert_{i}" for i, row in enumerate(plan(config, "data_ceiling"))}
    experts = stages.experts(run, "ceiling", targets, there.anchor, dict.fromkeys(names.values(), stages.PAIR))
    errors: list[float | None] = []
    for value, x in zip(config.regimes.test, judge.test, strict=True):
        expert = load_params(experts, names[value]) if value in names else None
        errors.append(None if expert is None else judging.fixed(judge._replace(test=(x,)), expert)[0])
    settings = {"rate": float(config.finetune.learning_rate), "trajectories": int(config.data.endpoint)}
    return {"errors": {"ceiling": errors}, "settings": settings} | regimes_of(run)
