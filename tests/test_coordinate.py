from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import (
    Chart,
    Estimate,
    Gated,
    Polynomial,
    coordinate_from_map,
    coordinate_from_metadata,
    fit_chart,
    fit_coordinate_map,
    make_rollout,
)
from ccm_jax.coordinate import PAPER_CLIP
from ccm_jax.prefix import (
    coordinate_from_prefix,
    keep_bounded,
    paper_bank,
    plane_bank,
    prefix_errors,
    refine_readout,
    select,
)

FIELD = 5


def linear_family() -> Chart:
    """A model whose one-step map is a matrix, and whose matrix lies on a line: the coordinate is planted exactly."""
    keys = jax.random.split(jax.random.key(1), 2)
    middle = 0.8 * jnp.eye(FIELD) + 0.05 * jax.random.normal(keys[0], (FIELD, FIELD))
    direction = 0.1 * jax.random.normal(keys[1], (FIELD, FIELD))
    return fit_chart({"m": 1.1 * middle}, [{"m": middle - direction}, {"m": middle + direction}], [-1.0, 1.0])


def apply(params: Any, window: jax.Array) -> jax.Array:
    return jnp.einsum("ij,nxjc->nxic", params["m"], window[:, -1])


rollout_fn = make_rollout(apply)


def observe(chart: Chart, coordinate: float, count: int, frames: int = 5) -> jax.Array:
    start = jax.random.normal(jax.random.key(7), (count, 1, 1, FIELD, 1))
    return jnp.concatenate([start, rollout_fn(chart(coordinate), start, frames - 1)], axis=1)


@pytest.mark.parametrize("planted", [-1.25, 0.0, 0.75, 1.5])
def test_a_planted_coordinate_is_found_from_the_prefix(planted: float) -> None:
    chart = linear_family()
    x = observe(chart, planted, 6)
    one = coordinate_from_prefix(chart, rollout_fn, x[0])
    assert one.coordinate.shape == (1,) and one.candidates.shape == (13, 1) and one.losses.shape == (13,)
    np.testing.assert_allclose(one.coordinate, [planted], atol=1e-6)
    each = coordinate_from_prefix(chart, rollout_fn, x, batch="each")
    assert each.coordinate.shape == (6, 1) and each.losses.shape == (6, 13)
    np.testing.assert_allclose(each.coordinate, planted, atol=1e-6)
    pooled = coordinate_from_prefix(chart, rollout_fn, x, batch="pooled")
    np.testing.assert_allclose(pooled.coordinate, [planted], atol=1e-6)
    np.testing.assert_allclose(pooled.losses, each.losses.mean(axis=0), rtol=1e-5)


def test_each_equals_one_by_one_and_chunks_change_nothing() -> None:
    chart = linear_family()
    x = observe(chart, 0.4, 3)
    each = coordinate_from_prefix(chart, rollout_fn, x, batch="each", chunk=4)
    for i in range(3):
        one = coordinate_from_prefix(chart, rollout_fn, x[i], chunk=1)
        np.testing.assert_allclose(each.losses[i], one.losses, rtol=1e-5)
    mapped = jax.vmap(lambda prefix: coordinate_from_prefix(chart, rollout_fn, prefix))(x)
    np.testing.assert_allclose(mapped.losses, each.losses, rtol=1e-5)


def test_refinement_finds_a_coordinate_between_the_candidates() -> None:
    chart = linear_family()
    readout = coordinate_from_prefix(chart, rollout_fn, observe(chart, 0.4, 8), batch="pooled")
    refined = refine_readout(readout)
    assert abs(float(refined.coordinate[0]) - 0.4) < 0.06 < abs(float(readout.coordinate[0]) - 0.4)


def test_refinement_is_exact_for_a_parabola_and_stays_put_at_the_rim() -> None:
    bank = jnp.linspace(-1, 1, 5)[:, None]
    refined = refine_readout(select(bank, (bank[:, 0] - 0.3) ** 2))
    np.testing.assert_allclose(refined.coordinate, [0.3], atol=1e-6)
    np.testing.assert_allclose(refine_readout(select(bank, bank[:, 0])).coordinate, [-1.0])
    np.testing.assert_allclose(refine_readout(coordinate_from_metadata(2.0, 1.0, 3.0)).coordinate, [0.0])
    beside = jnp.array([1.0, jnp.inf, 0.0, 0.4, 1.0])
    np.testing.assert_allclose(refine_readout(select(bank, beside)).coordinate, [0.0])


