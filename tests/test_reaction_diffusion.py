from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from ccm_jax.rollout import rollout
from solvers import etdrk, initial, reaction_diffusion, spectral

LENGTH = 2.0


def centres(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) * LENGTH / n


def test_a_linear_mode_follows_its_exact_two_by_two_system(x64: None) -> None:
    """For tiny states the cubic vanishes: one cosine mode obeys u' = (1 - D_u k^2) u - v, v' = u - (1 + D_v k^2) v."""
    n, t = 32, 1.5
    x = centres(n)
    kappa = np.pi * np.array([3, 2]) / LENGTH
    mode = np.cos(kappa[0] * x)[:, None] * np.cos(kappa[1] * x)
    du, dv, k2 = 2e-3, 5e-3, float((kappa**2).sum())
    step = reaction_diffusion.make_step(dt=t, substeps=40, diffusivity_u=du, diffusivity_v=dv, threshold=0.0)
    amplitude = np.array([1e-6, -0.5e-6])
    out = step(jnp.asarray(mode[..., None] * amplitude))
    matrix = np.array([[1 - du * k2, -1.0], [1.0, -1 - dv * k2]])
    exact = scipy.linalg.expm(matrix * t) @ amplitude
    np.testing.assert_allclose(out, mode[..., None] * exact, atol=1e-6 * np.abs(exact).max())


def test_a_uniform_state_is_the_reaction_alone(x64: None) -> None:
    def reaction(_: float, y: np.ndarray) -> list[float]:
        return [y[0] - y[0] ** 3 - 5e-3 - y[1], y[0] - y[1]]

    exact = scipy.integrate.solve_ivp(reaction, (0, 3.0), [0.9, -0.4], rtol=1e-11, atol=1e-12).y[:, -1]
    state = jnp.broadcast_to(jnp.array([0.9, -0.4]), (8, 8, 2))
    out = reaction_diffusion.make_step(dt=3.0, substeps=200)(state)
    np.testing.assert_allclose(out, np.broadcast_to(exact, (8, 8, 2)), rtol=1e-7)


@pytest.mark.parametrize("order", [2, 4])
def test_measured_order_in_time(x64: None, order: int) -> None:
    u = initial.smooth_zero_flux(jax.random.key(0), (32, 32), 2, length=LENGTH, scale=0.3).astype(jnp.float64)

    def run(substeps: int) -> np.ndarray:
        return np.asarray(reaction_diffusion.make_step(dt=1.0, substeps=substeps, order=order)(u))

    reference = run(640)
    steps = np.array([40, 80, 160])
    errors = [np.linalg.norm(run(n) - reference) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order - 0.3 < slope < order + 0.6


def test_method_of_lines_is_approached_at_second_order(x64: None) -> None:
    """PDEBench's five-point discretisation, integrated by SciPy to 1e-9, falls towards the spectral solution."""
    t, du, dv, k = 0.5, 2e-3, 5e-3, 5e-3

    def smooth(n: int) -> np.ndarray:
        x = centres(n)
        u = 0.8 * np.cos(np.pi * x)[:, None] * np.cos(np.pi * x / 2) - 0.2
        return np.stack([u, 0.5 * np.cos(np.pi * x / 2)[:, None] * np.ones(n)], -1)

    def lines(n: int) -> np.ndarray:
        dx = LENGTH / n

        def right(_: float, y: np.ndarray) -> np.ndarray:
            s = y.reshape(n, n, 2)
            p = np.pad(s, ((1, 1), (1, 1), (0, 0)), mode="edge")
            lap = (p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * s) / dx**2
            u, v = s[..., 0], s[..., 1]
            return (np.stack([u - u**3 - k - v, u - v], -1) + lap * np.array([du, dv])).ravel()

        out = scipy.integrate.solve_ivp(right, (0, t), smooth(n).ravel(), rtol=1e-8, atol=1e-9).y[:, -1]
        return out.reshape(n, n, 2)

    step = reaction_diffusion.make_step(dt=t, substeps=40, diffusivity_u=du, diffusivity_v=dv, threshold=k)
    errors = [np.sqrt(np.mean((lines(n) - np.asarray(step(jnp.asarray(smooth(n))))) ** 2)) for n in (16, 32)]
    assert np.log2(errors[0] / errors[1]) > 1.85 and errors[1] < 1e-3


@pytest.mark.long
def test_the_default_step_is_within_1e_4_of_a_four_times_finer_one() -> None:
    from experiments.configs import rd_ood

    config = rd_ood.get_config()
    solver = config.solver
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(3), i))(jnp.arange(4))
    for diffusivity in (5e-4, 4e-3):

        def run(key: jax.Array, refine: int = 1, diffusivity: float = diffusivity) -> jax.Array:
            u = initial.smooth_zero_flux(key, (64, 64), 2, length=LENGTH, scale=config.initial.scale)
            how = {"dt": solver.dt, "substeps": solver.substeps * refine, "diffusivity_u": diffusivity}
            return rollout(reaction_diffusion.make_step(**how), solver.frames)(u)

        coarse, fine = (jax.jit(jax.vmap(lambda key, n=n: run(key, n)))(keys) for n in (1, 4))
        error = jnp.sqrt(jnp.sum((coarse - fine) ** 2, (-3, -2, -1)) / jnp.sum(fine**2, (-3, -2, -1)))
        assert float(error.mean()) < 1e-4, error


