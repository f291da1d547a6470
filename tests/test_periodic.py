"""The Fourier toolbox and the equations on it: Navier-Stokes, Burgers, Kuramoto-Sivashinsky."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.rollout import rollout
from solvers import advection, burgers, etdrk, initial, kuramoto_sivashinsky, navier_stokes, spectral
from solvers.spectral import fourier_wavenumbers, from_fourier, resample_fourier, to_fourier

EQUATIONS = {
    "navier_stokes": (navier_stokes.make_step, (32, 32), {"length": 1.0, "viscosity": 1e-3}, 4.0),
    "burgers": (burgers.make_step, (64,), {"length": 1.0, "viscosity": 1e-2}, 0.2),
    # So short that the steps resolve its fourth derivative: where it is stiff, ETDRK4 has been seen at 3.5.
    "kuramoto_sivashinsky": (kuramoto_sivashinsky.make_step, (48,), {"length": 32.0}, 1.0),
}


@partial(jax.jit, static_argnums=(0, 1))
def start(shape: tuple[int, ...], length: float) -> jax.Array:
    return initial.smooth_periodic(jax.random.key(0), shape, 1, length=length, scale=length / 8, modes=8)


@pytest.mark.parametrize("shape", [(12,), (15,), (12, 10), (9, 14), (11, 11)])
@pytest.mark.parametrize("fast", [False, True])
def test_transforms_match_numpy_and_invert(
    x64: None, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], fast: bool
) -> None:
    monkeypatch.setattr(spectral, "MATRIX_GRID", dict.fromkeys((1, 2), 0 if fast else 256))
    u = np.random.default_rng(0).normal(size=(*shape, 2))
    modes = [(n - 1) // 3 for n in shape]
    c = jax.jit(lambda u: to_fourier(u, modes))(u)
    full = np.fft.fftn(u, axes=range(len(shape)), norm="forward")
    kept = [np.r_[0 : m + 1, -m:0] for m in modes[:-1]] + [np.arange(modes[-1] + 1)]
    np.testing.assert_allclose(c, np.moveaxis(full[np.ix_(*kept, range(2))], -1, 0), atol=1e-13)
    again = jax.jit(lambda c: to_fourier(from_fourier(c, shape), modes))(c)
    np.testing.assert_allclose(again, c, atol=1e-13)


@pytest.mark.parametrize("n", [12, 15])
@pytest.mark.parametrize("fast", [False, True])
def test_a_line_transports_by_the_derivative_of_half_the_square(
    x64: None, monkeypatch: pytest.MonkeyPatch, n: int, fast: bool
) -> None:
    monkeypatch.setattr(advection, "MATRIX_LINE", 0 if fast else 256)
    line = advection.periodic_line(n, 3.0, jnp.zeros(()).dtype)
    x, m, k = 3.0 * np.arange(n) / n, (n - 1) // 3, 2 * np.pi / 3.0
    u = 0.7 + np.cos(k * x) - 0.4 * np.sin(m * k * x)  # the square of the highest wave would alias
    np.testing.assert_allclose(line.to_field(line.to_modes(jnp.asarray(u))), u, atol=1e-13)
    fine = 3.0 * np.arange(8 * n) / (8 * n)
    square = (0.7 + np.cos(k * fine) - 0.4 * np.sin(m * k * fine)) ** 2
    spectrum = np.fft.rfft(square, norm="forward")[: m + 1] * -0.5j * k * np.arange(m + 1)
    expected = np.fft.irfft(spectrum, n=n, norm="forward")
    np.testing.assert_allclose(line.to_field(line.transport(line.to_modes(jnp.asarray(u)))), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(12, 12), (15, 10)])
@pytest.mark.parametrize("fast", [False, True])
def test_a_plane_carries_vorticity_along_by_its_own_velocity(
    x64: None, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], fast: bool
) -> None:
    monkeypatch.setattr(advection, "MATRIX_GRID", dict.fromkeys((1, 2), 0 if fast else 256))
    length, modes = 3.0, [(n - 1) // 3 for n in shape]
    plane = advection.periodic_plane(shape, length, jnp.zeros(()).dtype)

    def resolved(w: jax.Array) -> jax.Array:
        return from_fourier(to_fourier(w[..., None], modes), shape)[..., 0]

    w = jax.jit(resolved)(np.random.default_rng(0).normal(size=shape))
    np.testing.assert_allclose(jax.jit(lambda w: plane.to_field(plane.to_modes(w)))(w), w, atol=1e-13)
    # By complex FFTs on a grid so fine that no product aliases; the mean of w moves nothing.
    fine = (64, 64)
    spectrum = np.fft.fft2(jax.jit(lambda w: resample_fourier(w[..., None], fine)[..., 0])(w))
    kx, ky = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, length / n) for n in fine), indexing="ij")
    k2 = np.where(kx**2 + ky**2 > 0, kx**2 + ky**2, np.inf)
    u, v, wx, wy = (np.fft.ifft2(f * spectrum).real for f in (1j * ky / k2, -1j * kx / k2, 1j * kx, 1j * ky))
    exact = jax.jit(resolved)(-(u * wx + v * wy))
    carried = jax.jit(lambda w: plane.to_field(plane.convection(plane.to_modes(w))))(w)
    np.testing.assert_allclose(carried, exact, atol=1e-11)


def test_wavenumbers_differentiate(x64: None) -> None:
    x, y = (2 * np.pi * np.arange(n) / n for n in (16, 20))
    u = np.sin(2 * x)[:, None] * np.cos(3 * y) + np.cos(x)[:, None]
    kx, ky = fourier_wavenumbers((5, 6), 2 * np.pi)
    c = to_fourier(jnp.asarray(u[..., None]), (5, 6))
    dx, dy = (from_fourier(1j * k * c, u.shape)[..., 0] for k in (kx, ky))
    np.testing.assert_allclose(dx, 2 * np.cos(2 * x)[:, None] * np.cos(3 * y) - np.sin(x)[:, None], atol=1e-12)
    np.testing.assert_allclose(dy, -3 * np.sin(2 * x)[:, None] * np.sin(3 * y), atol=1e-12)


def test_products_of_kept_waves_do_not_alias_onto_them(x64: None) -> None:
    n = 16
    m = spectral.dealiased_modes(n)
    coarse, fine = (2 * np.pi * np.arange(k) / k for k in (n, 4 * n))
    square = [to_fourier(jnp.asarray(np.cos(m * x + 0.3)[:, None] ** 2), [m]) for x in (coarse, fine)]
    np.testing.assert_allclose(*square, atol=1e-13)


@pytest.mark.parametrize("shape", [(24, 24), (40, 36), (10, 12)])
def test_resampling_keeps_a_resolved_field(shape: tuple[int, int]) -> None:
    def field(n: int, m: int) -> np.ndarray:
        x, y = 2 * np.pi * np.arange(n) / n, 2 * np.pi * np.arange(m) / m
        return (np.sin(3 * x)[:, None] * np.cos(2 * y) + 0.5)[..., None].astype(np.float32)

    resampled = jax.jit(lambda u: resample_fourier(u, shape))(field(24, 20))
    np.testing.assert_allclose(resampled, field(*shape), atol=1e-5)


def test_dispersion_is_exact(x64: None) -> None:
    """A complex linear part: every wave of u_t + u_xxx = 0 travels at its own speed."""
    x, t, length = np.arange(32) / 32, 1e-3, 1.0
    k = fourier_wavenumbers((10,), length)[0]
    scheme = etdrk.etdrk_coefficients(1j * k**3, t / 3)
    c = etdrk.integrate(scheme, jnp.zeros_like, to_fourier(jnp.asarray(np.sin(6 * np.pi * x)[:, None]), [10]), 3)
    exact = np.sin(6 * np.pi * x + (6 * np.pi) ** 3 * t)
    np.testing.assert_allclose(from_fourier(c, (32,))[:, 0], exact, atol=1e-12)


def test_a_constant_source_is_integrated_exactly_whatever_the_linear_part(x64: None) -> None:
    linear = np.array([-3.0, 0.0, 1j, -2 + 5j])
    c = etdrk.etdrk_step(etdrk.etdrk_coefficients(jnp.asarray(linear), 0.7), jnp.ones_like, jnp.zeros(4, complex))
    exact = [np.expm1(0.7 * z) / z if z else 0.7 for z in linear]
    np.testing.assert_allclose(c, exact, rtol=1e-10)


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("order", [2, 4])
def test_measured_order_in_time(x64: None, name: str, order: int) -> None:
    make_step, shape, parameters, t = EQUATIONS[name]
    u = start(shape, parameters["length"]).astype(float)

    def run(substeps: int) -> np.ndarray:
        return np.asarray(make_step(dt=t, substeps=substeps, order=order, **parameters)(u))

    reference = run(640)
    steps = np.array([40, 80, 160])
    errors = [np.linalg.norm(run(n) - reference) for n in steps]
    assert order - 0.3 < -np.polyfit(np.log(steps), np.log(errors), 1)[0] < order + 0.6


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_batch_is_its_members_gradients_flow_and_one_compilation_serves_all(name: str) -> None:
    make_step, shape, parameters, t = EQUATIONS[name]
    axis = "viscosity" if "viscosity" in parameters else "hyperviscosity"
    u = jnp.stack([start(shape, parameters["length"]), 0.5 * start(shape, parameters["length"])])
    traces = []

    @jax.jit
    def energy(value: jax.Array, u: jax.Array = u[0]) -> jax.Array:
        traces.append(1)
        return jnp.sum(make_step(**(parameters | {"dt": t / 8, "substeps": 8, axis: value}))(u) ** 2)

    middle = parameters.get(axis, 1.0)
    low, high = energy(jnp.array(0.9 * middle)), energy(jnp.array(1.1 * middle))
    assert len(traces) == 1
    np.testing.assert_allclose(jax.grad(energy)(jnp.array(middle)), (high - low) / (0.2 * middle), rtol=0.03)
    step = make_step(dt=t / 8, substeps=8, **parameters)
    np.testing.assert_allclose(jax.vmap(step)(u)[1], step(u[1]), atol=1e-5)


def test_taylor_green_decays_exactly(x64: None) -> None:
    """cos(k x) cos(k y) convects nothing: it decays at the rate 2 viscosity k^2, and friction adds its own."""
    x = 2 * np.pi * np.arange(32) / 32
    w = (np.cos(2 * x)[:, None] * np.cos(2 * x))[..., None]
    step = navier_stokes.make_step(dt=0.5, substeps=5, viscosity=0.03, drag=0.2, forcing="none", length=2 * np.pi)
    np.testing.assert_allclose(step(jnp.asarray(w)), w * np.exp(-0.5 * (0.2 + 0.03 * 8)), atol=1e-13)


@pytest.mark.long
def test_the_enstrophy_budget_is_closed(x64: None) -> None:
    """d/dt <w^2> / 2 = -viscosity <|grad w|^2> + <f w>: convection makes none."""
    n, dt, viscosity = 48, 1e-3, 2e-3
    w = 10 * initial.fno_vorticity(jax.random.key(1), (n, n), modes=8).astype(float)
    step = navier_stokes.make_step(dt=dt, viscosity=viscosity)
    before, now, after = w, step(w), step(step(w))
    rate = (jnp.mean(after**2) - jnp.mean(before**2)) / (4 * dt)
    kx, ky = fourier_wavenumbers((15, 15), 1.0)
    c = to_fourier(now, (15, 15))
    gradient = [from_fourier(1j * k * c, (n, n)) for k in (kx, ky)]
    force = navier_stokes.forcing_field("fno", (n, n), amplitude=0.1)
    budget = -viscosity * sum(jnp.mean(g**2) for g in gradient) + jnp.mean(force * now)
    np.testing.assert_allclose(rate, budget, rtol=1e-5)


def test_convection_carries_with_the_flow(x64: None) -> None:
    """In the inviscid limit every function of vorticity is carried along: a high moment is kept to the step's error."""
    w = initial.smooth_periodic(jax.random.key(2), (64, 64), 1, length=1.0, scale=0.3, modes=4).astype(float)
    out = navier_stokes.make_step(dt=0.5, substeps=20, viscosity=0.0, forcing="none")(w)
    assert float(jnp.abs(out - w).max()) > 0.05
    for power in (1, 2, 3):
        np.testing.assert_allclose(jnp.mean(out**power), jnp.mean(w**power), atol=1e-6)


