"""A readout that knows how sure it is: posteriors that cover, priors, frames of another family, forecasts."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import (
    Gated,
    PrefixReadout,
    Prior,
    fit_chart,
    fit_prefix_readout,
    fit_uncertainty,
    make_rollout,
    predict_rollout,
)
from ccm_jax.curve import fit_curve
from ccm_jax.fit_uncertainty import Read, _fit_axis
from ccm_jax.membership import fit_membership
from ccm_jax.uncertainty import Local, Uncertainty, fit_scatter, inflation_of

Array = jax.Array

RATES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
POINTS = jnp.linspace(0.0, 1.0, 8)[:, None]
COMPILED = "/jax/core/compile/backend_compile_duration"
MANY = 60  # trajectories of most batches: each number of them is compiled anew


def model(params: Any, window: Array) -> Array:
    return window[:, -1] * jnp.exp(-0.1 * params["rate"][0])


def decay(key: Array, rate: float, count: int, frames: int = 9, scatter: float = 0.02) -> Array:
    """Trajectories ``[N, T, 8, 1]`` whose rate differs a little from the regime's, with noise that the model lacks."""
    start, own, noise = jax.random.split(key, 3)
    u = 1 + 0.5 * jax.random.uniform(start, (count, 1, 1, 1)) * POINTS[None, None]
    rates = rate + scatter * jax.random.normal(own, (count, 1, 1, 1))
    t = jnp.arange(frames)[None, :, None, None]
    clean = u * jnp.exp(-0.1 * rates * t)
    return clean * (1 + 3e-4 * jax.random.normal(noise, clean.shape))


@pytest.fixture(scope="module")
def plain() -> PrefixReadout:
    anchor, low, high = ({"rate": jnp.array([r])} for r in (1.1, 0.7, 1.5))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
    return fit_prefix_readout(chart, make_rollout(model), frames=4)


@pytest.fixture(scope="module")
def sure(plain: PrefixReadout) -> PrefixReadout:
    regimes = [decay(jax.random.key(i), rate, 12) for i, rate in enumerate(RATES)]
    return fit_uncertainty(plain, regimes, RATES)


@pytest.mark.long
def test_the_estimate_is_the_same_to_the_last_bit(plain: PrefixReadout, sure: PrefixReadout) -> None:
    x = decay(jax.random.key(20), 1.3, MANY)
    first, second = (readout(x, batch="each") for readout in (plain, sure))
    for name in first._fields[:-2]:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("rate", [0.9, 1.3, 1.75])  # the last one lies beyond all validation regimes
def test_intervals_cover(sure: PrefixReadout, rate: float) -> None:
    found = sure(decay(jax.random.key(30), rate, MANY), batch="each")
    low, high = np.moveaxis(np.asarray(found.interval(0.9))[:, 0], -1, 0)
    assert 0.78 <= np.mean((low <= rate) & (rate <= high)) <= 1.0
    assert np.abs(np.asarray(found.value())[:, 0] - rate).mean() < 0.05
    wider = np.asarray(found.interval(0.99))[:, 0]
    assert (wider[:, 0] < low).all() and (wider[:, 1] > high).all()


@pytest.mark.long
def test_a_prior_moves_the_value_and_not_the_coordinate(sure: PrefixReadout) -> None:
    x = decay(jax.random.key(31), 1.3, 1)[0]
    free, told = sure(x), sure(x, prior=Prior(1.2, 0.02))
    assert float(free.coordinate[0]) == float(told.coordinate[0])
    assert 1.2 < float(told.value()[0]) < float(free.value()[0])
    nothing = sure(x, prior=Prior(1.2, np.inf))
    np.testing.assert_allclose(nothing.interval(), free.interval(), rtol=1e-6)


@pytest.mark.long
def test_samples_follow_the_posterior(sure: PrefixReadout) -> None:
    found = sure(decay(jax.random.key(32), 1.3, 3), batch="each")  # few, of whom many are drawn
    assert found.posterior is not None
    drawn = found.sample(jax.random.key(0), 4000)
    assert drawn.shape == (4000, 3, 1)
    np.testing.assert_allclose(drawn.mean(axis=0), found.posterior.coordinate(), atol=5e-3)
    np.testing.assert_allclose(drawn.std(axis=0), found.posterior.coordinate_deviation(), rtol=0.1)


