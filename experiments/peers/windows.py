"""Rows of the study: anchors with windows of some frames, the same trained on, and CCM on top of them."""

from __future__ import annotations

from ccm_jax import Chart, Gated, fit_chart
from experiments.peers import judge as judging
from experiments.peers.judge import by_prefix, by_value, judge_of
from experiments.peers.training import Recipe, given, load_network, total_steps, train, tuning_steps
from experiments.peers.trials import Found, Params, Trial, at_rates, choose, regimes_of, size_of
from experiments.pipeline import networks, stages
from experiments.pipeline.stages import Run


def window(run: Run, known: Found) -> Found:
    """An anchor with a window of some frames, the same trained on on all data, and CCM on top of it."""

    def at_rate(trial: Trial) -> Run:
        tuned = Run(run.config.copy_and_resolve_references(), run.root)
        tuned.config.train.learning_rate = trial["rate"]
        return tuned

    def anchors(trial: Trial) -> list[float]:
        tuned = at_rate(trial)
        stage = given(tuned).anchor
        return judging.fixed(judge_of(tuned, stage), networks.load_params(stage, "anchor"), "validation")

    of_anchor = choose(at_rates(run.config.train.learning_rate), anchors, known.get("anchor"))
    run = at_rate(of_anchor["chosen"])
    there = given(run)
    judge, config = judge_of(run, there.anchor), run.config
    anchor = networks.load_params(there.anchor, "anchor")

    def more(trial: Trial) -> Params:
        recipe = Recipe("plain", "all", "anchor", tuning_steps(run), trial["rate"])
        return load_network(run, recipe, train(run, recipe, there))

    def plane(trial: Trial) -> Chart:
        tuned = Run(config.copy_and_resolve_references(), run.root)
        tuned.config.finetune.learning_rate = trial["rate"]
        experts = stages.endpoints(tuned, there.ends, there.anchor)
        both = [networks.load_params(experts, name) for name in ("low", "high")]
        return fit_chart(anchor, both, [-1.0, 1.0], features=Gated())

    def on_validation(trial: Trial) -> list[float]:
        return judging.along(judge, plane(trial), judge.coordinates("validation"), "validation")

    rates = at_rates(config.finetune.learning_rate)
    chosen = {
        "anchor": of_anchor,
        "more": choose(rates, lambda trial: judging.fixed(judge, more(trial), "validation"), known.get("more")),
        "experts": choose(rates, on_validation, known.get("experts")),
    }
    chart, trained_on = plane(chosen["experts"]["chosen"]), more(chosen["more"]["chosen"])
    errors = {"anchor": judging.fixed(judge, anchor), "more": judging.fixed(judge, trained_on)}
    by = by_value(judge, chart)
    errors |= {f"ccm_{name}": by[name] for name in ("coord", "scale", "hindsight")}
    errors |= {
        "average": judging.along(judge, chart, [0.0] * len(judge.test)),
        "persistence": judging.persistence(judge),
    }
    found: Found = {"choices": chosen, "errors": errors, "map": by["map"], "weights": size_of(anchor)}
    found["validation"] = {"anchor": judging.fixed(judge, anchor, "validation")}
    found["validation"]["more"] = judging.fixed(judge, trained_on, "validation")
    if judge.frames:
        read = by_prefix(judge, chart)
        errors["ccm_prefix"] = read.pop("prefix")
        found["validation"]["ccm_prefix"] = read.pop("prefix_validation")
        found["prefix"] = read
    return found | regimes_of(run)


def scratch_window(run: Run, known: Found) -> Found:
    """A network with a window of all observed frames, trained from scratch on all data for the total of steps."""
    there = given(run)
    judge = judge_of(run, there.anchor)

    def network(trial: Trial) -> Params:
        recipe = Recipe("plain", "all", "scratch", total_steps(run), trial["rate"])
        return load_network(run, recipe, train(run, recipe, there))

    def on_validation(trial: Trial) -> list[float]:
        return judging.fixed(judge, network(trial), "validation")

    rates = at_rates(run.config.train.learning_rate)
    chosen = {"scratch": choose(rates, on_validation, known.get("scratch"))}
    params = network(chosen["scratch"]["chosen"])
    validation = {"scratch": judging.fixed(judge, params, "validation")}
    found = {"choices": chosen, "errors": {"scratch": judging.fixed(judge, params)}, "validation": validation}
    return found | {"weights": size_of(params)} | regimes_of(run)
