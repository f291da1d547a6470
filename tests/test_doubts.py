"""What looks wrong is said in one line, at the user's call; what is meant passes without a word."""

import dataclasses
import re
import warnings
from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ccm_jax
from ccm_jax import (
    Choices,
    Gated,
    coordinate_from_metadata,
    fit_chart,
    fit_prefix_readout,
    fit_scale_readout,
    fit_uncertainty,
    make_rollout,
    merge_pytree,
    split_residuals,
    starting_at,
)
from ccm_jax._doubts import BEYOND, TELLING, distances
from ccm_jax._given import _warn_persistence, warn_of_estimate
from ccm_jax.evaluate import future_error, future_error_each, future_error_sweep
from ccm_jax.fit_readout import prefix_readout

DECAY = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rate"][0]))
CHART = fit_chart({"rate": jnp.array([-1.0])}, [{"rate": jnp.array([r])} for r in (-1.5, -0.5)], [-1.0, 1.0])


def normal(key: int, size: int = TELLING) -> dict[str, jax.Array]:
    return {"w": jax.random.normal(jax.random.key(key), (size,))}


def flows(rate: float, noise: float = 1e-3, seed: int = 0) -> jax.Array:
    """Three trajectories ``[3, 9, 8, 1]`` that decay at a rate, as observed with noise."""
    clean = jnp.exp(0.1 * rate * jnp.arange(9.0))[None, :, None, None] * jnp.ones((3, 9, 8, 1))
    return clean + noise * jax.random.normal(jax.random.key(seed), clean.shape)


def test_a_value_of_another_unit_is_noticed() -> None:
    with pytest.warns(UserWarning, match=r"value 2500 is at coordinate \+4997, far outside the experts' range 1 to 2"):
        coordinate_from_metadata(2500, 1, 2)
    with pytest.warns(UserWarning, match="Chart: coordinate is .250.0., and experts are at -1") as caught:
        CHART(250.0)
    assert caught[0].filename == __file__


def test_what_may_be_meant_is_not_remarked_on() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for c in (-6.0, 0.0, 6.0, BEYOND):
            CHART(c)
            coordinate_from_metadata(1.5 + c / 2, 1.0, 2.0)
        jax.vmap(CHART)(jnp.array([[250.0]]))
        jax.jit(CHART.__call__)(250.0)
        jax.jit(lambda value: coordinate_from_metadata(value, 1.0, 2.0).coordinate)(2500.0)
        fit_chart({"w": jnp.ones(1)}, [{"w": jnp.zeros(1)}, {"w": jnp.full(1, 2.0)}], [-1.0, 1.0], warp=lambda c: c)(
            99.0
        )


def test_experts_of_another_anchor_are_noticed_wherever_a_chart_is_fitted() -> None:
    anchor, strangers = normal(0), [normal(1), normal(2)]
    tuned = [jax.tree.map(lambda a, b: a + 0.3 * b, anchor, other) for other in strangers]
    said = r"experts\[\d\] differs from the anchor by 1\.\d+ times .* as if it had been trained independently"
    with pytest.warns(UserWarning, match=f"^fit_chart: {said}") as caught:
        fit_chart(anchor, strangers, [-1.0, 1.0])
    with pytest.warns(UserWarning, match=said) as deeper:
        split_residuals(anchor, *strangers)
    assert {one.filename for one in (*caught, *deeper)} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_chart(anchor, tuned, [-1.0, 1.0])
        fit_chart(normal(0, 9), [normal(1, 9), normal(2, 9)], [-1.0, 1.0])  # too few numbers to tell
        jax.jit(lambda a, e: fit_chart(a, e, [-1.0, 1.0]).basis)(anchor, strangers)


def test_distances_are_in_norms_of_the_anchor_and_unknown_of_none() -> None:
    a, b = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert distances([(a, b, a)]).tolist() == [0.1, 0.0]
    assert np.isnan(distances([(0 * a, b)])).all() and distances([(0 * a, 0 * a)]).tolist() == [0.0]