@pytest.mark.long
def test_one_coordinate_of_many_trajectories_is_surer(sure: PrefixReadout) -> None:
    x = decay(jax.random.key(33), 1.3, 16)
    one, all_of_them = sure(x[0]).interval()[0], sure(x, batch="pooled").interval()[0]
    assert all_of_them[1] - all_of_them[0] < 0.6 * (one[1] - one[0])


@pytest.mark.filterwarnings("ignore:PrefixReadout. no point of the chart explains")
def test_frames_of_another_equation_are_flagged(sure: PrefixReadout) -> None:
    x = decay(jax.random.key(34), 1.0, MANY)
    own = np.asarray(sure(x, batch="each").p_value)
    assert np.mean(own < 0.05) <= 0.15
    other = x + 0.05 * jnp.sin(2.0 * jnp.arange(x.shape[1]))[None, :, None, None]  # it swings
    assert np.mean(np.asarray(sure(other, batch="each").p_value) < 0.05) == 1.0


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:PrefixReadout. the chart explains these frames worse")  # one in twenty
def test_forecasts_cover_every_frame(sure: PrefixReadout) -> None:
    x = decay(jax.random.key(35), 1.25, 40)
    forecast = predict_rollout(sure, x, batch="each")
    low, high = forecast.interval(0.9)
    covered = np.mean((low <= x[:, 5:]) & (x[:, 5:] <= high), axis=(0, 2, 3))
    assert covered.shape == (4,) and (covered > 0.75).all()
    with pytest.raises(
        ValueError,
        match=r"^predict_rollout: frames have shape .* one trajectory .* as in validation .* per trajectory\.$",
    ):
        predict_rollout(dataclasses.replace(sure, known=x.shape[2:]), x)
    one = predict_rollout(sure, x[0], 2)
    np.testing.assert_allclose(one.mean, forecast.mean[0, :2], rtol=1e-5)
    assert not one.outside and "outside_validation=False" in repr(one)


def test_a_forecast_outside_validation_says_that_its_interval_is_not_calibrated(sure: PrefixReadout) -> None:
    far = predict_rollout(sure, decay(jax.random.key(36), 1.85, 1)[0])
    assert far.outside and "outside_validation=True" in repr(far)
    with pytest.warns(UserWarning, match="Forecast.interval: the value lies outside the validation regimes"):
        far.interval(0.9)
    jax.jit(lambda forecast: forecast.interval(0.9))(far)  # where numbers are unknown, nothing is said


def test_an_interval_that_ends_where_the_grid_does_is_said(plain: PrefixReadout, sure: PrefixReadout) -> None:
    regimes = [decay(jax.random.key(i), rate, 12) for i, rate in enumerate(RATES)]
    near = fit_uncertainty(plain, regimes, RATES, reach=0.2)  # values up to 1.8
    beyond = decay(jax.random.key(37), 1.8, 1)[0]
    found = near(beyond)
    assert found.posterior is not None and found.posterior.cut().tolist() == [[False, True]]
    with pytest.warns(UserWarning, match="cut off at 1.8 on axis 0.*the upper end of the interval is not known"):
        assert found.interval()[0, 1] <= 1.8
    far = sure(beyond)
    assert far.posterior is not None and not far.posterior.cut().any() and far.interval()[0, 1] > 1.8


@pytest.mark.long
def test_the_anchor_says_nothing_of_the_value() -> None:
    anchor, low, high = ({"rate": jnp.array([r])} for r in (1.1, 0.7, 1.5))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
    readout = fit_prefix_readout(chart, make_rollout(model), frames=4)
    regimes = [decay(jax.random.key(i), rate, 6) for i, rate in enumerate(RATES)]
    fitted = fit_uncertainty(readout, regimes, RATES)
    with pytest.warns(UserWarning, match="no point of the chart explains these frames"):
        kept = dataclasses.replace(fitted, pull=jnp.float32(1e6))(regimes[2][0])
    assert not np.any(kept.coordinate)
    assert kept.posterior is not None and bool(kept.posterior.flat()[0])
    with pytest.warns(UserWarning, match="Estimate.interval: the frames do not constrain the value"):
        assert np.isfinite(kept.interval()).all()


