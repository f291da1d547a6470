"""What a small budget buys: few steps on few trajectories of either end, from one system's anchor or a pretrained one.

A cell is a number of updates and of trajectories for each end. In every cell CCM trains two experts, LoRA two adapters,
and conditioned fine-tuning one network on both ends for as many updates as both experts together.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import Chart, fit_chart
from ccm_jax.io import checkpoint
from experiments.peers import judge as judging
from experiments.peers.conditioned import chart_of
from experiments.peers.judge import Judge, by_metadata, judge_of
from experiments.peers.lora import load_dense, lora_experts
from experiments.peers.pretrained import pretrained_start
from experiments.peers.training import Given, Recipe, given, load_network, train
from experiments.peers.trials import Found, Trial, at_rates, choose, regimes_of
from experiments.pipeline import networks, stages
from experiments.pipeline.networks import load_params
from experiments.pipeline.stages import Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage
from experiments.pipeline.training import Diverged
from experiments.runner.runtime import is_writer

VERSION = 1


class Cell(NamedTuple):
    """A budget: updates, and trajectories, for each end."""

    steps: int
    trajectories: int


# A cross through the plane of 100, 300, 1000 steps and 4, 16, 48 trajectories.
CELLS = (Cell(100, 16), Cell(300, 4), Cell(300, 16), Cell(300, 48), Cell(1000, 16))
LATER = CELLS[:3]  # of every seed but the first, for time
TUNED_AT, LONGEST = Cell(300, 16), Cell(1000, 16)
SMOKE = (Cell(20, 4), Cell(40, 4))
LEFT_OUT = "the corners of the plane, for time: 100 and 1000 steps with 4 and 48 trajectories"
LEFT_OUT_LATER = f"{LEFT_OUT}; after the first seed, 1000 steps and 48 trajectories, and random weights"
MAP_TRAJECTORIES = 4  # of each validation regime, that a map is fitted with
# Times the configuration's rate. Adapters take larger ones: A B moves less than B, because A is of size rows ** -0.5.
LORA_RATES = (1.0, 2.0, 4.0)


class Begin(NamedTuple):
    """An experiment, and the data and weights that every method starts from."""

    run: Run
    there: Given


def _one_system(run: Run, known: Found) -> Begin:
    return Begin(run, given(run))


def _pretrained(run: Run, known: Found) -> Begin:
    return Begin(*pretrained_start(run, known["backbone"]["boundary"]))


STARTS = {"one-system": _one_system, "pretrained": _pretrained}


def first_trajectories(run: Run, ends: Stage, count: int) -> Stage:
    """The first trajectories of either end, as a data stage of its own."""

    def build(work: Path) -> None:
        if is_writer():
            np.save(work / "trajectories.npy", np.asarray(load_trajectories(ends)[:, :count]))

    return run_stage(run.root, "data_ends_first", {"trajectories": count}, (ends,), build, version=VERSION)


def untrained(run: Run, anchor: Stage) -> Stage:
    """Random weights in the place of an anchor's, with its normalisation."""
    config = run.config

    def build(work: Path) -> None:
        normalization, model = networks.load_normalization(anchor), networks.model_of(config)
        grid = load_trajectories(stages.endpoint_data(run)).shape[3:]
        key = jax.random.fold_in(jax.random.key(config.seed), 31)
        weights = model.init(key, jnp.zeros((1, config.model.history, *grid)))
        checkpoint.save(work / "anchor", weights, stages.metadata_of(config, normalization))

    settings = stages.settings_of(config, "model", "seed")
    return run_stage(run.root, "untrained", settings, (anchor,), build, version=VERSION)


def _tuned(begin: Begin, cell: Cell, rate: float) -> Begin:
    """The experiment with the settings and the data of a cell."""
    run, there = begin
    config = run.config.copy_and_resolve_references()
    config.finetune.update(steps=cell.steps, learning_rate=rate)
    return Begin(Run(config, run.root), there._replace(ends=first_trajectories(run, there.ends, cell.trajectories)))


def _ccm(begin: Begin, cell: Cell, rate: float) -> Chart:
    run, there = _tuned(begin, cell, rate)
    experts = stages.endpoints(run, there.ends, there.anchor)
    both = [load_params(experts, name) for name in ("low", "high")]
    return fit_chart(load_params(there.anchor, "anchor"), both, [-1.0, 1.0])


def _lora(begin: Begin, cell: Cell, rate: float) -> Chart:
    run, there = _tuned(begin, cell, rate)
    experts = lora_experts(run, there.ends, there.anchor)
    return fit_chart(load_params(there.anchor, "anchor"), [load_dense(experts, n) for n in ("low", "high")], [-1, 1])


