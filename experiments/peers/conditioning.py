"""Rows of the study: networks that take the parameter, from scratch or fine-tuned, read by value, map and prefix."""

from __future__ import annotations

from ccm_jax import Chart
from experiments.peers import judge as judging
from experiments.peers.conditioned import chart_of
from experiments.peers.judge import Judge, by_prefix, by_value, judge_of
from experiments.peers.training import Given, Recipe, given, load_network, total_steps, train, tuning_steps
from experiments.peers.trials import Found, Trial, at_rates, choose, regimes_of
from experiments.pipeline.stages import Run


def _conditioned(run: Run, there: Given, recipe: Recipe) -> Chart:
    return chart_of(load_network(run, recipe, train(run, recipe, there)))


def _read(judge: Judge, chart: Chart, prefix: bool) -> tuple[Found, Found]:
    """The errors of a conditioned network by what is known, and how it was read."""
    by = by_value(judge, chart)
    errors, how = {name: by[name] for name in ("coord", "scale", "hindsight")}, {"map": by["map"]}
    if prefix:
        read = by_prefix(judge, chart)
        errors["prefix"] = read.pop("prefix")
        how["prefix"] = read
    return errors, how


def conditioned_scratch(run: Run, known: Found) -> Found:
    """A network that takes the parameter, from scratch on all data for the total: channel or all biases."""
    there = given(run)
    judge, rate = judge_of(run, there.anchor), run.config.train.learning_rate

    def chart(trial: Trial) -> Chart:
        return _conditioned(run, there, Recipe(trial["kind"], "all", "scratch", total_steps(run), trial["rate"]))

    def on_validation(trial: Trial) -> list[float]:
        return judging.along(judge, chart(trial), judge.coordinates("validation"), "validation")

    trials = [
        {"kind": "channel", "rate": rate},
        {"kind": "channel", "rate": 2 * rate},
        {"kind": "biases", "rate": rate},
    ]
    chosen = {"scratch": choose(trials, on_validation, known.get("scratch"))}
    errors, how = _read(judge, chart(chosen["scratch"]["chosen"]), prefix=True)
    return {"choices": chosen, "errors": errors, **how} | regimes_of(run)


def conditioned_tuned(run: Run, known: Found, kind: str) -> Found:
    """A network that takes the parameter, fine-tuned from the anchor for the steps of both experts."""
    there = given(run)
    judge = judge_of(run, there.anchor)

    def chart(arm: str, trial: Trial) -> Chart:
        return _conditioned(run, there, Recipe(kind, arm, "anchor", tuning_steps(run), trial["rate"]))  # type: ignore[arg-type]

    def on_validation(trial: Trial) -> list[float]:
        return judging.along(judge, chart("all", trial), judge.coordinates("validation"), "validation")

    chosen = {"tuned": choose(at_rates(run.config.finetune.learning_rate), on_validation, known.get("tuned"))}
    errors: Found = {}
    how: Found = {}
    for arm in ("all", "ends"):
        of_arm, how[arm] = _read(judge, chart(arm, chosen["tuned"]["chosen"]), prefix=arm == "all")
        errors |= {f"{arm}_{name}": values for name, values in of_arm.items()}
    return {"choices": chosen, "errors": errors, "how": how} | regimes_of(run)


def conditioned_channel(run: Run, known: Found) -> Found:
    """Fine-tuned with a channel."""
    return conditioned_tuned(run, known, "channel")


def conditioned_biases(run: Run, known: Found) -> Found:
    """Fine-tuned with slopes in all biases."""
    return conditioned_tuned(run, known, "biases")


def conditioned_all(run: Run, known: Found) -> Found:
    """Fine-tuned with slopes in all weights: the line of CCM, trained jointly."""
    return conditioned_tuned(run, known, "all")
