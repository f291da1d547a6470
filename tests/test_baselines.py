"""Each method against its published formula, on numbers small enough to do by hand, and on random trees."""

from __future__ import annotations

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from ccm_jax import baselines, merge_pytree
from ccm_jax.baselines import BASELINES
from ccm_jax.models import is_real_pair, make_model
from tests.trees import families


def tree(*values: float) -> dict[str, jax.Array]:
    return {"a": jnp.array(values[:2], float), "b": jnp.array(values[2:], float)}


ANCHOR, ONE, TWO = tree(1, 1, 1, 1), tree(5, 0, 1.5, 1), tree(3, 3, 0.9, 1)  # updates 4 -1 .5 0 and 2 2 -.1 0


@settings(max_examples=30, deadline=None)
@given(families())
def test_two_experts_averaged_are_the_middle_of_the_line(trees: list[Any]) -> None:
    anchor, low, high = trees
    chex.assert_trees_all_close(
        baselines.average(low, high), merge_pytree(anchor, low, high, 0.0), rtol=0.03, atol=0.03
    )


@settings(max_examples=30, deadline=None)
@given(families())
def test_every_method_keeps_structure_and_dtypes_and_one_expert_is_itself(trees: list[Any]) -> None:
    anchor, low, high = trees
    key = jax.random.key(0)
    made = {
        "task_arithmetic": baselines.task_arithmetic(anchor, [low, high], scale=0.5),
        "ties": baselines.ties(anchor, [low, high]),
        "dare": baselines.dare(anchor, [low, high], key),
        "slerp": baselines.slerp(low, high, 0.3),
        "model_stock": baselines.model_stock(anchor, [low, high]),
    }
    for out in made.values():
        chex.assert_trees_all_equal_shapes_and_dtypes(out, anchor)
    for out in (
        baselines.task_arithmetic(anchor, [low]),
        baselines.ties(anchor, [low], density=1.0),
        baselines.dare(anchor, [low], key, drop=0.0),
        baselines.slerp(low, low, 0.7),
    ):
        chex.assert_trees_all_close(out, low, rtol=0.03, atol=0.03)


def test_task_arithmetic_adds_the_updates() -> None:
    chex.assert_trees_all_close(baselines.task_arithmetic(ANCHOR, [ONE, TWO], scale=0.5), tree(4, 1.5, 1.2, 1))


def test_ties_trims_over_the_whole_tree_elects_and_averages_what_agrees() -> None:
    # Half of each update: 4 -1 0 0 and 2 2 0 0. Elected signs: + +. Agreeing: (4 + 2) / 2, and 2 alone.
    chex.assert_trees_all_close(baselines.ties(ANCHOR, [ONE, TWO], density=0.5), tree(4, 3, 1, 1))
    chex.assert_trees_all_close(baselines.ties(ANCHOR, [ONE, TWO], density=0.5, scale=0.1), tree(1.3, 1.2, 1, 1))


def test_dare_drops_at_random_and_keeps_the_mean() -> None:
    anchor, expert = {"w": jnp.zeros(20_000)}, {"w": jnp.ones(20_000)}
    out = baselines.dare(anchor, [expert], jax.random.key(1), drop=0.75)["w"]
    assert set(np.unique(out).tolist()) == {0.0, 4.0}
    assert abs(float(out.mean()) - 1) < 0.05
    again = baselines.dare(anchor, [expert], jax.random.key(1), drop=0.75)["w"]
    np.testing.assert_array_equal(out, again)


