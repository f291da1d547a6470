from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ccm_jax
from ccm_jax import Gated, Polynomial, fit_chart, merge_pytree, split_residuals
from tests.trees import families

FLOATS = (np.float32, np.complex64)
coordinates = st.floats(-3, 3, width=32)


def close(a: Any, b: Any, tolerance: float = 2e-5) -> None:
    chex.assert_trees_all_equal_shapes_and_dtypes(a, b)
    wide = (jax.tree.map(lambda x: np.asarray(x, np.complex128), tree) for tree in (a, b))
    chex.assert_trees_all_close(*wide, atol=tolerance)


@given(families())
@settings(deadline=None, max_examples=30)
def test_endpoints_and_anchor_are_on_the_chart(trees: list[Any]) -> None:
    anchor, low, high = trees
    # bfloat16 keeps three digits; the sum is made in float32 and rounded once.
    close(merge_pytree(anchor, low, high, -1.0), low, 2e-2)
    close(merge_pytree(anchor, low, high, 1.0), high, 2e-2)
    close(merge_pytree(anchor, low, high, 0.0, shared_scale=0.0), anchor, 0.0)


@given(families(dtypes=FLOATS), coordinates, coordinates)
@settings(deadline=None, max_examples=30)
def test_the_line_is_the_chart_of_two_experts_and_its_split(trees: list[Any], alpha: float, sigma: float) -> None:
    anchor, low, high = trees
    merged = merge_pytree(anchor, low, high, alpha, shared_scale=sigma)
    gated = fit_chart(anchor, [low, high], [[-1.0, 1.0], [1.0, 1.0]], features=Gated(Polynomial()))
    close(gated([alpha, sigma]), merged)
    shared, direction = split_residuals(anchor, low, high)
    close(jax.tree.map(lambda a, s, d: a + sigma * s + alpha * d, anchor, shared, direction), merged)
    close(fit_chart(anchor, [low, high], [-1.0, 1.0])(alpha), merge_pytree(anchor, low, high, alpha))


@given(families(dtypes=FLOATS), coordinates)
@settings(deadline=None, max_examples=20)
def test_swapping_the_experts_flips_the_coordinate(trees: list[Any], alpha: float) -> None:
    anchor, low, high = trees
    close(merge_pytree(anchor, low, high, alpha), merge_pytree(anchor, high, low, -alpha))


def test_full_shared_part_cancels_the_anchor() -> None:
    low, high = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, -2.0])}
    a, b = ({"w": jnp.full(2, value)} for value in (0.0, 7.0))
    close(merge_pytree(a, low, high, 1.7), merge_pytree(b, low, high, 1.7), 1e-5)


def test_jit_vmap_and_grad_agree_with_plain_calls() -> None:
    anchor, low, high = ({"w": jnp.array([x, 2 * x])} for x in (0.0, -1.0, 3.0))
    bank = jnp.linspace(-2, 2, 5)
    plain = jnp.stack([merge_pytree(anchor, low, high, c)["w"] for c in bank])
    np.testing.assert_allclose(jax.vmap(lambda c: merge_pytree(anchor, low, high, c))(bank)["w"], plain, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(merge_pytree)(anchor, low, high, bank[3])["w"], plain[3], rtol=1e-6)
    slope = jax.jacobian(lambda c: merge_pytree(anchor, low, high, c)["w"])(0.3)
    np.testing.assert_allclose(slope, split_residuals(anchor, low, high).direction["w"], rtol=1e-6)


def test_leaves_that_do_not_merge_pass_through() -> None:
    def tree(x: float) -> dict[str, Any]:
        return {"w": jnp.full(2, x), "step": jnp.array(3), "mask": jnp.array([True, False]), "key": jax.random.key(5)}

    merged = merge_pytree(tree(0.0), tree(1.0), tree(2.0), 1.5)
    assert int(merged["step"]) == 3 and merged["mask"].tolist() == [True, False]
    assert jnp.array_equal(jax.random.key_data(merged["key"]), jax.random.key_data(jax.random.key(5)))
    other = tree(2.0) | {"step": jnp.array(4)}
    with pytest.raises(ValueError, match=r"leaf \['step'\] is int32\[\], which does not merge, and differs"):
        merge_pytree(tree(0.0), tree(1.0), other, 1.0)
    with pytest.raises(ValueError, match=r"\['key'\].*does not merge"):
        merge_pytree(tree(0.0), tree(1.0), tree(2.0) | {"key": jax.random.key(6)}, 1.0)


