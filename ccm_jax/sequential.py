"""Processes frames as they arrive: the coordinate of a constant parameter after each frame, and when to stop.

    interval_K = coordinate_K ± z * factor_K * std_K

Coordinate and deviation come from a filter without process noise (:mod:`ccm_jax.track`), which uses each frame once.
Its deviation includes the noise of frames, but not the model's systematic errors. The factor accounts for these: it is
the spread of the coordinates found on trajectories of one validation regime after K frames, in deviations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import as_count, counted
from ccm_jax._frames import as_frames, sizes_of
from ccm_jax._given import check_model
from ccm_jax._shown import shown
from ccm_jax.chart import Chart
from ccm_jax.fit_readout import REACH
from ccm_jax.fit_tracker import FIRST, NOISES, log_likelihoods, tracker, with_noises
from ccm_jax.rollout import RolloutFn
from ccm_jax.track import Tracker, TrackState, filtered
from ccm_jax.tracked import Track
from ccm_jax.uncertainty import inflation_of

Array = jax.Array
NAME = "fit_sequential"


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Sequential:
    """A filter over a constant coordinate, with calibrated intervals; a pytree, so it can be jitted and saved.

    Attributes:
        tracker: with no process noise.
        factors: factors of its deviations after K frames, ``[K, d]``; the last one applies from then on.
    """

    tracker: Tracker
    factors: Array

    def __repr__(self) -> str:
        return shown(self)

    def __call__(self, frames: Any, *, batch: Literal["each"] | None = None, context: Any = None) -> Track:
        """Reads the coordinate off the first frames, off one more, and so on.

        Args:
            frames: of one trajectory, ``[T, *space, C]``, or of a batch, ``[N, T, *space, C]``, in the model's units.
            batch: None for one trajectory, ``"each"`` for a batch.
            context: the model's inputs besides the window, a tree of arrays (``[N, ...]`` for a batch).

        Returns:
            A :class:`~ccm_jax.Track`, of which ``interval(level)`` are the intervals after each frame and
            ``first_narrow(width)`` is the number of frames after which the coordinate is known well enough.

        Raises:
            ValueError: for frames that are too few, NaN or infinite.
        """
        track = self.tracker(frames, batch=batch, context=context)
        count = track.std.shape[-2]
        factors = self.factors[jnp.minimum(jnp.arange(count), len(self.factors) - 1)]
        return track._replace(std=track.std * factors.reshape(*(1,) * (track.std.ndim - 2), *factors.shape))

    def start(self, frames: Any) -> TrackState:
        """The state after the first window, ``[history, *space, C]``."""
        return self.tracker.start(frames)

    def update(self, state: TrackState, frame: Array, context: Any = None) -> TrackState:
        """The state after one frame more, ``[*space, C]``; pure, for ``jit`` and ``lax.scan``."""
        return self.tracker.update(state, frame, context)

    def deviation(self, state: TrackState) -> Array:
        """The standard deviation of the coordinate in a state, ``[d]``."""
        seen = jnp.clip(state.seen - self.tracker.history - 1, 0, len(self.factors) - 1)
        return self.factors[seen] * jnp.sqrt(jnp.maximum(jnp.diag(state.belief.spread), 0.0))


def fit_sequential(
    chart: Chart,
    rollout_fn: RolloutFn,
    validation: Sequence[Any],
    *,
    history: int = 1,
    reach: float = REACH,
    level: float = 0.9,
    contexts: Sequence[Any] | None = None,
) -> Sequential:
    """Fits a readout for frames that arrive one by one, with a constant parameter.

    The observation noise is the maximum-likelihood one without process noise. The factors scale intervals of
    probability ``level`` so that they cover the mean coordinate of a regime, over the trajectories of all validation
    regimes.

    Args:
        chart: weights as a function of coordinates; a gate stays at 1.
        rollout_fn: as of :class:`~ccm_jax.PrefixReadout`.
        validation: trajectories of each regime, ``[N, T, *space, C]``, two or more per regime; their values need not
            be known.
        history: frames in the model's window.
        reach: the coordinate stays within ``[-reach, reach]`` along every axis; 2.5 by default.
        level: the coverage that intervals are calibrated to.
        contexts: the model's inputs besides the window, for each regime.

    Returns:
        A :class:`Sequential`.

    Raises:
        ValueError: for regimes of one trajectory, or trajectories that are too short or not finite.

    Example:
        >>> from ccm_jax import fit_chart, make_rollout
        >>> anchor, low, high = ({"rate": jnp.array([r])} for r in (-1.0, -1.5, -0.5))
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
        >>> rollout_fn = make_rollout(lambda p, u: u[:, -1] * jnp.exp(0.1 * p["rate"][0]))
        >>> def decay(rate, key):  # noisy frames of three trajectories
        ...     t = jnp.arange(9.0)[None, :, None, None]
        ...     noise = 1 + 0.01 * jax.random.normal(jax.random.key(key), (3, 9, 8, 1))
        ...     return jnp.exp(0.1 * rate * t) * noise
        >>> read = fit_sequential(chart, rollout_fn, [decay(r, i) for i, r in enumerate((-1.4, -1.0, -0.6))])
        >>> track = read(decay(-0.8, 9)[0])
        >>> low, high = track.interval(0.9)[-1, 0]
        >>> bool(low < 0.4 < high), 1 <= int(track.first_narrow(0.5)) <= 8
        (True, True)

    Source: Kalman filter as in :mod:`ccm_jax.track`; factors as in split conformal prediction (Vovk et al., 2005).
    """
    check_model(NAME, chart, rollout_fn)
    history = as_count(f"{NAME}: history", history)
    sets = [as_frames(chart, x, f"{NAME}: frames of validation[{i}]") for i, x in enumerate(validation)]
    given = [None] * len(sets) if contexts is None else list(contexts)
    _check(sets, given, history)
    plain = tracker(chart, rollout_fn, history=history, reach=reach)
    seen = [filtered(with_noises(plain, *FIRST), x, c)[1] for x, c in zip(sets, given, strict=True)]
    likelihoods = np.sum([np.asarray(log_likelihoods(plain, q), np.float64) for q in seen], axis=0)
    constant = (NOISES[:, 1] == 0) & (NOISES[:, 2] == 0) & np.isfinite(likelihoods)
    if not constant.any():
        raise ValueError(
            f"{NAME}: no rollout is finite on validation; check that channels, units and normalization are those that "
            "the model was trained on."
        )
    fitted = with_noises(plain, *NOISES[int(np.argmax(np.where(constant, likelihoods, -np.inf)))].tolist())
    tracks = [filtered(fitted, x, c)[0] for x, c in zip(sets, given, strict=True)]
    sizes = jnp.asarray(sizes_of(sets, max(x.shape[1] for x in sets)), jnp.float32)
    fitted = dataclasses.replace(fitted, known=sets[0].shape[2:], sizes=sizes)
    return Sequential(fitted, jnp.asarray(_factors(tracks, level), jnp.float32))


def _factors(tracks: Sequence[Track], level: float) -> np.ndarray:
    """How far apart trajectories of one regime are found after K frames, in their deviations: ``[K, d]``."""
    shortest = min(track.std.shape[1] for track in tracks)
    standardised = []
    for track in tracks:
        c, std = (np.asarray(a, np.float64)[:, :shortest] for a in (track.coordinate, track.std))
        away = (c - c.mean(axis=0)) * np.sqrt(len(c) / (len(c) - 1))  # the mean was fitted
        standardised.append(away / np.maximum(std, 1e-12))
    z = np.concatenate(standardised)
    return np.array([[max(inflation_of(row, level), 1e-3) for row in column] for column in z.transpose(1, 2, 0)])


def _check(sets: Sequence[Array], contexts: Sequence[Any], history: int) -> None:
    if not sets or len(contexts) != len(sets):
        raise ValueError(
            f"{NAME}: got {counted(len(contexts), 'context')} for {counted(len(sets), 'regime')}; expected one regime "
            "or more, and one context per regime."
        )
    for i, x in enumerate(sets):
        if x.ndim < 3 or x.shape[1] <= history or len(x) < 2:
            raise ValueError(
                f"{NAME}: validation[{i}] has shape {list(x.shape)}, expected [N, T, *space, C] with two trajectories "
                f"or more, to estimate their scatter, and T above the {history} of the model's window."
            )
        if not bool(jnp.isfinite(x).all()):
            raise ValueError(f"{NAME}: validation[{i}] contains NaN or infinite values; fix or remove them.")
