from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_chart, metrics
from ccm_jax.evaluate import future_error, future_error_each, future_error_sweep, persistence_error, split_future
from ccm_jax.rollout import make_rollout, repeat, rollout


def fields(seed: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (3, 4, 8, 6, 2))


def test_relative_l2_counts_all_channels_of_a_frame_together() -> None:
    true = fields(0)
    np.testing.assert_allclose(metrics.relative_l2(1.3 * true, true), 0.3, rtol=1e-5)
    only_first = true.at[..., 0].multiply(2.0)
    expected = np.sqrt((np.asarray(true)[..., 0] ** 2).sum((2, 3)) / (np.asarray(true) ** 2).sum((2, 3, 4)))
    np.testing.assert_allclose(metrics.relative_l2(only_first, true), expected, rtol=1e-5)


def test_simple_metrics_against_their_definitions() -> None:
    p, t = (np.asarray(fields(seed)) for seed in (0, 1))
    d = p - t
    np.testing.assert_allclose(metrics.rmse(p, t), np.sqrt((d**2).mean((2, 3))).mean(-1), rtol=1e-5)
    ratio = np.sqrt((d**2).mean((2, 3)) / (t**2).mean((2, 3)))
    np.testing.assert_allclose(metrics.nrmse(p, t), ratio.mean(-1), rtol=1e-5)
    np.testing.assert_allclose(metrics.max_error(p, t), np.abs(d).max((2, 3, 4)), rtol=1e-6)