def test_counters_of_64_bits_pass_through_whole() -> None:
    trees = [{"w": np.full(2, x, np.float32), "step": np.int64(2**40)} for x in (0.0, -1.0, 1.0)]
    chart = fit_chart(trees[0], trees[1:], [-1.0, 1.0])
    batch = jax.vmap(lambda c: chart(c)["w"])(jnp.array([0.5, 1.0]))
    np.testing.assert_allclose(batch, [[0.5, 0.5], [1.0, 1.0]])
    for merged in (merge_pytree(*trees, 0.5), merge_pytree(*trees, 0.5, in_place=True), chart(0.5)):
        assert int(merged["step"]) == 2**40


def test_an_update_of_leaves_that_do_not_merge_is_zero() -> None:
    anchor = {"w": jnp.ones(2), "count": np.int32(3), "on": np.array([True]), "key": jax.random.key(0)}
    with pytest.warns(UserWarning, match=r"`anchor` and `experts\[0\]` have the same weights"):
        shared, direction = split_residuals(anchor, anchor, anchor)
    for part in (shared, direction):
        assert part["count"] == 0 and part["count"].dtype == np.int32 and not part["on"].any()
        assert part["key"].size == 0  # nothing can be added to a key


def test_a_coordinate_may_be_an_estimate() -> None:
    anchor, low, high = ({"w": jnp.full(2, x)} for x in (0.0, -1.0, 3.0))
    merged = merge_pytree(anchor, low, high, ccm_jax.coordinate_from_metadata(2.5, 1.0, 2.0))
    np.testing.assert_array_equal(merged["w"], merge_pytree(anchor, low, high, 2.0)["w"])
    with pytest.raises(ValueError, match=r"shape \(2,\), expected a scalar; .* for a gate .* chart\(coordinate\)"):
        merge_pytree(anchor, low, high, ccm_jax.Estimate(jnp.ones(2), jnp.ones((0, 2)), jnp.ones(0)))


def test_kept_leaves_are_the_anchor_s_at_every_coordinate() -> None:
    def statistics(name: str) -> bool:
        return "norm" in name

    anchor = {"w": jnp.zeros(2), "norm": {"var": jnp.ones(2), "count": 3}}
    experts = [{"w": jnp.full(2, s), "norm": {"var": jnp.full(2, 2 + s), "count": 9}} for s in (-1.0, 1.0)]
    with pytest.raises(ValueError, match="keep the anchor's with keep_leaves"):
        merge_pytree(anchor, *experts, -3.0)
    merged = merge_pytree(anchor, *ccm_jax.keep_leaves(anchor, experts, statistics), -3.0)
    assert (
        merged["norm"]["count"] == 3 and merged["norm"]["var"].tolist() == [1, 1] and merged["w"].tolist() == [-3, -3]
    )
    with pytest.raises(ValueError, match=r"no leaf is kept; names are \['norm'\]\['count'\]"):
        ccm_jax.keep_leaves(anchor, experts, lambda name: False)
    with pytest.raises(ValueError, match=r"experts\[0\] has no leaf \['norm'\]"):
        ccm_jax.keep_leaves(anchor, [{"w": jnp.zeros(2)}], statistics)


def test_a_level_that_one_tree_lacks_is_named() -> None:
    inner = {"w": jnp.zeros(2)}
    for anchor, high, said in ((inner, {"params": inner}, "`high` has"), ({"params": inner}, inner, "`anchor` has")):
        with pytest.raises(ValueError, match=f"{said} the level 'params', and `.*` lacks it: pass both"):
            merge_pytree(anchor, anchor, high, 0.5)


def test_numpy_leaves_and_empty_trees_merge() -> None:
    merged = merge_pytree({"w": np.zeros(2)}, {"w": np.ones(2)}, {"w": np.full(2, 3.0)}, 0.0)
    np.testing.assert_allclose(merged["w"], [2.0, 2.0])
    assert merge_pytree({}, {}, {}, 1.0) == {}


@pytest.mark.parametrize(
    ("high", "message"),
    [
        ({"w": jnp.zeros((4, 2)), "b": jnp.zeros(2)}, r"leaf \['w'\] is float32\[4, 2\] in `high`, float32\[3, 2\] in"),
        ({"w": jnp.zeros((3, 2), jnp.bfloat16), "b": jnp.zeros(2)}, r"leaf \['w'\] is bfloat16\[3, 2\] in `high`"),
        ({"w": jnp.zeros((3, 2))}, r"leaf \['b'\] of `anchor` is missing in `high`"),
        ({"w": jnp.zeros((3, 2)), "b": jnp.zeros(2), "c": jnp.zeros(1)}, r"leaf \['c'\] of `high` is missing in"),
    ],
)
def test_mismatched_trees_name_the_leaf_and_the_remedy(high: Any, message: str) -> None:
    anchor = {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}
    with pytest.raises(ValueError, match=message) as error:
        merge_pytree(anchor, anchor, high, 1.0)
    assert "merge_pytree" in str(error.value) and "fine-tuned from this anchor" in str(error.value)


