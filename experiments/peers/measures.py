"""What the rows of the study of peers measure: each trains, tries three settings on validation, and is judged."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ccm_jax import Chart, Gated, fit_chart
from experiments.peers import judge as judging
from experiments.peers.conditioned import chart_of
from experiments.peers.judge import Judge, by_prefix, by_value, judge_of, score
from experiments.peers.training import Given, Recipe, given, load_network, total_steps, train, tuning_steps
from experiments.pipeline import data, networks, stages
from experiments.pipeline.stages import Run
from experiments.pipeline.training import Diverged

Params = Any
Found = dict[str, Any]
Trial = dict[str, Any]  # settings of a training, JSON-able

RATES = (1.0, 0.5, 2.0)  # times the configuration's learning rate: the three trials of every method that is trained


def choose(trials: Sequence[Trial], errors: Callable[[Trial], list[float]], known: Trial | None) -> Found:
    """The trial with the smallest error on validation regimes; without trying where the choice is known.

    A trial whose training diverges has infinite error.

    Returns:
        ``chosen`` and, where they were tried, the ``trials`` with their scores.
    """
    if known is not None:
        return {"chosen": known, "trials": []}
    tried = [trial | {"validation": _score(errors, trial)} for trial in trials]
    best = min(range(len(tried)), key=lambda i: tried[i]["validation"])
    return {"chosen": trials[best], "trials": tried}


def _score(errors: Callable[[Trial], list[float]], trial: Trial) -> float:
    try:
        return score(errors(trial))
    except Diverged:
        return float("inf")


def at_rates(rate: float, **settings: Any) -> list[Trial]:
    """The three trials of a method at its rates."""
    return [settings | {"rate": factor * rate} for factor in RATES]


def size_of(params: Params) -> int:
    """Numbers in a tree of weights."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def regimes_of(run: Run) -> Found:
    """The test regimes, their coordinates and on which side of the support they lie."""
    values = [float(v) for v in run.config.regimes.test]
    s = [data.coordinate_of(run.config, value) for value in values]
    return {"values": values, "coordinates": s, "outside": [data.outside(c) for c in s]}


def window(run: Run, known: Found) -> Found:
    """An anchor with a window of some frames, the same trained on on all data, and CCM on top of it."""
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


def conditioned_tuned(kind: str) -> Callable[[Run, Found], Found]:
    """A network that takes the parameter, fine-tuned from the anchor for the steps of both experts."""

    def measure(run: Run, known: Found) -> Found:
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

    return measure


def posthoc_row(run: Run, known: Found) -> Found:
    """Other merges of the same experts."""
    from experiments.peers.posthoc import posthoc

    return posthoc(run, known) | regimes_of(run)


def _of(module: str, name: str) -> Callable[[Run, Found], Found]:
    """A measure of another module, which is loaded when it is taken: it builds on what stands here."""

    def measure(run: Run, known: Found) -> Found:
        return getattr(importlib.import_module(f"experiments.peers.{module}"), name)(run, known)

    return measure


MEASURES: dict[str, Callable[[Run, Found], Found]] = {
    "window": window,
    "scratch_window": scratch_window,
    "conditioned_scratch": conditioned_scratch,
    "conditioned_channel": conditioned_tuned("channel"),
    "conditioned_biases": conditioned_tuned("biases"),
    "conditioned_all": conditioned_tuned("all"),
    "posthoc": posthoc_row,
    "prefix_tuning": _of("adapt", "prefix_tuning"),
    "coda": _of("codes", "coda"),
    "geps": _of("codes", "geps"),
    "ceiling": _of("ceiling", "ceiling"),
    "solver": _of("classical", "solver"),
}