@pytest.mark.long
def test_a_value_at_an_unusual_gate_is_less_certain(sure: PrefixReadout) -> None:
    """A coordinate near the anchor was never compared with a value: there it may be in proportion to its gate."""
    assert sure.uncertainty is not None and sure.uncertainty.gates is None  # a chart without a gate
    gated = dataclasses.replace(sure.uncertainty, gates=jnp.array([0.8, 1.2]))
    local = Local(jnp.full((3, 1), 1e-6), jnp.zeros((3, 1)))
    found = jnp.array([[0.5, 1.0], [0.5, 0.1], [0.0, 0.1]])
    usual, small, middle = np.asarray(gated.deviation(local, found=found))[:, 0]
    assert usual == np.asarray(gated.deviation(local))[0, 0]
    inflation = float(gated.inflation[0])
    assert small == pytest.approx(np.hypot(8 * usual, inflation * 0.5 * 7), rel=1e-4)
    assert middle == pytest.approx(8 * usual, rel=1e-4)
    posterior = gated(found, local)
    assert posterior.unusual_gate().tolist() == [False, True, True]
    width = np.diff(np.asarray(posterior.interval()), axis=-1)[:, 0, 0]
    assert width[1] > width[2] > 3 * width[0]


@pytest.mark.long
def test_gates_of_validation_bound_the_usual_ones() -> None:
    anchor, low, high = ({"rate": jnp.array([r])} for r in (1.1, 0.7, 1.5))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
    regimes = [decay(jax.random.key(i), rate, 4) for i, rate in enumerate(RATES)]
    read = fit_uncertainty(fit_prefix_readout(chart, make_rollout(model)), regimes, RATES)
    assert read.uncertainty is not None and read.uncertainty.gates is not None
    low_gate, high_gate = np.asarray(read.uncertainty.gates)
    gates = np.concatenate([np.asarray(read(x[:, :5], batch="each").coordinate)[:, -1] for x in regimes])
    assert 0 <= low_gate <= gates[gates > 0].min() and gates.max() <= high_gate


def test_all_of_it_is_traced(sure: PrefixReadout) -> None:
    x = decay(jax.random.key(36), 1.3, 1)[0]
    found = jax.jit(lambda readout, x: readout(x))(sure, x)
    np.testing.assert_allclose(found.interval(), sure(x).interval(), rtol=1e-4)
    np.testing.assert_allclose(found.p_value, sure(x).p_value, rtol=1e-3)


def test_a_curve_knows_less_beyond_its_points() -> None:
    x = np.array([0.4, 0.6, 0.9, 1.3, 1.6, 2.0])
    curve = fit_curve(x, 2 * x, 0.01)
    mean, variance = curve(jnp.array([1.0, 2.5, 4.0]))
    np.testing.assert_allclose(mean, [2.0, 5.0, 8.0], atol=0.1)
    assert variance[0] < variance[1] < variance[2]
    bent = np.log(x)
    assert fit_curve(np.log(x), bent, 0.01).likelihood > fit_curve(x, bent, 0.01).likelihood
    assert fit_curve(x, 2 * x, 0.01).likelihood > fit_curve(np.log(x), 2 * x, 0.01).likelihood


def test_scatter_is_shared_between_a_floor_and_the_sharpness_of_the_minimum() -> None:
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.0, 1.0, 4000)
    floor, tightness = fit_scatter(rng.normal(size=4000) * np.sqrt(0.3**2 + 0.5**2 * variance), variance)
    assert abs(floor - 0.3) < 0.06 and abs(tightness - 0.5) < 0.08
    assert abs(inflation_of(2 * rng.normal(size=4000)) - 2) < 0.1


@pytest.mark.parametrize(
    "values, message",
    [
        (RATES[:3], "3, 1] for 6 regimes"),
        ((1.0,) * 6, "at least 3 distinct"),
        ((1.0, 1.1, np.nan, 1.2, 1.3, 1.4), "expected finite ones"),
    ],
)
def test_values_that_cannot_serve_are_refused(plain: PrefixReadout, values: Any, message: str) -> None:
    regimes = [decay(jax.random.key(i), rate, 2) for i, rate in enumerate(RATES)]
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        fit_uncertainty(plain, regimes, values)


def by_hand(width: float) -> Uncertainty:
    """One axis with a curve, and scatter of one size."""
    curve = fit_curve([0.6, 0.8, 1.0, 1.2, 1.4], [-1, -0.5, 0, 0.5, 1], 0.01)
    grid, size = jnp.linspace(0.5, 2.0, 257)[None], jnp.array([width])
    return Uncertainty((curve,), grid, size, jnp.zeros(1), jnp.ones(1), logarithmic=(False,))


