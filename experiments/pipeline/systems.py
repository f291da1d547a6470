"""The equations of :mod:`solvers`, each as what an experiment needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from solvers import initial, navier_stokes, reaction_diffusion, shallow_water
from solvers.spectral import resample_cosine, resample_fourier

Array = jax.Array
Parameters = dict[str, Any]


def _no_problem(config: ConfigDict, regimes: Iterable[Parameters]) -> None:
    pass


def _no_courant(config: ConfigDict, parameters: Parameters, states: Array) -> Array:
    return jnp.zeros(())


class System(NamedTuple):
    """What an equation gives to an experiment.

    Attributes:
        channels: names of the fields.
        starts: kinds of initial states.
        start: ``(config, parameters, key) -> state`` on the grid of the simulation.
        make_step: ``(config, parameters) -> (state -> state)`` over one stored interval.
        store: ``(state, grid) -> state`` on the grid of the stored frames.
        points: ``(number, length) -> [number]``, where the stored frames have their points on an axis.
        check: ``(config, parameters of all regimes)`` raises ValueError for what cannot work.
        courant: ``(config, parameters, states) -> number``, the Courant number reached by an explicit scheme.
    """

    channels: tuple[str, ...]
    starts: tuple[str, ...]
    start: Callable[[ConfigDict, Parameters, Array], Array]
    make_step: Callable[[ConfigDict, Parameters], Callable[[Array], Array]]
    store: Callable[[Array, tuple[int, int]], Array]
    points: Callable[[int, float], np.ndarray]
    check: Callable[[ConfigDict, Iterable[Parameters]], None] = _no_problem
    courant: Callable[[ConfigDict, Parameters, Array], Array] = _no_courant


def _grid(config: ConfigDict) -> tuple[int, int]:
    return config.solver.grid, config.solver.grid


def _time(config: ConfigDict) -> dict[str, Any]:
    return {"dt": config.solver.dt, "substeps": config.solver.substeps}


def _reaction_diffusion_start(config: ConfigDict, parameters: Parameters, key: Array) -> Array:
    if config.initial.kind == "white":
        return initial.white_noise(key, _grid(config), 2)
    return initial.smooth_zero_flux(key, _grid(config), 2, length=parameters["length"], scale=config.initial.scale)


def _navier_stokes_start(config: ConfigDict, parameters: Parameters, key: Array) -> Array:
    if config.initial.kind == "fno":
        return initial.fno_vorticity(key, _grid(config))
    return initial.smooth_periodic(key, _grid(config), 1, length=parameters["length"], scale=config.initial.scale)


def _dam_start(config: ConfigDict, parameters: Parameters, key: Array) -> Array:
    """A dam whose radius and centre vary from sample to sample."""
    low, high = config.initial.radius
    u = jax.random.uniform(key, (3,), jnp.float32)
    how = {name: parameters[name] for name in ("height", "outer", "length")}
    center = config.initial.center * (2 * u[1:] - 1)
    return shallow_water.dam(_grid(config), radius=low + (high - low) * u[0], center=center, **how)


def _dam_step(config: ConfigDict, parameters: Parameters) -> Callable[[Array], Array]:
    how = {name: parameters[name] for name in ("gravity", "length", "walls")}
    return shallow_water.make_step(**_time(config), **how)


def _dam_check(config: ConfigDict, regimes: Iterable[Parameters]) -> None:
    """The steps must be stable in every regime, by the bound on the wave speed."""
    if config.solver.grid % config.data.grid:
        raise ValueError(
            f"config.data.grid is {config.data.grid}, expected a divisor of solver.grid, {config.solver.grid}: frames "
            "are stored as averages over whole cells."
        )
    for p in regimes:
        cell = p["length"] / config.solver.grid
        speed = shallow_water.speed_bound(p["height"], p["gravity"], outer=p["outer"])
        needed = shallow_water.substeps_needed(config.solver.dt, cell, speed)
        if config.solver.substeps < needed:
            raise ValueError(
                f"config.solver.substeps is {config.solver.substeps}, expected at least {needed}: waves of height "
                f"{p['height']:g} and gravity {p['gravity']:g} run at up to {speed:.3g}, and a longer step is unstable."
            )


def _cell_averages(state: Array, grid: tuple[int, int]) -> Array:
    rows, columns = (n // m for n, m in zip(state.shape[:2], grid, strict=True))
    return state.reshape(grid[0], rows, grid[1], columns, -1).mean(axis=(1, 3))


def _dam_courant(config: ConfigDict, parameters: Parameters, states: Array) -> Array:
    how = {name: parameters[name] for name in ("gravity", "length")}
    return shallow_water.cfl_number(states, **_time(config), **how)


SYSTEMS = {
    "reaction_diffusion": System(
        channels=("u", "v"),
        starts=("smooth", "white"),
        start=_reaction_diffusion_start,
        make_step=lambda config, parameters: reaction_diffusion.make_step(**_time(config), **parameters),
        store=resample_cosine,
        points=lambda number, length: length * (np.arange(number) + 0.5) / number,
    ),
    "navier_stokes": System(
        channels=("vorticity",),
        starts=("fno", "smooth"),
        start=_navier_stokes_start,
        make_step=lambda config, parameters: navier_stokes.make_step(**_time(config), **parameters),
        store=resample_fourier,
        points=lambda number, length: length * np.arange(number) / number,
    ),
    "shallow_water": System(
        channels=("h", "hu", "hv"),
        starts=("dam",),
        start=_dam_start,
        make_step=_dam_step,
        store=_cell_averages,
        points=lambda number, length: length * ((np.arange(number) + 0.5) / number - 0.5),  # the dam stands around 0
        check=_dam_check,
        courant=_dam_courant,
    ),
}


def regime_parameters(config: ConfigDict, value: float | Array) -> Parameters:
    """The parameters of the equation at a value on the physical axis."""
    base = config.physics.to_dict()
    factor = config.axis.kind == "factor"
    return base | {name: value * base[name] if factor else value for name in config.axis.parameters}


def stored_channels(config: ConfigDict) -> tuple[str, ...]:
    """Names of the fields that are stored: all of the system's, or those that ``config.data.observe`` names."""
    return tuple(config.data.observe) or SYSTEMS[config.system].channels


def grid_points(config: ConfigDict) -> tuple[np.ndarray, np.ndarray]:
    """Where the points of the stored frames lie on either axis, in units of length."""
    points = SYSTEMS[config.system].points(config.data.grid, float(config.physics.get("length", 1.0)))
    return points, points
