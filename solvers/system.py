"""The description of an equation that an experiment needs to simulate it: one ``SYSTEM`` at the end of a solver's file.

An experiment finds it by name (:func:`find_system`): ``"burgers"`` is ``solvers.burgers.SYSTEM``, and
``"my_package.heat:SYSTEM"`` lies in a file of your own.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
Parameters = Mapping[str, Any]  # of the equation, by name; the one that the axis sets may be traced


class Settings(NamedTuple):
    """How an equation is simulated and stored.

    Attributes:
        grid: points of the simulation along each space axis.
        dt: time between stored frames.
        substeps: steps of the solver within ``dt``.
        stored: points of the stored frames along each space axis.
        initial: numbers of the initial states by name, such as ``scale``, a correlation length.
    """

    grid: tuple[int, ...]
    dt: float
    substeps: int
    stored: tuple[int, ...]
    initial: Mapping[str, Any]


def nodes(settings: Settings, parameters: Parameters) -> tuple[np.ndarray, ...]:
    """Points of the stored frames on a periodic box ``[0, length)``: the origin is one of them."""
    return tuple(parameters.get("length", 1.0) * np.arange(n) / n for n in settings.stored)


def centres(settings: Settings, parameters: Parameters) -> tuple[np.ndarray, ...]:
    """Points of the stored frames between walls at 0 and ``length``: cell centres."""
    return tuple(parameters.get("length", 1.0) * (np.arange(n) + 0.5) / n for n in settings.stored)


def cell_averages(state: Array, shape: Sequence[int]) -> Array:
    """A state ``[*space, C]`` as averages over whole cells, ``[*shape, C]``; ``shape`` divides the grid."""
    cut = [part for n, m in zip(state.shape[:-1], shape, strict=True) for part in (m, n // m)]
    return state.reshape(*cut, state.shape[-1]).mean(axis=tuple(range(1, 2 * len(shape), 2)))


def _no_problem(settings: Settings, regimes: Iterable[Parameters]) -> None:
    pass


def _no_courant(settings: Settings, parameters: Parameters, states: Array) -> Array:
    return jnp.zeros(())


class System(NamedTuple):
    """The description of an equation. States are ``[*space, C]``.

    Attributes:
        channels: names of the fields, ``C`` of them.
        dimension: number of space axes.
        starts: random initial states by kind, ``(settings, parameters, key) -> state`` on ``settings.grid``.
        make_step: ``(settings, parameters) -> (state -> state)`` over ``settings.dt``; raises ValueError for
            parameters without a meaning, such as a negative viscosity.
        store: ``(state, shape) -> state`` on the coarser grid of the stored frames.
        points: ``(settings, parameters) -> one array per axis``, where the stored frames have their points.
        check: ``(settings, parameters of all regimes)`` raises ValueError for what cannot work, such as too long steps.
        courant: ``(settings, parameters, states [T, *space, C]) -> number``, the Courant number that an explicit
            scheme reached.

    Example:
        >>> from solvers.system import find_system
        >>> find_system("navier_stokes").channels
        ('vorticity',)
    """

    channels: tuple[str, ...]
    dimension: int
    starts: Mapping[str, Callable[[Settings, Parameters, Array], Array]]
    make_step: Callable[[Settings, Parameters], Callable[[Array], Array]]
    store: Callable[[Array, tuple[int, ...]], Array]
    points: Callable[[Settings, Parameters], tuple[np.ndarray, ...]]
    check: Callable[[Settings, Sequence[Parameters]], None] = _no_problem
    courant: Callable[[Settings, Parameters, Array], Array] = _no_courant


def system_names() -> list[str]:
    """The equations of this package: its modules that hold a ``SYSTEM``."""
    import solvers

    found = [module.name for module in pkgutil.iter_modules(solvers.__path__)]
    return [name for name in found if isinstance(_attribute(f"solvers.{name}", "SYSTEM"), System)]


@functools.cache
def find_system(name: str) -> System:
    """Finds an equation by name.

    Args:
        name: a module of :mod:`solvers`, or ``"MODULE:NAME"`` for a :class:`System` of your own.

    Raises:
        ValueError: if there is none.
    """
    module, colon, attribute = name.partition(":")
    if not colon and module not in system_names():
        raise ValueError(
            f"find_system: no equation {name!r}, expected one of {', '.join(system_names())}, or MODULE:NAME for one "
            "of your own."
        )
    try:
        found = _attribute(module if colon else f"solvers.{module}", attribute or "SYSTEM")
    except ImportError as error:
        raise ValueError(
            f"find_system: {name!r}: {error}; put its file beside the configuration's, or its folder on PYTHONPATH."
        ) from error
    if not isinstance(found, System):
        raise ValueError(f"find_system: {name!r} is {type(found).__name__}, expected a solvers.system.System.")
    return found


def _attribute(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name, None)