def test_what_a_readout_gains_on_validation_is_told_and_nothing_gained_is_warned_of() -> None:
    readout = fit_prefix_readout(CHART, DECAY, [flows(r) for r in (-1.4, -1.0, -0.6)], choices=Choices(begin=(3,)))
    gains = np.asarray(readout.error_over_anchor)
    assert gains.shape == (3,) and gains[0] < 0.2 and gains[2] < 0.2
    assert re.search(r"future error 0\.\d+ times the anchor's", repr(readout))
    stripes = jnp.array([1.0, -1.0] * 4)[None, :, None]  # what no flow has
    useless = fit_chart({"b": 0 * stripes}, [{"b": -stripes}, {"b": stripes}], [-1.0, 1.0])
    striped = make_rollout(lambda params, window: 0.9 * window[:, -1] + params["b"])
    with pytest.warns(UserWarning, match="on no validation regime is a merge better than the anchor"):
        fit_prefix_readout(useless, striped, [flows(-1.4, noise=0.0)], choices=Choices(begin=(3,)))


def test_frames_that_fit_much_worse_than_validation_are_noticed() -> None:
    readout = fit_prefix_readout(CHART, DECAY, [flows(r) for r in (-1.4, -1.0, -0.6)], choices=Choices(begin=(3,)))
    assert readout.worst is not None and 1e-4 < float(readout.worst) < 1e-2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rate in (-1.9, -1.4, -1.2, -0.2):
            readout(flows(rate, seed=1)[:, :5], batch="each")
    with pytest.warns(UserWarning, match="the error on these frames is 0.*, and on those of validation at most 0.00"):
        readout(flows(-1.2, noise=0.1)[0, :5])
    assert all(one.worst is None for one in starting_at(readout, (0, 1)))


def test_frames_in_another_unit_are_told_so_and_nothing_else() -> None:
    readout = fit_prefix_readout(CHART, DECAY, [flows(r) for r in (-1.4, -1.0, -0.6)])
    for factor, said in ((1000.0, "times larger"), (1e-3, "times smaller")):
        with pytest.warns(
            UserWarning, match=f"^PrefixReadout: the frames are about .* {said} than those of valid"
        ) as all_:
            readout(factor * flows(-1.2, seed=1)[0, :5])
        assert len(all_) == 1


def test_frames_with_another_number_of_axes_than_those_of_validation_are_refused() -> None:
    readout = fit_prefix_readout(CHART, DECAY, [flows(r) for r in (-1.4, -1.0, -0.6)])  # a network of any shape
    for given in (flows(-1.2)[0][:, None], flows(-1.2)[0, :, :, 0]):
        with pytest.raises(ValueError, match=r"^PrefixReadout: frames have shape .* trajectory \[T, 8, 1\] as in"):
            readout(given)


def test_a_gate_at_the_end_of_what_is_searched_is_noticed() -> None:
    anchor, low, high, true = ({"rate": jnp.array(r)} for r in ([-1.0, -1], [-1.2, -1.5], [-1.2, -0.5], [-1.8, -0.9]))
    rollout_fn = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rate"][None, None]))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
    seen = jnp.concatenate([jnp.ones((1, 1, 8, 2)), rollout_fn(true, jnp.ones((1, 1, 8, 2)), 4)], axis=1)
    readout = prefix_readout(chart, rollout_fn, free_gate=True)
    with pytest.warns(
        UserWarning, match="^PrefixReadout: the gate is 2, the edge of the search range: the gate is a factor on the ex"
    ):
        found = readout(seen[0])
    assert float(found.coordinate[1]) == pytest.approx(2.0)


def test_regimes_beyond_the_search_range_have_no_coordinates_to_be_told_apart_by() -> None:
    rates = [-2.8, -2.5, -1.0]
    said = r"found in 3 regimes are only 2 different ones \(-2.50, .*\), expected 3 or more: coordinates beyond"
    with pytest.warns(UserWarning, match="at the edge of the search range"), pytest.raises(ValueError, match=said):
        fit_uncertainty(prefix_readout(CHART, DECAY), [flows(r, seed=9) for r in rates], rates)


