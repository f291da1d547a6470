from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ccm_jax import train
from ccm_jax.geometry import residual_geometry, tree_cosine, tree_norm
from ccm_jax.normalize import Normalization, fit_normalization, normalized
from ccm_jax.train import (
    TrainState,
    batch_order,
    init_state,
    make_loss,
    make_noise,
    make_optimizer,
    train_chunk,
    train_step,
)


def apply(params: Any, window: jax.Array) -> jax.Array:
    return window[:, -1] * params["gain"]


def trajectories(gain: float = 0.8, count: int = 6, frames: int = 5) -> jax.Array:
    start = jax.random.normal(jax.random.key(0), (count, 1, 4, 1))
    return start * (gain ** jnp.arange(frames))[None, :, None, None]


def start(value: float = 0.3) -> Any:
    return {"gain": jnp.array(value)}


@pytest.mark.parametrize("unroll", [1, 3])
def test_training_finds_the_planted_gain(unroll: int) -> None:
    optimizer, loss_fn = make_optimizer(0.05, 300), make_loss(apply, unroll=unroll)
    x = trajectories()
    order = batch_order(0, 0, 300, 6 * (5 - unroll), 4)
    state, losses = train_chunk(
        init_state(start(), optimizer), x, order, loss_fn=loss_fn, optimizer=optimizer, frames=1 + unroll
    )
    np.testing.assert_allclose(state.params["gain"], 0.8, atol=2e-3)
    assert losses.shape == (300,) and int(state.step) == 300 and losses[-1] < 0.02 < losses[0]


def test_unrolled_loss_is_the_mean_over_frames() -> None:
    loss = make_loss(apply, unroll=2)(start(1.6), trajectories(0.8)[:, :3])
    np.testing.assert_allclose(loss, (1.0 + 3.0) / 2, rtol=1e-5)  # 1.6 / 0.8 - 1, and its square's


def test_chunks_equal_single_steps_and_the_same_seed_gives_the_same_bits() -> None:
    optimizer, loss_fn = make_optimizer(0.05, 20), make_loss(apply)
    x, order = trajectories(), batch_order(3, 0, 20, 24, 4)
    flat = x.reshape(-1, 4, 1)

    def in_chunks(size: int) -> tuple[Any, np.ndarray]:
        state, losses = init_state(start(), optimizer), []
        for i in range(0, 20, size):
            state, new = train_chunk(state, x, order[i : i + size], loss_fn=loss_fn, optimizer=optimizer)
            losses.append(np.asarray(new))
        return state.params["gain"], np.concatenate(losses)

    gain, losses = in_chunks(20)
    again, same = in_chunks(20)
    assert gain == again and np.array_equal(losses, same)
    halves, close = in_chunks(10)
    np.testing.assert_allclose(halves, gain, rtol=1e-5)
    np.testing.assert_allclose(close, losses, rtol=1e-4)

    state = init_state(start(), optimizer)
    for i, row in enumerate(order):
        first = row // 4 * 5 + row % 4  # four starts in each trajectory of five frames
        state, loss = train_step(state, flat[first[:, None] + np.arange(2)], loss_fn=loss_fn, optimizer=optimizer)
        np.testing.assert_allclose(loss, losses[i], rtol=1e-4)


def test_every_epoch_sees_every_sample_once_and_resumes_anywhere() -> None:
    rows = batch_order(7, 0, 10, 20, 4)
    assert sorted(rows[:5].ravel()) == sorted(rows[5:].ravel()) == list(range(20))
    assert not np.array_equal(rows[:5], rows[5:])
    np.testing.assert_array_equal(batch_order(7, 3, 6, 20, 4), rows[3:9])
    assert not np.array_equal(batch_order(8, 0, 5, 20, 4), rows[:5])
    assert batch_order(7, 5, 0, 20, 4).shape == (0, 4)  # at the border of two epochs
    with pytest.raises(ValueError, match="batch_size 5 exceeds the 4 samples"):
        batch_order(0, 0, 1, 4, 5)


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    optimizer = make_optimizer(1e-2, 100)
    state, sizes = optimizer.init(start()), []
    for _ in range(100):
        updates, state = optimizer.update({"gain": jnp.array(1.0)}, state)
        sizes.append(float(jnp.abs(updates["gain"])))
    assert np.argmax(sizes) in range(4, 8) and max(sizes) == pytest.approx(1e-2, rel=1e-2) and sizes[-1] < 1e-4
    assert isinstance(optimizer, optax.GradientTransformation)


@pytest.mark.parametrize("steps", [1, 10, 100])
def test_the_optimizer_is_optax_s_adam_under_its_warm_cosine(steps: int) -> None:
    rise = int(0.05 * steps)
    schedule = optax.warmup_cosine_decay_schedule(1e-3, 1e-2, rise, max(steps, rise + 1))
    ours, theirs = make_optimizer(1e-2, steps), optax.adam(schedule)
    params = start()
    states, update = [o.init(params) for o in (ours, theirs)], [jax.jit(o.update) for o in (ours, theirs)]
    for i in range(steps + 3):
        gradient = {"gain": np.float32(np.sin(1.0 + i))}
        (a, first), (b, second) = (f(gradient, s) for f, s in zip(update, states, strict=True))
        states = [first, second]
        np.testing.assert_allclose(a["gain"], b["gain"], rtol=1e-4, atol=1e-9)


