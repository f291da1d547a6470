"""Fits a tracker: its noise levels by maximum likelihood, the length of its rollouts by one-step errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import as_count, as_number, check_one_each, check_real, is_traced
from ccm_jax._frames import as_frames, sizes_of
from ccm_jax._given import check_model
from ccm_jax.along import one_step_errors
from ccm_jax.chart import Chart, Gated
from ccm_jax.evaluate import as_error
from ccm_jax.fit_readout import REACH, TIED
from ccm_jax.noise_levels import NOISES, ORDERS, PRIOR, log_likelihoods, with_noises
from ccm_jax.rollout import RolloutFn
from ccm_jax.track import Tracker, filtered

Array = jax.Array

NORMAL = NormalDist().inv_cdf(0.95)  # half the width of a 90 % interval, in standard deviations
FIRST = (0.002, 0.0, 0.3, 0.0, 0.0, 0.0)  # of a filter that hardly remembers, so that every frame speaks for itself


class TrackChoices(NamedTuple):
    """The options that validation chooses among, besides the noise levels.

    Attributes:
        steps: lengths of the rollout that ends in the newest frame.
        order: 0 for a coordinate that walks at random, 1 for one with a rate (a local linear trend), 2 for one with a
            rate and an acceleration.
    """

    steps: tuple[int, ...] = (1, 2, 4)
    order: tuple[int, ...] = (0, 1, 2)


class TriedTracker(NamedTuple):
    """One choice, the noises of the largest likelihood for it, and the mean one-step error on validation."""

    steps: int
    order: int
    observation_noise: float
    relative_noise: float
    process_noise: float
    rate_noise: float
    acceleration_noise: float
    jump_probability: float
    log_likelihood: float
    error: float


class ChosenTracker(NamedTuple):
    """A tracker, and the choices that were tried."""

    tracker: Tracker
    tried: tuple[TriedTracker, ...]


def tracker(
    chart: Chart,
    rollout_fn: RolloutFn,
    *,
    history: int = 1,
    steps: int = 1,
    reach: float = 2.5,
    gate: bool = False,
    **settings: Any,
) -> Tracker:
    """A tracker with stated settings.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: as of :class:`~ccm_jax.PrefixReadout`.
        history: frames in the model's window.
        steps: length of the rollout that ends in the newest frame.
        reach: the coordinate stays within ``[-reach, reach]`` along every axis; 2.5 by default.
        gate: whether the gate of a :class:`~ccm_jax.Gated` chart is filtered too, or is 1.
        **settings: fields of :class:`Tracker` that differ, numbers for all axes or one for each. The defaults are those
            of a constant coordinate: no process noise, and an ``observation_noise`` of 0.01.

    Raises:
        ValueError: for numbers below 0, an observation noise of 0, or a gate that the chart does not have.

    Example:
        >>> from ccm_jax import fit_chart, make_rollout
        >>> anchor, low, high = ({"rate": jnp.array([r])} for r in (-1.0, -1.5, -0.5))
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
        >>> rollout_fn = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rate"][0]))
        >>> rates = jnp.linspace(-1.4, -0.6, 30)  # a parameter that drifts
        >>> frames = jnp.exp(0.1 * jnp.cumsum(rates))[:, None, None] * jnp.ones((30, 8, 1))
        >>> track = tracker(chart, rollout_fn, process_noise=0.1, observation_noise=1e-3)(frames)
        >>> [round(float(chart(c)["rate"][0]), 2) for c in track.coordinate[::14]]
        [-1.37, -0.99, -0.6]
    """
    check_model("tracker", chart, rollout_fn)
    gated = isinstance(chart.features, Gated)
    if gate and not gated:
        raise ValueError("tracker: gate is True, but the chart has no gate; fit it with features=Gated().")
    history, steps = as_count("tracker: history", history), as_count("tracker: steps", steps)
    if not as_number(reach, "tracker: reach") > 0:
        raise ValueError(f"tracker: reach is {reach}, expected a number above 0.")
    for name, value in settings.items():
        check_real(f"tracker: {name} is", value)
    d = chart.features.dim - (gated and not gate)
    axes = jnp.ones(d, jnp.float32)
    last = jnp.arange(d) == d - 1 if gate else jnp.zeros(d, bool)
    numbers: dict[str, Any] = {
        "mean": jnp.where(last, 1.0, 0.0),
        "std": jnp.where(last, 0.3, PRIOR),
        "rate_std": 0.0,
        "process_noise": 0.0,
        "rate_noise": 0.0,
        "acceleration_std": 0.0,
        "acceleration_noise": 0.0,
        "jump_std": PRIOR,
        "bias_std": 0.0,
        "low": jnp.where(last, 0.0, -reach),
        "high": jnp.where(last, 2.0, reach),
    }
    static = {"iterations": settings.pop("iterations")} if "iterations" in settings else {}
    relative = jnp.asarray(settings.pop("relative_noise", 0.0), jnp.float32)
    probability = jnp.asarray(settings.pop("jump_probability", 0.0), jnp.float32)
    noise = jnp.asarray(settings.pop("observation_noise", 0.01), jnp.float32)
    unknown = sorted(set(settings) - set(numbers))
    if unknown:
        raise ValueError(
            f"tracker: no setting {', '.join(unknown)}; there are observation_noise, relative_noise, jump_probability, "
            f"{', '.join(numbers)}."
        )
    numbers = {name: jnp.asarray(settings.get(name, value), jnp.float32) * axes for name, value in numbers.items()}
    for name in sorted(set(numbers) - {"mean", "low", "high"}):
        if not is_traced(numbers[name]) and not bool(jnp.all((numbers[name] >= 0) & jnp.isfinite(numbers[name]))):
            raise ValueError(f"tracker: {name} is {settings[name]}, expected a standard deviation of at least 0.")
    if not is_traced(noise) and not (noise.ndim == 0 and 0 < float(noise) < np.inf):
        raise ValueError(f"tracker: observation_noise is {noise}, expected a number above 0.")
    if not is_traced(relative) and not (relative.ndim == 0 and 0 <= float(relative) < np.inf):
        raise ValueError(f"tracker: relative_noise is {relative}, expected a number of at least 0.")
    if not is_traced(probability) and not (probability.ndim == 0 and 0 <= float(probability) < 1):
        raise ValueError(f"tracker: jump_probability is {probability}, expected a number of at least 0 and below 1.")
    numbers |= {"observation_noise": noise, "relative_noise": relative, "jump_probability": probability}
    return Tracker(chart, rollout_fn=rollout_fn, history=history, steps=steps, **static, **numbers)


def fit_tracker(
    chart: Chart,
    rollout_fn: RolloutFn,
    validation: Sequence[Any],
    *,
    history: int = 1,
    reach: float = REACH,
    choices: TrackChoices | None = None,
    contexts: Sequence[Any] | None = None,
    paths: Sequence[Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tracker:
    """Fits a filter over the coordinate on validation trajectories, whose true paths need not be known.

    For each choice, the noise levels maximise the likelihood of every frame given those before it (the prediction error
    decomposition). Then the choice with the smallest one-step error is taken, or the simplest of those that are tied.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: as of :class:`~ccm_jax.PrefixReadout`.
        validation: sets of trajectories, ``[N, T, *space, C]``, that drift as future ones may; their paths differ from
            those you test.
        history: frames in the model's window.
        reach: the coordinate stays within ``[-reach, reach]`` along every axis; 2.5 by default.
        choices: the options among which validation decides; the default is :class:`TrackChoices`.
        contexts: the model's inputs besides the window, for each set; see :func:`~ccm_jax.rollout.call_rollout`.
        paths: the true coordinates of each set after the first window, ``[T - history, d]`` or ``[N, T - history, d]``,
            where they are known: intervals are then widened until 90 % of those on validation contain them.
        progress: called as ``progress(done, total)`` after each step: all noise levels, then each order.

    Returns:
        A :class:`~ccm_jax.Tracker`.

    Raises:
        ValueError: for trajectories that are too short or not finite, or if every choice diverges.

    Source: Harvey (1989), *Forecasting, structural time series models and the Kalman filter*, chapter 3.
    """
    how: dict[str, Any] = {"history": history, "reach": reach, "contexts": contexts, "paths": paths}
    how["progress"] = progress
    return choose_tracker(chart, rollout_fn, validation, choices=choices, **how).tracker


def choose_tracker(
    chart: Chart,
    rollout_fn: RolloutFn,
    validation: Sequence[Any],
    *,
    history: int = 1,
    reach: float = REACH,
    choices: TrackChoices | None = None,
    contexts: Sequence[Any] | None = None,
    paths: Sequence[Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ChosenTracker:
    """What :func:`fit_tracker` does, with all that was tried."""
    check_model("fit_tracker", chart, rollout_fn)
    choices = TrackChoices() if choices is None else choices
    sets = [as_frames(chart, x) for x in validation]
    given = [None] * len(sets) if contexts is None else list(contexts)
    _check(sets, given, history, choices)
    tried: dict[TriedTracker, Tracker] = {}
    total = len(choices.steps) * (1 + len(choices.order))

    def say(done: int) -> None:
        if progress is not None:
            progress(done, total)

    for row, steps in enumerate(sorted(choices.steps)):
        plain = tracker(chart, rollout_fn, history=history, steps=steps, reach=reach)
        seen = [filtered(with_noises(plain, *FIRST), x, c)[1] for x, c in zip(sets, given, strict=True)]
        likelihoods = np.sum([np.asarray(log_likelihoods(plain, q), np.float64) for q in seen], axis=0)
        say(begun := row * (1 + len(choices.order)) + 1)
        for column, order in enumerate(sorted(choices.order)):
            usable = np.isfinite(likelihoods) & (order == ORDERS)
            at = int(np.argmax(np.where(usable, likelihoods, -np.inf)))
            o, n, p, r, a, j = (float(x) for x in NOISES[at])
            one = with_noises(plain, o, n, p, r, a, j)
            expected = [filtered(one, x, c)[0].predicted for x, c in zip(sets, given, strict=True)]
            errors = [
                one_step_errors(chart, rollout_fn, x, path, history=history, context=c).ravel()
                for x, path, c in zip(sets, expected, given, strict=True)
            ]
            error = float(as_error(jnp.concatenate(errors)))
            likelihood = float(likelihoods[at])
            tried[TriedTracker(steps, order, o, n, p, r, a, j, likelihood, error)] = one
            say(begun + column + 1)
    best = min(found.error for found in tried)
    if not np.isfinite(best):
        raise ValueError(
            "fit_tracker: every choice diverges on validation; check that channels, units and normalization are those "
            "that the model was trained on."
        )
    tied = [found for found in tried if found.error <= (1 + TIED) * best]
    chosen = tried[min(tied, key=lambda found: (found.order, found.steps))]
    if paths is not None:
        chosen = dataclasses.replace(chosen, bias_std=_bias(chosen, sets, given, paths))
    sizes = jnp.asarray(sizes_of(sets, max(x.shape[1] for x in sets)), jnp.float32)
    chosen = dataclasses.replace(chosen, known=sets[0].shape[2:], sizes=sizes)
    return ChosenTracker(chosen, tuple(tried))


def _bias(chosen: Tracker, sets: Sequence[Array], contexts: Sequence[Any], paths: Sequence[Any]) -> Array:
    """How far true coordinates are from those that explain the frames best, ``[d]``: 90 % of them, over a normal's."""
    off = []
    for x, context, path in zip(sets, contexts, paths, strict=True):
        found = filtered(chosen, x, context)[0].coordinate
        true = jnp.asarray(path, found.dtype)
        if true.shape not in (found.shape, found.shape[1:]):
            raise ValueError(
                f"fit_tracker: a path has shape {true.shape}, expected {found.shape[1:]} or {found.shape}: the true "
                "coordinate of every frame after the first window."
            )
        off.append(jnp.abs(found - jnp.broadcast_to(true, found.shape)).reshape(-1, found.shape[-1]))
    return jnp.quantile(jnp.concatenate(off), 0.9, axis=0) / NORMAL


