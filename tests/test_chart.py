from __future__ import annotations

import itertools
import warnings
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccm_jax import (
    Chart,
    Gated,
    Interior,
    Multilinear,
    Polynomial,
    coordinate_from_metadata,
    fit_chart,
    fit_prefix_readout,
    make_rollout,
    merge_pytree,
)
from ccm_jax.coordinate_map import CoordinateMap
from tests.trees import families


def planted(features: Any, seed: int = 0) -> Chart:
    keys = jax.random.split(jax.random.key(seed), 3)
    n = len(features(jnp.ones(features.dim)))
    origin = {"w": jax.random.normal(keys[0], (3, 2)), "b": jax.random.normal(keys[1], (2,))}
    basis = jax.tree.map(lambda leaf: jax.random.normal(keys[2], (n, *leaf.shape)), origin)
    return Chart(origin, basis, features)


@pytest.mark.parametrize(
    ("features", "coordinates"),
    [
        (Polynomial(), [[-1.0], [1.0]]),
        (Polynomial(degree=2), [[-1.0], [0.2], [1.0]]),
        (Polynomial(degree=2, constant=False), [[-1.0], [1.0]]),
        (Polynomial(dim=2), [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        (Polynomial(degree=2, dim=2), [[x, y] for x, y in itertools.product((-1.0, 0.0, 1.0), repeat=2)]),
        (Gated(Polynomial()), [[-1.0, 1.0], [1.0, 1.0]]),
    ],
)
def test_any_chart_is_one_call_of_fit_chart(features: Any, coordinates: list[list[float]]) -> None:
    truth = planted(features)
    experts = [truth(c) for c in coordinates]
    fitted = fit_chart(truth.origin, experts, coordinates, features=features)
    chex.assert_trees_all_close(fitted.basis, truth.basis, atol=2e-5)
    far = jnp.full(features.dim, 1.7)
    chex.assert_trees_all_close(fitted(far), truth(far), atol=1e-4)


def test_more_experts_than_features_are_fitted_by_least_squares() -> None:
    rng = np.random.default_rng(0)
    s = np.array([-1.0, -0.5, 0.1, 0.7, 1.0], np.float32)
    weights = rng.normal(size=(5, 4)).astype(np.float32)
    chart = fit_chart(np.zeros(4, np.float32), list(weights), s)
    expected = np.linalg.lstsq(np.stack([np.ones(5), s], 1), weights, rcond=None)[0]
    np.testing.assert_allclose(chart.basis, expected, atol=1e-5)


def test_ridge_shrinks_and_lets_one_expert_do() -> None:
    anchor, expert = jnp.zeros(3), jnp.ones(3)
    with pytest.raises(ValueError, match="1 expert at coordinates .* determines 1 of the 2 features"):
        fit_chart(anchor, [expert], [1.0])
    small, large = (fit_chart(anchor, [expert], [1.0], ridge=r)(1.0)[0] for r in (1e-6, 10.0))
    assert 0.99 < float(small) < 1.001 and 0 < float(large) < 0.2


@given(families(dtypes=(np.float32, np.complex64)), st.floats(-2, 2, width=32), st.floats(0, 1, width=32))
@settings(deadline=None, max_examples=20)
def test_a_chart_with_linear_features_is_affine(trees: list[Any], c: float, t: float) -> None:
    chart = fit_chart(trees[0], trees[1:], [-1.0, 1.0])
    mixed = jax.tree.map(lambda x, y: t * x + (1 - t) * y, chart(c), chart(-1.0))
    chex.assert_trees_all_close(chart(t * c - (1 - t)), mixed, atol=1e-4)


def test_chart_works_under_jit_vmap_grad_and_jvp() -> None:
    chart = planted(Polynomial(degree=2))
    bank = jnp.linspace(-2.0, 2.0, 7)[:, None]
    stacked = jax.jit(lambda chart, bank: jax.vmap(chart)(bank))(chart, bank)
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[2], stacked), chart(bank[2]), atol=1e-5)
    _, tangent = jax.jvp(chart, (jnp.array([0.5]),), (jnp.array([1.0]),))
    expected = jax.tree.map(lambda b: b[1] + 2 * 0.5 * b[2], chart.basis)
    chex.assert_trees_all_close(tangent, expected, atol=1e-5)