def test_one_compilation_serves_every_diffusivity_and_gradients_reach_it() -> None:
    traces = []

    @jax.jit
    def energy(diffusivity: jax.Array) -> jax.Array:
        traces.append(1)
        u = initial.smooth_zero_flux(jax.random.key(0), (16, 16), 2, length=LENGTH, scale=0.3)
        return jnp.sum(reaction_diffusion.make_step(dt=0.2, diffusivity_u=diffusivity)(u) ** 2)

    low, high = energy(jnp.array(1e-3)), energy(jnp.array(1e-2))
    assert len(traces) == 1 and float(high) < float(low)
    slope = jax.grad(energy)(jnp.array(5e-3))
    rise = (energy(jnp.array(5.5e-3)) - energy(jnp.array(4.5e-3))) / 1e-3
    np.testing.assert_allclose(slope, rise, rtol=0.02)


def test_a_batch_is_its_members() -> None:
    step = reaction_diffusion.make_step(dt=0.1)
    u = jax.random.normal(jax.random.key(0), (3, 16, 16, 2))
    np.testing.assert_allclose(jax.vmap(step)(u)[1], step(u[1]), atol=1e-5)


def test_cosine_transform_is_orthonormal_and_matches_scipy(x64: None) -> None:
    import scipy.fft

    u = np.random.default_rng(0).normal(size=(7, 10, 2))
    c = spectral.to_cosine(jnp.asarray(u))
    np.testing.assert_allclose(c, np.moveaxis(scipy.fft.dctn(u, type=2, norm="ortho", axes=(0, 1)), -1, 0), atol=1e-12)
    np.testing.assert_allclose(spectral.from_cosine(c), u, atol=1e-12)


@pytest.mark.parametrize("shape", [(32, 32), (64, 48), (12, 10)])
def test_resampling_keeps_a_resolved_field(shape: tuple[int, int]) -> None:
    def field(n: int, m: int) -> np.ndarray:
        x, y = np.pi * (np.arange(n) + 0.5) / n, np.pi * (np.arange(m) + 0.5) / m
        return (np.cos(3 * x)[:, None] * np.cos(2 * y) + 0.5)[..., None].astype(np.float32)

    np.testing.assert_allclose(spectral.resample_cosine(jnp.asarray(field(24, 20)), shape), field(*shape), atol=1e-5)


@pytest.mark.parametrize("order", [2, 4])
def test_exponential_coefficients_are_stable_near_zero(x64: None, order: int) -> None:
    z = np.array([0.0, -1e-9, -1e-3, -1.0, -50.0, -1e5])
    scheme = etdrk.etdrk_coefficients(jnp.asarray(z), 1.0, order=order, points=32)
    np.testing.assert_allclose(scheme.decay, np.exp(z), rtol=1e-12)
    phi1 = np.array([float(np.expm1(v) / v) if v else 1.0 for v in z])
    if order == 2:
        np.testing.assert_allclose(scheme.weights[0], phi1, rtol=1e-9)
        np.testing.assert_allclose(scheme.weights[1][0], 0.5, rtol=1e-9)
    else:
        # With a constant right-hand side the three stages add up to phi_1: the step is exact.
        _, first, middle, last = scheme.weights
        np.testing.assert_allclose(first + 2 * middle + last, phi1, rtol=1e-8)
        np.testing.assert_allclose([first[0], middle[0], last[0]], [1 / 6, 1 / 3, 1 / 6], rtol=1e-9)


def test_a_random_field_is_the_same_function_on_every_grid() -> None:
    coarse, fine = (initial.smooth_zero_flux(jax.random.key(4), (n, n), 2, length=LENGTH, scale=0.3) for n in (32, 96))
    np.testing.assert_allclose(spectral.resample_cosine(fine, (32, 32)), coarse, atol=1e-4)


def test_random_fields_have_unit_variance_and_their_correlation_length() -> None:
    keys = jax.random.split(jax.random.key(0), 400)
    make = jax.vmap(lambda key: initial.smooth_zero_flux(key, (32, 32), 1, length=LENGTH, scale=0.25)[..., 0])
    u = np.asarray(make(keys))
    assert abs(u.var() - 1) < 0.05
    # Away from the walls the covariance is exp(-(r / scale)^2 / 2); four cells are one scale.
    middle = (u[:, 14, 14] * u[:, 18, 14]).mean() / np.sqrt((u[:, 14, 14] ** 2).mean() * (u[:, 18, 14] ** 2).mean())
    assert abs(middle - np.exp(-0.5)) < 0.12


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="diffusivity_v is -0.1, expected a number >= 0"):
        reaction_diffusion.make_step(dt=0.1, diffusivity_v=-0.1)
    with pytest.raises(ValueError, match="dt is -1.0 and substeps 4, expected dt > 0"):
        reaction_diffusion.make_step(dt=-1.0)
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8, 2\), expected \[H, W, 2\]; for a batch use jax.vmap"):
        reaction_diffusion.make_step(dt=0.1)(jnp.zeros((3, 8, 8, 2)))
    with pytest.raises(ValueError, match="reaction_diffusion.make_step: order is 3, expected 2 or 4"):
        reaction_diffusion.make_step(dt=0.1, order=3)(jnp.zeros((8, 8, 2)))
    with pytest.raises(ValueError, match="cannot hold 16 modes"):
        initial.smooth_zero_flux(jax.random.key(0), (8, 8), 2, length=LENGTH, scale=0.2)