@pytest.mark.parametrize("length", [1.0, 2 * np.pi])
def test_kolmogorov_forcing_is_the_curl_of_its_force(x64: None, length: float) -> None:
    """A laminar flow: viscosity balances the force amplitude sin(q y) along x at u = amplitude sin(q y) / (nu q^2)."""
    y, q, nu = length * np.arange(24) / 24, 2 * np.pi * 2 / length, 0.5
    w = -(0.3 / (nu * q**2)) * q * np.cos(q * y) * np.ones((24, 1))
    how: dict[str, Any] = {"viscosity": nu, "forcing": "kolmogorov", "amplitude": 0.3, "wavenumber": 2}
    out = navier_stokes.make_step(dt=1.0, substeps=4, length=length, **how)(jnp.asarray(w[..., None]))
    np.testing.assert_allclose(out[..., 0], w, atol=1e-12)


def test_burgers_matches_the_cole_hopf_solution(x64: None) -> None:
    """u = -2 nu phi_x / phi, with phi a solution of the heat equation."""
    x, nu, t = np.arange(128) / 128, 0.02, 0.3

    def exact(t: float) -> np.ndarray:
        decay, k = np.exp(-nu * (2 * np.pi) ** 2 * t), 2 * np.pi
        phi, slope = 1.2 + decay * np.cos(k * x), -k * decay * np.sin(k * x)
        return (-2 * nu * slope / phi)[:, None]

    out = burgers.make_step(dt=t, substeps=200, viscosity=nu)(jnp.asarray(exact(0.0)))
    np.testing.assert_allclose(out, exact(t), atol=1e-7)


