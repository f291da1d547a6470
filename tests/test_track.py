"""The filter over the coordinate: exact where all is linear, faithful to drifts, deaf to what is not finite."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Chart, Gated, Polynomial, fit_chart, make_rollout
from ccm_jax.along import one_step_errors, rollout_along
from ccm_jax.fit_readout import prefix_readout
from ccm_jax.fit_tracker import TrackChoices, choose_tracker, fit_tracker, tracker

FIELD = 5


def matrices(count: int) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(1), count + 1)
    middle = jax.scipy.linalg.expm(
        0.3 * jnp.triu(jnp.ones((FIELD, FIELD)), 1) - 0.3 * jnp.tril(jnp.ones((FIELD, FIELD)), -1)
    )
    return [middle, *(0.1 * jax.random.normal(key, (FIELD, FIELD)) for key in keys[1:])]


def family(features: Any = None) -> Chart:
    middle, direction, aside = matrices(2)
    experts = [{"m": middle - direction}, {"m": middle + direction}]
    return fit_chart({"m": middle + 0.4 * aside}, experts, [-1.0, 1.0], features=features)


def apply(params: Any, window: jax.Array) -> jax.Array:
    frame = jnp.einsum("ij,nxjc->nxic", params["m"], window[:, -1])
    return frame / jnp.sqrt(jnp.mean(frame**2, axis=(1, 2, 3), keepdims=True))  # neither grows nor decays


rollout_fn = make_rollout(apply)
linear_fn = make_rollout(lambda params, window: jnp.einsum("ij,nxjc->nxic", params["m"], window[:, -1]))


def observe(path: Any, count: int = 3, seed: int = 7, noise: float = 0.0, model: Any = rollout_fn) -> jax.Array:
    """Trajectories whose frames follow a path of coordinates, ``[count, T + 1, 1, FIELD, 1]``."""
    chart, path = family(), jnp.asarray(path, jnp.float32).reshape(-1, 1)
    start = jax.random.normal(jax.random.key(seed), (count, 1, 1, FIELD, 1))
    frames = jax.vmap(lambda window: rollout_along(chart, model, window, path))(start)
    x = jnp.concatenate([start, frames], axis=1)
    return x + noise * jax.random.normal(jax.random.key(seed + 1), x.shape)


def test_where_all_is_linear_the_filter_is_least_squares_with_a_prior() -> None:
    x = observe([0.6] * 7, noise=0.05, model=linear_fn)[0]
    one = tracker(family(), linear_fn, observation_noise=0.1)
    track = one(x)
    middle, direction, _ = matrices(2)
    before, after = x[:-1, 0, :, 0], x[1:, 0, :, 0]
    size = jnp.linalg.norm(after, axis=1, keepdims=True)
    slope, offset = (before @ direction.T) / size / 0.1, (before @ middle.T - after) / size / 0.1
    for count in (1, 4, 7):  # frames so far: nothing starts anew
        precision = 1.0 + jnp.sum(slope[:count] ** 2)
        np.testing.assert_allclose(
            track.coordinate[count - 1, 0], -jnp.sum((slope * offset)[:count]) / precision, atol=1e-4
        )
        np.testing.assert_allclose(track.std[count - 1, 0], precision**-0.5, rtol=1e-4)
    assert int(track.first_narrow(float(2 * 1.6449 * track.std[3, 0]) * 1.001)) == 4
    assert int(track.first_narrow(1e-6)) == -1
    assert bool(jnp.all(jnp.diff(track.interval()[:, 0], axis=-1)[1:] < jnp.diff(track.interval()[:, 0], axis=-1)[:-1]))


@pytest.mark.parametrize("features", [None, Gated()])
def test_without_process_noise_it_agrees_with_the_readout_of_all_frames_at_once(features: Any) -> None:
    chart, x = family(features), observe([-1.3] * 6, noise=0.01)
    batch = prefix_readout(family(), rollout_fn, frames=6, begin=0)(x, batch="each").coordinate
    found = tracker(chart, rollout_fn, steps=6, observation_noise=0.02)(x, batch="each")
    np.testing.assert_allclose(found.coordinate[:, -1], batch, atol=0.05)
    np.testing.assert_allclose(found.coordinate[:, -1], -1.3, atol=0.1)


def test_frames_come_one_by_one_and_a_path_is_followed() -> None:
    path = np.linspace(-1.2, 1.2, 25)
    x = observe(path)
    one = tracker(family(Gated()), rollout_fn, process_noise=0.1, observation_noise=2e-3)
    track = one(x[0])
    update, state = jax.jit(lambda tracker, state, frame: tracker.update(state, frame)), one.start(x[0, :1])
    for frame in x[0, 1:]:
        state = update(one, state, frame)
    np.testing.assert_allclose(state.belief.coordinate, track.coordinate[-1], atol=1e-5)
    assert int(state.seen) == len(path) + 1
    np.testing.assert_allclose(track.coordinate[5:, 0], path[5:], atol=0.1)
    trend = dataclasses.replace(one, rate_noise=jnp.full(1, 0.01), rate_std=jnp.full(1, 0.1))
    found = trend(x[0])
    assert np.abs(found.predicted[8:, 0] - path[8:]).mean() < np.abs(track.predicted[8:, 0] - path[8:]).mean()
    np.testing.assert_allclose(found.rate[-1], path[1] - path[0], atol=0.02)
    going_on = trend.ahead(found, 40)[:, 0]
    np.testing.assert_allclose(going_on[:4], path[-1] + (path[1] - path[0]) * np.arange(1, 5), atol=0.1)
    assert float(going_on[-1]) == 2.5 and np.ptp(trend.ahead(found, 4, linear=False)) == 0


def test_a_window_and_longer_rollouts_and_several_axes() -> None:
    middle, *axes = matrices(2)
    experts = [{"m": middle + sign * axis} for axis in axes for sign in (-1.0, 1.0)]
    coordinates = [[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]]
    chart = fit_chart({"m": middle}, experts, coordinates, features=Polynomial(dim=2))
    start = jax.random.normal(jax.random.key(3), (2, 1, FIELD, 1))  # a window of two frames

    def two(params: Any, window: jax.Array) -> jax.Array:
        return apply(params, window) + 0.1 * window[:, 0]

    model = make_rollout(two)
    x = jnp.concatenate([start, rollout_along(chart, model, start, jnp.tile(jnp.array([[0.5, -0.8]]), (9, 1)))])
    track = tracker(chart, model, history=2, steps=3, observation_noise=0.01)(x)
    assert track.coordinate.shape == (9, 2) and track.interval(0.5).shape == (9, 2, 2)
    np.testing.assert_allclose(track.coordinate[-1], [0.5, -0.8], atol=0.02)
    path = jnp.tile(jnp.array([0.5, -0.8]), (1, 9, 1))
    assert float(one_step_errors(chart, model, x[None], path, history=2).max()) < 1e-3
    with pytest.raises(ValueError, match="a coordinate for every frame"):
        one_step_errors(chart, model, x[None], path)


def test_what_is_not_finite_tells_nothing() -> None:
    def explosive(params: Any, window: jax.Array) -> jax.Array:  # the prior's mean is fine, half a unit up is not
        return jnp.where(params["m"][0, 0] * sign > limit, jnp.inf, 1.0) * apply(params, window)

    chart = family()
    sign = float(jnp.sign(matrices(2)[1][0, 0]))
    limit = sign * float(chart(0.5)["m"][0, 0])
    x = observe([1.5] * 5)[0]
    track = tracker(chart, make_rollout(explosive), process_noise=0.1, observation_noise=1e-3)(x)
    assert bool(jnp.all(jnp.isfinite(track.coordinate))) and bool(jnp.all(track.coordinate <= 0.5))
    nothing = make_rollout(lambda params, window: jnp.nan * apply(params, window))
    with pytest.warns(UserWarning, match="^Tracker: every rollout diverges on these frames; check that axes"):
        silent = tracker(chart, nothing, process_noise=0.5)(x)
    assert bool(jnp.all(silent.coordinate == 0.0)) and bool(jnp.all(jnp.isinf(silent.error)))
    np.testing.assert_allclose(silent.std[:, 0], jnp.sqrt(1 + 0.25 * jnp.arange(1, 6)), rtol=1e-5)
    gap = tracker(chart, rollout_fn, process_noise=0.1, observation_noise=1e-3)
    update, state = jax.jit(lambda tracker, state, frame: tracker.update(state, frame)), gap.start(x[:1])
    for frame in (x[1], jnp.full_like(x[2], jnp.nan), x[3], x[4], x[5]):
        state = update(gap, state, frame)
    np.testing.assert_allclose(state.belief.coordinate, 1.5, atol=0.05)


def test_frames_with_gaps_are_skipped_where_nan_is_missing() -> None:
    x = observe([0.6] * 7, noise=0.05)[0]
    track = tracker(family(), rollout_fn)(x.at[3, 0].set(jnp.nan), missing="nan")
    assert bool(jnp.isfinite(track.coordinate).all())
    with pytest.raises(ValueError, match="Tracker: frames contain NaN or infinite values; start at a whole window"):
        tracker(family(), rollout_fn)(x.at[0].set(jnp.nan), missing="nan")
    with pytest.raises(ValueError, match="Tracker: missing is 'zero', expected 'refuse' or 'nan'"):
        tracker(family(), rollout_fn)(x, missing="zero")  # type: ignore[arg-type]


def test_validation_finds_the_noises_and_the_fit_follows_other_paths() -> None:
    walks = 0.15 * np.cumsum(np.random.default_rng(0).standard_normal((3, 20)), axis=1)
    # Less noise could not be told from the walk: frames say where the coordinate is to within 0.1 noise / 0.05.
    sets = [observe(walk, seed=10 * i, noise=0.05) for i, walk in enumerate(walks)]
    chosen = choose_tracker(family(), rollout_fn, sets, choices=TrackChoices(steps=(1,)))
    assert [found.order for found in chosen.tried] == [0, 1, 2]
    walk = chosen.tried[0]
    assert 0.05 < walk.process_noise < 0.5 and 0.003 < walk.observation_noise < 0.05
    path = np.sin(np.linspace(0, 4, 20))
    track = chosen.tracker(observe(path, seed=99, noise=0.05), batch="each")
    assert np.abs(np.asarray(track.coordinate)[:, 4:, 0] - path[4:]).mean() < 0.15
    ends = np.asarray(track.interval(0.9))[:, 4:, 0]
    inside = (ends[..., 0] <= path[4:]) & (path[4:] <= ends[..., 1])
    assert float(inside.mean()) > 0.7


def test_bad_input_is_named() -> None:
    chart, x = family(), observe([0.5] * 4)
    for settings, message in (
        ({"gate": True}, "no gate"),
        ({"steps": 0}, "steps is 0, expected a whole number of at least 1"),
        ({"process_noise": -1.0}, "process_noise is -1.0"),
        ({"observation_noise": 0.0}, "above 0"),
        ({"proces_noise": 1.0}, "no setting proces_noise"),
        ({"process_noise": "a"}, "tracker: process_noise is 'a', expected real numbers"),
        ({"reach": "far"}, "tracker: reach is 'far'"),
    ):
        with pytest.raises(ValueError, match=message):
            tracker(chart, rollout_fn, **settings)  # type: ignore[arg-type]
    one = tracker(chart, rollout_fn)
    for frames, message in ((x[0, :1], "T above the 1"), (x[0].at[2].set(jnp.nan), "NaN or infinite")):
        with pytest.raises(ValueError, match=message):
            one(frames)
    with pytest.raises(ValueError, match="one by one"):
        one.start(x[0])
    with pytest.raises(ValueError, match=r"^Tracker.update: frame has shape .*, expected \[\*space, C\] = .*as those"):
        one.update(one.start(x[0, :1]), x[0, 1][..., None])
    with pytest.raises(ValueError, match="^tracker: chart is a Rollout, expected a Chart.*(chart, rollout_fn)"):
        tracker(rollout_fn, chart)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="between 0 and 1"):
        one(x[0]).interval(90)
    nothing = make_rollout(lambda params, window: jnp.nan * apply(params, window))
    for validation, model, message in (
        ([], rollout_fn, "validation is empty"),
        ([x[:, :2]], rollout_fn, "at least 3"),
        ([x.at[0, 1].set(jnp.nan)], rollout_fn, "NaN or infinite"),
        ([x], nothing, "every choice diverges"),
    ):
        with pytest.raises(ValueError, match=f"fit_tracker.*{message}"):
            fit_tracker(chart, model, validation, choices=TrackChoices(steps=(1,), order=(0,)))


def test_frames_unlike_those_of_validation_are_noticed() -> None:
    x = observe(np.linspace(-0.5, 0.5, 12), noise=0.01)
    fitted = fit_tracker(family(), rollout_fn, [x], choices=TrackChoices(steps=(1,), order=(0,)))
    fitted(x[0])
    with pytest.warns(UserWarning, match="^Tracker: the frames are about 1,000 times larger than those of validation"):
        fitted(1000 * x[0])
    with pytest.raises(
        ValueError, match=r"^Tracker: frames .* one trajectory .* as in validation .* per trajectory\.$"
    ):
        fitted(x)
    with pytest.raises(ValueError, match=r"^rollout_along: window has shape .* expected \[history, \*space, C\] and"):
        rollout_along(family(), rollout_fn, jnp.ones(3), jnp.zeros((2, 1)))


def test_a_jump_is_followed_at_once_and_its_rate_stays() -> None:
    path = np.where(np.arange(24) < 12, -0.8, 0.9).astype(np.float32)
    x = observe(path, seed=3)
    how: dict[str, Any] = {"process_noise": 0.02, "rate_noise": 0.01, "rate_std": 0.1, "observation_noise": 1e-3}
    plain, jumping = (tracker(family(), rollout_fn, jump_probability=p, **how) for p in (0.0, 0.05))
    off = {p: np.abs(np.asarray(one(x[0]).predicted)[:, 0] - path) for p, one in ((0.0, plain), (0.05, jumping))}
    assert off[0.05][12] > 1.5  # nobody sees a jump before it happens
    assert off[0.05][13:].max() < 0.05 < 0.2 < off[0.0][13:].max()
    np.testing.assert_allclose(off[0.05][6:12], off[0.0][6:12], atol=1e-5)  # where none happens, none is made


def test_an_acceleration_follows_what_bends() -> None:
    path = 1.2 * np.sin(2 * np.pi * np.arange(30) / 20)
    x = observe(path, seed=4)
    how: dict[str, Any] = {"rate_std": 0.3, "observation_noise": 1e-4}
    straight = tracker(family(), rollout_fn, rate_noise=0.1, **how)(x[0])
    bent = tracker(family(), rollout_fn, acceleration_noise=0.03, acceleration_std=0.1, **how)(x[0])
    errors = [np.abs(np.asarray(track.predicted)[6:, 0] - path[6:]).mean() for track in (straight, bent)]
    assert errors[1] < 0.6 * errors[0]


def test_frames_that_the_model_explains_badly_count_less() -> None:
    path = np.linspace(-0.5, 0.5, 16)
    x = observe(path, seed=5)[0]
    spoilt = x.at[8].add(0.3 * jax.random.normal(jax.random.key(0), x[8].shape))
    how: dict[str, Any] = {"rate_noise": 0.02, "rate_std": 0.1, "observation_noise": 1e-3}
    off = [
        np.abs(np.asarray(tracker(family(), rollout_fn, relative_noise=n, **how)(spoilt).coordinate)[9:, 0] - path[9:])
        for n in (0.0, 1.0)
    ]
    assert off[1].max() < 0.5 * off[0].max()


@pytest.mark.long
def test_paths_that_are_known_widen_the_intervals_until_they_contain_them() -> None:
    rng = np.random.default_rng(2)
    walks = 0.1 * np.cumsum(rng.standard_normal((2, 14)), axis=1)
    sets = [observe(walk, seed=10 * i) for i, walk in enumerate(walks)]
    # What explains the frames is not the coordinate that is meant.
    shifted = [walk[:, None] + 0.2 * rng.standard_normal((14, 1)) for walk in walks]
    how: dict[str, Any] = {"choices": TrackChoices(steps=(1,), order=(0,))}
    plain, fitted = (fit_tracker(family(), rollout_fn, sets, paths=p, **how) for p in (None, shifted))
    np.testing.assert_allclose(plain(sets[0][0]).coordinate, fitted(sets[0][0]).coordinate)

    def covered(one: Any) -> float:
        ends = [np.asarray(one(x, batch="each").interval(0.9))[..., 0, :] for x in sets]
        pairs = list(zip(ends, (path[:, 0] for path in shifted), strict=True))
        return float(np.mean([(e[..., 0] <= true) & (true <= e[..., 1]) for e, true in pairs]))

    assert float(plain.bias_std[0]) == 0
    assert covered(plain) < 0.6 and covered(fitted) > 0.85
    with pytest.raises(ValueError, match="a path has shape"):
        fit_tracker(family(), rollout_fn, sets, paths=[walk[3:, None] for walk in walks], **how)


def test_a_track_at_the_end_of_its_range_or_no_better_than_stillness_is_noticed() -> None:
    one, x = tracker(family(), rollout_fn), observe(np.linspace(-0.5, 0.5, 12), noise=0.01)
    one(x[0])  # warnings are errors in tests
    with pytest.warns(
        UserWarning, match=r"in 1\d of 12 frames, the coordinate is at the edge of the search range, \[-2.5\] to"
    ):
        tracker(family(), rollout_fn, std=10.0, process_noise=1.0)(observe([4.0] * 12)[0])
    still = jnp.broadcast_to(x[0, :1], x[0].shape) * (1 + 1e-3 * jnp.arange(13.0)[:, None, None, None])
    with pytest.warns(
        UserWarning, match="repeating the last frame has error 0.00.* on these frames, no more than the netw"
    ):
        one(still)
    with pytest.raises(ValueError, match="steps is -3, expected a whole number of at least 1"):
        one.ahead(one.start(x[0, :1]), -3)


def test_experts_are_at_one_to_the_last_bit() -> None:
    from ccm_jax import coordinate_from_metadata

    for value, c in ((0.03, -1.0), (0.038, 1.0), (0.034, 0.0)):
        assert float(coordinate_from_metadata(value, 0.03, 0.038).coordinate[0]) == pytest.approx(c, abs=1e-15)