def test_a_candidate_that_diverges_is_never_chosen() -> None:
    bank = paper_bank()
    losses = jnp.full(13, jnp.nan).at[4].set(3.0).at[5].set(-jnp.inf)
    assert float(select(bank, losses).coordinate[0]) == float(bank[4, 0])
    nothing = select(bank, jnp.full(13, jnp.nan))
    assert np.isnan(nothing.coordinate[0]) and np.isinf(nothing.losses).all()

    def explode(params: Any, window: jax.Array) -> jax.Array:  # overflows for positive coordinates
        return jnp.where(params["m"][0, 0] > 0, jnp.inf, 1.0) * window[:, -1]

    chart = Chart({"m": jnp.zeros((1, 1))}, {"m": jnp.array([[[0.0]], [[1.0]]])}, Polynomial())
    readout = coordinate_from_prefix(chart, make_rollout(explode), jnp.ones((5, 1, FIELD, 1)))
    assert float(readout.coordinate[0]) <= 0 and np.isinf(np.asarray(readout.losses)[7:]).all()


def test_the_scored_frames_follow_the_window() -> None:
    chart = linear_family()
    x = observe(chart, 0.5, 2, frames=8)
    errors = prefix_errors(chart, rollout_fn, x, jnp.array([[0.5]]), history=3, frames=4)
    assert errors.shape == (1, 2, 4)
    np.testing.assert_allclose(errors, 0.0, atol=1e-5)
    with pytest.raises(ValueError, match=r"prefix has 8 frames .* expected at least 9: 5 for the model's window and 4"):
        coordinate_from_prefix(chart, rollout_fn, x, batch="each", history=5)


def test_one_shape_compiles_once() -> None:
    traces = []

    def counted(params: Any, window: jax.Array) -> jax.Array:
        traces.append(1)
        return apply(params, window)

    chart, fn = linear_family(), make_rollout(counted)
    coordinate_from_prefix(chart, fn, observe(chart, 0.5, 3), batch="each")
    seen = len(traces)
    coordinate_from_prefix(chart, fn, observe(chart, -1.0, 3), batch="each")
    assert len(traces) == seen


@pytest.mark.parametrize("bad", ["short", "empty", "nan"])
def test_a_bad_prefix_is_refused(bad: str) -> None:
    chart = linear_family()
    x = observe(chart, 0.5, 2)
    prefix, message = {
        "short": (x[0, :4], "prefix has 4 frames .* observe more frames"),
        "empty": (x[0, :0], "prefix has 0 frames"),
        "nan": (x[0].at[3].set(jnp.nan), "prefix contains NaN or infinite values, first in frame 3"),
    }[bad]
    with pytest.raises(ValueError, match=message):
        coordinate_from_prefix(chart, rollout_fn, prefix)


def test_bad_candidates_are_refused() -> None:
    chart = linear_family()
    with pytest.raises(ValueError, match=r"candidates have shape \(3, 2\), expected \[n, 1\]"):
        coordinate_from_prefix(chart, rollout_fn, observe(chart, 0.5, 2)[0], jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="batch is 'all'"):
        coordinate_from_prefix(chart, rollout_fn, observe(chart, 0.5, 2), batch="all")  # type: ignore[arg-type]


def test_metadata_linear_and_log_agree_at_the_endpoints() -> None:
    for scale in ("linear", "log"):
        for value, expected in ((1e-3, -1.0), (4e-3, 1.0)):
            readout = coordinate_from_metadata(value, 1e-3, 4e-3, scale=scale)  # type: ignore[arg-type]
            assert isinstance(readout, Estimate) and readout.losses.shape == (0,)
            np.testing.assert_allclose(readout.coordinate, [expected], atol=1e-6)
    middle = coordinate_from_metadata(2e-3, 1e-3, 4e-3, scale="log").coordinate
    np.testing.assert_allclose(middle, [0.0], atol=1e-6)


def test_nothing_is_clipped_unless_asked_for() -> None:
    fitted = fit_coordinate_map([-1.0, 1.0], [-1.0, 1.0], reach=3.0)
    assert float(coordinate_from_metadata(5.0, 1.0, 2.0).coordinate[0]) == 7.0
    assert float(coordinate_from_map(5.0, 1.0, 2.0, fitted).coordinate[0]) == 7.0
    assert float(coordinate_from_metadata(5.0, 1.0, 2.0, clip=PAPER_CLIP).coordinate[0]) == 1.5
    assert float(coordinate_from_map(5.0, 1.0, 2.0, fitted, clip=PAPER_CLIP).coordinate[0]) == 1.5


