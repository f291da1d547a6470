"""Three trials a method: what is chosen on validation regimes of the first seed, and taken over by the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.peers.judge import score
from experiments.pipeline import data
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
