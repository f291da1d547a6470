"""Truth: from a configuration to trajectories ``[N, T, *space, C]``, reproducible sample by sample."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from ccm_jax.coordinate import normalised_coordinate
from ccm_jax.parallel import CANDIDATE, DATA
from ccm_jax.rollout import repeat, rollout
from experiments.pipeline.axes import axis_names, by_axis, join, said
from experiments.pipeline.systems import regime_parameters, solver_settings, stored_channels, system_of
from experiments.runner.runtime import mesh
from solvers.drift import rollout_drift

Array = jax.Array

# Integers that set the uses of randomness apart; `pair` is shared by both endpoints, which is what pairs them.
PURPOSES = {"support": 1, "pair": 2, "validation": 3, "low": 5, "high": 6, "test": 7, "ceiling": 8}
PURPOSES |= {"coverage": 9, "stranger": 10, "drift_validation": 11, "drift_test": 12}
BATCH = 16  # trajectories simulated side by side on a device, or on a CPU: few enough for its cache


class NotFinite(ValueError):
    """A simulation that left the range of numbers."""


def coordinate_of(config: ConfigDict, value: Any) -> Any:
    """The normalised physical coordinate of a regime, one for each axis; -1 and +1 are the endpoints of an axis."""
    # Decimal configurations should give decimal coordinates: float32 arithmetic must not show.
    return join(
        round(float(normalised_coordinate(v, axis.low, axis.high, scale=axis.scale)), 5)
        for axis, v in by_axis(config, value)
    )


def outside(coordinate: Any) -> bool:
    """Whether a normalised coordinate lies outside the support, ``|s| > 1``; an endpoint that was rounded does not."""
    return bool(np.max(np.abs(coordinate)) > 1 + 1e-9)


def specification(config: ConfigDict) -> dict[str, Any]:
    """All that trajectories depend on but their regime, seed and number, JSON-able: not on where the experts are."""
    parts = {name: config[name].to_dict() for name in ("physics", "solver", "initial")}
    axes = {
        name: {"parameters": list(config[name].parameters), "kind": config[name].kind} for name in axis_names(config)
    }
    stored = {"grid": config.data.grid, "channels": stored_channels(config)}
    return parts | stored | {"system": config.system} | axes


def simulate(config: ConfigDict, value: Any, count: int, purpose: str, first: int = 0) -> np.ndarray:
    """Simulates one regime: :func:`simulate_batches` together, ``[count, frames + 1, *space, C]``."""
    return np.concatenate([batch for batch, _ in simulate_batches(config, value, count, purpose, first)])


def simulate_batches(
    config: ConfigDict, value: Any, count: int, purpose: str, first: int = 0
) -> Iterator[tuple[np.ndarray, float]]:
    """Simulates one regime, batch by batch, spread over all devices of all processes; every process gets it whole.

    Args:
        config: the experiment.
        value: value on the physical axis, or one on each axis; where it drifts, one for each interval between frames.
        count: number of trajectories.
        purpose: a key of ``PURPOSES``.
        first: number of the first sample; a sample depends on its number, purpose and the seed alone,
            not on how many are made with it, nor on how many devices make them.

    Yields:
        Trajectories ``[n, frames + 1, *space, C]`` in float32, and the Courant number that they reached (0 for
        schemes that have none).

    Raises:
        NotFinite: if a trajectory is not finite, with regime, frame and remedy.
    """
    key = jax.random.key_data(jax.random.fold_in(jax.random.key(config.seed), PURPOSES[purpose]))
    spec = json.dumps(specification(config), sort_keys=True)
    devices = jax.device_count()
    size = devices * (-(-BATCH // devices) if jax.default_backend() == "cpu" else BATCH)
    for start in range(0, count, size):  # the last batch is filled up, so that one shape compiles
        numbers = first + start + np.arange(size)
        frames, courant = _simulate_batch(
            np.asarray(value, np.float32), np.asarray(key), numbers, spec=spec, mesh=mesh()
        )
        trajectories = np.asarray(frames)[: count - start]
        finite = np.isfinite(trajectories).reshape(*trajectories.shape[:2], -1).all(axis=-1)
        if not finite.all():
            frame = int(np.argwhere(~finite)[:, 1].min())
            raise NotFinite(
                f"simulate: {config.system} at {said(config, value)} is not finite from frame {frame} on; "
                f"use more substeps, --config.solver.substeps={2 * config.solver.substeps}, or a finer "
                "--config.solver.grid."
            )
        yield trajectories, float(jnp.max(courant))


@functools.partial(jax.jit, static_argnames=("spec", "mesh"))
def _simulate_batch(value: Array, key: Array, numbers: Array, *, spec: str, mesh: Mesh | None) -> tuple[Array, Array]:
    """Trajectories for sample numbers ``[N]``; compiled once for all regimes of a specification (JSON).

    On one axis a value ``[frames]`` is a path: the start, and what is burned in, have its first.
    """
    key = jax.random.wrap_key_data(key)
    config = ConfigDict(json.loads(spec))
    system, solver, drifts = system_of(config), config.solver, value.ndim > 0 and "axis2" not in config
    parameters = regime_parameters(config, value[0] if drifts else value)
    settings = solver_settings(system, solver, config.initial, config.grid)
    step, begin = system.make_step(settings, parameters), system.starts[config.initial.kind]
    channels = [system.channels.index(name) for name in config.channels]

    def one(number: Array) -> tuple[Array, Array]:
        start = begin(settings, parameters, jax.random.fold_in(key, number))
        start = repeat(step, solver.burn_in)(start)
        if drifts:
            frames = rollout_drift(lambda v: system.make_step(settings, regime_parameters(config, v)), value, start)
            there = jax.vmap(lambda v, u: system.courant(settings, regime_parameters(config, v), u[None]))
            courant = jnp.max(there(value, frames[1:]))
        else:
            frames = rollout(step, solver.frames, include_init=True)(start)
            courant = system.courant(settings, parameters, frames)
        return jax.vmap(lambda state: system.store(state, settings.stored)[..., jnp.array(channels)])(frames), courant

    if mesh is None:
        return jax.vmap(one)(numbers)
    whole, cut = (NamedSharding(mesh, PartitionSpec(axes)) for axes in ((), (CANDIDATE, DATA)))
    simulated = jax.vmap(one)(jax.lax.with_sharding_constraint(numbers, cut))
    return jax.lax.with_sharding_constraint(jax.lax.with_sharding_constraint(simulated, cut), whole)