def tracker_of(
    chart: Chart, rollout_fn: RolloutFn, tried: TriedTracker, *, history: int = 1, reach: float = REACH
) -> Tracker:
    """The tracker of a choice that was tried."""
    plain = tracker(chart, rollout_fn, history=history, steps=tried.steps, reach=reach)
    return with_noises(plain, *tried[2:8])


def _check(sets: Sequence[Array], contexts: Sequence[Any], history: int, choices: TrackChoices) -> None:
    name = "fit_tracker"
    if not sets:
        raise ValueError(f"{name}: validation is empty, expected sets of trajectories [N, T, *space, C].")
    check_one_each(name, contexts, "context", sets, "regime")
    if not choices.steps or not choices.order or min(choices.steps) < 1 or set(choices.order) - {0, 1, 2}:
        raise ValueError(
            f"{name}: choices are {choices}, expected one or more of each, steps of at least 1, and orders 0, 1 or 2."
        )
    for i, x in enumerate(sets):
        if x.ndim < 3 or x.shape[1] < history + 2 or not len(x):
            raise ValueError(
                f"{name}: validation[{i}] has shape {x.shape}, expected [N, T, *space, C] with T of at least "
                f"{history + 2}: {history} of the window, and two that follow."
            )
        if not bool(jnp.isfinite(x).all()):
            raise ValueError(f"{name}: validation[{i}] contains NaN or infinite values; fix or remove them.")