def test_slerp_walks_the_arc() -> None:
    a, b = {"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([0.0, 1.0])}
    out = baselines.slerp(a, b, 1 / 3)["w"]
    np.testing.assert_allclose(out, [np.cos(np.pi / 6), np.sin(np.pi / 6)], atol=1e-6)
    np.testing.assert_allclose(baselines.slerp(a, {"w": 3 * a["w"]}, 0.5)["w"], [2.0, 0.0], atol=1e-6)


def test_model_stock_stops_where_the_angle_says() -> None:
    # Updates at 60 degrees: c = 1/2, t = 2 c / (1 + c) = 2/3 of the way to their mean.
    anchor = {"w": jnp.array([1.0, 1.0])}
    experts = [{"w": anchor["w"] + jnp.array(d)} for d in ([2.0, 0.0], [1.0, 3.0**0.5])]
    np.testing.assert_allclose(
        baselines.model_stock(anchor, experts)["w"], 1 + 2 / 3 * np.array([1.5, 3**0.5 / 2]), atol=1e-6
    )
    # Orthogonal updates say nothing about a common direction: the anchor stays.
    experts = [{"w": anchor["w"] + jnp.array(d)} for d in ([2.0, 0.0], [0.0, 1.0])]
    np.testing.assert_allclose(baselines.model_stock(anchor, experts)["w"], anchor["w"], atol=1e-6)
    # Nor do opposing ones, and the formula's pole at c = -1 is met by no rounding.
    experts = [{"w": anchor["w"] + jnp.array(d)} for d in ([2.0, 1.0], [-2.0, -1.001])]
    np.testing.assert_array_equal(baselines.model_stock(anchor, experts)["w"], anchor["w"])


def test_fisher_weighs_each_number_by_its_information() -> None:
    out = baselines.fisher_average([tree(0, 0, 0, 0), tree(4, 4, 4, 4)], [tree(1, 3, 0, 1), tree(1, 1, 0, 0)])
    chex.assert_trees_all_close(out, tree(2, 1, 2, 0), atol=1e-6)


def test_the_nearest_expert() -> None:
    assert baselines.nearest_expert(["low", "high"], [-1, 1], 1.7) == "high"
    assert baselines.nearest_expert(["low", "high"], [-1, 1], -0.2) == "low"


def test_complex_numbers_are_trimmed_and_elected_whole() -> None:
    # By magnitude, 3 + 4i (5) outweighs 4.5: by halves, its real part would have lost to 4.5.
    anchor = {"w": jnp.zeros(2, complex)}
    one, two = ({"w": jnp.array(v)} for v in ([3 + 4j, 4.5 + 0j], [1 + 1j, -6 + 0j]))
    out = baselines.ties(anchor, [one, two], density=0.5)["w"]
    np.testing.assert_allclose(out, [3 + 4j, -6], atol=1e-6)


def test_real_pairs_are_seen_as_complex_and_back() -> None:
    model = make_model("fno", modes=(2, 2), width=4, depth=1, out_channels=1)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1, 8, 8, 1)))
    seen = baselines.complex_view(params, is_real_pair)
    assert seen["spectral_0"]["weight"].dtype == jnp.complex64
    assert not jnp.iscomplexobj(seen["pointwise_0"]["kernel"])
    chex.assert_trees_all_equal(baselines.pair_view(seen, params), params)
    # The drop of DARE then takes both halves of a number or none.
    other = jax.tree.map(lambda leaf: leaf + 1, params)
    drop_half = jax.jit(partial(baselines.dare, drop=0.5))
    merged = drop_half(seen, [baselines.complex_view(other, is_real_pair)], jax.random.key(0))
    change = baselines.pair_view(merged, params)["spectral_0"]["weight"] - params["spectral_0"]["weight"]
    np.testing.assert_array_equal(change[0] > 1, change[1] > 1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ties: density is 0.0, expected a number in \(0, 1\]"):
        baselines.ties(ANCHOR, [ONE], density=0.0)
    with pytest.raises(ValueError, match="dare: drop is 1.0"):
        baselines.dare(ANCHOR, [ONE], jax.random.key(0), drop=1.0)
    with pytest.raises(ValueError, match="model_stock: 1 expert, expected at least two"):
        baselines.model_stock(ANCHOR, [ONE])
    with pytest.raises(ValueError, match="task_arithmetic: there are no experts"):
        baselines.task_arithmetic(ANCHOR, [])
    with pytest.raises(ValueError, match=r"leaf \['b'\] of `anchor` is missing in `experts\[0\]`"):
        baselines.task_arithmetic(ANCHOR, [{"a": jnp.zeros(2)}])
    with pytest.raises(ValueError, match="average: weights are"):
        baselines.average(ONE, TWO, weights=[1.0])


def test_every_method_is_called_alike_and_does_what_its_function_does() -> None:
    experts, where, fishers = [ONE, TWO], [-1.0, 1.0], [tree(1, 3, 0, 1), tree(1, 1, 0, 0)]
    key = jax.random.key(3)
    expected = {
        "average": baselines.average(ONE, TWO),
        "nearest_expert": TWO,
        "task_arithmetic": baselines.task_arithmetic(ANCHOR, experts),
        "ties": baselines.ties(ANCHOR, experts),
        "dare": baselines.dare(ANCHOR, experts, key),
        "slerp": baselines.slerp(ONE, TWO, 0.75),
        "model_stock": baselines.model_stock(ANCHOR, experts),
        "fisher_average": baselines.fisher_average(experts, fishers),
    }
    assert list(expected) == list(BASELINES)
    for name, baseline in BASELINES.items():
        given = {"fishers": fishers} if baseline.needs else {"seed": 3.0} if name == "dare" else {}
        merged = [baseline.merge(ANCHOR, experts, where, at, **given) for at in (0.5, -0.5)]
        chex.assert_trees_all_equal(merged[0], expected[name])
        same = all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, merged), strict=True))
        assert same != baseline.located, name


