"""Burgers' equation on a periodic interval.

    u_t + (u^2 / 2)_x = viscosity u_xx

Fourier in space with the 2/3 rule, exponential Runge-Kutta in time.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from solvers._checks import check_order, check_sign, check_state, check_time
from solvers.advection import periodic_line
from solvers.etdrk import etdrk_coefficients, integrate
from solvers.initial import smooth_periodic
from solvers.spectral import resample_fourier
from solvers.system import Parameters, Settings, System, nodes

Array = jax.Array


def make_step(
    *, dt: float, substeps: int = 1, viscosity: float | Array = 1e-2, length: float = 1.0, order: int = 4
) -> Callable[[Array], Array]:
    """Returns the map of a velocity ``[N, 1]`` at time t to the velocity at ``t + dt``.

    Args:
        dt: time between two states.
        substeps: steps within ``dt``.
        viscosity: length^2 / time; may be traced. The grid must resolve shocks of width ``viscosity / |u|``.
        length: of the interval.
        order: 2 or 4, the order of accuracy in time.

    Raises:
        ValueError: for a negative viscosity, a non-positive ``dt`` or ``length``, fewer than one substep, or another
            order.

    Example:
        >>> import jax.numpy as jnp
        >>> make_step(dt=0.1, viscosity=1e-2)(jnp.zeros((32, 1))).shape
        (32, 1)
    """
    check_time("burgers.make_step", dt, substeps)
    check_sign("burgers.make_step", positive=True, length=length)
    check_order("burgers.make_step", order)
    check_sign("burgers.make_step", viscosity=viscosity)

    def step(state: Array) -> Array:
        check_state("burgers", state, ("N",), 1)
        line = periodic_line(state.shape[0], length, state.dtype)
        linear = -viscosity * line.wavenumbers**2
        scheme = etdrk_coefficients(linear, dt / substeps, order=order, dtype=state.dtype)
        return line.to_field(integrate(scheme, line.transport, line.to_modes(state[:, 0]), substeps))[:, None]

    return jax.jit(step)  # else each call would compile its scan anew


def _smooth(settings: Settings, parameters: Parameters, key: Array) -> Array:
    return smooth_periodic(key, settings.grid, 1, length=parameters["length"], scale=settings.initial["scale"])


SYSTEM = System(
    channels=("u",),
    dimension=1,
    starts={"smooth": _smooth},
    make_step=lambda settings, parameters: make_step(dt=settings.dt, substeps=settings.substeps, **parameters),
    store=resample_fourier,
    points=nodes,
)