def test_fit_chart_can_be_differentiated_in_coordinates_and_traced() -> None:
    anchor, low, high = jnp.zeros(2), -jnp.ones(2), jnp.ones(2)

    def value(end: jax.Array) -> jax.Array:
        coordinates = jnp.array([-1.0, 0.0]) + end * jnp.array([0.0, 1.0])
        return fit_chart(anchor, [low, high], coordinates)(0.5)[0]

    slope = jax.jit(jax.grad(value))(1.0)
    # On the line through (-1, -1) and (e, 1), the value at 1/2 is 3 / (1 + e) - 1; its slope at e = 1 is -3/4.
    np.testing.assert_allclose(slope, -0.75, rtol=1e-4)


def test_equal_features_do_not_retrace() -> None:
    traces = []

    @jax.jit
    def evaluate(chart: Chart, c: jax.Array) -> Any:
        traces.append(1)
        return chart(c)

    for _ in range(2):
        evaluate(planted(Polynomial(degree=2)), jnp.ones(1))
    assert len(traces) == 1


def test_a_warp_bends_the_coordinate_and_its_numbers_are_leaves() -> None:
    warp = CoordinateMap.fit([-1.0, 1.0], [-2.0, 2.0])
    origin = jnp.zeros(2)
    chart = fit_chart(origin, [-jnp.ones(2), jnp.ones(2)], [-1.0, 1.0], warp=warp)
    np.testing.assert_allclose(chart(0.5), fit_chart(origin, [-jnp.ones(2), jnp.ones(2)], [-1.0, 1.0])(0.5), atol=1e-6)
    assert len(jax.tree.leaves(chart)) == 2 + 3
    plain = fit_chart(origin, [-jnp.ones(2), jnp.ones(2)], [-1.0, 1.0], warp=lambda c: 2 * c)  # no pytree, yet jitted
    np.testing.assert_allclose(jax.jit(lambda chart, c: chart(c))(plain, 0.5), [0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("bad", [jnp.zeros(2), jnp.zeros((3, 1))])
def test_a_misshapen_coordinate_is_refused(bad: jax.Array) -> None:
    with pytest.raises(ValueError, match=r"Chart: coordinate has shape .*, expected \(1,\).*vmap"):
        planted(Polynomial())(bad)


def test_misshapen_coordinates_of_experts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"coordinates have shape \(3,\), expected \(2, 1\)"):
        fit_chart(jnp.zeros(2), [jnp.ones(2), jnp.ones(2)], [-1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"fit_chart: coordinates are \[\[nan\], \[1.0\]\], expected finite"):
        fit_chart(jnp.zeros(2), [jnp.ones(2), jnp.ones(2)], [np.nan, 1.0])
    with pytest.raises(ValueError, match=r"Gated: inner is .*expected features with a constant"):
        Gated(Polynomial(constant=False))
    with pytest.raises(ValueError, match=r"fit_chart: leaf \(root\) is float32\[3\] in `experts\[1\]`"):
        fit_chart(jnp.zeros(2), [jnp.ones(2), jnp.ones(3)], [-1.0, 1.0])


def test_features_are_an_object_and_not_its_class() -> None:
    for features in (Gated, Polynomial, "gated"):
        with pytest.raises(ValueError, match=r"fit_chart: features is .*, expected an object such as .* Gated\(\)"):
            fit_chart({"w": jnp.zeros(2)}, [{"w": jnp.ones(2)}], [1.0], features=features)  # type: ignore[arg-type]


def test_experts_are_a_list() -> None:
    with pytest.raises(
        ValueError, match=r"^fit_chart: experts is a dict, expected a list of trees; pass \[low, high\]"
    ):
        fit_chart({"w": jnp.zeros(2)}, {"w": jnp.ones(2)}, [1.0])  # type: ignore[arg-type]


ANCHOR, LOW, HIGH = ({"w": jnp.full(2, value)} for value in (0.0, -1.0, 1.0))


@pytest.mark.parametrize(
    ("experts", "coordinates", "how", "said"),
    [
        ([], [], {}, "experts is empty, expected at least one tree"),
        ([-1, 1], [LOW, HIGH], {}, r"experts are numbers, .*arguments are \(anchor, experts, coordinates\): swap"),
        ([LOW, HIGH], None, {}, "coordinates are 'None', expected real numbers"),
        ([LOW, HIGH], ["low", "high"], {}, "coordinates are .*'low', 'high'.*, expected real numbers"),
        ([LOW, HIGH], [1j, 2j], {}, "coordinates are complex, expected real numbers"),
        ([LOW, HIGH], [-1, [1, 2]], {}, "coordinates are a list, expected"),
        ([LOW, HIGH], [-1, 1], {"ridge": -1.0}, "ridge is -1.0, expected at least 0"),
        ([LOW, HIGH], [-1, 1], {"ridge": "little"}, "ridge is 'little', expected a number"),
    ],
    ids=["empty", "swapped", "none", "text", "complex", "ragged", "ridge below 0", "ridge in words"],
)
def test_arguments_of_another_kind_are_refused(experts: Any, coordinates: Any, how: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^fit_chart: {said}"):
        fit_chart(ANCHOR, experts, coordinates, **how)


def test_experts_may_be_numbers_beside_an_anchor_that_is_one() -> None:
    assert float(fit_chart(1.0, [0.0, 2.0], [-1, 1])(0.5)) == 1.5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Polynomial(-1), "Polynomial: degree is -1, expected a whole number of at least 0"),
        (lambda: Polynomial(0, constant=False), "Polynomial: degree is 0, expected a whole number of at least 1"),
        (lambda: Polynomial(1.5), "Polynomial: degree is 1.5"),  # type: ignore[arg-type]
        (lambda: Polynomial(dim=0), "Polynomial: dim is 0"),
        (lambda: Gated(2), "Gated: inner is 2, expected features with a constant"),  # type: ignore[arg-type]
        (lambda: Gated(Gated()), "Gated: inner is Gated"),  # type: ignore[arg-type]
        (lambda: Gated(Polynomial), "Gated: inner is .*, expected features"),  # type: ignore[arg-type]
        (lambda: Interior(degree=0), "Interior: degree is 0, expected a whole number of at least 1"),
        (lambda: Multilinear(2.0), "Multilinear: dim is 2.0, expected a whole number"),  # type: ignore[arg-type]
    ],
)
def test_features_that_there_are_not_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        make()


