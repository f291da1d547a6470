"""Other ways to spend the same total of steps on an anchor and two experts, chosen on validation regimes.

A conditioned network from scratch spends the total on one network; CCM spends most of it on the anchor. Four other
splits are tried: less for the anchor and more for the experts, experts trained through two steps of the rollout, and
experts that are averages of two short fine-tunings with different batches.
"""

from __future__ import annotations

from pathlib import Path

import jax

from ccm_jax import Chart, fit_chart
from experiments.peers import judge as judging
from experiments.peers.judge import by_value, judge_of
from experiments.peers.training import Given, given, total_steps, tuning_steps
from experiments.peers.trials import Found, Params, Trial, choose, regimes_of
from experiments.pipeline import stages
from experiments.pipeline.networks import load_params
from experiments.pipeline.stages import Run

# ``share``: of the total, for the anchor; None leaves the configuration's. A loss through ``unroll`` steps costs as
# many evaluations of the network, so experts have fewer updates; ``soup`` fine-tunings of each end share its updates.
TRIALS: list[Trial] = [
    {"share": 0.5, "unroll": 1, "soup": 1},
    {"share": 0.25, "unroll": 1, "soup": 1},
    {"share": None, "unroll": 2, "soup": 1},
    {"share": None, "unroll": 1, "soup": 2},
]
TUNED = {"share": None, "unroll": 1, "soup": 1}  # what the row ``window 1`` measures


def _spent(run: Run, trial: Trial) -> Run:
    """The experiment with its total of steps spent as a trial says."""
    config, tuning, total = run.config.copy_and_resolve_references(), tuning_steps(run), total_steps(run)
    if trial["share"] is not None:
        config.train.steps = int(trial["share"] * total)
        tuning = total - config.train.steps
    config.finetune.update(steps=max(1, tuning // (2 * trial["unroll"] * trial["soup"])), unroll=trial["unroll"])
    return Run(config, Path(run.root))


def _experts(run: Run, there: Given, soup: int) -> list[Params]:
    """Both experts, each the average of some fine-tunings that differ in the order of their batches."""
    found = []
    for seed in range(soup):
        config = run.config.copy_and_resolve_references()
        config.finetune.seed = seed if soup > 1 else config.finetune.seed
        trained = stages.endpoints(Run(config, run.root), there.ends, there.anchor)
        found.append([load_params(trained, name) for name in ("low", "high")])
    return [jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *same) for same in zip(*found, strict=True)]


def split(run: Run, known: Found) -> Found:
    """CCM by value, its total of steps spent in the best of some ways."""
    run = Run(run.config.copy_and_resolve_references(), run.root)
    run.config.finetune.learning_rate = known["experts"]["rate"]

    def judged(trial: Trial) -> tuple[judging.Judge, Chart]:
        spent = _spent(run, trial)
        there = given(spent)
        chart = fit_chart(load_params(there.anchor, "anchor"), _experts(spent, there, trial["soup"]), [-1.0, 1.0])
        return judge_of(spent, there.anchor), chart

    def on_validation(trial: Trial) -> list[float]:
        judge, chart = judged(trial)
        return judging.along(judge, chart, judge.coordinates("validation"), "validation")

    chosen = choose([TUNED, *TRIALS], on_validation, known.get("split"))
    by = by_value(*judged(chosen["chosen"]))
    errors = {f"split_{name}": by[name] for name in ("coord", "scale", "hindsight")}
    return {"choices": {"split": chosen}, "errors": errors, "map": by["map"]} | regimes_of(run)
