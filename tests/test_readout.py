"""The prefix readout: planted coordinates are found, the anchor is a choice, divergence is none, validation decides."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Chart, Choices, Gated, Polynomial, fit_chart, fit_prefix_readout, fit_scale_readout, make_rollout
from ccm_jax.fit_readout import HARM, Choice, best_choice, choose, prefix_readout
from ccm_jax.minimize import Problem, minimize

FIELD = 5


def matrices(count: int) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(1), count + 1)
    middle = 0.8 * jnp.eye(FIELD) + 0.05 * jax.random.normal(keys[0], (FIELD, FIELD))
    return [middle, *(0.1 * jax.random.normal(key, (FIELD, FIELD)) for key in keys[1:])]


def family(features: Any = None) -> Chart:
    """A model whose one-step map is a matrix on a line through two experts; the anchor lies beside it."""
    middle, direction, aside = matrices(2)
    experts = [{"m": middle - direction}, {"m": middle + direction}]
    return fit_chart({"m": middle + 0.4 * aside}, experts, [-1.0, 1.0], features=features)


def apply(params: Any, window: jax.Array) -> jax.Array:
    return jnp.einsum("ij,nxjc->nxic", params["m"], window[:, -1])


rollout_fn = make_rollout(apply)


def observe(weights: Any, count: int = 4, frames: int = 9, seed: int = 7) -> jax.Array:
    start = jax.random.normal(jax.random.key(seed), (count, 1, 1, FIELD, 1))
    return jnp.concatenate([start, rollout_fn(weights, start, frames - 1)], axis=1)


@pytest.mark.parametrize("planted", [-2.1, -0.37, 0.0, 1.42])
def test_a_planted_coordinate_is_found_between_candidates_in_a_third_of_the_rollouts_of_a_bank(planted: float) -> None:
    chart = family()
    readout, x = fit_prefix_readout(chart, rollout_fn), observe(chart(planted))
    each = readout(x, batch="each")
    np.testing.assert_allclose(each.coordinate, planted, atol=2e-3)
    assert each.rollouts is not None and each.rollouts.mean() <= 65 / 3
    one, pooled = readout(x[1]), readout(x, batch="pooled")
    np.testing.assert_allclose(one.coordinate, each.coordinate[1], atol=1e-6)
    np.testing.assert_allclose(pooled.coordinate, [planted], atol=2e-3)
    assert one.loss < 1e-3 < one.anchor_loss and one.persistence_loss > 0.1


def test_gate_and_several_axes_are_searched_together() -> None:
    gated = family(Gated())
    readout = fit_prefix_readout(gated, rollout_fn, choices=Choices(free_gate=(True,)))
    found = readout(observe(gated([0.6, 0.7]))[0])
    np.testing.assert_allclose(found.coordinate, [0.6, 0.7], atol=5e-3)
    middle, *axes = matrices(3)
    experts, coordinates = [], []
    for i, axis in enumerate(axes):
        for sign in (-1.0, 1.0):
            experts.append({"m": middle + sign * axis})
            coordinates.append([sign if j == i else 0.0 for j in range(3)])
    chart = fit_chart({"m": middle}, experts, coordinates, features=Polynomial(dim=3))
    found = fit_prefix_readout(chart, rollout_fn)(observe(chart([0.4, -0.7, 1.2]))[0])
    np.testing.assert_allclose(found.coordinate, [0.4, -0.7, 1.2], atol=5e-3)


def test_the_anchor_is_kept_where_it_fits_best_and_left_only_on_evidence() -> None:
    chart = family(Gated())
    readout = fit_prefix_readout(chart, rollout_fn)
    kept = readout(observe(chart.origin)[0])
    assert kept.coordinate.tolist() == [0.0, 0.0] and kept.loss == kept.anchor_loss
    np.testing.assert_array_equal(chart(kept.coordinate)["m"], chart.origin["m"])
    left = readout(observe(chart(1.3))[0])
    np.testing.assert_allclose(left.coordinate, [1.3, 1.0], atol=2e-3)
    noisy = observe(chart(1.3))[0] + 0.3 * jax.random.normal(jax.random.key(3), (9, 1, FIELD, 1))
    stays = dataclasses.replace(readout, pull=jnp.float32(1e9))(noisy)
    assert stays.coordinate.tolist() == [0.0, 0.0]


@pytest.mark.long
def test_what_diverges_is_never_chosen() -> None:
    def explosive(params: Any, window: jax.Array) -> jax.Array:
        frame = apply(params, window)
        return jnp.where(params["m"][0, 0] > matrices(1)[0][0, 0], jnp.inf, 1.0) * frame

    chart = family()
    upward = float(chart(1.0)["m"][0, 0] - chart(0.0)["m"][0, 0]) > 0
    readout = fit_prefix_readout(chart, make_rollout(explosive))
    found = readout(observe(chart(2.0 if upward else -2.0))[0])
    assert np.isfinite(found.loss) and found.coordinate[0] * (1 if upward else -1) <= 1e-6
    broken = fit_prefix_readout(chart, make_rollout(lambda p, w: jnp.nan * apply(p, w)))
    with pytest.warns(UserWarning, match="every rollout of the network diverges, so the coordinate is NaN"):
        nothing = broken(observe(chart(0.5))[0])
    assert np.isnan(nothing.coordinate).all() and np.isinf(nothing.anchor_loss)


def test_a_coordinate_at_the_end_of_what_is_searched_is_remarked_on() -> None:
    chart = family()
    readout = fit_prefix_readout(chart, rollout_fn)
    both = jnp.concatenate([observe(chart(0.3), count=1), observe(chart(3.5), count=1)])
    with pytest.warns(
        UserWarning, match=r"the coordinate of trajectory 1 is at the edge of the search range, \[-2.5\]"
    ):
        assert readout(both, batch="each").coordinate[1] == pytest.approx(2.5)
    assert fit_prefix_readout(chart, rollout_fn, reach=4.0)(both, batch="each").coordinate[1] == pytest.approx(
        3.5, abs=0.01
    )


def test_validation_decides_which_frames_count_and_bounds_what_grows() -> None:
    chart = family(Gated())
    regimes = [observe(chart(c), seed=i) for i, c in enumerate((-1.2, 0.2, 1.1))]
    # A transient that the model does not know: the first observed frames lie.
    broken = [x.at[:, 1:3].add(0.5 * jnp.roll(x[:, 1:3], 1, axis=0)) for x in regimes]
    fitted = choose([prefix_readout(chart, rollout_fn)], broken, choices=Choices(begin=(0, 3), pull=(0.0,)))
    best = min(fitted.tried, key=lambda t: np.mean(t.error_over_anchor))
    assert fitted.readout.begin == best.begin == 3  # from after the transient
    assert fitted.readout.weights.tolist() == [1.0] and fitted.readout.frames == 4
    assert fitted.readout.growth == pytest.approx(2.0, rel=0.5) and fitted.readout.horizon == 4
    tight = dataclasses.replace(fitted.readout, growth=jnp.float32(1e-3))
    assert tight(regimes[2][0]).coordinate.tolist() == fitted.readout(regimes[2][0]).coordinate.tolist()  # none bounded


def test_the_simplest_of_the_best_harmless_choices_is_taken() -> None:
    line, plane = Choice(False, 0, 0, 0.0), Choice(True, 0, 0, 0.0)
    assert best_choice({line: [0.5, 1.2], plane: [0.9, 0.9]}) == plane  # the line harms
    assert best_choice({line: [0.5, 0.5], plane: [0.499, 0.5]}) == line  # tied
    assert best_choice({line: [0.5, 0.5], plane: [0.4, 0.5]}) == plane
    pulled = line._replace(pull=0.1)
    assert best_choice({line: [0.5, 1.3], pulled: [0.6, 1.0 + HARM / 2]}) == pulled
    assert best_choice({line: [0.5, 1.3], pulled: [0.6, 1.1]}) == pulled  # the least harm
    assert best_choice({line: [0.5, float("inf")], pulled: [0.6, 0.0]}) == pulled


@pytest.mark.long
def test_models_take_static_fields_the_parameter_and_the_time() -> None:
    def forced(params: Any, window: Any, steps: int, context: Any, start: int) -> jax.Array:
        def body(frame: jax.Array, k: jax.Array) -> tuple[jax.Array, jax.Array]:
            frame = apply(params, frame[:, None]) + context["force"] * jnp.cos(start + k)
            return frame, frame

        _, frames = jax.lax.scan(body, window[:, -1], jnp.arange(steps))
        return jnp.moveaxis(frames, 0, 1)

    chart = family(Gated())
    start = jax.random.normal(jax.random.key(2), (3, 1, 1, FIELD, 1))
    force = {"force": jax.random.normal(jax.random.key(4), (3, 1, FIELD, 1))}
    x = jnp.concatenate([start, forced(chart(0.8), start, 9, force, 1)], axis=1)
    choices = Choices(free_gate=(False,), begin=(0,))
    readout = fit_prefix_readout(chart, forced, [x], contexts=[force], choices=choices)
    each = readout(x, batch="each", context=force)
    np.testing.assert_allclose(each.coordinate[:, 0], 0.8, atol=2e-3)
    scale = fit_scale_readout(chart, forced, [x, x], [0.7, 0.9], low=-1.0, high=1.0, contexts=[force, force])
    assert scale.fit is not None
    np.testing.assert_allclose(scale.fit.best, 0.8, atol=0.06)
    one = readout(x[1], context={"force": force["force"][1]})
    np.testing.assert_allclose(one.coordinate, each.coordinate[1], atol=1e-6)


def test_a_readout_is_a_pytree_that_jits_and_vmaps() -> None:
    chart = family()
    readout, x = fit_prefix_readout(chart, rollout_fn), observe(chart(0.9))
    jitted = jax.jit(lambda readout, x: readout(x).coordinate)
    np.testing.assert_allclose(jitted(readout, x[0]), [0.9], atol=2e-3)
    np.testing.assert_allclose(jax.vmap(lambda one: readout(one).coordinate)(x), 0.9 * jnp.ones((4, 1)), atol=2e-3)


def test_a_search_that_overshoots_comes_back() -> None:
    def residuals(c: jax.Array) -> jax.Array:  # arctan: Newton from afar diverges without a trust region
        return jnp.stack([jnp.arctan(5 * (c - 0.5)) + 0.01])

    zero = jnp.zeros(1)
    problem = Problem(residuals, jnp.ones(1), (0,), zero - 3, zero + 3, zero)
    found = minimize(problem, jnp.array([2.5]), 2.0, steps=20)
    np.testing.assert_allclose(found.coordinate, [0.5], atol=1e-2)
    inactive = minimize(problem, jnp.array([2.5]), 2.0, active=False)
    assert np.isinf(inactive.score) and inactive.evaluations == 0


def test_scale_finds_the_map_from_values_to_coordinates() -> None:
    chart = family(Gated())
    values = [0.8, 1.3, 1.7, 2.2]
    true = [1.3 * (2 * v - 3) for v in values]  # gamma = 1.3, ends at 1 and 2
    readout = fit_scale_readout(chart, rollout_fn, [observe(chart(c)) for c in true], values, low=1.0, high=2.0)
    assert readout.fit is not None and readout.fit.kind in ("gamma", "line")
    np.testing.assert_allclose(readout(1.9).coordinate, [1.3 * 0.8], atol=0.03)
    np.testing.assert_allclose(chart(readout(1.9).coordinate)["m"], chart(1.04)["m"], atol=0.01)


def test_the_scale_that_predicts_left_out_regimes_better_is_named_and_can_be_taken() -> None:
    chart, values = family(Gated()), [0.005, 0.02, 0.1, 0.5, 2.0]
    regimes = [observe(chart(jnp.log10(v) + 1)) for v in values]  # -1 at 0.01, +1 at 1, straight in the logarithm
    ends: dict[str, Any] = {"low": 0.01, "high": 1.0}
    with pytest.warns(
        UserWarning, match=r'^fit_scale_readout: .*scale="log" \(error 0\.0\d+\) than .* \(error [0-9.]+\)'
    ):
        default = fit_scale_readout(chart, rollout_fn, regimes, values, **ends)
    assert default.fit is not None and dict(default.fit.scales)["log"] < 0.1 * dict(default.fit.scales)["linear"]
    chosen = fit_scale_readout(chart, rollout_fn, regimes, values, scale="auto", **ends)
    given = fit_scale_readout(chart, rollout_fn, regimes, values, scale="log", **ends)
    told = fit_scale_readout(chart, rollout_fn, regimes, values, scale="linear", **ends)  # without a warning
    assert (default.scale, chosen.scale, given.scale, told.scale) == ("linear", "log", "log", "linear")
    assert float(default(3.0).coordinate[0]) == float(told(3.0).coordinate[0])
    assert float(chosen(3.0).coordinate[0]) == float(given(3.0).coordinate[0])
    np.testing.assert_allclose(chosen(3.0).coordinate, [np.log10(3.0) + 1], atol=0.05)
    np.testing.assert_allclose(chosen.known, (0.005, 2.0), rtol=1e-3)
    assert not chosen.beyond(0.005) and not chosen.beyond(2.0) and chosen.beyond(2.1) and chosen.beyond(0.004)
    assert "log scale" in repr(chosen) and "validation from 0.005 to 2" in repr(chosen)
    signed = fit_scale_readout(chart, rollout_fn, regimes[:2], [-1.0, 1.0], scale="auto", low=-2.0, high=2.0)
    assert signed.scale == "linear"  # a value below 0 has no logarithm
    with pytest.raises(ValueError, match="^fit_scale_readout: scale is 'Log', expected 'linear', 'log' or 'auto'"):
        fit_scale_readout(chart, rollout_fn, regimes, values, scale="Log", **ends)  # type: ignore[arg-type]


nothing = make_rollout(lambda params, window: jnp.nan * apply(params, window))


def test_double_precision_and_whole_numbers_are_read(x64: None) -> None:
    chart = family(Gated())
    frames = np.asarray(observe(chart(0.8)), np.float64)[0]
    np.testing.assert_allclose(fit_prefix_readout(chart, rollout_fn)(frames).coordinate[0], 0.8, atol=2e-3)
    found = fit_prefix_readout(chart, rollout_fn)(np.round(100 * frames).astype(int))
    np.testing.assert_allclose(found.coordinate[0], 0.8, atol=0.2)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"free_gate": (True,)}, "the chart has no gate"),
        ({"plain": True, "choices": {"pull": (0.1,)}}, "pull is 0.1, but the chart has no gate"),
        ({"short": True}, "a future to be judged on"),
        ({"channels": True}, "frames that the model takes"),
        ({"mixed": True}, "use the same frames"),
        ({"nan": True}, "NaN or infinite"),
        ({"empty": True}, "validation is empty"),
        ({"choices": {"begin": (4,)}}, "leave none of the 4 frames"),
        ({"choices": {"pull": (-1.0,)}}, "at least 0"),
        ({"choices": {"pull": ()}}, "one pull or more"),
        ({"how": {"reach": -1.0}}, "reach is -1.0, expected a number above 0"),
        ({"how": {"frames": 2.5}}, "frames is 2.5, expected a whole number"),
        ({"how": {"contexts": [None, None]}}, "got 2 contexts for 1 regime; expected one per regime"),
        ({"diverges": True}, "every choice diverges"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    chart, x = family(None if {"free_gate", "plain"} & set(change) else Gated()), observe(family()(0.5))
    validation: list[Any] = [x]
    if "short" in change:
        validation = [x[:, :5]]
    if "channels" in change:
        validation = [jnp.ones((2, 9, 1, FIELD + 1, 1))]
    if "mixed" in change:
        validation = [x, x[:, :8]]
    if "nan" in change:
        validation = [x.at[0, 7].set(jnp.nan)]
    if "empty" in change:
        validation = []
    with pytest.raises(ValueError, match="fit_prefix_readout") as error:
        model = nothing if "diverges" in change else rollout_fn
        choices = Choices(free_gate=change.get("free_gate", (False,)), **change.get("choices", {}))
        fit_prefix_readout(chart, model, validation, choices=choices, **change.get("how", {}))
    assert message in str(error.value)
    with pytest.raises(ValueError, match="observe more frames"):
        fit_prefix_readout(family(), rollout_fn)(observe(family()(0.5))[0, :3])


def test_one_array_is_taken_for_what_alone_the_network_takes() -> None:
    chart = fit_chart({"a": jnp.ones(1)}, [{"a": jnp.zeros(1)}, {"a": 2 * jnp.ones(1)}], [-1.0, 1.0])

    def apply(params: Any, window: jax.Array) -> jax.Array:
        samples, _, points, channels = window.shape  # a network of one space axis
        return params["a"][0] * window[:, -1].reshape(samples, points, channels)

    x = np.cumsum(np.ones((2, 3, 8, 4, 1), np.float32), axis=2)  # of two regimes
    for given, listed in ((x[0, 0], [x[0, :1]]), (x[0], [x[0]]), (x, list(x))):
        one, expected = (fit_prefix_readout(chart, make_rollout(apply), v) for v in (given, listed))
        assert one.error_over_anchor is not None and len(one.error_over_anchor) == len(listed)
        np.testing.assert_array_equal(one.error_over_anchor, expected.error_over_anchor)
    with pytest.raises(ValueError, match=r"\[3, 4, 4, 1\], expected a list.*; pass \[x\] for one regime, list\(x\)"):
        fit_prefix_readout(chart, make_rollout(apply), x[0, :, :4])  # too short for whatever it is


def test_validation_that_is_no_list_of_arrays_is_one_line() -> None:
    chart = fit_chart({"a": jnp.ones(1)}, [{"a": jnp.zeros(1)}, {"a": 2 * jnp.ones(1)}], [-1.0, 1.0])
    run, x = make_rollout(lambda params, window: params["a"][0] * window[:, -1]), np.ones((2, 8, 4, 1), np.float32)
    with pytest.raises(ValueError, match="validation is a mapping"):
        fit_prefix_readout(chart, run, {-1.0: x, 1.0: x})  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"validation is one array \[6, 8, 8, 1\], expected a list.*pass \[x\] for one"
    ):
        fit_prefix_readout(chart, run, np.ones((6, 8, 8, 1), np.float32))  # 6 or 8 frames: the network takes both
    with pytest.raises(ValueError, match=r"fit_prefix_readout: frames of validation\[0\] are a tuple, expected"):
        fit_prefix_readout(chart, run, [(-1.0, x), (1.0, x)])