def test_no_prior_and_no_width_make_an_interval_nan() -> None:
    found, local = jnp.array([[0.3]]), Local(jnp.array([[1e-4]]), jnp.zeros((1, 1)))
    for prior in (Prior(1.0, 1e-30), Prior(1.0001, 1e-25), Prior(1.9, 1e-9)):
        low, high = by_hand(0.02)(found, local, prior).interval()[0, 0]
        assert low < prior.value < high and high - low < 0.02
    with pytest.raises(ValueError, match=r"value 100 on axis 0, expected within 0.5 to 2"):
        by_hand(0.02)(found, local, Prior(100.0, 0.1))
    exact = dataclasses.replace(by_hand(0.0), curves=())
    assert np.isfinite(exact(jnp.array([[1.2]]), local).interval()).all()


def test_trajectories_that_agree_to_the_last_bit_have_a_p_value() -> None:
    regime, place = np.repeat(np.arange(4), 2), np.repeat([-1.0, -0.3, 0.3, 1.0], 2)[:, None]
    known = fit_membership(np.full(8, -27.6), place, regime)
    p = known(jnp.array([-27.6, -20.0]), jnp.array([[0.1], [0.1]]))
    assert p[0] > 0.1 and p[1] < 0.05
    with pytest.raises(ValueError, match="one-step errors are finite in 2 of the regimes"):
        fit_membership(np.zeros(4), place[:4], regime[:4])


def test_one_trajectory_a_regime_that_says_something_is_refused() -> None:
    one = np.arange(4)
    read = Read(one, np.array([0.6, 0.8, 1.0, 1.2]), np.array([-1, -0.5, 0.0, 0.5]), np.full(4, 1e-4))
    with pytest.raises(ValueError, match="one trajectory of each regime"):
        _fit_axis(read, 0.9)


def test_what_says_nothing_is_refused(plain: PrefixReadout, sure: PrefixReadout) -> None:
    same = [decay(jax.random.key(i), 1.0, 4) for i in range(4)]
    with pytest.raises(ValueError, match="do not distinguish the regimes"):
        fit_uncertainty(plain, same, [0.5, 1.0, 1.5, 2.0])
    x = decay(jax.random.key(37), 1.3, 1)[0]
    with pytest.raises(ValueError, match="has no fitted uncertainty"):
        plain(x).interval()
    with pytest.raises(ValueError, match="fit_uncertainty"):
        plain(x, prior=Prior(1.0, 0.1))
    with pytest.raises(ValueError, match="deviation above 0"):
        sure(x, prior=Prior(1.0, 0.0))
    with pytest.raises(ValueError, match="between 0 and 1"):
        sure(x).interval(90)
    with pytest.raises(ValueError, match="expected 1 to 4"):
        predict_rollout(sure, x, 5)
    with pytest.raises(ValueError, match="two trajectories or more"):
        fit_uncertainty(plain, [x[None]] * 3, [1.0, 2.0, 3.0])


@pytest.mark.long
def test_a_first_fit_and_estimate_compile_few_programs(plain: PrefixReadout) -> None:
    compiled = [0]

    def count(event: str, *_: Any, **__: Any) -> None:
        compiled[0] += event == COMPILED

    jax.monitoring.register_event_duration_secs_listener(count)
    regimes = [decay(jax.random.key(i), rate, 7, frames=10) for i, rate in enumerate(RATES)]  # shapes of its own
    before = compiled[0]
    readout = fit_uncertainty(plain, regimes, RATES)
    readout(regimes[0][0]).interval()
    assert 0 < compiled[0] - before <= 60


@pytest.mark.long
def test_a_sharp_coordinate_is_read_between_the_points_of_a_coarse_grid() -> None:
    """Of frames that tell the rate to five digits, the value is not that of a point of a fixed grid, or of its tail."""
    anchor, low, high = ({"rate": jnp.array([r])} for r in (1.5, 1.0, 2.0))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
    readout = fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1] * jnp.exp(-0.1 * p["rate"][0])))

    def nearly(rate: float, seed: int) -> jax.Array:
        t = jnp.arange(8.0)[:, None, None]
        bumps = 1e-6 * jax.random.normal(jax.random.key(seed), (6,))
        return jnp.stack([jnp.exp(-0.1 * rate * t + b * t**2) * jnp.ones((8, 4, 1)) for b in bumps])

    rates = [0.8, 1.0, 1.5, 2.0, 2.2]
    sure = fit_uncertainty(readout, [nearly(r, i) for i, r in enumerate(rates)], rates)
    values = np.asarray(sure(nearly(0.9, 9), batch="each").value())[:, 0]
    np.testing.assert_allclose(values, 0.9, atol=1e-3)
    assert len(np.unique(values)) > 1
