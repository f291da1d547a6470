"""The classical solver on the grid of the stored frames, with its parameter read off the prefix.

    weights(s) = middle + s half,    the value of the parameter on the axis, or its logarithm

The solver is a model with one weight, so a chart of one number lets our readout fit it. Its step is as coarse as
is stable.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Chart, Polynomial
from ccm_jax.evaluate import future_frames
from ccm_jax.rollout import RolloutFn, rollout
from experiments.peers import judge as judging
from experiments.peers.judge import Judge, by_prefix, judge_of, score, seconds_of
from experiments.peers.training import given
from experiments.peers.trials import Found, regimes_of
from experiments.pipeline.networks import load_params
from experiments.pipeline.stages import Run
from experiments.pipeline.systems import regime_parameters, stored_channels, system_of
from solvers.system import Settings

Array = jax.Array
Params = Any

LEAST = 0.1  # of the low end: an equation has no meaning at values that are not positive
STABLE = 0.1  # a step is stable if the error is so close, relatively, to that with the simulation's own number of steps


def chart_of_value(config: ConfigDict) -> Chart:
    """The value on the axis as a chart: coordinates -1 and +1 are its ends."""
    ends = np.array([config.axis.low, config.axis.high], np.float64)
    low, high = np.log(ends) if config.axis.scale == "log" else ends
    origin = {"value": jnp.asarray([(low + high) / 2], jnp.float32)}
    return Chart(origin, {"value": jnp.asarray([[(high - low) / 2]], jnp.float32)}, Polynomial(constant=False))


def solver_rollout(config: ConfigDict, substeps: int) -> RolloutFn:
    """The solver on the stored grid as a rollout with one weight, of :func:`chart_of_value`.

    Args:
        config: the experiment.
        substeps: steps between two frames.

    Returns:
        ``rollout_fn(params, window [N, history, *space, C], steps, context, start) -> [N, steps, *space, C]``, with
        the first frame of each trajectory, ``[N, *space, C]``, as context. Where all fields are stored the solver goes
        on from the window; where some are not, they are zero at the start of the flow, and it runs from there.
    """
    system, shown = system_of(config), stored_channels(config)
    channels = np.array([system.channels.index(name) for name in shown])
    hidden = len(shown) < len(system.channels)
    log, least = config.axis.scale == "log", LEAST * config.axis.low

    def rollout_fn(params: Params, window: Array, steps: int, context: Array, start: int) -> Array:
        raw = params["value"][0]
        value = jnp.exp(raw) if log else jnp.maximum(raw, least)
        grid = window.shape[2:-1]
        settings = Settings(grid, config.solver.dt, substeps, grid, config.initial.to_dict())
        step = system.make_step(settings, regime_parameters(config, value))
        first, count = (context, start - 1 + steps) if hidden else (window[:, -1], steps)
        state = jnp.zeros((*first.shape[:-1], len(system.channels)), first.dtype).at[..., channels].set(first)
        frames = jax.vmap(rollout(step, count))(state)
        return frames[:, -steps:][..., channels]

    return rollout_fn


def coarsest(config: ConfigDict, judge: Judge, chart: Chart) -> tuple[int, dict[int, float]]:
    """The smallest number of steps between frames that is stable on validation regimes, and the errors of all tried."""
    own, errors = config.solver.substeps, {}
    for substeps in sorted({n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24) if n < own} | {own}, reverse=True):
        trial = judge._replace(rollout_fn=solver_rollout(config, substeps))
        errors[substeps] = score(judging.along(trial, chart, judge.coordinates("validation"), "validation"))
    return min(n for n, error in errors.items() if n == own or error <= (1 + STABLE) * errors[own]), errors


def solver(run: Run, known: Found) -> Found:
    """Errors of the solver with the parameter known and read off the prefix, and seconds beside the network's."""
    config, there = run.config, given(run)
    network = judge_of(run, there.anchor)
    chart = chart_of_value(config)
    # From the start of the flow or not, five frames are observed: the window is one of them.
    judge = network._replace(history=1, context_of=lambda x: jnp.asarray(x)[:, 0])
    substeps, tried = coarsest(config, judge, chart)
    judge = judge._replace(rollout_fn=solver_rollout(config, substeps))
    errors: Found = {"value": judging.along(judge, chart, judge.coordinates("test"))}
    read = by_prefix(judge, chart)
    errors["prefix"] = read.pop("prefix")
    facts = {"substeps": substeps, "tried": {str(n): error for n, error in tried.items()}}
    seconds = {
        "prefix": read["seconds"],
        "rollout": _seconds(judge, chart(0.0)),
        "network": _seconds(network, load_params(there.anchor, "anchor")),
    }
    return {"errors": errors, "seconds": seconds, "prefix": read, "solver": facts} | regimes_of(run)


def _seconds(judge: Judge, params: Params) -> float:
    """Seconds of the future of one trajectory."""
    x = jnp.asarray(judge.test[0][:1])
    how = judge.protocol | {"context": judge.context_of(x)}
    return seconds_of(lambda: future_frames(params, judge.rollout_fn, x, **how))
