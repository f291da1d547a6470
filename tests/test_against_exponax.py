"""The periodic equations against exponax (Köhler, 2024), where that is installed (the extra `dev` or `bench`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from solvers import burgers, initial, kuramoto_sivashinsky, navier_stokes

exponax = pytest.importorskip("exponax")

STEPS = 100


@pytest.fixture(autouse=True)
def its_broadcasting() -> Iterator[None]:
    """exponax promotes ranks silently, which our own tests forbid."""
    with jax.numpy_rank_promotion("allow"):
        yield


def smooth(shape: tuple[int, ...], length: float) -> jax.Array:
    make = initial.smooth_periodic
    return make(jax.random.key(0), shape, 1, length=length, scale=length / 6, modes=8).astype(float)


def theirs(stepper: Any, u: jax.Array) -> np.ndarray:
    """Channels in front, and back."""
    return np.moveaxis(np.asarray(exponax.repeat(stepper, STEPS)(jnp.moveaxis(u, -1, 0))), 0, -1)


@pytest.mark.parametrize("forcing", ["none", "kolmogorov"])
def test_navier_stokes_agrees(x64: None, forcing: str) -> None:
    """exponax turns vortices the other way round, which is the same flow in a mirror."""
    length, t = 2 * np.pi, 1.0
    w = 2 * smooth((64, 64), length)
    if forcing == "none":
        stepper = exponax.stepper.NavierStokesVorticity(2, length, 64, t / STEPS, diffusivity=5e-2, order=4)
    else:
        how = {"diffusivity": 5e-2, "drag": -0.1, "injection_mode": 4, "injection_scale": 0.5, "order": 4}
        stepper = exponax.stepper.KolmogorovFlowVorticity(2, length, 64, t / STEPS, **how)
    ours: dict[str, Any] = {"forcing": forcing, "amplitude": 0.5, "wavenumber": 4}
    ours["drag"] = 0.0 if forcing == "none" else 0.1
    out = navier_stokes.make_step(dt=t, substeps=STEPS, viscosity=5e-2, length=length, **ours)(w)
    assert np.abs(out - w).max() > 0.5
    np.testing.assert_allclose(out, theirs(stepper, w[::-1])[::-1], atol=1e-5)


def test_burgers_agrees(x64: None) -> None:
    u = smooth((96,), 1.0)
    stepper = exponax.stepper.Burgers(1, 1.0, 96, 0.2 / STEPS, diffusivity=1e-2, order=4)
    out = burgers.make_step(dt=0.2, substeps=STEPS, viscosity=1e-2)(u)
    np.testing.assert_allclose(out, theirs(stepper, u), atol=1e-10)


def test_kuramoto_sivashinsky_agrees(x64: None) -> None:
    u = smooth((96,), 32.0)
    stepper = exponax.stepper.KuramotoSivashinskyConservative(1, 32.0, 96, 4.0 / STEPS, order=4)
    out = kuramoto_sivashinsky.make_step(dt=4.0, substeps=STEPS, length=32.0)(u)
    np.testing.assert_allclose(out, theirs(stepper, u), atol=1e-9)
