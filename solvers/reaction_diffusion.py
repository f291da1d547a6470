"""FitzHugh-Nagumo reaction-diffusion between zero-flux walls: on a square as in PDEBench, on a line or in a box.

    u_t = D_u lap(u) + u - u^3 - k - v
    v_t = D_v lap(v) + u - v            on [0, length]^d, zero flux at the walls

Spectral in space by the cosine transform, which makes the diffusion diagonal and the walls exact;
exponential Runge-Kutta in time, so that stiff diffusion costs nothing. Source of the equations and
defaults: PDEBench, 2D diffusion-reaction (Takamoto et al., 2022).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

from solvers._checks import check_order, check_sign, check_state, check_time
from solvers.etdrk import etdrk_coefficients, integrate
from solvers.initial import smooth_zero_flux, white_noise
from solvers.spectral import cosine_wavenumbers, from_cosine, resample_cosine, to_cosine
from solvers.system import Parameters, Settings, System, centres

Array = jax.Array

AXES = {1: ("N",), 2: ("H", "W"), 3: ("H", "W", "D")}  # names of the space axes, by dimension


def make_step(
    *,
    dt: float,
    substeps: int = 4,
    diffusivity_u: float | Array = 1e-3,
    diffusivity_v: float | Array = 5e-3,
    threshold: float | Array = 5e-3,
    length: float = 2.0,
    order: int = 4,
    dimension: int = 2,
) -> Callable[[Array], Array]:
    """Returns the map of a state ``[*space, 2]`` at time t to the state at ``t + dt``.

    Args:
        dt: time between two states.
        substeps: exponential Runge-Kutta steps within ``dt``; the state stays spectral between them.
        diffusivity_u: ``D_u``, length^2 / time; may be traced.
        diffusivity_v: ``D_v``, likewise.
        threshold: the constant ``k`` of the reaction; may be traced.
        length: of every side.
        order: 2 or 4, the order of accuracy in time.
        dimension: space axes of the state, 1, 2 or 3.

    Raises:
        ValueError: for a negative diffusivity, a non-positive ``dt``, fewer than one substep or another dimension.

    Example:
        >>> import jax
        >>> step = make_step(dt=0.25, diffusivity_u=2e-3)
        >>> u = jax.numpy.zeros((16, 16, 2))
        >>> step(u).shape
        (16, 16, 2)
        >>> make_step(dt=0.25, dimension=3)(jax.numpy.zeros((8, 8, 8, 2))).shape
        (8, 8, 8, 2)
    """
    check_time("reaction_diffusion.make_step", dt, substeps)
    check_sign("reaction_diffusion.make_step", positive=True, length=length)
    check_order("reaction_diffusion.make_step", order)
    if dimension not in AXES:
        raise ValueError(f"reaction_diffusion.make_step: dimension is {dimension!r}, expected 1, 2 or 3.")
    check_sign("reaction_diffusion.make_step", diffusivity_u=diffusivity_u, diffusivity_v=diffusivity_v)

    def step(state: Array) -> Array:
        check_state("reaction_diffusion", state, AXES[dimension], 2)
        waves = [jnp.asarray(cosine_wavenumbers(n, length), state.dtype) for n in state.shape[:-1]]
        diffusivity = jnp.asarray([diffusivity_u, diffusivity_v], state.dtype)
        k = jnp.asarray(threshold, state.dtype)
        linear = -diffusivity[:, *[None] * dimension] * _sum_of_squares(waves)[None]
        scheme = etdrk_coefficients(linear, dt / substeps, order=order)

        # Of the reaction only u^3 needs the grid: the linear rest is added among the coefficients, and v is never
        # transformed within a step, which halves the matrix products.
        def nonlinear(c: Array) -> Array:
            u, v = c[:1], c[1:]
            field = from_cosine(u)
            return jnp.concatenate([to_cosine(field - field**3 - k) - v, u - v])

        return from_cosine(integrate(scheme, nonlinear, to_cosine(state), substeps))

    return jax.jit(step)  # else each call would compile its scan anew


def _sum_of_squares(waves: list[Array]) -> Array:
    """``k_1^2 + ... + k_d^2`` of every wave of a box, ``[n_1, ..., n_d]``, from the wavenumbers of each axis."""
    d = len(waves)
    alone = [[slice(None) if other == axis else None for other in range(d)] for axis in range(d)]
    return functools.reduce(operator.add, (k[tuple(where)] ** 2 for k, where in zip(waves, alone, strict=True)))


def _smooth(settings: Settings, parameters: Parameters, key: Array) -> Array:
    return smooth_zero_flux(key, settings.grid, 2, length=parameters["length"], scale=settings.initial["scale"])


def _step(settings: Settings, parameters: Parameters) -> Callable[[Array], Array]:
    return make_step(dt=settings.dt, substeps=settings.substeps, dimension=len(settings.grid), **parameters)


SYSTEM = System(
    channels=("u", "v"),
    dimension=2,
    starts={"smooth": _smooth, "white": lambda settings, parameters, key: white_noise(key, settings.grid, 2)},
    make_step=_step,
    store=resample_cosine,
    points=centres,
)
ON_A_LINE, IN_SPACE = SYSTEM._replace(dimension=1), SYSTEM._replace(dimension=3)
