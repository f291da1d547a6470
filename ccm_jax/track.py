"""Tracks the coordinate of a trajectory frame by frame, with an iterated extended Kalman filter.

    c_t = c_{t-1} + v_{t-1} + a_{t-1} / 2 + process noise  (+ a jump, with a small probability)
    v_t = v_{t-1} + a_{t-1} + rate noise,    a_t = a_{t-1} + acceleration noise
    frame_t = rollout(weights(c_t), earlier frames) + observation noise

If the parameter drifts, the filter follows it. Without process noise, it estimates a constant parameter from more and
more frames, without recomputation. :func:`ccm_jax.fit_tracker` makes a tracker from validation trajectories.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import as_count, is_traced
from ccm_jax._frames import as_frames
from ccm_jax._given import SINGLE, check_axes
from ccm_jax._reasons import raised
from ccm_jax._shown import shown
from ccm_jax._track_doubts import warn_of_track
from ccm_jax.chart import Chart
from ccm_jax.kalman import Belief, Noises, Quadratic, condition, jump_odds, jumped, noise_of, predict, weigh
from ccm_jax.minimize import slopes_along
from ccm_jax.observed import Missing
from ccm_jax.parallel import candidates_at_once
from ccm_jax.rollout import RolloutFn, call_rollout
from ccm_jax.tracked import Track

Array = jax.Array


class TrackState(NamedTuple):
    """The filter's state after a frame; a pytree of fixed shapes, for ``jit`` and ``scan``.

    Attributes:
        belief: mean and covariance of the coordinate, its rate and its acceleration.
        window: the last frames, the oldest first, ``[history + steps - 1, *space, C]``; filled from the left.
        seen: frames of the trajectory so far.
    """

    belief: Belief
    window: Array
    seen: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Tracker:
    """A filter over the coordinate of a chart; a pytree, so it can be jitted and saved.

    A rollout from ``steps`` frames earlier predicts the newest frame, which is compared once: its relative residual r
    has a Gauss-Newton quadratic in c, which the filter combines with its current estimate.

        minimise_c  |r(c)|^2 / (2 observation_noise^2)  +  (c - predicted)^T P^-1 (c - predicted) / 2

    Attributes:
        chart: weights as a function of coordinates; with :class:`~ccm_jax.Gated` features, a mean without a gate keeps
            it at 1, and a mean with a gate has it filtered too.
        mean: mean of the coordinate before the first frame, ``[d]``.
        std: standard deviation of the coordinate before the first frame, ``[d]``; 0 keeps an axis where it is.
        rate_std: standard deviation of the rate before the first frame, per frame, ``[d]``; 0 with a rate noise of 0 is
            a random walk.
        process_noise: standard deviation of the coordinate's own change per frame, ``[d]``; 0 for a constant.
        rate_noise: standard deviation of the rate's own change per frame, ``[d]``.
        acceleration_std: standard deviation of the acceleration before the first frame, per frame squared, ``[d]``; 0
            with an acceleration noise of 0 is a linear trend.
        acceleration_noise: standard deviation of the acceleration's change per frame, ``[d]``.
        jump_std: standard deviation of a jump of the coordinate, ``[d]``.
        jump_probability: probability of a jump in a frame; where a frame makes a jump more probable than none, the
            coordinate may move at once, and its rate stays.
        observation_noise: standard deviation of r along the direction in which the coordinate moves it.
        relative_noise: the same as a share of the residual that no coordinate explains, so that a frame that the model
            predicts badly counts less.
        bias_std: standard deviation of the true coordinate around the one that explains the frames best, ``[d]``.
        low: lowest coordinate, ``[d]``.
        high: highest coordinate, ``[d]``.
        rollout_fn: as of :class:`~ccm_jax.PrefixReadout`.
        history: frames in the model's window.
        steps: length of the rollout that ends in the newest frame; the first frames have fewer before them.
        iterations: Gauss-Newton steps per frame.
        known: shape ``[*space, C]`` of the validation frames that decided on the noise levels; None without validation.
        sizes: lowest and highest root mean square of validation trajectories, ``[2]``; None without validation.
    """

    chart: Chart
    mean: Array
    std: Array
    rate_std: Array
    process_noise: Array
    rate_noise: Array
    acceleration_std: Array
    acceleration_noise: Array
    jump_std: Array
    jump_probability: Array
    observation_noise: Array
    relative_noise: Array
    bias_std: Array
    low: Array
    high: Array
    rollout_fn: RolloutFn = field(metadata={"static": True})
    history: int = field(default=1, metadata={"static": True})
    steps: int = field(default=1, metadata={"static": True})
    iterations: int = field(default=3, metadata={"static": True})
    known: tuple[int, ...] | None = field(default=None, metadata={"static": True})
    sizes: Array | None = None

    def __repr__(self) -> str:
        return shown(self)

    @property
    def belief(self) -> Belief:
        """The belief before the first frame."""
        variance = jnp.concatenate([self.std, self.rate_std, self.acceleration_std]) ** 2
        none = jnp.zeros_like(self.mean)
        return Belief(self.mean, none, none, jnp.diag(variance))

    @property
    def noises(self) -> Noises:
        """What a frame without a jump adds."""
        return Noises(self.process_noise, self.rate_noise, self.acceleration_noise)

    def start(self, frames: Any) -> TrackState:
        """The state after the first window, ``[history, *space, C]``: the prior."""
        x = as_frames(self.chart, frames)
        if x.ndim < 2 or len(x) != self.history:
            raise ValueError(
                f"Tracker.start: frames have shape {x.shape}, expected the {self.history} of the model's window, "
                "[history, *space, C]; pass the frames after them to update, one by one."
            )
        window = jnp.concatenate([x, jnp.zeros((self.steps - 1, *x.shape[1:]), x.dtype)])
        return TrackState(self.belief, window, jnp.int32(self.history))

    def update(self, state: TrackState, frame: Array, context: Any = None) -> TrackState:
        """The state after one frame more, ``[*space, C]``; pure, for ``jit`` and ``lax.scan``.

        A frame that is not finite, or whose rollout is not, carries no information: the state advances as if it was not
        observed.

        Args:
            state: before the frame.
            frame: ``[*space, C]``.
            context: the model's inputs besides the window, a tree of arrays without a batch axis.

        Raises:
            ValueError: for a frame of another shape than those before it.
        """
        frame = jnp.asarray(frame, state.window.dtype)
        if frame.shape != state.window.shape[1:]:
            raise ValueError(
                f"Tracker.update: frame has shape {list(frame.shape)}, expected [*space, C] = "
                f"{list(state.window.shape[1:])}, as those before it."
            )
        return advance(self, state, frame, context)[0]

    def ahead(self, state: TrackState | Track, steps: int, *, linear: bool = True) -> Array:
        """Coordinates of future frames, ``[..., steps, d]``, for :func:`~ccm_jax.rollout_along`.

        Args:
            state: of the filter, or a :class:`Track`, of which the last frame counts.
            steps: frames to come.
            linear: whether to extrapolate the coordinate at its rate, within ``low`` and ``high``, or to hold it.
        """
        steps = as_count("Tracker.ahead: steps", steps)
        if isinstance(state, Track):
            c, rate = state.coordinate[..., -1, :], state.rate[..., -1, :]
        else:
            c, rate, *_ = state.belief
        along = jnp.arange(1, steps + 1, dtype=c.dtype)[:, None] * (1.0 if linear else 0.0)
        ranks = (1,) * (c.ndim - 1)
        along, low, high = (a.reshape(*ranks, *a.shape) for a in (along, self.low[None], self.high[None]))
        return jnp.clip(c[..., None, :] + along * rate[..., None, :], low, high)

    def __call__(
        self, frames: Any, *, batch: Literal["each"] | None = None, context: Any = None, missing: Missing = "refuse"
    ) -> Track:
        """Filters all frames of a trajectory.

        Args:
            frames: of one trajectory, ``[T, *space, C]``, or of a batch, ``[N, T, *space, C]``, in the model's units.
            batch: None for one trajectory, ``"each"`` for a batch.
            context: the model's inputs besides the window, a tree of arrays (``[N, ...]`` for a batch).
            missing: ``"nan"`` skips frames after the first window that contain NaN; ``"refuse"`` refuses them.

        Returns:
            A :class:`Track` of the ``T - history`` frames after the first window.

        Raises:
            ValueError: for frames that are too few, NaN, infinite, or of another shape than the model's; under ``jit``,
                for shapes.

        Warns:
            UserWarning: if the frames are 30 times larger or smaller than any of validation, if the network is not
                better than the last frame repeated, or if the coordinate is mostly at the edge of the search range.
        """
        if batch not in (None, "each"):
            raise ValueError(f"Tracker: batch is {batch!r}, expected None or 'each'.")
        x = as_frames(self.chart, frames)
        if batch is None:
            x, context = x[None], jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)
        if x.ndim < 3 or x.shape[1] <= self.history or not len(x):
            raise ValueError(
                f"Tracker: frames have shape {np.shape(frames)}, expected {'[N, ' if batch else '['}T, *space, C] with "
                f"T above the {self.history} of the model's window."
            )
        if missing not in ("refuse", "nan"):
            raise ValueError(f"Tracker: missing is {missing!r}, expected 'refuse' or 'nan'.")
        needed = x[:, : self.history] if missing == "nan" else x
        if not is_traced(x) and not bool(jnp.isfinite(needed).all()):
            remedy = "start at a whole window" if missing == "nan" else "fix them, or skip them with missing='nan'"
            raise ValueError(f"Tracker: frames contain NaN or infinite values; {remedy}.")
        check_axes("Tracker", self.known, np.shape(frames), x.ndim)
        plain = dataclasses.replace(self, known=None, sizes=None)  # one program, with validation or without
        try:
            track, _ = filtered(plain, x, context)
        except ValueError as error:
            wanted = "expected a batch [N, T, *space, C]" if batch else f"{SINGLE}; for a batch, pass batch='each'"
            raise ValueError(
                f"Tracker: frames have shape {list(np.shape(frames))}, {wanted}. {raised(error)}"
            ) from error
        warn_of_track("Tracker", self, x, track)
        return track if batch else jax.tree.map(lambda leaf: leaf[0], track)


def advance(
    tracker: Tracker, state: TrackState, frame: Array, context: Any = None
) -> tuple[TrackState, Track, Quadratic]:
    """One frame of the filter: the new state, the frame's line of the track, and the quadratic that it was read by."""
    history = tracker.history
    prior = predict(state.belief, tracker.noises)
    filled = jnp.minimum(state.seen, len(state.window))
    last = filled - history  # where the rollout from the oldest frames meets the newest one
    begin, given = state.window[None, :history], jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)
    size = jnp.sqrt(jnp.sum(frame**2))

    def residual(c: Array) -> Array:
        weights = tracker.chart(c)
        frames = call_rollout(tracker.rollout_fn, weights, begin, tracker.steps, given, state.seen - last)[0]
        return ((frames[last] - frame) / size).ravel().astype(c.dtype)

    def look(c: Array) -> Quadratic:
        r, slopes = slopes_along(residual, c, tuple(range(len(c))))  # [p], [d, p]
        found = (jnp.sum(r**2), slopes @ r, slopes @ slopes.T)
        usable = jnp.stack([jnp.isfinite(x).all() for x in found]).all()
        return Quadratic(c, *(jnp.where(usable, x, bad) for x, bad in zip(found, (jnp.inf, 0.0, 0.0), strict=True)))

    def settle(prior: Belief, w: Array, looks: int, noise: Array) -> tuple[Belief, Quadratic]:
        def body(_: Any, carry: Any) -> Any:
            kept, w = carry[0], carry[1]
            new = look(jnp.clip(prior.coordinate - prior.spread @ w, tracker.low, tracker.high))
            score = new.loss / (2 * noise**2) + w @ prior.spread @ w / 2
            better = score < kept[0]
            kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), (score, w, new), kept)
            # A step that does not lower the objective, or whose rollout diverges, is taken back to a quarter of it.
            return kept, jnp.where(better, weigh(prior, new, noise), kept[1] + (w - kept[1]) / 4)

        nothing = Quadratic(prior.coordinate, jnp.full_like(none[0], jnp.inf), none, jnp.zeros_like(prior.spread))
        carry = ((nothing.loss, none, nothing), w)
        (_, w, seen), _ = jax.lax.fori_loop(0, looks, body, carry)
        return condition(prior, seen, noise, w), seen

    none = jnp.zeros_like(prior.coordinate)
    smooth, seen = settle(prior, none, tracker.iterations + 1, tracker.observation_noise)
    noise = noise_of(seen, tracker.observation_noise, tracker.relative_noise)
    doubtful = condition(prior, seen, noise, weigh(prior, seen, noise))
    smooth = jax.tree.map(lambda a, b: jnp.where(tracker.relative_noise > 0, a, b), doubtful, smooth)
    wide = jumped(prior, tracker.jump_std)
    jumps = jump_odds(prior, wide, seen, noise, tracker.jump_probability) > 0
    # A jump begins from what the smooth search has found, so two looks are enough.
    belief, seen = jax.lax.cond(jumps, lambda: settle(wide, weigh(wide, seen, noise), 2, noise), lambda: (smooth, seen))
    belief = belief._replace(coordinate=jnp.clip(belief.coordinate, tracker.low, tracker.high))
    window = jnp.where(state.seen >= len(state.window), jnp.roll(state.window, -1, axis=0), state.window)
    window = window.at[jnp.minimum(state.seen, len(window) - 1)].set(frame)
    std = jnp.sqrt(jnp.maximum(jnp.diag(belief.spread), 0.0) + tracker.bias_std**2)
    expected = jnp.clip(prior.coordinate, tracker.low, tracker.high)
    line = Track(belief.coordinate, belief.rate, std, expected, jnp.sqrt(seen.loss))
    return TrackState(belief, window, state.seen + 1), line, seen


@jax.jit
def filtered(tracker: Tracker, x: Array, context: Any = None) -> tuple[Track, Quadratic]:
    """Filters trajectories ``[N, T, *space, C]``: tracks ``[N, T - history, ...]``, and the quadratics behind them."""

    def one(given: tuple[Array, Any]) -> tuple[Track, Quadratic]:
        x, context = given

        def body(state: TrackState, frame: Array) -> tuple[TrackState, tuple[Track, Quadratic]]:
            state, line, seen = advance(tracker, state, frame, context)
            return state, (line, seen)

        return jax.lax.scan(body, tracker.start(x[: tracker.history]), x[tracker.history :])[1]

    size = candidates_at_once(tracker.chart.origin, x[:1], len(x))
    return jax.lax.map(one, (x, context), batch_size=size if size > 1 else None)