def test_doubts_about_validation_are_said_once_for_all_regimes_and_say_that_they_are_about_it() -> None:
    """Two of three regimes decay faster than any merge of the search range."""
    rates = [-2.8, -2.5, -1.2, -0.8]
    with pytest.warns(UserWarning) as caught:
        sure = fit_uncertainty(prefix_readout(CHART, DECAY), [flows(r, seed=9) for r in rates], rates)
    assert sure.uncertainty is not None  # though without a regime between them, coordinates of two are equal
    said = [str(one.message) for one in caught]
    assert not any(line.startswith("PrefixReadout") for line in said), said
    ends = [line for line in said if "at the edge of the search range" in line]
    assert len(ends) == 1 and ends[0].startswith("fit_uncertainty: on validation: the coordinate of 6 of 12 "), said


def test_the_error_beside_persistence_is_that_of_the_estimate() -> None:
    odd = flows(-1.2)[0, :5] * jnp.where(jnp.arange(5) % 2, -1.0, 1.0)[:, None, None]  # no network flips signs
    with pytest.warns(UserWarning) as caught:
        found = prefix_readout(CHART, DECAY)(odd)
    said = next(str(one.message) for one in caught if "no more than the best network" in str(one.message))
    assert f"({float(min(found.loss, found.anchor_loss)):.3g})" in said


def test_what_is_no_model_is_refused_before_its_first_call() -> None:
    class Network:
        def init(self) -> None: ...

        def apply(self, params: Any, window: Any) -> Any:
            return window[:, -1]

    class Holder:
        def __call__(self, window: Any) -> Any:
            return window[:, -1]

    for given, said in (
        (Network, "the class Network, .*; instantiate it first"),
        (Network(), r"a Network, expected a function \(params, window\) -> frame; pass its .apply"),
        (Holder(), r"a Holder that takes \(window: Any\)|a Holder that takes \(window: 'Any'\)"),
        (lambda params, window, time: window, r"a function that takes \(params, window, time\), .*with a context"),
    ):
        with pytest.raises(ValueError, match=f"^make_rollout: apply is {said}"):
            make_rollout(given)  # type: ignore[arg-type]
    make_rollout(jax.jit(Network().apply))
    inner = make_rollout(lambda variables, window: window[:, -1] * variables["params"]["w"][0])
    with pytest.raises(ValueError, match='params lack the level "params", as of Flax; pass the whole tree of init'):
        inner({"w": jnp.ones(1)}, jnp.ones((1, 1, 8, 1)), 2)


def test_a_grid_that_misses_peaks_is_noticed() -> None:
    rates = [-1.6, -1.0, -0.4]
    readout = fit_prefix_readout(CHART, DECAY)
    regimes = [flows(r, noise=1e-6, seed=i) for i, r in enumerate(rates)]
    with pytest.warns(
        UserWarning, match=r"fit_uncertainty: the grid of 8193 values is too coarse: .* moves by [\d,]+ of"
    ):
        fit_uncertainty(readout, regimes, rates, reach=1000.0)


def test_an_estimate_prints_its_value_and_whether_that_is_extrapolated() -> None:
    rates = [-1.6, -1.0, -0.4]
    readout = fit_uncertainty(fit_prefix_readout(CHART, DECAY), [flows(r, seed=9) for r in rates], rates)
    for rate, outside in ((-1.2, False), (-1.9, True)):
        found = readout(flows(rate, seed=1)[0, :5])
        assert found.posterior is not None and found.posterior.beyond().tolist() == [outside]
        np.testing.assert_allclose(found.posterior.known, [[-1.6, -0.4]], rtol=1e-5)
        assert f"value()=[{float(found.value()[0]):.4g}]" in repr(found)
        assert f"beyond()=[{outside}]" in repr(found)
    assert " at 0x" not in repr(readout) and len(repr(readout)) < 1000


def test_validation_of_another_unit_and_channels_elsewhere_are_noticed() -> None:
    regimes = [flows(rate) for rate in (-1.4, -1.0, -0.6)]
    with pytest.warns(UserWarning, match=r"frames of validation\[1\] are about 9.. times larger than those of all"):
        fit_prefix_readout(CHART, DECAY, [regimes[0], 1e3 * regimes[1], regimes[2]])
    readout = fit_prefix_readout(CHART, DECAY, regimes)
    with pytest.raises(ValueError, match=r"^PrefixReadout: frames have 8 channels \(shape \[5, 1, 8\]\), and"):
        readout(np.moveaxis(regimes[0][0, :5], -1, 1))