def test_trainings_of_other_lengths_share_a_program() -> None:
    x, loss_fn = trajectories(), make_loss(apply)
    before = train._chunk._cache_size()
    for rate, steps in ((0.05, 20), (0.01, 60)):
        optimizer = make_optimizer(rate, steps)
        state = init_state(start(), optimizer)
        train_chunk(state, x, batch_order(3, 0, 10, 24, 4), loss_fn=loss_fn, optimizer=optimizer)
    assert train._chunk._cache_size() == before + 1


def test_a_state_of_another_optimizer_is_refused() -> None:
    state, how = (
        init_state(start(), optax.sgd(0.1)),
        {"loss_fn": make_loss(apply), "optimizer": make_optimizer(0.05, 20)},
    )
    with pytest.raises(ValueError, match=r"train_step: opt_state is of another optimizer.* start from init_state"):
        train_step(state, trajectories()[:, :2], **how)
    with pytest.raises(ValueError, match="train_chunk: opt_state is of another optimizer"):
        train_chunk(state, trajectories(), batch_order(3, 0, 2, 24, 4), **how)


def test_a_normalised_model_sees_unit_variance_and_speaks_physical_units() -> None:
    spread = jnp.array([3.0, 30.0]).reshape(1, 1, 1, 1, 2)
    x = 5.0 + spread * jax.random.normal(jax.random.key(0), (4, 6, 8, 8, 2))
    normalization = fit_normalization(x)
    seen = []

    def model(params: Any, window: jax.Array) -> jax.Array:
        seen.append(window)
        return window[:, -1]

    out = normalized(model, normalization)(None, x[:, :3])
    np.testing.assert_allclose(out, x[:, 2], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen[0].std((0, 1, 2, 3)), 1.0, atol=0.05)
    with pytest.raises(ValueError, match=r"standard deviations are .*constant"):
        fit_normalization(jnp.ones((2, 3, 4, 4, 1)))
    assert Normalization._fields == ("mean", "std")


def test_geometry_of_known_updates() -> None:
    anchor = {"a": jnp.zeros(2), "b": jnp.ones(3), "n": jnp.array(2)}
    low = anchor | {"a": jnp.array([3.0, 0.0])}
    high = anchor | {"a": jnp.array([0.0, 4.0])}
    rows = {row.name: row for row in residual_geometry(anchor, low, high)}
    assert set(rows) == {"['a']", "['b']", "(all)"}
    a = rows["['a']"]
    got = [float(v) for v in (a.low_norm, a.high_norm, a.shared_norm, a.direction_norm, a.cosine)]
    np.testing.assert_allclose(got, [3.0, 4.0, 2.5, 2.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(rows["(all)"].anchor_norm, np.sqrt(3), rtol=1e-6)
    assert float(rows["['b']"].cosine) == 0.0
    np.testing.assert_allclose(tree_cosine(low, jax.tree.map(lambda x: -x, low)), -1.0, rtol=1e-6)
    np.testing.assert_allclose(tree_norm({"z": jnp.array([3.0 + 4.0j])}), 5.0, rtol=1e-6)
    np.testing.assert_allclose(tree_norm({"w": jnp.full(4, 300.0, jnp.float16)}), 600.0)  # its square overflows


def test_noise_is_on_the_input_alone_and_a_step_draws_its_own() -> None:
    frames = (
        3 + jax.random.normal(jax.random.key(0), (5, 4, 16, 16, 2)) * jnp.array([1.0, 100.0])[None, None, None, None]
    )
    corrupt = make_noise(0.2, history=3)
    noisy = corrupt(jax.random.key(1), frames)
    np.testing.assert_array_equal(noisy[:, 3:], frames[:, 3:])
    size = jnp.sqrt(jnp.mean(frames[:, :3] ** 2, axis=(2, 3)))
    spread = jnp.std((noisy - frames)[:, :3], axis=(2, 3)) / size
    np.testing.assert_allclose(spread, 0.2, rtol=0.2)

    optimizer = make_optimizer(1e-2, 8)
    loss_fn = make_loss(lambda p, w: p["a"] * w[:, -1])
    x = jax.random.normal(jax.random.key(2), (4, 3, 8, 8, 1))
    how: dict[str, Any] = {"loss_fn": loss_fn, "optimizer": optimizer, "corrupt": make_noise(0.2)}
    order = jnp.asarray(batch_order(0, 0, 4, 8, 2))

    def fresh() -> TrainState:
        return init_state({"a": jnp.ones(())}, optimizer)

    whole, losses = train_chunk(fresh(), x, order, seed=1, **how)
    half, first = train_chunk(fresh(), x, order[:2], seed=1, **how)
    half, second = train_chunk(half, x, order[2:], seed=1, **how)
    np.testing.assert_array_equal(losses, jnp.concatenate([first, second]))  # a resumed run sees the same noise
    _, other = train_chunk(fresh(), x, order, seed=2, **how)
    assert not np.allclose(losses, other)