def test_an_estimate_of_a_batch_is_mapped_over() -> None:
    chart = fit_chart(ANCHOR, [LOW, HIGH], [-1.0, 1.0], features=Gated())
    readout = fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1] * jnp.exp(p["w"][0])))
    found = readout(jnp.exp(0.5 * jnp.arange(6.0))[None, :, None, None] * jnp.ones((3, 6, 4, 1)), batch="each")
    with pytest.raises(ValueError, match=r"Estimate of a batch, use jax\.vmap\(chart\)\(found\)"):
        chart(found)
    np.testing.assert_allclose(jax.vmap(chart)(found)["w"], 0.5, atol=1e-2)


@pytest.mark.parametrize("coordinate", [1j, [1j]])
def test_a_coordinate_that_is_complex_is_refused(coordinate: Any) -> None:
    with pytest.raises(ValueError, match="Chart: coordinate is .*1j.*, expected real numbers"):
        fit_chart(ANCHOR, [LOW, HIGH], [-1.0, 1.0])(coordinate)
    with pytest.raises(ValueError, match="merge_pytree: coordinate is .*1j.*, expected real numbers"):
        merge_pytree(ANCHOR, LOW, HIGH, coordinate)


def test_weights_that_are_not_finite_are_noticed() -> None:
    trees = [{"a": jnp.zeros(1), "w": jnp.full(2, value)} for value in (0.0, -1.0, jnp.nan)]
    with pytest.raises(ValueError, match=r"fit_chart: leaf \['w'\] of `experts\[1\]` is not finite"):
        fit_chart(trees[0], trees[1:], [-1.0, 1.0], features=Gated())
    chart = jax.jit(lambda anchor, experts: fit_chart(anchor, experts, [-1.0, 1.0], features=Gated()))(
        trees[0], trees[1:]
    )
    with pytest.warns(UserWarning, match=r"NaN or infinite weights, first in \['update'\]\['w'\]"):
        fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1]))


def test_equal_experts_are_noticed() -> None:
    anchor, same = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    for features in (None, Gated()):
        with pytest.warns(UserWarning, match=r"fit_chart: `experts\[0\]` and `experts\[1\]` have the same weights"):
            chart = fit_chart(anchor, [same, dict(same)], [-1.0, 1.0], features=features)
        with pytest.warns(UserWarning, match="fit_prefix_readout: the chart has the same weights at every coordinate"):
            fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1]))


