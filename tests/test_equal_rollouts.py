"""Rollouts that are made anew for each call compile once."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import make_rollout
from ccm_jax.models import make_model


def test_rollouts_of_equal_models_share_a_program() -> None:
    settings: dict[str, Any] = {"modes": (2, 2), "width": 4, "depth": 1, "out_channels": 1}
    traced = []

    @functools.partial(jax.jit, static_argnums=0)
    def run(rollout_fn: Any, params: Any, x: jax.Array) -> jax.Array:
        traced.append(rollout_fn)
        return rollout_fn(params, x, 2)

    x = jnp.ones((1, 1, 6, 6, 1))
    one, other = make_model("fno", **settings), make_model("fno", **settings, activation="gelu_exact")
    params = one.init(jax.random.key(0), x)
    for _ in range(5):
        run(make_rollout(one.apply), params, x)
    assert len(traced) == 1
    run(make_rollout(other.apply), params, x)
    assert len(traced) == 2


def test_models_without_a_hash_are_equal_to_themselves_alone() -> None:
    class Holder:
        def __init__(self) -> None:
            self.weights = np.ones(2)

        def __eq__(self, other: object) -> Any:
            return self.weights == other.weights  # type: ignore[attr-defined]

        __hash__ = None  # type: ignore[assignment]

        def __call__(self, params: Any, window: jax.Array) -> jax.Array:
            return window[:, -1]

    one, two = Holder(), Holder()
    assert make_rollout(one) == make_rollout(one) and hash(make_rollout(one)) == hash(make_rollout(one))
    assert make_rollout(one) != make_rollout(two) and make_rollout(one) != 3