def test_a_poor_fit_is_told_where_there_is_no_validation() -> None:
    error = dict(zip(("loss", "anchor_loss", "persistence_loss"), jnp.array([[0.6], [0.7], [0.9]]), strict=True))
    found = ccm_jax.Estimate(jnp.zeros((1, 1)), jnp.zeros((1, 1, 1)), jnp.full((1, 1), 0.65), **error)
    with pytest.warns(UserWarning, match=r"error on these frames is 67% of that of repeating the last frame \(0.6 and"):
        assert not _warn_persistence("PrefixReadout", found, validated=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not _warn_persistence("PrefixReadout", found, validated=True)


def test_estimates_of_a_batch_print_their_ranges() -> None:
    readout = fit_prefix_readout(CHART, DECAY)
    x = np.concatenate([flows(rate) for rate in (-1.4, -1.0, -0.6)] * 3)
    said = repr(readout(x[:, :5], batch="each"))
    assert said.startswith(f"Estimate(trajectories={len(x)}, ") and "coordinate=[-" in said and " to " in said
    assert "float32[" not in said


def test_values_in_another_order_than_validation_are_noticed() -> None:
    rates = [-1.6, -1.3, -1.0, -0.7, -0.4]
    regimes = [flows(r, seed=i) for i, r in enumerate(rates)]
    with pytest.warns(UserWarning, match=r"rises and falls with the value on axis 0 \(\+0.60 at -1.6, -1.20 at -1.3"):
        fit_uncertainty(fit_prefix_readout(CHART, DECAY), regimes, [-1.3, -1.0, -0.4, -1.6, -0.7])


def test_a_value_of_which_frames_say_nothing_is_no_value() -> None:
    gated = dataclasses.replace(CHART, features=Gated())
    rates = [-1.6, -1.3, -0.7, -0.4]
    sure = fit_uncertainty(fit_prefix_readout(gated, DECAY), [flows(r, seed=9) for r in rates], rates)
    kept = dataclasses.replace(sure, pull=jnp.float32(9.0))(flows(-1.02)[0])
    assert bool(kept.keeps_anchor) and "posterior.flat()=[True]" in repr(kept)
    with pytest.warns(UserWarning, match="Estimate.value: the frames do not constrain the value on axis 0"):
        kept.value()


def test_ends_where_the_anchor_is_kept_are_told() -> None:
    """A network that does not decay faster than -0.7 has no better merge for what decays slower."""
    gated = dataclasses.replace(CHART, features=Gated())
    limited = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * jnp.minimum(params["rate"][0], -1.0)))
    readout = dataclasses.replace(fit_prefix_readout(gated, limited), pull=jnp.float32(0.1))
    rates = [-1.6, -1.5, -1.3, -0.6]
    with pytest.warns(UserWarning, match=r"keeps the anchor on all of 1 validation regime \(values -0.6\)"):
        sure = fit_uncertainty(readout, [flows(r, seed=9) for r in rates], rates)
    assert sure.uncertainty is not None
    np.testing.assert_allclose(sure.uncertainty.known(), [[-1.6, -1.3]], rtol=1e-5)


def test_intervals_that_no_regime_checks_are_said() -> None:
    readout, inside, beyond = fit_prefix_readout(CHART, DECAY), [-1.4, -1.0, -0.6], [-1.6, -1.0, -0.4]
    with pytest.warns(UserWarning, match=r"^fit_uncertainty: the coordinates found on validation, -0\.[78]"):
        unchecked = fit_uncertainty(readout, [flows(r, seed=9) for r in inside], inside)
    checked = fit_uncertainty(readout, [flows(r, seed=9) for r in beyond], beyond)  # without a warning
    far = flows(-1.7, seed=1)[0, :5]
    with pytest.warns(
        UserWarning, match="^Estimate.interval: the value lies outside .* none of them lies beyond the exp"
    ):
        unchecked(far).interval()
    checked(far).interval()
    unchecked(flows(-1.2, seed=1)[0, :5]).interval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for seed in range(3):  # other numbers, the same words
            unchecked(flows(-1.7, seed=seed)[0, :5]).interval()
    assert len(caught) == 1 and caught[0].filename == __file__
    assert "beyond()=[True]" in repr(unchecked(far)).split("\n")[0]


