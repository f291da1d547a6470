"""Directions that should carry nothing have the size of the one that should, and nothing of its shape."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import merge_pytree, split_residuals
from ccm_jax.geometry import tree_norm
from experiments.pipeline.family import Family
from experiments.study.controls import combine, merges, only, random_like, shuffled_layers


def weights(seed: int) -> dict[str, Any]:
    shapes = {"lift": (3, 4), "spectral_0": (2, 4, 3, 4, 4), "spectral_1": (2, 4, 3, 4, 4), "project_0": (4, 1)}
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {name: {"weight": jax.random.normal(k, s)} for k, (name, s) in zip(keys, shapes.items(), strict=True)}


def test_a_random_direction_has_the_norm_of_the_true_one_in_every_leaf() -> None:
    true = weights(0)
    drawn = random_like(true, jax.random.key(1))
    for a, b in zip(jax.tree.leaves(true), jax.tree.leaves(drawn), strict=True):
        np.testing.assert_allclose(jnp.linalg.norm(a.ravel()), jnp.linalg.norm(b.ravel()), rtol=1e-5)
        assert abs(float(jnp.vdot(a, b))) < 0.9 * float(jnp.vdot(a, a))


def test_shuffled_layers_are_those_of_the_same_kind_in_turn() -> None:
    true = weights(0)
    turned = shuffled_layers(true)
    np.testing.assert_array_equal(turned["spectral_0"]["weight"], true["spectral_1"]["weight"])
    np.testing.assert_array_equal(turned["spectral_1"]["weight"], true["spectral_0"]["weight"])
    np.testing.assert_array_equal(turned["lift"]["weight"], true["lift"]["weight"])


def test_a_layer_and_all_others_make_the_whole() -> None:
    true = weights(0)
    parts = only(true, "lift"), only(true, "lift", inverse=True)
    jax.tree.map(lambda a, b, c: np.testing.assert_array_equal(a + b, c), *parts, true)
    assert not parts[0]["spectral_0"]["weight"].any()


def test_every_merge_is_what_its_name_says() -> None:
    anchor, low, high, noise = (weights(seed) for seed in range(4))
    family = Family(anchor, (low, high), lambda p, w, n: w, 1, 4, np.linspace(-2.5, 2.5, 21))
    ones = jax.tree.map(jnp.ones_like, anchor)
    made = merges(family, noise, [ones, jax.tree.map(lambda x: 3 * x, ones)], seed=0)

    def same(name: str, s: float, expected: Any) -> None:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), made[name](s), expected)

    split = split_residuals(anchor, low, high)
    same("ccm_coord", 1.7, merge_pytree(anchor, low, high, 1.7))
    same("wrong_sign", 1.7, merge_pytree(anchor, low, high, -1.7))
    same("average", 1.7, merge_pytree(anchor, low, high, 0.0))
    same("direction_alone", 1.7, merge_pytree(anchor, low, high, 1.7, shared_scale=0.0))
    same("nearest_expert", 1.7, high)
    same("slerp", 1.0, high)
    same("fisher_average", 0.0, combine(low, 0.75, combine(high, -1.0, low)))
    step = combine(made["same_regime"](1.7), -1.0, made["average"](0.0))
    np.testing.assert_allclose(tree_norm(step), 1.7 * tree_norm(split.direction), rtol=1e-4)
    layers = combine(made["only lift"](2.0), 1.0, combine(made["without lift"](2.0), -1.0, made["ccm_coord"](2.0)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), layers, made["average"](0.0))