def test_kuramoto_sivashinsky_grows_and_damps_waves_at_their_rates(x64: None) -> None:
    length, t = 32.0, 2.0
    x = length * np.arange(96) / 96
    for wave in (2, 4, 8):
        k = 2 * np.pi * wave / length
        u = 1e-8 * np.cos(k * x)[:, None]
        step = kuramoto_sivashinsky.make_step(dt=t, substeps=8, instability=1.3, hyperviscosity=0.7, length=length)
        np.testing.assert_allclose(step(jnp.asarray(u)), u * np.exp((1.3 * k**2 - 0.7 * k**4) * t), atol=1e-13)


def test_kuramoto_sivashinsky_stays_bounded_and_keeps_its_mean() -> None:
    u = start((96,), 64.0) + 0.3
    frames = jax.jit(rollout(kuramoto_sivashinsky.make_step(dt=1.0, substeps=8, length=64.0), 200))(u)
    np.testing.assert_allclose(frames.mean(axis=1), 0.3, atol=1e-3)
    late = np.asarray(frames[100:])
    assert 0.9 < late.std() < 1.7 and np.abs(late).max() < 5


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_single_precision_state_stays_one_whatever_the_mode(x64: None, name: str) -> None:
    make_step, shape, parameters, _ = EQUATIONS[name]
    axis = "viscosity" if "viscosity" in parameters else "hyperviscosity"
    parameters = parameters | {axis: jnp.array(parameters.get(axis, 1.0))}
    u = start(shape, parameters["length"])
    assert u.dtype == jnp.float32 and make_step(dt=0.01, **parameters)(u).dtype == jnp.float32


