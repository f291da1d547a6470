"""Values beyond validation: the coordinate goes on in one direction there, and few trajectories tell little."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax._interval_doubts import warn_if_few
from ccm_jax.curve import fit_curve
from ccm_jax.fit_uncertainty import Read, _fit_axis
from ccm_jax.uncertainty import Local, Uncertainty, small_sample

PLACES = (0.9, 1.1, 1.3, 1.5, 1.7, 2.1)


def bent(sign: float = 1.0) -> Uncertainty:
    """A curve that saturates, so that what it does beyond its points is anybody's guess."""
    y = sign * np.array([-1.2, -0.7, -0.1, 0.45, 0.8, 1.0])
    grid, one = jnp.linspace(0.1, 3.3, 513)[None], jnp.ones(1)
    return Uncertainty((fit_curve(PLACES, y, 0.03),), grid, 0.05 * one, 0 * one, one, logarithmic=(False,))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_coordinate_within_validation_is_of_no_value_far_beyond_it(sign: float) -> None:
    sure = bent(sign)
    found = sign * jnp.array([[-0.7], [-0.1], [0.45]])
    posterior = sure(found, Local(jnp.zeros((3, 1)), jnp.zeros((3, 1))))
    beyond = jnp.where((sure.values < 0.9) | (sure.values > 2.1), posterior.probability, 0.0).sum(axis=-1)
    assert float(beyond.max()) < 1e-3
    low, high = np.moveaxis(np.asarray(posterior.interval())[:, 0], -1, 0)
    truth = np.array([1.1, 1.3, 1.5])
    assert ((low < truth) & (truth < high)).all() and (high - low).max() < 0.25
    outside = sure(sign * jnp.array([[1.6]]), Local(jnp.zeros((1, 1)), jnp.zeros((1, 1))))
    assert float(outside.value()[0, 0]) > 2.1 and bool(outside.beyond()[0, 0])


def test_the_posterior_beyond_validation_is_that_of_a_sum_with_a_positive_rise() -> None:
    """By random numbers: where the curve is at the outermost regime, plus a rise from there that is positive."""
    sure, c = bent(), 1.0
    (at, of), (centre, variance) = sure.curves[0](jnp.array(2.1)), sure.expected()
    draws = np.random.default_rng(0).normal(size=(2, 2_000_000))
    likelihood, places = [], [400, 440, 480]  # all beyond 2.1
    for i in places:
        rise = float(centre[0, i] - at) + np.sqrt(float(variance[0, i] - of)) * draws[0]
        total = float(at) + np.sqrt(float(of) + 0.05**2) * draws[1][rise > 0] + rise[rise > 0]
        likelihood.append(np.mean(np.abs(total - c) < 0.02))
    probability = sure(jnp.array([[c]]), Local(jnp.zeros((1, 1)), jnp.zeros((1, 1)))).probability[0, 0]
    shown = np.asarray(probability)[places]
    np.testing.assert_allclose(shown / shown.sum(), likelihood / np.sum(likelihood), rtol=0.05)


def test_what_says_nothing_stays_flat_and_derivatives_are_finite() -> None:
    sure = bent()
    local = Local(jnp.full((1, 1), jnp.inf), jnp.zeros((1, 1)))
    nothing = Uncertainty(sure.curves, sure.values, 0.05 * jnp.ones(1), jnp.ones(1), jnp.ones(1), logarithmic=(False,))
    assert bool(nothing(jnp.zeros((1, 1)), local).flat()[0, 0])
    exact = Local(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    slope = jax.jacfwd(lambda c: sure(c[None, None], exact).interval()[0, 0])(jnp.array(0.4))
    assert np.isfinite(slope).all() and (np.asarray(slope) > 0).all()


def test_deviations_are_not_shrunk_and_grow_where_few_trajectories_tell_them() -> None:
    rng = np.random.default_rng(0)
    for count, bound in ((2, 1.15), (40, 1.0)):
        regime = np.repeat(np.arange(6), count)
        value = np.asarray(PLACES)[regime]
        found = 2 * value + 0.05 * rng.normal(size=len(regime))
        *_, inflation = _fit_axis(Read(regime, value, found, np.full(len(regime), 1e-4)), 0.9)
        assert bound <= inflation < 2.5
    student = {5: 2.0150, 10: 1.8125, 30: 1.6973}  # 95 % quantiles of Student's distribution
    for freedom, quantile in student.items():
        assert small_sample(freedom) == pytest.approx(quantile / 1.6449, rel=1e-3)


def test_few_trajectories_are_warned_of() -> None:
    with pytest.warns(
        UserWarning, match="10 trajectories of 5 values are too few to estimate .* add trajectories of each value"
    ):
        warn_if_few("fit_uncertainty", np.repeat(np.arange(5), 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_few("fit_uncertainty", np.repeat(np.arange(6), 2))