def _scratch(begin: Begin, cell: Cell, rate: float) -> Chart:
    there = begin.there._replace(anchor=untrained(begin.run, begin.there.anchor))
    return _ccm(begin._replace(there=there), cell, rate)


def _conditioned(kind: Any) -> Callable[[Begin, Cell, float], Chart]:
    def chart(begin: Begin, cell: Cell, rate: float) -> Chart:
        run, there = _tuned(begin, cell, rate)
        recipe = Recipe(kind, "ends", "anchor", 2 * cell.steps, rate)
        return chart_of(load_network(run, recipe, train(run, recipe, there)))

    return chart


METHODS: dict[str, Callable[[Begin, Cell, float], Chart]] = {
    "ccm": _ccm,
    "lora": _lora,
    "biases": _conditioned("biases"),
    "channel": _conditioned("channel"),
    "scratch": _scratch,
}


def _rates(method: str, run: Run) -> list[Trial]:
    """The three trials of a method."""
    if method == "lora":
        return [{"rate": factor * run.config.finetune.learning_rate} for factor in LORA_RATES]
    return at_rates((run.config.train if method == "scratch" else run.config.finetune).learning_rate)


def _on_test(judge: Judge, method: str, make: Callable[[], Chart]) -> tuple[Found, Found | None]:
    """Errors on test regimes, ``METHOD_coord`` and ``METHOD_scale``, and the map; infinite where training diverged."""
    try:
        read = by_metadata(judge, make(), MAP_TRAJECTORIES)
    except Diverged:
        read = {name: [float("inf")] * len(judge.test) for name in ("coord", "scale")} | {"map": None}
    return {f"{method}_{name}": read[name] for name in ("coord", "scale")}, read["map"]


def budget(start: str, methods: Sequence[str], run: Run, known: Found) -> Found:
    """Measures some methods in all cells, from one start.

    The rate of each is chosen in one cell and kept in all others. Random weights are trained in the cell of most steps
    alone, and stand beside the cells. Seeds that take choices over measure the cells of few steps only.

    Args:
        start: a key of ``STARTS``.
        methods: keys of ``METHODS``.
        run: the experiment.
        known: choices that are taken over, and that of the backbone.
    """
    begin = STARTS[start](run, known)
    judge, smoke = judge_of(begin.run, begin.there.anchor), run.config.size == "smoke"
    cells, tuned_at, longest = (SMOKE, SMOKE[-1], SMOKE[-1]) if smoke else (CELLS, TUNED_AT, LONGEST)
    later = all(method in known for method in methods)
    if later and not smoke:
        # mypy infers the length of the tuple; an annotation would change the module that kept rows name.
        cells, methods = LATER, [method for method in methods if method != "scratch"]  # type: ignore[assignment]

    def chosen(method: str) -> Found:
        cell = longest if method == "scratch" else tuned_at

        def on_validation(trial: Trial) -> list[float]:
            chart = METHODS[method](begin, cell, trial["rate"])
            return judging.along(judge, chart, judge.coordinates("validation"), "validation")

        return choose(_rates(method, run), on_validation, known.get(method))

    choices = {method: chosen(method) for method in methods}

    def found_in(method: str, cell: Cell) -> tuple[Found, Found | None]:
        return _on_test(judge, method, lambda: METHODS[method](begin, cell, choices[method]["chosen"]["rate"]))

    listed = []
    for cell in cells:
        errors: Found = {}
        maps: Found = {}
        for method in (m for m in methods if m != "scratch"):
            of_method, maps[method] = found_in(method, cell)
            errors |= of_method
        listed.append({"start": start, **cell._asdict(), "errors": errors, "maps": maps})
    anchor = load_params(begin.there.anchor, "anchor")
    fixed = {"anchor": judging.fixed(judge, anchor), "persistence": judging.persistence(judge)}
    if "scratch" in methods:
        fixed |= found_in("scratch", longest)[0]
    left_out = LEFT_OUT_LATER if later else LEFT_OUT
    return {"choices": choices, "errors": fixed, "cells": listed, "left_out": left_out} | regimes_of(run)


budget_one_merged = functools.partial(budget, "one-system", ("ccm", "lora"))
budget_one_conditioned = functools.partial(budget, "one-system", ("biases", "channel"))
budget_pretrained_merged = functools.partial(budget, "pretrained", ("ccm", "lora", "scratch"))
budget_pretrained_conditioned = functools.partial(budget, "pretrained", ("biases", "channel"))
