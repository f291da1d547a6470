"""Burgers' equation on a periodic interval.

    u_t + (u^2 / 2)_x = viscosity u_xx

Fourier in space with the 2/3 rule, exponential Runge-Kutta in time.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from solvers._checks import check_order, check_sign, check_state, check_time
from solvers.etdrk import etdrk_coefficients, integrate
from solvers.spectral import dealiased_modes, fourier_wavenumbers, from_fourier, to_fourier

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
        >>> make_step(dt=0.1, viscosity=1e-2)(jnp.zeros((32, 1))).shape
        (32, 1)
    """
    check_time("burgers.make_step", dt, substeps)
    check_sign("burgers.make_step", positive=True, length=length)
    check_order("burgers.make_step", order)
    check_sign("burgers.make_step", viscosity=viscosity)

    def step(state: Array) -> Array:
        check_state("burgers", state, ("N",), 1)
        shape, modes = state.shape[:1], [dealiased_modes(state.shape[0])]
        k = jnp.asarray(fourier_wavenumbers(modes, length)[0], state.dtype)

        def nonlinear(c: Array) -> Array:
            return -0.5j * k * to_fourier(from_fourier(c, shape) ** 2, modes)

        scheme = etdrk_coefficients(-jnp.asarray(viscosity, state.dtype) * k**2, dt / substeps, order=order)
        return from_fourier(integrate(scheme, nonlinear, to_fourier(state, modes), substeps), shape)

    return jax.jit(step)  # else each call would compile its scan anew
