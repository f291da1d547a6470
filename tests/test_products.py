"""Products whose gradients are written for speed: values and derivatives of every kind are those of plain products."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.models.products import constant_product, dense_product, pair_products, product

MATRIX = np.random.default_rng(0).standard_normal((6, 12)).astype(np.float32)


def close(a: Any, b: Any) -> None:
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-4), a, b)


def pairs_in_words(c: jax.Array, weight: jax.Array) -> jax.Array:
    return jnp.stack([jnp.einsum("...ni,...io->...no", c, weight[part]) for part in (0, 1)])


# Rows in whole blocks, in none, and results of few columns; further axes in front.
CASES = {
    "blocks": (product, jnp.matmul, [(256, 6), (6, 5)]),
    "no blocks": (product, jnp.matmul, [(130, 6), (6, 5)]),
    "narrow": (product, jnp.matmul, [(256, 6), (6, 2)]),
    "stack": (product, jnp.matmul, [(3, 2, 128, 6), (3, 2, 6, 5)]),
    "narrow stack": (product, jnp.matmul, [(3, 2, 128, 6), (3, 2, 6, 1)]),
    "pairs": (pair_products, pairs_in_words, [(3, 2, 8, 6), (2, 3, 2, 6, 5)]),
    "constant": (lambda x: constant_product(MATRIX, x), lambda x: MATRIX @ x, [(12, 7)]),
    "constant stack": (lambda x: constant_product(MATRIX, x), lambda x: MATRIX @ x, [(4, 12, 7)]),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_all_derivatives_are_those_of_a_plain_product(case: str) -> None:
    ours, plain, shapes = CASES[case]
    rng = np.random.default_rng(1)
    x, dx = (tuple(jnp.asarray(rng.standard_normal(s), jnp.float32) for s in shapes) for _ in range(2))
    dy = jnp.asarray(rng.standard_normal(jax.eval_shape(plain, *x).shape), jnp.float32)
    three = jax.tree.map(lambda a, b: jnp.stack([a, b, a - b]), x, dx)
    close(ours(*x), plain(*x))  # not compiled

    def derivatives(f: Any, x: Any, dx: Any, dy: jax.Array, three: Any) -> Any:
        gradient = jax.grad(lambda *x: jnp.mean(f(*x) ** 2), tuple(range(len(x))))
        back = jax.vjp(f, *x)[1](dy)
        along = jax.jvp(gradient, x, dx)[1]
        return f(*x), jax.jvp(f, x, dx), back, along, jax.vmap(gradient)(*three)

    found, expected = (jax.jit(partial(derivatives, f))(x, dx, dy, three) for f in (ours, plain))
    for one, other in zip(found, expected, strict=True):  # values, forward, backward, second derivatives, batches
        close(one, other)


def test_a_dense_layer_may_have_it_for_its_product() -> None:
    rng = np.random.default_rng(2)
    x, w = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in ((2, 3, 64, 6), (6, 5)))
    last = (((3,), (0,)), ((), ()))
    np.testing.assert_allclose(dense_product(x, w, last), x @ w, atol=1e-5)
    other = (((1,), (1,)), ((), ()))  # none of its own: left to the plain product
    y = jnp.swapaxes(w, 0, 1)[:3]
    np.testing.assert_array_equal(dense_product(x, y.T, other), jax.lax.dot_general(x, y.T, other))


def test_half_precision_is_left_alone() -> None:
    x, w = jnp.ones((4096, 3), jnp.bfloat16), jnp.ones((3, 1), jnp.bfloat16)
    gradient = jax.grad(lambda w: jnp.sum(product(x, w).astype(jnp.float32)))(w)
    np.testing.assert_array_equal(gradient.astype(jnp.float32), 4096.0)
