"""A family of weights, the coordinates that it is tried at, and the errors that it makes there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ccm_jax import Chart, Gated, fit_chart, refine_readout, select
from ccm_jax.evaluate import as_error, future_error, future_error_each, future_error_sweep
from ccm_jax.parallel import place
from ccm_jax.rollout import RolloutFn

Array = jax.Array
Params = Any

GROUP = 16  # trajectories rolled out side by side
TOGETHER = 7  # candidates in a call, one after the other: the bank of 21 has three such parts


class Family(NamedTuple):
    """A family of weights and the model that they belong to.

    Attributes:
        anchor: the family anchor.
        low: the expert at the low end.
        high: the expert at the high end.
        rollout_fn: the model in physical units, ``(params, window, steps) -> frames``.
        history: frames in the window.
        mesh: devices that share the work, or None.
    """

    anchor: Params
    low: Params
    high: Params
    rollout_fn: RolloutFn
    history: int
    mesh: Mesh | None = None


def bank_of(config: ConfigDict) -> np.ndarray:
    """The candidate coordinates of a configuration, ``[n]``."""
    c = config.calibration
    return c.low + c.step * np.arange(round((c.high - c.low) / c.step) + 1)


def chart_of(family: Family) -> Chart:
    """The paper's line through the two experts."""
    return fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])


def plane_of(family: Family) -> Chart:
    """The same line with a gate on its shared part: coordinates (alpha, gate), and the anchor at (0, 0)."""
    return fit_chart(family.anchor, [family.low, family.high], [[-1.0, 1.0], [1.0, 1.0]], features=Gated())


def column(bank: np.ndarray) -> Array:
    """A bank ``[n]`` as candidates ``[n, 1]``."""
    return jnp.asarray(bank, jnp.float32)[:, None]


def mean_error(errors: Any) -> float:
    """Mean over frames and trajectories; infinite where it is not finite, so that divergence never wins."""
    return float(as_error(errors))


def best_coordinate(bank: np.ndarray, errors: Any) -> float:
    """Where the error ``[n]`` along the bank is smallest, between candidates: the vertex of the parabola there."""
    return float(refine_readout(select(column(bank), jnp.asarray(errors, jnp.float32))).coordinate[0])


def errors_of(config: ConfigDict, family: Family, params: Params, x: Array) -> np.ndarray:
    """Future errors ``[N, T_future]`` of fixed weights, run by the family's model, on the trajectories of a regime."""
    how = {"history": family.history, "prefix": config.calibration.frames}
    return in_groups(lambda g: future_error(params, family.rollout_fn, g, **how)[None], x)[0]


def sweep_errors(config: ConfigDict, family: Family, chart: Chart, candidates: Any, x: Array) -> np.ndarray:
    """Future errors ``[n, N, T_future]`` of every candidate ``[n, d]`` on the trajectories of a regime."""
    mesh, how = family.mesh, {"history": family.history, "prefix": config.calibration.frames}

    spread = place(chart, mesh)

    def errors(bank: Any) -> np.ndarray:
        there = place(bank, mesh)
        return in_groups(
            lambda g: future_error_sweep(spread, family.rollout_fn, place(g, mesh), there, mesh=mesh, **how), x, mesh
        )

    return by_candidates(errors, candidates)


def on_one_cpu() -> bool:
    """Whether candidates gain nothing from being side by side, beyond the devices that are made of its cores."""
    return jax.default_backend() == "cpu" and jax.process_count() == 1


def by_candidates(errors: Callable[[Array], np.ndarray], candidates: Any) -> np.ndarray:
    """``errors`` of candidates ``[n, d]``, on a CPU a few in a call: one program serves, whatever their number."""
    bank = np.asarray(candidates, np.float32)
    if not on_one_cpu():
        return errors(jnp.asarray(bank))
    n = len(bank)
    # The last one again, to fill the last call.
    padded = np.concatenate([bank, np.repeat(bank[-1:], -n % TOGETHER, axis=0)])
    parts = [errors(jnp.asarray(padded[i : i + TOGETHER])) for i in range(0, n, TOGETHER)]
    return np.concatenate(parts)[:n]


def errors_each(config: ConfigDict, family: Family, plane: Chart, x: Array, coordinates: Any) -> np.ndarray:
    """Future errors ``[N, T_future]`` with a coordinate of its own for each trajectory."""
    mesh, how = family.mesh, {"history": family.history, "prefix": config.calibration.frames}
    spread, x, coordinates = place((plane, x, coordinates), mesh)
    return np.asarray(future_error_each(spread, family.rollout_fn, x, coordinates, mesh=mesh, **how))


def in_groups(errors: Callable[[Array], Array], x: Array, mesh: Mesh | None = None) -> np.ndarray:
    """Applies ``errors``, ``[N, T, ...] -> [n, N, T']``, to a few trajectories at a time, which a CPU's cache holds."""
    size = GROUP * (1 if mesh is None else mesh.shape["data"])
    return np.concatenate([np.asarray(errors(x[i : i + size])) for i in range(0, len(x), size)], axis=1)
