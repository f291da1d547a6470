"""What others would run: exponax, PDEBench's method of lines with SciPy, and PyClaw. Imported by worker processes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np


def _steps(stepper: Any, steps: int) -> Callable[[Any], Any]:
    """``steps`` of an exponax stepper on a state with its channels behind."""
    import exponax
    import jax.numpy as jnp

    repeated = exponax.RepeatedStepper(stepper, steps)  # stays in Fourier space, as ours do
    return lambda u: jnp.moveaxis(repeated(jnp.moveaxis(u, -1, 0)), 0, -1)


def exponax_vorticity(dim: int, length: float, n: int, dt: float, steps: int, order: int) -> Callable[[Any], Any]:
    """Vorticity; exponax turns vortices the other way round unless told otherwise."""
    import exponax

    how = {"diffusivity": 2e-2, "vorticity_convection_scale": -1.0, "order": order}
    return _steps(exponax.stepper.NavierStokesVorticity(dim, length, n, dt, **how), steps)


def exponax_burgers(dim: int, length: float, n: int, dt: float, steps: int, order: int) -> Callable[[Any], Any]:
    """Burgers' equation."""
    import exponax

    how = {"diffusivity": 1e-2, "conservative": True, "order": order}
    return _steps(exponax.stepper.Burgers(dim, length, n, dt, **how), steps)


def exponax_ks(dim: int, length: float, n: int, dt: float, steps: int, order: int) -> Callable[[Any], Any]:
    """Kuramoto and Sivashinsky's equation."""
    import exponax

    return _steps(exponax.stepper.KuramotoSivashinskyConservative(dim, length, n, dt, order=order), steps)


def scipy_rd(start: np.ndarray, t: float, rtol: float, stored: int) -> np.ndarray:
    """Reaction-diffusion by PDEBench's approach: five-point cells between walls, RK45 (its tolerances: 1e-3, 1e-6)."""
    import scipy.fft
    import scipy.integrate

    n = start.shape[0]
    dx, diffusivity = 2.0 / n, np.array([1e-3, 5e-3])

    def right(_: float, y: np.ndarray) -> np.ndarray:
        s = y.reshape(n, n, 2)
        p = np.pad(s, ((1, 1), (1, 1), (0, 0)), mode="edge")
        laplacian = (p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * s) / dx**2
        u, v = s[..., 0], s[..., 1]
        return (np.stack([u - u**3 - 5e-3 - v, u - v], axis=-1) + diffusivity * laplacian).ravel()

    start = np.asarray(start, float)
    out = scipy.integrate.solve_ivp(right, (0, t), start.ravel(), rtol=rtol, atol=min(1e-6, rtol / 100)).y[:, -1]
    c = scipy.fft.dctn(out.reshape(n, n, 2), type=2, norm="ortho", axes=(0, 1))[:stored, :stored] * stored / n
    return scipy.fft.idctn(c, type=2, norm="ortho", axes=(0, 1))


def has_pyclaw() -> bool:
    """Whether PyClaw is installed."""
    return importlib.util.find_spec("clawpack") is not None


def pyclaw_dam(start: np.ndarray, t: float, stored: int) -> np.ndarray:
    """Shallow water by PDEBench's solver and settings: Roe with entropy fix, MC limiter, order 2, split directions."""
    import logging

    from clawpack import pyclaw, riemann

    logging.getLogger("pyclaw").setLevel(logging.ERROR)
    solver = pyclaw.ClawSolver2D(riemann.shallow_roe_with_efix_2D)
    solver.limiters = pyclaw.limiters.tvd.MC
    solver.all_bcs = pyclaw.BC.extrap
    n = start.shape[0]
    domain = pyclaw.Domain([pyclaw.Dimension(-2.5, 2.5, n, name=name) for name in "xy"])
    state = pyclaw.State(domain, 3)
    state.problem_data["grav"] = 1.0
    state.q[:] = np.moveaxis(start, -1, 0)
    solution = pyclaw.Solution(state, domain)
    solver.setup(solution)
    solver.evolve_to_time(solution, t)
    q = solution.state.q.reshape(3, stored, n // stored, stored, n // stored).mean(axis=(2, 4))
    return np.moveaxis(q, 0, -1)
