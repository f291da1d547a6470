"""FitzHugh-Nagumo reaction-diffusion on a square with zero-flux walls, as in PDEBench.

    u_t = D_u lap(u) + u - u^3 - k - v
    v_t = D_v lap(v) + u - v            on [0, length]^2, zero flux at the walls

Spectral in space by the cosine transform, which makes the diffusion diagonal and the walls exact;
exponential Runge-Kutta in time, so that stiff diffusion costs nothing. Source of the equations and
defaults: PDEBench, 2D diffusion-reaction (Takamoto et al., 2022).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from solvers._checks import check_order, check_sign, check_state, check_time
from solvers.etdrk import etdrk_coefficients, integrate
from solvers.initial import smooth_zero_flux, white_noise
from solvers.spectral import cosine_wavenumbers, from_cosine, resample_cosine, to_cosine
from solvers.system import Parameters, Settings, System, centres

Array = jax.Array


def make_step(
    *,
    dt: float,
    substeps: int = 4,
    diffusivity_u: float | Array = 1e-3,
    diffusivity_v: float | Array = 5e-3,
    threshold: float | Array = 5e-3,
    length: float = 2.0,
    order: int = 4,
) -> Callable[[Array], Array]:
    """Returns the map of a state ``[H, W, 2]`` at time t to the state at ``t + dt``.

    Args:
        dt: time between two states.
        substeps: exponential Runge-Kutta steps within ``dt``; the state stays spectral between them.
        diffusivity_u: ``D_u``, length^2 / time; may be traced.
        diffusivity_v: ``D_v``, likewise.
        threshold: the constant ``k`` of the reaction; may be traced.
        length: side of the square.
        order: 2 or 4, the order of accuracy in time.

    Raises:
        ValueError: for a negative diffusivity, a non-positive ``dt`` or fewer than one substep.

    Example:
        >>> import jax
        >>> step = make_step(dt=0.25, diffusivity_u=2e-3)
        >>> u = jax.numpy.zeros((16, 16, 2))
        >>> step(u).shape
        (16, 16, 2)
    """
    check_time("reaction_diffusion.make_step", dt, substeps)
    check_sign("reaction_diffusion.make_step", positive=True, length=length)
    check_order("reaction_diffusion.make_step", order)
    check_sign("reaction_diffusion.make_step", diffusivity_u=diffusivity_u, diffusivity_v=diffusivity_v)

    def step(state: Array) -> Array:
        check_state("reaction_diffusion", state, ("H", "W"), 2)
        kx, ky = (jnp.asarray(cosine_wavenumbers(n, length), state.dtype) for n in state.shape[:2])
        diffusivity = jnp.asarray([diffusivity_u, diffusivity_v], state.dtype)
        k = jnp.asarray(threshold, state.dtype)
        linear = -diffusivity[:, None, None] * (kx[:, None] ** 2 + ky[None, :] ** 2)[None]
        scheme = etdrk_coefficients(linear, dt / substeps, order=order)

        # Of the reaction only u^3 needs the grid: the linear rest is added among the coefficients, and v is never
        # transformed within a step, which halves the matrix products.
        def nonlinear(c: Array) -> Array:
            u, v = c[:1], c[1:]
            field = from_cosine(u)
            return jnp.concatenate([to_cosine(field - field**3 - k) - v, u - v])

        return from_cosine(integrate(scheme, nonlinear, to_cosine(state), substeps))

    return jax.jit(step)  # else each call would compile its scan anew


def _smooth(settings: Settings, parameters: Parameters, key: Array) -> Array:
    return smooth_zero_flux(key, settings.grid, 2, length=parameters["length"], scale=settings.initial["scale"])


SYSTEM = System(
    channels=("u", "v"),
    dimension=2,
    starts={"smooth": _smooth, "white": lambda settings, parameters, key: white_noise(key, settings.grid, 2)},
    make_step=lambda settings, parameters: make_step(dt=settings.dt, substeps=settings.substeps, **parameters),
    store=resample_cosine,
    points=centres,
)
