"""The equation of a configuration, as its solver describes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.pipeline.axes import by_axis
from solvers.system import Settings, System, find_system

Array = jax.Array
Parameters = dict[str, Any]
Grid = int | Sequence[int]


def system_of(config: ConfigDict) -> System:
    """The equation that ``config.system`` names."""
    return find_system(config.system)


def grid_shape(grid: Grid, dimension: int) -> tuple[int, ...]:
    """A grid as points along each axis; one number stands for all axes."""
    return (grid,) * dimension if isinstance(grid, int) else tuple(grid)


def solver_settings(system: System, solver: Any, initial: Mapping[str, Any], stored: Grid) -> Settings:
    """What a solver is told, from the parts of a configuration."""
    grids = (grid_shape(grid, system.dimension) for grid in (solver.grid, stored))
    grid, shape = grids
    return Settings(grid, solver.dt, solver.substeps, shape, dict(initial))


def settings_for(config: ConfigDict) -> Settings:
    """What the solver of a configuration is told."""
    return solver_settings(system_of(config), config.solver, config.initial, config.data.grid)


def regime_parameters(config: ConfigDict, value: Any) -> Parameters:
    """The parameters of the equation at a value on the physical axis, or at one on each axis."""
    base = config.physics.to_dict()
    found = dict(base)
    for axis, v in by_axis(config, value):
        found |= {name: v * base[name] if axis.kind == "factor" else v for name in axis.parameters}
    return found


def start_of(config: ConfigDict, value: Any) -> jax.ShapeDtypeStruct:
    """The shape of a start at a value on the axis, which is traced and not computed.

    Raises:
        ValueError: for a value without a meaning for the equation.
    """
    system, settings, parameters = system_of(config), settings_for(config), regime_parameters(config, value)
    system.make_step(settings, parameters)  # with parameters as plain numbers, which a solver may look at
    start = system.starts[config.initial.kind]
    return jax.eval_shape(lambda key: start(settings, parameters, key), jax.random.key(0))


def stored_channels(config: ConfigDict) -> tuple[str, ...]:
    """Names of the fields that are stored: all of the system's, or those that ``config.data.observe`` names."""
    return tuple(config.data.observe) or system_of(config).channels


def stored_shape(config: ConfigDict) -> tuple[int, ...]:
    """The shape of a stored frame, ``[*space, C]``."""
    return (*settings_for(config).stored, len(stored_channels(config)))


def grid_points(config: ConfigDict) -> tuple[np.ndarray, ...]:
    """Where the points of the stored frames lie along each axis, in units of length."""
    return system_of(config).points(settings_for(config), config.physics.to_dict())
