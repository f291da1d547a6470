"""Three trials a method, and more beyond while the best has the largest or the smallest rate.

Validation regimes of the first seed choose; the other seeds take the choice over.
"""

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

FURTHER = 3  # trials beyond the three, at most
RATES = (1.0, 0.5, 2.0)  # times the configuration's learning rate: the three trials of every method that is trained


def choose(trials: Sequence[Trial], errors: Callable[[Trial], list[float]], known: Trial | None) -> Found:
    """The trial with the smallest error on validation regimes; without trying where the choice is known.

    A trial whose training diverges has infinite error.

    Returns:
        ``chosen`` and, where they were tried, the ``trials`` with their scores.
    """
    if known is not None:
        return {"chosen": known, "trials": []}
    tried = [(trial, _score(errors, trial)) for trial in trials]
    for _ in range(FURTHER):
        further = beyond(min(tried, key=lambda pair: pair[1])[0], [trial for trial, _ in tried])
        if further is None:
            break
        tried.append((further, _score(errors, further)))
    best = min(tried, key=lambda pair: pair[1])[0]
    return {"chosen": best, "trials": [trial | {"validation": found} for trial, found in tried]}


def beyond(best: Trial, trials: Sequence[Trial]) -> Trial | None:
    """The trial with the next rate, where the best one has an extreme rate among those that differ in nothing else."""
    rest = {key: value for key, value in best.items() if key != "rate"}
    rates = sorted(trial["rate"] for trial in trials if trial | rest == trial and "rate" in trial)
    if len(rates) < 2 or best["rate"] not in (rates[0], rates[-1]):
        return None
    return best | {"rate": best["rate"] * (2.0 if best["rate"] == rates[-1] else 0.5)}


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
