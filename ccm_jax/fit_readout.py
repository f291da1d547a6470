"""Fits a prefix readout: validation determines what is searched, which frames count and when to leave the anchor."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._chart_doubts import warn_unmoved
from ccm_jax._checks import check_one_each
from ccm_jax._frames import sizes_of
from ccm_jax.chart import Chart, Gated
from ccm_jax.evaluate import future_error, future_error_each
from ccm_jax.metrics import over
from ccm_jax.parallel import place
from ccm_jax.readout import PrefixReadout, coarse_errors, read
from ccm_jax.rollout import RolloutFn
from ccm_jax.validation import as_regimes, check_choices, check_settings, check_validation, growth_of, warn_of_fit

Array = jax.Array

REACH = 2.5  # how far from the middle of the experts a coordinate is looked for
COARSE = {1: 9, 2: 5, 3: 4}  # candidates along each axis that the continuous search starts from
COARSE_GATED = {1: 7, 2: 4, 3: 3}  # the same for each gate, where the gate is searched
GATES = (0.5, 1.0)
HARM = 0.005  # by how much a validation regime's error may exceed the anchor's, relative to it
OF_VALIDATION = {"growth": growth_of, "sizes": sizes_of}  # what a readout remembers of its regimes
TIED = 0.005  # relative: choices that differ by less are tied, and the simplest is taken


class Choices(NamedTuple):
    """The options that validation chooses among; without validation, only the first of ``free_gate`` is used.

    Attributes:
        free_gate: whether the gate of a :class:`~ccm_jax.Gated` chart is searched.
        begin: observed frames skipped before the scored rollout begins; None tries 0 and K - 1. A single step from the
            last frame but one is short, but starts after the initial transient.
        skip: frames of that rollout, from its first, that are not scored.
        pull: strength of the regularization toward the anchor, in units of log loss per unit of distance; the next
            larger one is tried only if with each smaller one, some regime is worse than with the anchor.
    """

    free_gate: tuple[bool, ...] = (False, True)
    begin: tuple[int, ...] | None = None
    skip: tuple[int, ...] = (0,)
    pull: tuple[float, ...] = (0.0, 0.1, 0.3)


CHOICES = Choices()


class Choice(NamedTuple):
    """One of the choices."""

    free_gate: bool
    begin: int
    skip: int
    pull: float


class Tried(NamedTuple):
    """One choice, and the error of the future on each validation regime over the anchor's, ``[R]``."""

    free_gate: bool
    begin: int
    skip: int
    pull: float
    error_over_anchor: tuple[float, ...]


class Fitted(NamedTuple):
    """A readout, and the choices that were tried."""

    readout: PrefixReadout
    tried: tuple[Tried, ...]


