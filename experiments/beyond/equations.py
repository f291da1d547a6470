"""Other equations through the same door: one and three space axes, and chaos, judged as the peers are."""

from __future__ import annotations

from typing import Any

import numpy as np

from ccm_jax import Gated, fit_chart
from experiments.peers import judge as judging
from experiments.peers.judge import OBSERVED, by_prefix, by_value, judge_of
from experiments.peers.training import Given, Recipe, given, load_network, total_steps, train
from experiments.peers.trials import Found, regimes_of, size_of
from experiments.pipeline import stages
from experiments.pipeline.family import mean_error
from experiments.pipeline.networks import load_params
from experiments.pipeline.stages import Run
from experiments.pipeline.training import Diverged


def equation(run: Run, known: Found) -> Found:
    """Errors of the anchor, of CCM's readouts and of a network with a window of all observed frames.

    Returns:
        ``errors`` of each method by test regime; their ``means``, inside and outside the support; the ``map`` from
        metadata and the ``prefix`` readout that validation chose; the ``steps`` of each training.
    """
    there = given(run)
    experts = stages.endpoints(run, there.ends, there.anchor)
    anchor, low, high = load_params(there.anchor, "anchor"), *(load_params(experts, name) for name in ("low", "high"))
    plane = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
    judge = judge_of(run, there.anchor)
    by, read = by_value(judge, plane), by_prefix(judge, plane)
    errors = {
        "anchor": judging.fixed(judge, anchor),
        "ccm_coord": by["coord"],
        "ccm_scale": by["scale"],
        "ccm_prefix": read.pop("prefix"),
        "hindsight": by["hindsight"],
        "window": window_errors(run, there),
        "persistence": judging.persistence(judge),
    }
    found: Found = {"errors": errors, "map": by["map"], "prefix": read, "weights": size_of(anchor)}
    found["steps"] = {
        "anchor": run.config.train.steps,
        "expert": run.config.finetune.steps,
        "window": total_steps(run),
    }
    regimes = regimes_of(run)
    return found | regimes | {"means": on_either_side(errors, regimes["outside"])}


def on_either_side(errors: dict[str, list[float]], outside: list[bool]) -> dict[str, Any]:
    """Mean error of each method over the regimes inside and over those outside the support."""
    out = np.array(outside)
    sides = {"inside": ~out, "outside": out}
    return {
        side: {name: mean_error(np.array(e)[chosen]) for name, e in errors.items()} for side, chosen in sides.items()
    }


def window_errors(run: Run, there: Given) -> list[float]:
    """Test errors of a network that is told nothing and takes all observed frames as its window.

    It is trained from scratch on all trajectories, those of the ends too, for as many steps as the anchor and both
    experts together, at the anchor's rate.
    """
    config = run.config.copy_and_resolve_references()
    config.model.history, config.calibration.frames = OBSERVED, 1
    longer = Run(config, run.root)
    recipe = Recipe("plain", "all", "scratch", total_steps(run), config.train.learning_rate)
    judge = judge_of(longer, there.anchor)  # the same data have the same normalisation
    try:
        return judging.fixed(judge, load_network(longer, recipe, train(longer, recipe, there)))
    except Diverged:
        return [float("inf")] * len(judge.test)
