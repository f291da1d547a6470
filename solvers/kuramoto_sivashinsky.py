"""The Kuramoto-Sivashinsky equation on a periodic interval: spatio-temporal chaos.

    u_t + (u^2 / 2)_x + instability u_xx + hyperviscosity u_xxxx = 0

Fourier in space with the 2/3 rule, exponential Runge-Kutta in time. The mean of ``u`` is conserved.
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
    *,
    dt: float,
    substeps: int = 1,
    instability: float | Array = 1.0,
    hyperviscosity: float | Array = 1.0,
    length: float = 32.0,
    order: int = 4,
) -> Callable[[Array], Array]:
    """Returns the map of a state ``[N, 1]`` at time t to the state at ``t + dt``.

    Args:
        dt: time between two states.
        substeps: steps within ``dt``.
        instability: length^2 / time, of the second derivative that feeds long waves; may be traced.
        hyperviscosity: length^4 / time, of the fourth derivative that damps short ones; may be traced.
        length: of the interval; at the default parameters about ``length / 6`` waves are unstable, and the fastest
            has about ``length / 9`` periods.
        order: 2 or 4, the order of accuracy in time.

    Raises:
        ValueError: for a negative hyperviscosity, a non-positive ``dt`` or ``length``, fewer than one substep, or
            another order.

    Example:
        >>> import jax.numpy as jnp
        >>> make_step(dt=0.5, length=64.0)(jnp.zeros((96, 1))).shape
        (96, 1)
    """
    check_time("kuramoto_sivashinsky.make_step", dt, substeps)
    check_sign("kuramoto_sivashinsky.make_step", positive=True, length=length)
    check_order("kuramoto_sivashinsky.make_step", order)
    check_sign("kuramoto_sivashinsky.make_step", hyperviscosity=hyperviscosity)

    def step(state: Array) -> Array:
        check_state("kuramoto_sivashinsky", state, ("N",), 1)
        line = periodic_line(state.shape[0], length, state.dtype)
        linear = instability * line.wavenumbers**2 - hyperviscosity * line.wavenumbers**4
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