def test_a_vector_of_coordinates_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"coordinate has shape \(3,\).*vmap"):
        merge_pytree(*({"w": jnp.full(2, x)} for x in (0.0, -1.0, 1.0)), jnp.zeros(3))


def test_one_checkpoint_given_twice_is_noticed_where_weights_are_known() -> None:
    anchor, low, high = ({"frozen": jnp.ones(2), "w": jnp.full(2, x)} for x in (0.0, -1.0, 1.0))
    for trees, names in (((anchor, low, low), "`low` and `high`"), ((anchor, anchor, high), "`anchor` and `low`")):
        with pytest.warns(UserWarning, match=f"merge_pytree: {names} have the same weights; check which files"):
            merge_pytree(*trees, 0.5)
    jax.jit(merge_pytree)(anchor, low, low, 0.5)  # says nothing, as it cannot know
    jax.jit(lambda c: merge_pytree(anchor, low, jax.tree.map(jnp.array, low), c))(0.5)
    merge_pytree(anchor, low, high, 0.5)
    merge_pytree({}, {}, {}, 0.5)


def test_a_coordinate_that_must_be_a_physical_value_is_noticed() -> None:
    anchor, low, high = ({"w": jnp.full(2, x)} for x in (0.0, -1.0, 1.0))
    with pytest.warns(
        UserWarning, match=r"coordinate is 260.0, and experts are at -1 and \+1.*coordinate_from_metadata"
    ):
        merge_pytree(anchor, low, high, 260.0)


def test_dtypes_that_differ_or_do_not_merge_have_their_own_remedy() -> None:
    counts = [{"w": jnp.full(2, x, jnp.int32)} for x in (0, -1, 1)]
    with pytest.raises(ValueError, match="does not merge.*convert the weights to a floating dtype, such as float32"):
        merge_pytree(*counts, 0.5)
    with pytest.raises(ValueError, match=r"fine-tuned from this anchor; if only the dtype differs, convert one"):
        merge_pytree(counts[0], *({"w": jnp.full(2, x)} for x in (-1.0, 1.0)), 0.5)


def test_in_place_gives_the_same_and_spares_what_is_shared() -> None:
    def trees() -> list[dict[str, jax.Array]]:
        return [
            {name: jax.random.normal(jax.random.key(10 * i + j), (3,)) for j, name in enumerate("ab")} for i in range(3)
        ]

    expected = merge_pytree(*trees(), 1.5)
    anchor, low, high = trees()
    low["b"] = anchor["b"]  # a frozen layer
    high["b"] = anchor["b"]
    kept = np.asarray(anchor["b"])
    merged = merge_pytree(anchor, low, high, 1.5, in_place=True)
    np.testing.assert_allclose(merged["a"], expected["a"], rtol=1e-6)
    np.testing.assert_allclose(merged["b"], kept, rtol=1e-6)
    assert anchor["a"].is_deleted() and not anchor["b"].is_deleted()


def test_in_place_spares_memory_that_two_arrays_share() -> None:
    anchor = {"a": jnp.arange(4096.0)}
    anchor["b"] = jax.device_put(anchor["a"], jax.devices()[0])  # another array, on the same buffer
    assert anchor["a"] is not anchor["b"]
    assert anchor["a"].unsafe_buffer_pointer() == anchor["b"].unsafe_buffer_pointer()
    low, high = ({name: leaf + d for name, leaf in anchor.items()} for d in (-1.0, 1.0))
    merged = merge_pytree(anchor, low, high, 0.5, in_place=True)
    np.testing.assert_allclose(merged["b"], np.arange(4096.0) + 0.5)
    assert not anchor["a"].is_deleted()


def test_a_merge_is_task_arithmetic_with_weights_of_both_ends() -> None:
    """What docs/beside-others.md says of mergekit: ``(1 + a) / 2`` of the high update, ``(1 - a) / 2`` of the low."""
    anchor, low, high = ({"w": jnp.asarray(values)} for values in ([1.0, 2.0], [0.5, 2.5], [3.0, 1.0]))
    by_hand = anchor["w"] + 1.2 * (high["w"] - anchor["w"]) - 0.2 * (low["w"] - anchor["w"])
    np.testing.assert_allclose(merge_pytree(anchor, low, high, coordinate=1.4)["w"], by_hand, rtol=1e-6)