def test_another_time_step_is_named_where_a_fit_is_doubtful() -> None:
    readout = fit_prefix_readout(CHART, DECAY)
    fast = flows(-1.9375, noise=1e-5)  # every other frame decays twice as fast, beyond all that is searched
    with pytest.warns(
        UserWarning, match=r"is at the edge .* further\); 2 steps of the network per frame fit better .*\?$"
    ):
        readout(fast[0, ::2])
    with pytest.warns(UserWarning, match=r"^fit_prefix_readout: the coordinates of validation\[1\] are .*; 2 steps of"):
        fit_prefix_readout(CHART, DECAY, [flows(-1.0), flows(-3.875, noise=1e-5)])


@pytest.mark.long
def test_reverse_mode_is_told_to_take_forward_mode() -> None:
    readout = fit_prefix_readout(CHART, DECAY)

    def coordinate(rate: Any) -> Any:
        return readout(jnp.exp(0.1 * rate * jnp.arange(5.0))[:, None, None] * jnp.ones((5, 8, 1))).coordinate[0]

    for reverse in (jax.grad(coordinate), jax.jit(jax.grad(coordinate)), jax.jacrev(coordinate)):
        with pytest.raises(
            ValueError, match="^PrefixReadout: its coordinate has .* take jax.jacfwd or jax.jvp instead"
        ):
            reverse(-0.8)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(coordinate))(-0.8), 2.0, rtol=1e-2)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(coordinate))(jnp.array([-0.8, -1.2])), 2.0, rtol=1e-2)
    assert np.isfinite(jax.jacfwd(jax.jacfwd(coordinate))(-0.8))
    # Here the search starts at the anchor, where the distance from it has no derivative.
    np.testing.assert_allclose(jax.jacfwd(coordinate)(-1.1), 2.0, rtol=1e-2)


def test_experts_given_as_a_list_are_told_how_to_give_them() -> None:
    anchor, low, high = ({"w": jnp.full(2, x)} for x in (0.0, -1.0, 1.0))
    merge: Any = merge_pytree
    with pytest.raises(ValueError, match=r"^merge_pytree: low is a list of 2 trees, .*pass \*\[low, high\], or .*fit_"):
        merge(anchor, [low, high], 0.5)
    with pytest.raises(TypeError, match="coordinate"):
        merge(anchor, low, high)


def test_weights_print_by_size() -> None:
    split = split_residuals({"w": jnp.zeros(900)}, {"w": jnp.ones(900)}, {"w": jnp.full(900, 2.0)})
    assert repr(split) == "Split(shared=<tree of 1 array, 900 numbers>, direction=<tree of 1 array, 900 numbers>)"


def test_errors_of_the_future_take_estimates_and_name_what_is_in_their_place() -> None:
    x = flows(-1.2)
    found = fit_prefix_readout(CHART, DECAY)(x[:, :5], batch="each")
    by_hand = future_error_each(CHART, DECAY, x, found.coordinate)
    np.testing.assert_array_equal(future_error_each(CHART, DECAY, x, found), by_hand)
    np.testing.assert_array_equal(future_error_each(CHART, DECAY, x, coordinates=found), by_hand)
    assert future_error_sweep(CHART, DECAY, x, [[-1.0], [1.0]]).shape == (2, 3, 4)
    with pytest.raises(ValueError, match=r"^future_error_sweep: candidates have shape \[2\], expected \[n, d\]"):
        future_error_sweep(CHART, DECAY, x, [-1.0, 1.0])
    with pytest.raises(ValueError, match=r"^future_error_each: chart is a dict, expected a Chart"):
        future_error_each(CHART(0.0), DECAY, x, found)
    with pytest.raises(ValueError, match=r"^future_error: params is a Chart, expected weights; pass chart\(found\)"):
        future_error(CHART, DECAY, x)
    with pytest.raises(ValueError, match=r"^make_rollout: window is a dict.*\(params, window, steps\)"):
        DECAY(x[:, :1], CHART(0.0), 3)


