"""Incompressible Navier-Stokes in two dimensions, vorticity form, on a periodic square.

    w_t + u . grad w = viscosity lap(w) - drag w + f,    u = (psi_y, -psi_x),  -lap(psi) = w

Fourier in space with the 2/3 rule, exponential Runge-Kutta in time: viscosity is exact, and order 4 stays stable where
a second-order step blows up. Convection as ``(d_xx - d_yy)(uv) + d_xy(vv - uu)``, which takes four transforms where ``u
. grad w`` takes five (Basdevant, 1983). Forcing of the Fourier neural operator's data (Li et al., 2021) or
Kolmogorov's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from solvers._checks import check_order, check_sign, check_state, check_time
from solvers.advection import periodic_plane
from solvers.etdrk import etdrk_coefficients, integrate
from solvers.initial import fno_vorticity, smooth_periodic
from solvers.spectral import dealiased_modes, resample_fourier
from solvers.system import Parameters, Settings, System, nodes

Array = jax.Array

FORCINGS = ("fno", "kolmogorov", "none")


def forcing_field(
    kind: str, shape: Sequence[int], *, amplitude: float | Array, wavenumber: int = 4, length: float = 1.0
) -> Array:
    """The curl of the force on the grid, ``[H, W, 1]``.

    ``"fno"``: ``amplitude (sin z + cos z)`` with ``z = 2 pi (x + y) / length``; the amplitude is in 1 / time^2.
    ``"kolmogorov"``: ``-amplitude q cos(q y)``, the curl of the force ``amplitude sin(q y)`` along x, in
    length / time^2, with ``q = 2 pi wavenumber / length``. ``"none"``: zero.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in FORCINGS:
        raise ValueError(f"forcing_field: forcing is {kind!r}, expected one of {FORCINGS}.")
    x, y = np.meshgrid(*(2 * np.pi * np.arange(n) / n for n in shape), indexing="ij")
    if kind == "fno":
        return amplitude * jnp.asarray(np.sin(x + y) + np.cos(x + y))[..., None]
    if kind == "kolmogorov":
        q = 2 * np.pi * wavenumber / length
        return -amplitude * q * jnp.asarray(np.cos(wavenumber * y))[..., None]
    return jnp.zeros((*shape, 1))


def make_step(
    *,
    dt: float,
    substeps: int = 1,
    viscosity: float | Array = 1e-3,
    drag: float | Array = 0.0,
    forcing: str = "fno",
    amplitude: float | Array = 0.1,
    wavenumber: int = 4,
    length: float = 1.0,
    order: int = 4,
) -> Callable[[Array], Array]:
    """Returns the map of a vorticity ``[H, W, 1]`` at time t to the vorticity at ``t + dt``.

    Waves beyond the 2/3 rule are cut from the state.

    Args:
        dt: time between two states.
        substeps: exponential Runge-Kutta steps within ``dt``; the state stays spectral between them.
        viscosity: length^2 / time; may be traced.
        drag: 1 / time, of a linear friction; may be traced.
        forcing: one of ``FORCINGS``.
        amplitude: of the forcing, see :func:`forcing_field`; may be traced.
        wavenumber: whole waves of Kolmogorov's forcing on the side.
        length: side of the square.
        order: 2 or 4, the order of accuracy in time.

    Raises:
        ValueError: for a negative viscosity or drag, a non-positive ``dt`` or ``length``, fewer than one substep,
            another order, an unknown forcing, or one that the grid does not hold.

    Example:
        >>> step = make_step(dt=0.1, substeps=4, viscosity=1e-3)
        >>> step(jnp.zeros((16, 16, 1))).shape
        (16, 16, 1)
    """
    check_time("navier_stokes.make_step", dt, substeps)
    check_sign("navier_stokes.make_step", positive=True, length=length)
    check_order("navier_stokes.make_step", order)
    check_sign("navier_stokes.make_step", viscosity=viscosity, drag=drag)
    if forcing not in FORCINGS:
        raise ValueError(f"navier_stokes.make_step: forcing is {forcing!r}, expected one of {FORCINGS}.")

    def step(state: Array) -> Array:
        check_state("navier_stokes", state, ("H", "W"), 1)
        shape = (state.shape[0], state.shape[1])
        if forcing == "kolmogorov" and not 1 <= wavenumber <= dealiased_modes(shape[1]):
            raise ValueError(
                f"navier_stokes: wavenumber is {wavenumber}, expected 1 ... {dealiased_modes(shape[1])}, what the 2/3 "
                f"rule leaves of {shape[1]} points; use a finer grid."
            )
        plane = periodic_plane(shape, length, state.dtype)
        curl = forcing_field(forcing, shape, amplitude=amplitude, wavenumber=wavenumber, length=length)
        force = plane.to_modes(curl[..., 0].astype(state.dtype))
        nu, friction = (jnp.asarray(value, state.dtype) for value in (viscosity, drag))
        linear = -nu * jnp.asarray(plane.squares, state.dtype) - friction
        scheme = etdrk_coefficients(linear, dt / substeps, order=order)

        def nonlinear(c: Array) -> Array:
            return plane.convection(c) + force

        return plane.to_field(integrate(scheme, nonlinear, plane.to_modes(state[..., 0]), substeps))[..., None]

    return jax.jit(step)  # else each call would compile its scan anew


def _smooth(settings: Settings, parameters: Parameters, key: Array) -> Array:
    return smooth_periodic(key, settings.grid, 1, length=parameters["length"], scale=settings.initial["scale"])


SYSTEM = System(
    channels=("vorticity",),
    dimension=2,
    starts={"fno": lambda settings, parameters, key: fno_vorticity(key, settings.grid), "smooth": _smooth},
    make_step=lambda settings, parameters: make_step(dt=settings.dt, substeps=settings.substeps, **parameters),
    store=resample_fourier,
    points=nodes,
)