def test_infinities_that_all_networks_share_stay_and_make_no_nan() -> None:
    anchor, *experts = ({"mask": jnp.array([0.0, -jnp.inf]), "w": jnp.array([x, 2.0])} for x in (0.0, 1.0, 3.0))
    for name, baseline in BASELINES.items():
        given = {"fishers": experts} if baseline.needs else {}
        merged = baseline.merge(anchor, experts, [-1.0, 1.0], 1.5, **given)
        if not baseline.needs:  # Fisher information that is infinite is no weight
            assert merged["mask"].tolist() == [0.0, -jnp.inf], name
        assert jnp.isfinite(merged["w"]).all()


def test_coordinates_of_several_axes_are_told_by_all_of_them() -> None:
    experts, where = [ONE, TWO], [(0.0, -1.0), (0.0, 1.0)]
    assert BASELINES["nearest_expert"].merge(ANCHOR, experts, where, (0.0, 0.9)) is TWO
    halfway = BASELINES["slerp"].merge(ANCHOR, experts, where, (5.0, 0.0))
    chex.assert_trees_all_close(halfway, baselines.slerp(ONE, TWO, 0.5))
    with pytest.raises(ValueError, match="slerp: the first and the last expert have the same coordinate; pass t"):
        BASELINES["slerp"].merge(ANCHOR, experts, [1.0, 1.0], 0.0)


def test_half_precision_is_added_up_in_single() -> None:
    low = jnp.full(8, 1.0, jnp.bfloat16)
    experts = [low + jnp.bfloat16(d) for d in (0.0078125, 0.0078125, 0.0078125)]
    out = baselines.dare(low, experts, jax.random.key(0), drop=0.0, scale=0.5)
    wide = 1 + 0.5 * sum(np.asarray(e, np.float32) - 1 for e in experts)
    np.testing.assert_array_equal(out, jnp.asarray(wide, jnp.bfloat16))
    pairs = {"w": jnp.ones((2, 3), jnp.bfloat16)}
    seen = baselines.complex_view(pairs, lambda path, leaf: True)
    chex.assert_trees_all_equal(baselines.pair_view(seen, pairs), pairs)