def test_metadata_can_be_traced() -> None:
    values = jnp.array([1.0, 1.5, 2.0])
    read = jax.jit(jax.vmap(lambda v: coordinate_from_metadata(v, 1.0, 2.0).coordinate))(values)
    np.testing.assert_allclose(read[:, 0], [-1.0, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": 1.0, "low": 2.0, "high": 1.0}, "low is 2.0 and high is 1.0, expected low < high"),
        ({"value": 1.0, "low": 1.0, "high": 1.0}, "expected low < high"),
        ({"value": -1.0, "low": 1.0, "high": 2.0, "scale": "log"}, "a log scale needs positive values"),
        ({"value": float("nan"), "low": 1.0, "high": 2.0}, "expected a finite number"),
        ({"value": 1.0, "low": 1.0, "high": 2.0, "scale": "cubic"}, "'linear' or 'log'"),
    ],
)
def test_bad_metadata_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coordinate_from_metadata(**arguments)


def test_gamma_is_the_least_squares_slope_through_the_origin() -> None:
    s, alpha = np.array([-1.25, -0.25, 0.75]), np.array([-1.6, -0.2, 0.8])
    fitted = fit_coordinate_map(s, alpha)
    np.testing.assert_allclose(float(fitted(1.0)), s @ alpha / (s @ s), rtol=1e-6)
    np.testing.assert_allclose(float(fitted(0.0)), 0.0, atol=1e-6)
    readout = coordinate_from_map(4.0, 1.0, 3.0, fitted)
    np.testing.assert_allclose(readout.coordinate, [2 * s @ alpha / (s @ s)], rtol=1e-6)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_monotone_map_recovers_a_polynomial(degree: int) -> None:
    s = np.linspace(-1.25, 1.25, 9)
    target = 0.1 + 1.2 * s - (0.15 * s**2 if degree > 1 else 0) + (0.1 * s**3 if degree > 2 else 0)
    fitted = fit_coordinate_map(s, target, degree=degree, intercept=True)
    np.testing.assert_allclose(jax.vmap(fitted)(jnp.asarray(s, jnp.float32)), target, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("degree", [2, 3])
def test_a_map_never_falls_even_on_noise(degree: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    s = np.sort(rng.uniform(-1.2, 1.2, 8))
    fitted = fit_coordinate_map(s, rng.normal(size=8), degree=degree, intercept=True, reach=4.0)
    values = np.asarray(fitted(jnp.linspace(-3.0, 3.0, 101)))
    assert np.all(np.diff(values) >= -1e-5)


def test_a_map_asked_out_of_reach_says_so() -> None:
    fitted = fit_coordinate_map([-1.0, 0.0, 1.0], [-1.0, 0.1, 1.5], degree=2, intercept=True, reach=0.5)
    assert float(fitted(2.0)) > float(fitted(1.0))
    with pytest.raises(ValueError, match=r"asked at 2.5, but it was fitted on \[-1, 1\] and reaches 0.5 widths"):
        fitted(2.5)
    assert np.isnan(jax.jit(lambda v: fitted(v))(2.5))


@pytest.mark.parametrize(
    ("s", "alpha", "how", "message"),
    [
        ([1.0], [1.0], {}, "1 distinct values for 1 coordinates"),
        ([1.0, 1.0], [1.0, 2.0], {}, "1 distinct values"),
        ([0.0, 1.0], [1.0, 2.0], {"degree": 2, "intercept": True}, "at least 3 distinct"),
        ([0.0, 1.0], [1.0, float("nan")], {}, "not finite; drop the regimes"),
        ([0.0, 1.0], [1.0, 2.0], {"degree": 2}, "expected degree 1, or 2 or 3 with intercept=True"),
    ],
)
def test_a_map_that_cannot_be_fitted_is_refused(s: Any, alpha: Any, how: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_coordinate_map(s, alpha, **how)


def plane_toy() -> tuple[Chart, Any, jax.Array]:
    """A linear model whose anchor moves frames by 0, its shared part by 1 and its direction by 1 in another entry."""
    anchor = {"w": jnp.zeros(2)}
    experts = [{"w": jnp.array([1.0, -1.0])}, {"w": jnp.array([1.0, 1.0])}]
    chart = fit_chart(anchor, experts, [[-1.0, 1.0], [1.0, 1.0]], features=Gated())
    return chart, make_rollout(lambda params, window: window[:, -1] + params["w"][None, :, None]), anchor["w"]


def plane_truth(weights: list[float], frames: int = 5) -> jax.Array:
    return (jnp.arange(frames)[:, None] * jnp.array(weights)[None, :] + 1.0)[..., None]


def test_a_plane_bank_holds_the_anchor_and_every_gate() -> None:
    bank = plane_bank(jnp.array([-1.0, 0.0, 1.0]), jnp.array([0.5, 1.0]))
    assert bank.tolist() == [[0, 0], [-1, 0.5], [0, 0.5], [1, 0.5], [-1, 1], [0, 1], [1, 1]]


def test_the_prefix_finds_gate_and_coordinate_and_refines_along_its_own_row() -> None:
    chart, rollout_fn, _ = plane_toy()
    bank = plane_bank(jnp.linspace(-2, 2, 9), jnp.array([0.0, 0.5, 1.0]))
    found = coordinate_from_prefix(chart, rollout_fn, plane_truth([0.5, -1.1]), bank)
    assert found.coordinate.tolist() == [-1.0, 0.5]
    refined = refine_readout(found)
    assert refined.coordinate[1] == 0.5 and abs(float(refined.coordinate[0]) + 1.1) < 0.1
    # At the end of a row the next candidate belongs to another gate: nothing moves.
    rim = coordinate_from_prefix(chart, rollout_fn, plane_truth([0.5, 2.3]), bank)
    assert refine_readout(rim).coordinate.tolist() == rim.coordinate.tolist() == [2.0, 0.5]


def test_home_is_left_only_on_evidence() -> None:
    chart, rollout_fn, _ = plane_toy()
    bank = plane_bank(jnp.linspace(-2, 2, 9), jnp.array([0.0, 1.0]))
    home = jnp.zeros(2)
    near, far = plane_truth([0.0, 0.3]), plane_truth([1.0, 2.0])  # 0.5 fits `near` better than 0, by a third
    free = coordinate_from_prefix(chart, rollout_fn, near, bank)
    assert free.coordinate.tolist() == [0.5, 0.0]
    for pull, expected in ((0.2, [0.5, 0.0]), (2.0, [0.0, 0.0])):  # log(3/2) for half a unit
        kept = coordinate_from_prefix(chart, rollout_fn, near, bank, home=home, pull=pull)
        assert kept.coordinate.tolist() == expected
    both = coordinate_from_prefix(chart, rollout_fn, jnp.stack([near, far]), bank, home=home, pull=2.0, batch="each")
    assert both.coordinate.tolist() == [[0.0, 0.0], [2.0, 1.0]]


def test_a_readout_that_stayed_at_home_is_not_refined_away() -> None:
    candidates = jnp.array([[0.0, 0.0], [1.0, 1.0], [1.5, 1.0], [2.0, 1.0]])
    readout = Estimate(jnp.array([0.0, 0.0]), candidates, jnp.array([1.0, 0.9, 0.8, 0.95]))
    assert refine_readout(readout).coordinate.tolist() == [0.0, 0.0]


def test_home_is_left_when_its_rollout_diverges() -> None:
    candidates, losses = jnp.array([[0.0], [1.0]]), jnp.array([jnp.inf, 3.0])
    assert select(candidates, losses, home=[0.0], pull=100.0).coordinate.tolist() == [1.0]
    assert select(candidates, jnp.array([5.0, 3.0]), home=[0.0], pull=100.0).coordinate.tolist() == [0.0]


def test_each_unit_of_distance_asks_for_its_factor() -> None:
    candidates = jnp.array([[0.0], [1.0], [2.0]])
    losses = jnp.array([1.0, 0.8, 0.6])
    for pull in (0.0, 0.15, 0.2, 0.23, 0.25, 0.3):
        score = np.log([1.0, 0.8, 0.6]) + pull * np.arange(3)
        found = select(candidates, losses, home=[0.0], pull=pull)
        assert found.coordinate.tolist() == [float(np.argmin(score))]
        np.testing.assert_array_equal(found.losses, losses)  # the losses stay what was measured


def test_a_home_of_another_size_is_refused() -> None:
    chart, rollout_fn, _ = plane_toy()
    with pytest.raises(ValueError, match=r"select: coordinate has shape \(1,\), expected \(2,\)"):
        coordinate_from_prefix(chart, rollout_fn, plane_truth([0.0, 1.0]), plane_bank([0.0], [1.0]), home=[9.0])


def test_nothing_that_diverged_is_chosen_whatever_the_pull() -> None:
    candidates, losses = jnp.array([[0.0], [1.0], [2.0]]), jnp.array([jnp.nan, 0.5, 0.4])
    for pull in (0.0, 0.1, 1000.0, jnp.inf):
        assert select(candidates, losses, home=[0.0], pull=pull).coordinate[0] in (1.0, 2.0)
    assert select(candidates, jnp.array([0.6, 0.5, 0.4]), home=[0.0], pull=jnp.inf).coordinate.tolist() == [0.0]
    assert bool(jnp.isnan(select(candidates, jnp.full(3, jnp.nan), home=[0.0], pull=1.0).coordinate).all())


def test_a_short_prefix_is_refused_by_the_errors_too() -> None:
    chart, rollout_fn, _ = plane_toy()
    with pytest.raises(
        ValueError, match="prefix has 2 frames, expected at least 5: 1 for the model's window and 4 to score"
    ):
        prefix_errors(chart, rollout_fn, plane_truth([0.0, 1.0])[None, :2], plane_bank([0.0], [1.0]))


def test_a_coordinate_goes_back_toward_home_until_its_rollout_stays_bounded() -> None:
    """A gain of 0.9 + 0.5 c: ten steps grow by less than 3 if c < 0.43, and coordinates go back by fifths."""
    chart = fit_chart({"g": jnp.array(0.9)}, [{"g": jnp.array(0.4)}, {"g": jnp.array(1.4)}], [-1.0, 1.0])
    rollout_fn = make_rollout(lambda p, w: p["g"] * w[:, -1])
    windows = jnp.ones((4, 1, 4, 1))
    how = {"steps": 10, "parts": 5}
    kept = keep_bounded(
        chart, rollout_fn, windows, jnp.array([[1.0], [0.3], [-1.0], [200.0]]), [0.0], jnp.full((4, 1), 3.0), **how
    )
    np.testing.assert_allclose(kept[:, 0], [0.4, 0.3, -1.0, 0.0], atol=1e-6)
    nowhere = keep_bounded(chart, rollout_fn, windows[:1], jnp.array([[1.0]]), [0.0], jnp.full((1, 1), 0.1), **how)
    assert nowhere.tolist() == [[1.0]]
    at_home = keep_bounded(
        chart, rollout_fn, jnp.full((1, 1, 4, 1), jnp.nan), jnp.array([[1.0]]), [0.0], jnp.ones((1, 1)), **how
    )
    assert at_home.tolist() == [[1.0]]  # no rollout of NaN is bounded: nothing is gained by going back
    lost = keep_bounded(
        chart, rollout_fn, jnp.ones((1, 1, 4, 1)), jnp.array([[jnp.nan]]), [0.0], 9 * jnp.ones((1, 1)), **how
    )
    assert lost.tolist() == [[0.0]]  # home, where it is bounded


def test_a_frame_of_zeros_cannot_be_scored_and_says_so() -> None:
    chart = fit_chart({"g": jnp.array(1.0)}, [{"g": jnp.array(0.5)}, {"g": jnp.array(1.5)}], [-1.0, 1.0])
    rollout_fn = make_rollout(lambda params, window: params["g"] * window[:, -1])
    frames = jnp.ones((6, 2, 2, 1)).at[3:].set(0.0)
    with pytest.raises(ValueError, match="frame 3 of the prefix is all zeros, so its relative error"):
        coordinate_from_prefix(chart, rollout_fn, frames)


def test_an_infinite_pull_stays_near_a_home_that_diverges() -> None:
    candidates, losses = jnp.array([[-1.5], [-0.5], [0.0], [0.5]]), jnp.array([3.0, 2.0, jnp.nan, 1.0])
    assert float(select(candidates, losses, home=[0.0], pull=jnp.inf).coordinate[0]) == 0.5
    assert float(select(candidates, losses.at[2].set(9.0), home=[0.0], pull=jnp.inf).coordinate[0]) == 0.0


def test_a_map_has_one_slope_around_its_low_end() -> None:
    fitted = fit_coordinate_map([-1.0, 0.0, 1.0], [-1.0, -0.5, 1.0], degree=2, intercept=True)
    before, at, after = (float(jax.grad(fitted)(s)) for s in (-1.001, -1.0, -0.999))
    assert before == pytest.approx(at, abs=1e-5) and at == pytest.approx(after, abs=2e-3)