def test_a_key_gives_the_same_field_in_either_precision() -> None:
    single = start((48, 48), 1.0), initial.smooth_zero_flux(jax.random.key(1), (32, 32), 2, length=2.0, scale=0.3)
    jax.config.update("jax_enable_x64", True)  # not its context manager: jax 0.7 has none
    try:
        double = start((48, 48), 1.0), initial.smooth_zero_flux(jax.random.key(1), (32, 32), 2, length=2.0, scale=0.3)
        for a, b in zip(single, double, strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5)
    finally:
        jax.config.update("jax_enable_x64", False)


def test_random_fields_are_functions_of_their_key_with_the_stated_spread() -> None:
    keys = jax.random.split(jax.random.key(0), 600)
    fields = jax.jit(jax.vmap(lambda key: initial.fno_vorticity(key, (48, 48))))(keys)
    assert abs(float(fields.std()) / 0.185 - 1) < 0.03  # derived from the spectrum of the published code
    key = jax.random.key(7)
    coarse, fine = (jax.jit(lambda key, n=n: initial.fno_vorticity(key, (n, n)))(key) for n in (48, 96))
    np.testing.assert_allclose(fine[::2, ::2], coarse, atol=1e-6)
    line = jax.jit(jax.vmap(lambda key: initial.smooth_periodic(key, (64,), 2, length=2.0, scale=0.25)))(keys)
    assert abs(float(line.std()) - 1) < 0.03
    # The covariance is exp(-(r / scale)^2 / 2), less that of the mean, which is left out; eight cells are one scale.
    mean = np.sqrt(2 * np.pi) * 0.25 / 2.0
    correlation = float(jnp.mean(line * jnp.roll(line, 8, axis=1)) / jnp.mean(line**2))
    assert abs(correlation - (np.exp(-0.5) - mean) / (1 - mean)) < 0.03


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="navier_stokes.make_step: viscosity is -0.1, expected a number >= 0"):
        navier_stokes.make_step(dt=0.1, viscosity=-0.1)
    with pytest.raises(ValueError, match="forcing is 'wind', expected one of"):
        navier_stokes.make_step(dt=0.1, forcing="wind")
    with pytest.raises(ValueError, match="wavenumber is 4, expected 1 ... 3, what the 2/3 rule leaves of 12 points"):
        navier_stokes.make_step(dt=0.1, forcing="kolmogorov")(jnp.zeros((12, 12, 1)))
    with pytest.raises(ValueError, match="burgers.make_step: length is -1.0, expected a number > 0"):
        burgers.make_step(dt=0.1, length=-1.0)
    with pytest.raises(ValueError, match="burgers.make_step: order is 3, expected 2 or 4"):
        burgers.make_step(dt=0.1, order=3)
    with pytest.raises(ValueError, match="burgers: state has dtype int32, expected a floating-point one"):
        burgers.make_step(dt=0.1)(jnp.zeros((32, 1), int))
    with pytest.raises(ValueError, match="burgers.make_step: dt is 0.0 and substeps 1"):
        burgers.make_step(dt=0.0)
    with pytest.raises(ValueError, match="hyperviscosity is nan"):
        kuramoto_sivashinsky.make_step(dt=0.1, hyperviscosity=float("nan"))
    with pytest.raises(ValueError, match=r"burgers: state has shape \(4, 32, 1\), expected \[N, 1\]; for a batch"):
        burgers.make_step(dt=0.1)(jnp.zeros((4, 32, 1)))
    with pytest.raises(ValueError, match="8 modes on axis 1 need more than 16 grid points, got 16"):
        to_fourier(jnp.zeros((32, 16, 1)), (8, 8))
    with pytest.raises(ValueError, match="1 modes for a grid"):
        from_fourier(jnp.zeros((1, 8), complex), (32, 32))