def test_other_containers_are_named_where_they_begin_and_not_dumped() -> None:
    anchor = {f"layer{i}": {"w": jnp.full(2, 1.0 + i)} for i in range(20)}
    expert = {**jax.tree.map(lambda leaf: 1.1 * leaf, anchor), "layer3": OrderedDict(w=jnp.zeros(2))}
    said = r"^fit_chart: \['layer3'\] of `experts\[0\]` is an OrderedDict, but a dict in `anchor`; jax\.tree\.unfl"
    with pytest.raises(ValueError, match=said) as caught:
        fit_chart(anchor, [expert, anchor], [-1.0, 1.0])
    assert len(str(caught.value)) < 250
    mended = jax.tree.unflatten(jax.tree.structure(anchor), jax.tree.leaves(expert))
    fit_chart(anchor, [mended, jax.tree.map(lambda leaf: 0.9 * leaf, anchor)], [-1.0, 1.0])


def test_experts_on_one_side_of_the_anchor_are_warned_of() -> None:
    anchor, experts = {"w": jnp.ones(3)}, [{"w": jnp.full(3, x)} for x in (1.1, 1.2)]
    with pytest.warns(UserWarning, match=r"coordinates \[1, 2\], expected about -1 to 1"):
        fit_chart(anchor, experts, [1.0, 2.0])


def test_an_estimate_without_a_search_prints_no_empty_fields() -> None:
    assert repr(coordinate_from_metadata(2.5, 1.0, 2.0)) == "Estimate(coordinate=[2])"


def test_an_error_of_the_model_is_its_own_with_a_note_of_the_window() -> None:
    rollout_fn = make_rollout(lambda params, window: params["kernel"] * window[:, -1])
    with pytest.raises(KeyError, match="kernel") as caught:
        rollout_fn({}, jnp.ones((1, 1, 4, 1)), 2)
    assert "a window [N, history, *space, C] = [1, 1, 4, 1]" in "".join(caught.value.__notes__)


def test_one_frame_without_the_axes_of_a_window_is_named() -> None:
    rollout_fn = make_rollout(lambda params, window: params * jnp.pad(window, ((0, 0),) * 5)[:, -1])
    with pytest.raises(ValueError, match=r"for one frame, pass window\[None, None\]"):
        rollout_fn(0.5, jnp.ones((4, 4, 2)), 2)


def test_validation_values_of_another_unit_than_the_experts_are_warned_of() -> None:
    t = np.arange(8.0)[None, :, None, None]
    regimes = [np.exp(0.1 * (-1 + 0.5 * s) * t) * np.ones((1, 8, 4, 1), np.float32) for s in (-1.2, 0.0, 1.2)]
    values = [0.8, 2.0, 3.2]  # those of the experts are 1 and 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_scale_readout(CHART, DECAY, regimes, values, low=1.0, high=3.0, scale="linear")
    with pytest.warns(UserWarning, match="none lies between them, so the curve is extrap"):
        fit_scale_readout(CHART, DECAY, regimes, [1e3 * v for v in values], low=1.0, high=3.0, scale="linear")
    with pytest.warns(UserWarning, match=r"experts are at coordinates \[0.1, 1.6\]"):
        fit_chart({"rate": jnp.array([-1.0])}, [{"rate": jnp.array([r])} for r in (-1.5, -0.5)], [0.1, 1.6])


def test_a_small_p_value_of_filled_frames_names_the_gaps() -> None:
    readout = fit_prefix_readout(CHART, DECAY)
    frames = np.exp(-0.1 * np.arange(5.0))[None, :, None, None] * np.ones((1, 5, 4, 1), np.float32)
    found = readout(frames, batch="each")._replace(p_value=jnp.array([1e-5]))
    for gaps, said in ((True, "validation had no gaps, so a bad fill"), (False, "1e-05); check")):
        with pytest.warns(UserWarning, match=re.escape(said)):
            warn_of_estimate("PrefixReadout", readout, (1, 5, 4, 1), found, None, gaps)