@pytest.mark.parametrize("name", ["relative_l2", "rmse", "nrmse", "max_error", "fourier_error"])
def test_frames_of_other_shapes_are_not_broadcast(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: predicted has shape \[3, 1, 8, 6, 2\], true \[3, 4, 8, 6, 2\]"):
        getattr(metrics, name)(fields(0)[:, :1], fields(1))


def test_a_single_wave_falls_into_its_band() -> None:
    n = 32
    x = np.arange(n) / n
    true = jnp.zeros((2, 1, n, n, 1))
    for wavenumber, band in ((2, 0), (6, 1), (13, 2)):
        wave = np.cos(2 * np.pi * wavenumber * x)[:, None] * np.ones(n)
        error = metrics.fourier_error(true + wave[None, None, :, :, None], true)
        assert error.shape == (3, 1)
        # |fft2| is n^2 / 2 at the wave's own mode; its shell is averaged with the others of the band.
        shells = (4, 8, 4)[band]
        np.testing.assert_allclose(error[band, 0], 0.5 / shells, rtol=1e-4)
        np.testing.assert_allclose(np.delete(np.asarray(error)[:, 0], band), 0.0, atol=1e-5)


def test_fourier_error_against_a_loop_over_the_definition() -> None:
    p, t = (np.asarray(jax.random.normal(jax.random.key(s), (3, 2, 12, 10, 2))) for s in (0, 1))
    spectrum = np.fft.fft2(p - t, axes=(2, 3))
    expected = np.zeros((5, 2, 2))
    quadrant = [(i, j) for i in range(6) for j in range(5)]
    for shell in range(5):
        for frame in range(2):
            for c in range(2):
                energies = [
                    sum(abs(spectrum[b, frame, i, j, c]) ** 2 for i, j in quadrant if int(np.hypot(i, j)) == shell)
                    for b in range(3)
                ]
                expected[shell, frame, c] = np.sqrt(np.mean(energies)) / 120
    got = metrics.fourier_error(p, t, low=1, high=3)
    bands = [expected[:1].mean(0), expected[1:3].mean(0), expected[3:].mean(0)]
    np.testing.assert_allclose(got, np.stack(bands).mean(-1), rtol=1e-4)


def test_a_gain_is_of_means_over_regimes() -> None:
    assert metrics.gain(jnp.array([0.1, 0.2]), jnp.array([0.5, 0.1])) == pytest.approx(0.5)


@pytest.mark.parametrize("diverged", [None, float("inf"), float("nan"), [0.1, float("inf")], [0.1, None]])
def test_what_diverges_gains_nothing_and_a_reference_that_diverges_gives_no_gain(diverged: Any) -> None:
    finite = [0.1, 0.3]
    assert metrics.gain(diverged, finite) == -np.inf
    assert np.isnan(metrics.gain(finite, diverged)) and np.isnan(metrics.gain(diverged, diverged))
    assert metrics.over(diverged, finite) == metrics.over(diverged, diverged) == np.inf
    assert metrics.over(finite, diverged) == 0.0 and metrics.over(finite, 0.4) == pytest.approx(0.5)


def test_rollout_ends_where_repeat_does() -> None:
    def step(u: jax.Array) -> jax.Array:
        return jnp.sin(u) + 0.3

    u = jnp.linspace(0, 1, 4)
    frames = rollout(step, 6, include_init=True)(u)
    assert frames.shape == (7, 4)
    np.testing.assert_array_equal(frames[0], u)
    np.testing.assert_allclose(frames[-1], repeat(step, 6)(u), rtol=1e-6)


def test_a_window_feeds_on_its_own_frames() -> None:
    def fibonacci(params: float, window: jax.Array) -> jax.Array:
        return params * (window[:, 0] + window[:, 1])

    frames = make_rollout(fibonacci)(1.0, jnp.ones((1, 2, 1, 1)), 5)
    assert frames[0, :, 0, 0].tolist() == [2.0, 3.0, 5.0, 8.0, 13.0]


def scale(params: jax.Array, window: jax.Array) -> jax.Array:
    return params * window[:, -1]


def test_the_future_starts_after_the_last_observed_frame() -> None:
    x = jnp.cumprod(jnp.full((2, 8, 3, 1), 2.0), axis=1)
    observed, window, future = split_future(x, history=2, frames=3)
    assert observed.shape[1] == 5 and future.shape[1] == 3
    np.testing.assert_array_equal(window, x[:, 3:5])
    rollout_fn = make_rollout(scale)
    np.testing.assert_allclose(future_error(jnp.array(2.0), rollout_fn, x, history=2, frames=3), 0.0, atol=1e-6)
    np.testing.assert_allclose(future_error(jnp.array(1.0), rollout_fn, x, history=2, frames=3)[0], [0.5, 0.75, 0.875])
    with pytest.raises(
        ValueError, match="trajectories have 8 frames, expected more than the 4 of the window and the 4"
    ):
        split_future(x, history=4, frames=4)
    chart = fit_chart(jnp.array(1.0), [jnp.array(0.0), jnp.array(2.0)], [-1.0, 1.0])
    called: list[tuple[str, Any]] = [
        ("future_error", lambda: future_error(jnp.array(1.0), rollout_fn, x, history=4)),
        ("future_error_sweep", lambda: future_error_sweep(chart, rollout_fn, x, jnp.zeros((1, 1)), history=4)),
        ("future_error_each", lambda: future_error_each(chart, rollout_fn, x, jnp.zeros((2, 1)), history=4)),
        ("persistence_error", lambda: persistence_error(x, history=4)),
    ]
    for name, call in called:  # the function that was called is named, not the one that cuts
        with pytest.raises(ValueError, match=f"^{name}: trajectories have 8 frames, expected more than the 4 of"):
            call()


def test_sweep_and_each_agree_with_one_by_one() -> None:
    from ccm_jax import fit_chart

    chart = fit_chart(jnp.array(2.0), [jnp.array(1.0), jnp.array(3.0)], [-1.0, 1.0])
    x = jax.random.normal(jax.random.key(0), (4, 7, 3, 2))
    rollout_fn = make_rollout(scale)
    bank = jnp.array([[-0.5], [0.0], [0.7], [2.0]])
    one = [future_error(chart(c), rollout_fn, x) for c in bank]
    np.testing.assert_allclose(future_error_sweep(chart, rollout_fn, x, bank), jnp.stack(one), rtol=1e-5)
    each = future_error_each(chart, rollout_fn, x, bank)
    np.testing.assert_allclose(each, jnp.stack([one[i][i] for i in range(4)]), rtol=1e-5)


def test_a_frame_that_is_met_exactly_does_not_spoil_the_gradient() -> None:
    true = jnp.stack([jnp.ones((1, 2, 2, 1)), 2 * jnp.ones((1, 2, 2, 1))])

    def loss(gain: jax.Array) -> jax.Array:
        return jnp.mean(metrics.relative_l2(jnp.stack([true[0], gain * true[1]]), true))

    assert float(loss(jnp.array(1.5))) == pytest.approx(0.25)
    assert float(jax.grad(loss)(jnp.array(1.5))) == pytest.approx(0.5)
    assert not bool(jnp.isfinite(metrics.relative_l2(true * jnp.nan, true)).any())


def test_a_reference_without_error_is_met_or_not() -> None:
    assert metrics.over(0.0, 0.0) == 1.0 and metrics.over(0.1, 0.0) == np.inf
