"""Truth: from a configuration to trajectories ``[N, T, H, W, C]``, reproducible sample by sample."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.coordinate import normalised_coordinate
from ccm_jax.rollout import rollout
from solvers import initial, reaction_diffusion
from solvers.spectral import resample_cosine

Array = jax.Array

# Integers that set the uses of randomness apart; `pair` is shared by both endpoints, which is what pairs them.
PURPOSES = {"support": 1, "pair": 2, "validation": 3, "test": 4, "low": 5, "high": 6}
BATCH = 16  # trajectories simulated side by side: few enough for the cache of a CPU core


class System(NamedTuple):
    """What an equation gives to an experiment.

    Attributes:
        channels: names of the fields.
        start: ``(config, key) -> state`` on the grid of the simulation.
        make_step: keyword arguments of a regime ``-> (state -> state)`` over one stored interval.
        store: ``(state, grid) -> state`` on the grid of the stored frames.
    """

    channels: tuple[str, ...]
    start: Callable[[ConfigDict, Array], Array]
    make_step: Callable[..., Callable[[Array], Array]]
    store: Callable[[Array, tuple[int, int]], Array]


def _reaction_diffusion_start(config: ConfigDict, key: Array) -> Array:
    shape = (config.solver.grid, config.solver.grid)
    if config.initial.kind == "white":
        return initial.white_noise(key, shape, 2)
    return initial.smooth_zero_flux(key, shape, 2, length=config.physics.length, scale=config.initial.scale)


SYSTEMS = {
    "reaction_diffusion": System(("u", "v"), _reaction_diffusion_start, reaction_diffusion.make_step, resample_cosine),
}


def regime_parameters(config: ConfigDict, value: float | Array) -> dict[str, float | Array]:
    """The solver's parameters at a value on the physical axis."""
    base = config.physics.to_dict()
    factor = config.axis.kind == "factor"
    return base | {name: value * base[name] if factor else value for name in config.axis.parameters}


def coordinate_of(config: ConfigDict, value: float) -> float:
    """The normalised physical coordinate of a value on the axis; -1 and +1 are the endpoints."""
    axis = config.axis
    # Decimal configurations should give decimal coordinates: float32 arithmetic must not show.
    return round(float(normalised_coordinate(value, axis.low, axis.high, scale=axis.scale)), 5)


def simulate(config: ConfigDict, value: float, count: int, purpose: str, first: int = 0) -> np.ndarray:
    """Simulates one regime.

    Args:
        config: the experiment.
        value: value on the physical axis.
        count: number of trajectories.
        purpose: a key of ``PURPOSES``.
        first: number of the first sample; a sample depends on its number, purpose and the seed alone,
            not on how many are made with it.

    Returns:
        ``[count, frames + 1, grid, grid, C]`` in float32.

    Raises:
        ValueError: if a trajectory is not finite, with regime, frame and remedy.
    """
    key = jax.random.fold_in(jax.random.key(config.seed), PURPOSES[purpose])
    parts = {name: config[name].to_dict() for name in ("physics", "axis", "solver", "initial")}
    spec = json.dumps(parts | {"system": config.system, "grid": config.data.grid}, sort_keys=True)
    batches = []
    for start in range(0, count, BATCH):  # the last batch is filled up, so that one shape compiles
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + start + jnp.arange(BATCH))
        batches.append(np.asarray(_simulate_batch(jnp.asarray(value, jnp.float32), keys, spec=spec)))
    trajectories = np.concatenate(batches)[:count]
    finite = np.isfinite(trajectories).reshape(*trajectories.shape[:2], -1).all(axis=-1)
    if not finite.all():
        frame = int(np.argwhere(~finite)[:, 1].min())
        raise ValueError(
            f"simulate: {config.system} at {config.axis.label} = {value:g} is not finite from frame {frame} on; use "
            "more solver.substeps, or a finer solver.grid."
        )
    return trajectories


@functools.partial(jax.jit, static_argnames="spec")
def _simulate_batch(value: Array, keys: Array, *, spec: str) -> Array:
    """Trajectories of one regime for keys ``[N]``; compiled once for all regimes of a specification (JSON)."""
    config = ConfigDict(json.loads(spec))
    system, solver, grid = SYSTEMS[config.system], config.solver, (config.grid, config.grid)
    step = system.make_step(dt=solver.dt, substeps=solver.substeps, **regime_parameters(config, value))

    def one(key: Array) -> Array:
        frames = rollout(step, solver.frames, include_init=True)(system.start(config, key))
        return jax.vmap(lambda state: system.store(state, grid))(frames)

    return jax.vmap(one)(keys)