def test_a_scale_map_that_no_parameter_has_is_warned_of() -> None:
    t = np.arange(8.0)[None, :, None, None]
    regimes = [np.exp(0.1 * (-1 + 0.5 * s) * t) * np.ones((1, 8, 4, 1), np.float32) for s in (-1.2, 0.0, 1.2)]
    how = {"low": 1.0, "high": 3.0, "scale": "linear"}
    with pytest.warns(UserWarning, match="falls as the value rises; check that values are in the order"):
        fit_scale_readout(CHART, DECAY, regimes, [3.2, 2.0, 0.8], **how)
    growing = [np.exp(0.1 * s * t) * np.ones((1, 8, 4, 1), np.float32) for s in (1.0, 2.0, 3.0)]
    with pytest.warns(
        UserWarning, match="at 3 of 3 values, the best coordinate is at the edge of the search range, -2.5 or"
    ):
        fit_scale_readout(CHART, DECAY, growing, [1.0, 2.0, 3.0], **how)


def test_arguments_of_another_kind_are_named() -> None:
    weights = {"rate": jnp.array([-1.0])}
    with pytest.raises(ValueError, match=r"^future_error: trajectories are a str, expected an array \[N, T"):
        future_error(weights, DECAY, "test.npz")
    with pytest.warns(UserWarning, match="^future_error: trajectories contain NaN, so their errors are NaN; fix or"):
        future_error(weights, DECAY, np.full((1, 8, 4, 1), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"`anchor` is a str, expected a tree of arrays; load it first"):
        fit_chart("anchor.npz", [weights, weights], [-1.0, 1.0])
    with pytest.raises(ValueError, match="^coordinate_from_metadata: value is '0.3', expected real numbers"):
        coordinate_from_metadata("0.3", 0.1, 0.8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^fit_uncertainty: validation is a path, expected a list of arrays"):
        fit_uncertainty(fit_prefix_readout(CHART, DECAY), "val.npz", [1.0, 2.0, 3.0])


def test_evaluations_take_any_numbers_and_name_what_is_none() -> None:
    params, x = CHART(0.0), np.ones((2, 8, 4, 1))
    plain = future_error(params, DECAY, x.astype(np.float32))
    for dtype in (np.int32, np.float16, bool):
        np.testing.assert_allclose(future_error(params, DECAY, x.astype(dtype)), plain, rtol=1e-6)
    with pytest.raises(ValueError, match=r"future_error: frames is 'four', expected a whole number"):
        future_error(params, DECAY, x, frames="four")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"params is a Rollout .*the arguments are \(params, rollout_fn, traj"):
        future_error(DECAY, lambda params, window, steps: window, x)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="future_error: trajectories contain NaN"):
        future_error(params, DECAY, jnp.asarray(x).at[0, 7].set(jnp.nan))


@pytest.mark.filterwarnings("ignore:future_error_sweep. trajectories have shape .9, 8, 1.")
def test_a_map_of_values_names_the_regime_and_the_value_that_do_not_fit() -> None:
    regimes, how = [flows(r, seed=9) for r in (-1.5, -1.0, -0.5)], {"low": -1.5, "high": -0.5}
    readout = fit_scale_readout(CHART, DECAY, regimes, [-1.5, -1.0, -0.5], **how)
    with pytest.raises(ValueError, match="ScaleReadout: value is 50, too far from the validation values -1.5 to -0.5"):
        readout(50.0)
    with pytest.raises(ValueError, match=r"fit_scale_readout: validation\[1\] has shape .*pass x\[None\]"):
        line = make_rollout(lambda p, u: jnp.einsum("nxc->nxc", u[:, -1]) * jnp.exp(0.1 * p["rate"][0]))
        fit_scale_readout(CHART, line, [regimes[0], jnp.ones((9, 8, 1))], [-1.5, -0.5], **how)
    for values, said in (((-1.0, -1.0, -1.0), "at least two of them different"), (("a",) * 3, "real numbers")):
        with pytest.raises(ValueError, match=f"^fit_scale_readout: values are .*{said}"):
            fit_scale_readout(CHART, DECAY, regimes, values, **how)  # type: ignore[arg-type]


def test_trajectories_without_space_are_noticed() -> None:
    with pytest.warns(
        UserWarning, match=r"shape \[9, 8, 1\], read as 9 trajectories of 8 frames with 1 channel and no s"
    ):
        future_error(CHART(0.0), DECAY, flows(-1.2)[0])
