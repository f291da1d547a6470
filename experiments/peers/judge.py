"""How a peer is judged: five observed frames, sixteen future ones, errors on validation and on test regimes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import Chart, Gated, fit_prefix_readout, fit_scale_readout
from ccm_jax.chart import complete
from ccm_jax.evaluate import future_error, future_error_each, in_groups, persistence_error, sweep_errors
from ccm_jax.fit_readout import REACH
from ccm_jax.rollout import RolloutFn
from ccm_jax.scale import BANK, best_coordinate
from experiments.pipeline import data
from experiments.pipeline.family import column, mean_error
from experiments.pipeline.networks import normalized_model, rollout_of
from experiments.pipeline.stages import Run, load_trajectories, test_data, validation_data
from experiments.pipeline.store import Stage

Params = Any

OBSERVED = 5  # frames that every method may look at


class Judge(NamedTuple):
    """A model, and the trajectories that its weights are judged on.

    Attributes:
        run: the experiment.
        rollout_fn: the model in physical units.
        history: frames in its window.
        validation: trajectories of each validation regime, ``[N, T, *space, C]``.
        test: of each test regime.
        context_of: ``trajectories -> `` what the model takes beside its window, from frames that are observed.
    """

    run: Run
    rollout_fn: RolloutFn
    history: int
    validation: tuple[Any, ...]
    test: tuple[Any, ...]
    context_of: Callable[[Any], Any] = lambda trajectories: None

    @property
    def frames(self) -> int:
        """The observed frames after the first window: what a prefix readout scores."""
        return OBSERVED - self.history

    @property
    def protocol(self) -> dict[str, Any]:
        """Where the future begins."""
        return {"history": self.history, "frames": self.frames}

    def coordinates(self, split: str) -> list[float]:
        """The normalised parameter of each regime."""
        return [data.coordinate_of(self.run.config, float(v)) for v in self.run.config.regimes[split]]


def judge_of(run: Run, anchor: Stage) -> Judge:
    """The judge of an experiment's own model."""
    _, apply = normalized_model(run.config, anchor)
    validation, test = (
        tuple(np.asarray(x) for x in load_trajectories(make(run))) for make in (validation_data, test_data)
    )
    return Judge(run, rollout_of(apply), run.config.model.history, validation, test)


def fixed(judge: Judge, params: Params, split: str = "test") -> list[float]:
    """Mean error on each regime of weights that are the same everywhere."""

    def errors(x: Any, _: Any) -> Any:
        return future_error(params, judge.rollout_fn, x, context=judge.context_of(x), **judge.protocol)[None]

    return [mean_error(in_groups(errors, x, np.zeros((1, 1)))) for x in getattr(judge, split)]


def along(judge: Judge, chart: Chart, coordinates: Any, split: str = "test") -> list[float]:
    """Mean error on each regime at one coordinate for each, ``[R]`` or ``[R, d]``."""
    sets = zip(getattr(judge, split), coordinates, strict=True)
    return [fixed(judge._replace(test=(x,)), chart(jnp.atleast_1d(jnp.asarray(c, jnp.float32))))[0] for x, c in sets]


def persistence(judge: Judge) -> list[float]:
    """Mean error on each test regime of the last observed frame, repeated."""
    return [mean_error(persistence_error(jnp.asarray(x), **judge.protocol)) for x in judge.test]


def by_metadata(judge: Judge, chart: Chart, trajectories: int | None = None) -> dict[str, Any]:
    """A chart read by the value of the parameter: as it is, and through a map fitted on validation regimes.

    Args:
        judge: the model and its trajectories.
        chart: weights along one coordinate.
        trajectories: of each validation regime, that the map is fitted with; None takes all of them.

    Returns:
        Errors on the test regimes, ``coord`` and ``scale`` (infinite where no map can be fitted), and the ``map``.
    """
    config = judge.run.config
    ends: dict[str, Any] = {"low": config.axis.low, "high": config.axis.high, "scale": config.axis.scale}
    values = [float(v) for v in config.regimes.validation]
    validation = [x[:trajectories] for x in judge.validation]
    how: dict[str, Any] = {"history": judge.history, "frames": judge.frames, **ends}
    coord = along(judge, chart, judge.coordinates("test"))
    try:
        readout = fit_scale_readout(chart, judge.rollout_fn, validation, values, **how)
    except ValueError:  # a regime where every coordinate diverges has no best one: there is no map
        return {"coord": coord, "scale": [float("inf")] * len(judge.test), "map": {"kind": None, "mapped": None}}
    mapped = [float(readout.map(s)) for s in judge.coordinates("test")]
    assert readout.fit is not None
    return {"coord": coord, "scale": along(judge, chart, mapped), "map": {"kind": readout.fit.kind, "mapped": mapped}}


def by_value(judge: Judge, chart: Chart) -> dict[str, Any]:
    """What :func:`by_metadata` finds with all validation trajectories, and the best coordinates in hindsight."""
    found = by_metadata(judge, chart)
    hindsight, best = [], []
    for x in judge.test:
        errors = sweep_errors(chart, judge.rollout_fn, x, complete(chart.features, column(BANK)), **judge.protocol)
        means = [mean_error(e) for e in errors]
        vertex = best_coordinate(BANK, means)
        best.append(vertex)
        hindsight.append(min(*means, along(judge._replace(test=(x,)), chart, [vertex])[0]))
    return found | {"hindsight": hindsight, "map": found["map"] | {"best": best}}


def by_prefix(judge: Judge, chart: Chart) -> dict[str, Any]:
    """A chart read off the observed frames, one coordinate a trajectory, with the seconds that one takes."""
    contexts = [judge.context_of(x) for x in judge.validation]
    shape: dict[str, Any] = {"history": judge.history, "frames": judge.frames, "reach": REACH}
    readout = fit_prefix_readout(chart, judge.rollout_fn, judge.validation, contexts=contexts, **shape)

    def read(x: Any) -> Any:
        return readout(x, batch="each", context=judge.context_of(x)).coordinate

    def error(x: Any, c: Any) -> float:
        how = judge.protocol | {"context": judge.context_of(x)}
        return mean_error(future_error_each(chart, judge.rollout_fn, x, c, **how))

    found = [np.asarray(read(x)) for x in judge.test]
    first = judge.test[0][:1]
    alone = jax.tree.map(lambda leaf: leaf[0], judge.context_of(first))
    return {
        "prefix": [error(x, c) for x, c in zip(judge.test, found, strict=True)],
        "prefix_validation": [error(x, read(x)) for x in judge.validation],
        "readout": {"free_gate": readout.free_gate, "begin": readout.begin, "pull": float(readout.pull)},
        "chosen": [_chosen(chart, c) for c in found],
        "seconds": seconds_of(lambda: readout(first[0], context=alone).coordinate),
    }


def _chosen(chart: Chart, coordinates: np.ndarray) -> Any:
    """Coordinates ``[N, d]`` without their gate; numbers where one axis is left."""
    axes = chart.features.dim - isinstance(chart.features, Gated)
    return coordinates[:, 0].tolist() if axes == 1 else coordinates[:, :axes].tolist()


def seconds_of(work: Any, times: int = 3) -> float:
    """The least wall seconds of a call that was compiled before."""
    jax.block_until_ready(work())
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        jax.block_until_ready(work())
        spent.append(time.perf_counter() - begin)
    return min(spent)


def score(errors: list[float]) -> float:
    """What trials are compared by on validation regimes: the geometric mean of the regimes' errors."""
    if not np.isfinite(errors).all():
        return float("inf")
    return float(np.exp(np.mean(np.log(errors))))