def prefix_readout(
    chart: Chart,
    rollout_fn: RolloutFn,
    *,
    history: int = 1,
    frames: int = 4,
    reach: float = REACH,
    gates: Sequence[float] = GATES,
    **settings: Any,
) -> PrefixReadout:
    """A prefix readout with stated settings: half the prefix counts, the gate is 1, any better fit leaves the anchor.

    Args:
        chart: weights as a function of coordinates; one with :class:`~ccm_jax.Gated` features can keep the anchor.
        rollout_fn: see :class:`~ccm_jax.PrefixReadout`.
        history: frames in the model's window.
        frames: the K observed frames after it.
        reach: the search stays within ``[-reach, reach]`` along every axis; 2.5 by default.
        gates: that a search of the gate starts from; it stays between 0 and 1 above the largest.
        **settings: fields of :class:`~ccm_jax.PrefixReadout` that differ.

    Raises:
        ValueError: for a gate or a pull on a chart that has no gate, or a chart of more than three axes.
    """
    history, frames = check_settings(chart, rollout_fn, history, frames, reach)
    gated = isinstance(chart.features, Gated)
    for name in ("free_gate", "pull"):
        if not gated and settings.get(name):
            raise ValueError(
                f"fit_prefix_readout: {name} is {settings[name]}, but the chart has no gate; make it with "
                "fit_chart(..., features=Gated())."
            )
    axes = chart.features.dim - gated
    if axes not in COARSE:
        raise ValueError(f"fit_prefix_readout: the chart has {axes} axes, expected 1 to 3; use PrefixReadout instead.")
    free = bool(settings.get("free_gate"))
    sides = [np.linspace(-reach, reach, (COARSE_GATED if free else COARSE)[axes])] * axes
    if gated:
        sides.append(np.array(gates if free else (1.0,)))
    candidates = np.array(list(itertools.product(*sides)), np.float32)
    low, high = np.full(chart.features.dim, -reach), np.full(chart.features.dim, reach)
    if gated:
        low[-1], high[-1] = 0.0, max(gates) + 1.0
    begin = settings.get("begin", frames // 2)
    plain: dict[str, Any] = {
        "begin": begin,
        "candidates": jnp.asarray(candidates),
        "low": jnp.asarray(low, jnp.float32),
        "high": jnp.asarray(high, jnp.float32),
        "weights": frame_weights(frames - begin, 0),
        "pull": jnp.float32(0.0),
        "growth": None,
    }
    return PrefixReadout(chart, rollout_fn=rollout_fn, history=history, **(plain | settings))


def frame_weights(frames: int, skip: int) -> Array:
    """Equal weights for predicted frames after the first ``skip``, ``[frames]``; raises ValueError if none is left."""
    if not 0 <= skip < frames:
        raise ValueError(f"fit_prefix_readout: skip is {skip}, expected 0 to {frames - 1}; some frame must count.")
    return jnp.asarray((np.arange(frames) >= skip) / (frames - skip), jnp.float32)


def fit_prefix_readout(
    chart: Chart,
    rollout_fn: RolloutFn,
    validation: Sequence[Any] | None = None,
    *,
    history: int = 1,
    frames: int = 4,
    reach: float = REACH,
    choices: Choices = CHOICES,
    contexts: Sequence[Any] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PrefixReadout:
    """Fits CCM-Prefix: a function from observed frames to a coordinate of a chart.

    Validation decides whether the gate is searched, which frames are scored, and how much better than the anchor a
    merge must be. Of the choices with which no regime is worse than with the anchor, it takes the one with the smallest
    mean ratio of future error to the anchor's. It also bounds rollouts: if one grows beyond its prefix more than twice
    as much as any validation trajectory does, the coordinate moves toward the anchor. Without validation, settings are
    those of :func:`prefix_readout`, and frames in another unit are noticed only if they fit poorly.

    Args:
        chart: returned by :func:`~ccm_jax.fit_chart`; with ``features=Gated()``, a readout can keep the anchor.
        rollout_fn: ``(params, window [N, history, *space, C], steps) -> frames``, such as ``make_rollout(apply)``.
        validation: a list, for each regime trajectories ``[N, T, *space, C]`` longer than the prefix; not test data.
            An array is one regime ``[N, T, ...]``, several ``[R, N, T, ...]`` or one trajectory ``[T, ...]``.
        history: frames in the model's window.
        frames: the K observed frames after it.
        reach: the search stays within ``[-reach, reach]`` along every axis; 2.5 by default.
        choices: the options among which validation decides; :class:`Choices` lists them.
        contexts: the model's additional inputs for each regime; see :func:`~ccm_jax.rollout.call_rollout`.
        mesh: devices to spread over, from :func:`~ccm_jax.parallel.make_mesh`.
        progress: called as ``progress(done, total)`` after each step on a validation regime, such as ``print``.

    Returns:
        The fitted :class:`~ccm_jax.PrefixReadout`; ``readout(frames)`` finds the coordinate of observed frames.

    Raises:
        ValueError: for wrong types, or validation trajectories that are too short, not finite or of other channels.

    Example:
        >>> from ccm_jax import Gated, fit_chart, make_rollout
        >>> anchor, low, high = ({"rate": jnp.array([r])} for r in (-1.0, -1.5, -0.5))
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
        >>> rollout_fn = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rate"][0]))
        >>> readout = fit_prefix_readout(chart, rollout_fn)
        >>> frames = jnp.exp(-0.02 * jnp.arange(5.0))[:, None, None] * jnp.ones((5, 8, 1))  # a rate of -0.2
        >>> found = readout(frames)
        >>> round(float(chart(found.coordinate)["rate"][0]), 3)
        -0.2

    Source: CCM-Prefix of arXiv 2605.14546, made continuous.
    """
    history, frames = check_settings(chart, rollout_fn, history, frames, reach)
    check_choices(choices, frames)
    warn_unmoved("fit_prefix_readout", chart)
    gated = isinstance(chart.features, Gated) or False not in choices.free_gate
    gates = choices.free_gate if gated else (False,)
    how: dict[str, Any] = {"history": history, "frames": frames, "reach": reach}
    if not isinstance(chart.features, Gated) and 0.0 not in choices.pull:
        how["pull"] = choices.pull[0]  # refused, as there is no anchor to pull to
    starts = [prefix_readout(chart, rollout_fn, free_gate=gate, **how) for gate in gates]
    if validation is None:
        return starts[0]
    return choose(starts, validation, choices=choices, contexts=contexts, mesh=mesh, progress=progress).readout


def choose(
    starts: Sequence[PrefixReadout],
    validation: Sequence[Any],
    *,
    choices: Choices = CHOICES,
    contexts: Sequence[Any] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Fitted:
    """Chooses by validation among readouts and, for each of them, among the frames to score and the pulls.

    Args:
        starts: readouts that differ in what they search, of one chart and model.
        validation: trajectories of each regime, ``[N, T, *space, C]``.
        choices: the options to compare for each of the starts.
        contexts: of each regime, or None.
        mesh: devices to spread over.
        progress: called as ``progress(done, total)``; the total grows if a stronger pull has to be tried.

    Returns:
        The readout, bounded by the growth of validation trajectories, and all that was tried.
    """
    regimes = as_regimes(starts[0], validation)
    given = [None] * len(regimes) if contexts is None else list(contexts)
    check_one_each("fit_prefix_readout", given, "context", regimes, "regime")
    check_validation(starts[0], regimes, given)
    frames, observed = starts[0].frames, starts[0].history + starts[0].frames
    begins = tuple(sorted({0, frames - 1})) if choices.begin is None else choices.begin
    pulls = choices.pull if isinstance(starts[0].chart.features, Gated) else (0.0,)
    how: dict[str, Any] = {"history": starts[0].history, "frames": frames}
    origin, rollout_fn = starts[0].chart.origin, starts[0].rollout_fn
    anchors = [future_error(origin, rollout_fn, x, context=c, **how) for x, c in zip(regimes, given, strict=True)]
    tried: dict[Choice, list[float]] = {}
    made: dict[Choice, PrefixReadout] = {}
    worst: dict[Choice, float] = {}
    places: dict[Choice, list[Array]] = {}
    bounded: dict[str, Any] = {"horizon": regimes[0].shape[1] - observed, "known": tuple(regimes[0].shape[2:])}
    bounded |= {name: jnp.asarray(of(regimes, observed), jnp.float32) for name, of in OF_VALIDATION.items()}
    placed = [place(dataclasses.replace(start, **bounded), mesh) for start in starts]
    data = place(list(zip(regimes, given, strict=True)), mesh)
    coarse: dict[tuple[bool, int, int], Any] = {}
    tries = [t for t in itertools.product(placed, begins, choices.skip) if t[2] < frames - t[1]]
    done = 0
    for pull in sorted(pulls):  # evidence is asked for only where some regime is harmed without it
        for start, begin, skip in tries:
            scored = {"weights": frame_weights(frames - begin, skip), "pull": jnp.asarray(pull, jnp.float32)}
            one = place(dataclasses.replace(start, begin=begin, **scored), mesh)  # all: one program serves a call too
            made[key := Choice(start.free_gate, begin, skip, pull)] = one
            for i, (x, c) in enumerate(data):
                if (place_of := (start.free_gate, begin, i)) not in coarse:
                    coarse[place_of] = coarse_errors(one, x[:, :observed], c, mesh=mesh)
                found = read(one, x[:, :observed], c, coarse[place_of], mesh=mesh)
                places.setdefault(key, []).append(found.coordinate)
                worst[key] = max(worst.get(key, 0.0), float(jnp.max(found.loss)))
                errors = future_error_each(one.chart, rollout_fn, x, found.coordinate, context=c, mesh=mesh, **how)
                tried.setdefault(key, []).append(over(errors, anchors[i]))
                done += 1
                if progress is not None:
                    progress(done, -(-done // (len(tries) * len(data))) * len(tries) * len(data))
        if any(max(ratios) <= 1 + HARM for ratios in tried.values()):
            break
    if all(np.isinf(ratios).all() for ratios in tried.values()):
        raise ValueError(
            "fit_prefix_readout: every choice diverges on every validation regime; check that channels, units and "
            "normalization are those that the model was trained on."
        )
    best = best_choice(tried, harmless=isinstance(starts[0].chart.features, Gated))
    warn_of_fit("fit_prefix_readout", made[best], data, places[best], tried[best])
    ratios = jnp.asarray(tried[best], jnp.float32)
    chosen = dataclasses.replace(made[best], worst=jnp.float32(worst[best]), error_over_anchor=ratios)
    return Fitted(chosen, tuple(Tried(*key, tuple(ratios)) for key, ratios in tried.items()))


def best_choice(tried: dict[Choice, list[float]], *, harmless: bool = True) -> Choice:
    """The best choice with which no validation regime has a larger error than with the anchor.

    Errors are divided by the anchor's, and the best choice has the smallest geometric mean of these ratios. If every
    choice makes some regime worse, the one whose worst regime has the smallest ratio is taken. Without an anchor to
    fall back on (``harmless=False``), all choices are compared. In a tie, the line comes before the plane, then the
    smallest pull, then the most frames.
    """
    kept = {key: ratios for key, ratios in tried.items() if not harmless or max(ratios) <= 1 + HARM}
    if not kept:
        return min(tried, key=lambda key: (max(tried[key]), key))
    means = {key: float(np.mean(np.log(np.maximum(ratios, 1e-12)))) for key, ratios in kept.items()}
    tied = [key for key in means if means[key] <= min(means.values()) + TIED]
    return min(tied, key=lambda key: (key.free_gate, key.pull, key.begin, key.skip))