def test_an_expert_with_the_anchor_s_weights_is_noticed_unless_it_is_at_0() -> None:
    anchor, low, high = ({"w": jnp.full(2, x)} for x in (0.5, -1.0, 2.0))
    with pytest.warns(UserWarning, match=r"fit_chart: `anchor` and `experts\[1\]` have the same weights"):
        fit_chart(anchor, [low, dict(anchor)], [-1.0, 1.0])
    fit_chart(anchor, [low, dict(anchor), high], [-1.0, 0.0, 1.0])  # warnings are errors in tests


def test_the_anchor_itself_as_an_expert_is_noticed() -> None:
    anchor, high = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    with pytest.warns(UserWarning, match=r"fit_chart: `anchor` and `experts\[0\]` have the same weights"):
        fit_chart(anchor, [anchor, high], [-1.0, 1.0])


def test_a_leaf_that_one_tree_lacks_after_a_filter_is_named() -> None:
    anchor, expert = {"w": jnp.zeros(2), "act": None}, {"w": jnp.ones(2), "act": jnp.tanh}
    message = r"leaf \['act'\] of `experts\[0\]`, a .*, was filtered out of `anchor`; pass all trees through the same"
    with pytest.raises(ValueError, match=message):
        fit_chart(anchor, [expert], [1.0])
    with pytest.raises(ValueError, match="these are 2 coordinates for 1 expert; pass one row per expert"):
        fit_chart({"w": jnp.zeros(2)}, [{"w": jnp.ones(2)}], [0.0, 1.0])


def test_coordinates_that_are_not_finite_are_refused() -> None:
    chart = fit_chart({"w": jnp.zeros(2)}, [{"w": -jnp.ones(2)}, {"w": jnp.ones(2)}], [-1.0, 1.0])
    with pytest.raises(ValueError, match="Chart: coordinate is .*nan.*, expected finite numbers; .* keep the anchor"):
        chart(jnp.nan)
    assert np.isnan(jax.jit(chart)(jnp.array([jnp.nan]))["w"]).all()  # under jit, numbers are not known


def test_objects_print_in_a_line() -> None:
    chart = fit_chart({"w": jnp.zeros((30, 30))}, [{"w": -jnp.ones((30, 30))}, {"w": jnp.ones((30, 30))}], [-1.0, 1.0])
    readout = fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1]))
    assert "900 numbers" in repr(readout) and len(repr(readout)) < 1000 and "\n" not in repr(readout)


@pytest.mark.parametrize("coordinate", ["text", [None], np.array([object()])], ids=["text", "none", "object"])
def test_a_coordinate_without_numbers_is_refused(coordinate: Any) -> None:
    with pytest.raises(ValueError, match=r"coordinate is .*, expected numbers"):
        merge_pytree({"w": np.ones(3)}, {"w": np.zeros(3)}, {"w": 2 * np.ones(3)}, coordinate)


def test_a_chart_takes_what_a_readout_returns() -> None:
    anchor, low, high = ({"w": jnp.full(2, value)} for value in (0.0, -1.0, 1.0))
    found = coordinate_from_metadata(4e-3, 1e-3, 3e-3)
    for features in (Polynomial(), Gated()):
        chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=features)
        chex.assert_trees_all_equal(chart(found), chart(2.0))
        chex.assert_trees_all_equal(jax.jit(chart.__call__)(found), chart(2.0))
    with pytest.raises(ValueError, match=r"^Chart: coordinate is a str, expected 2 numbers\.$"):
        chart("low")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("coordinates", "physical"), [([1e-3, 3e-3], True), ([60.0, 90.0], True), ([-1.0, 1.5], False)]
)
def test_experts_at_physical_values_are_remarked_on(coordinates: list[float], physical: bool) -> None:
    trees = [{"w": jnp.full(2, value)} for value in (0.0, -1.0, 1.0)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_chart(trees[0], trees[1:], coordinates)
        fit_chart(trees[0], trees[1:], coordinates, warp=lambda c: 1e3 * c)
    assert [("coordinate_from_metadata" in str(w.message)) for w in caught] == [True] * physical
