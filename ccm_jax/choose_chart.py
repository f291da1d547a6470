"""Chooses a curve through the experts on validation regimes: a line, a quadratic, or a line with an inner correction.

A curve through more experts is better between them and often worse beyond. A candidate that is worse outside than the
line through the end experts is therefore discarded; of the others, the best over all validation regimes is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ccm_jax._checks import check_listed, check_real, counted
from ccm_jax.chart import Chart, Gated, Polynomial, fit_chart
from ccm_jax.discover import update_products
from ccm_jax.evaluate import as_error, future_error, in_groups
from ccm_jax.expert_weights import expert_weights
from ccm_jax.interior import Interior
from ccm_jax.rollout import RolloutFn

Params = Any

ALLOWED = 1.0  # times the end line's error that a candidate may have outside
TIED = 0.005  # relative: of candidates that differ by less, the simplest is taken
HELD = 1e8  # weight of an end expert that a correction inside must not move


class TriedChart(NamedTuple):
    """A candidate and its scores.

    Attributes:
        name: ``"line through the ends"``, ``"line"``, ``"interior"``, ``"leaning interior"`` or ``"quadratic"``.
        chart: the candidate itself, with a gate.
        overall: geometric mean of errors on all validation regimes; None without any.
        inside: of those between the experts.
        outside: of those beyond.
        left_out: distance of an expert between the ends from the chart that was fitted without it, relative to the
            length of its update; the root mean square over such experts, None where there are too few.
    """

    name: str
    chart: Chart
    overall: float | None
    inside: float | None
    outside: float | None
    left_out: float | None


class ChosenChart(NamedTuple):
    """The chart, its name, and all candidates, the simplest first."""

    chart: Chart
    name: str
    tried: tuple[TriedChart, ...]


class Regime(NamedTuple):
    """A regime with a known coordinate.

    Attributes:
        coordinate: a number, or ``[dim]``.
        trajectories: ``[N, T, *space, C]``.
        context: the model's inputs besides the window; see :func:`~ccm_jax.rollout.call_rollout`.
    """

    coordinate: Any
    trajectories: Any
    context: Any = None


class _Candidate(NamedTuple):
    name: str
    features: Any  # with a constant, for the gate
    used: tuple[int, ...]  # experts
    hold_ends: bool = False


def choose_chart(
    anchor: Params,
    experts: Sequence[Params],
    coordinates: Sequence[float],
    rollout_fn: RolloutFn | None = None,
    validation: Sequence[Regime] = (),
    *,
    history: int = 1,
    frames: int = 4,
) -> ChosenChart:
    """Chooses among curves of one coordinate through the experts.

    With validation regimes, chooses the candidate with the smallest error (geometric mean) among those that are no
    worse outside than the line through the end experts. Without any, chooses the candidate that best predicts the
    weights of left-out experts. If no regime lies outside, only candidates that equal the line through the ends there
    are considered: that line, and those with a correction inside.

    Args:
        anchor: weights that all experts were fine-tuned from.
        experts: two or more trees like it, at different coordinates.
        coordinates: coordinates of the experts, ``[M]``, with the ends at -1 and +1.
        rollout_fn: ``(params, window, steps) -> frames``; needed with validation regimes.
        validation: regimes that you do not test on.
        history: frames in the model's window.
        frames: observed frames after it, from the last of which rollouts start.

    Returns:
        A :class:`ChosenChart`, whose charts have a gate, for the readouts.

    Raises:
        ValueError: for fewer than two experts, equal coordinates, ends that are not at -1 and +1, or validation regimes
            without a rollout.

    Example:
        >>> anchor = {"w": np.zeros(2, np.float32)}
        >>> points = [-1.0, -0.5, 0.0, 0.5, 1.0]
        >>> experts = [{"w": np.array([s, 0.2 * (1 - s**2)], np.float32)} for s in points]
        >>> choose_chart(anchor, experts, points).name
        'interior'
    """
    check_listed("choose_chart", experts, anchor)
    check_real("choose_chart: coordinates are", coordinates)
    c = np.asarray(coordinates, np.float64)
    if len(experts) < 2 or c.shape != (len(experts),) or len(np.unique(c)) < len(c):
        raise ValueError(
            f"choose_chart: {counted(len(experts), 'expert')} at coordinates {c.tolist()}, expected two or more, each "
            "at its own."
        )
    if not np.isclose([c.min(), c.max()], [-1.0, 1.0]).all():
        raise ValueError(f"choose_chart: coordinates span {c.min():g} to {c.max():g}, expected -1 to 1; rescale them.")
    if len(validation) and rollout_fn is None:
        raise ValueError("choose_chart: validation regimes need rollout_fn, to roll the merged weights out.")
    for i, regime in enumerate(validation):
        if not isinstance(regime, Regime):
            raise ValueError(
                f"choose_chart: validation[{i}] is of type {type(regime).__name__}, expected Regime(coordinate, "
                "trajectories); pass ccm_jax.Regime(coordinate, trajectories) for each."
            )
    products = update_products(anchor, experts)
    tried = []
    for candidate in _candidates(c):
        used = list(candidate.used)
        chart = fit_chart(
            anchor,
            [experts[i] for i in used],
            c[used],
            features=Gated(candidate.features),
            weights=_weights(candidate, c[used]),
        )
        scored = score_chart(candidate.name, chart, rollout_fn, validation, history=history, frames=frames)
        tried.append(scored._replace(left_out=_left_out(products, c, candidate)))
    best = select_chart(tried)
    return ChosenChart(best.chart, best.name, tuple(tried))


def select_chart(tried: Sequence[TriedChart]) -> TriedChart:
    """The candidate that :func:`choose_chart` takes; the first one is the line that none may lose to outside."""
    ends = tried[0]
    bounded = [t for t in tried if t.name == ends.name or t.name.endswith("interior")]
    if ends.overall is None:
        scored = [(t.left_out, t) for t in bounded if t.left_out is not None]
        return _simplest(scored) if scored else ends
    if ends.outside is not None:
        bounded = [t for t in tried if t.outside is not None and t.outside <= ALLOWED * ends.outside]
    scored = [(t.overall, t) for t in bounded if t.overall is not None]
    return _simplest(scored) if scored else ends


def score_chart(
    name: str, chart: Chart, rollout_fn: Any, validation: Sequence[Regime], *, history: int = 1, frames: int = 4
) -> TriedChart:
    """A chart of one coordinate with its errors on validation regimes, for :func:`select_chart`."""
    how = {"history": history, "frames": frames}
    errors = np.array([regime_error(chart, rollout_fn, regime, **how) for regime in validation])
    beyond = np.array([abs(float(regime.coordinate)) > 1 + 1e-9 for regime in validation], bool)
    overall, inside, outside = (_geometric(errors[side]) for side in (beyond | True, ~beyond, beyond))
    return TriedChart(name, chart, overall, inside, outside, None)


def regime_error(chart: Chart, rollout_fn: Any, regime: Regime, *, history: int = 1, frames: int = 4) -> float:
    """Mean error of the future frames of a regime at its coordinate; infinite where a rollout diverges."""
    params = chart(regime.coordinate)

    def errors(given: Any, _: Any) -> Any:
        x, context = given
        return future_error(params, rollout_fn, x, history=history, frames=frames, context=context)[None]

    return float(as_error(in_groups(errors, (np.asarray(regime.trajectories), regime.context), np.zeros((1, 1)))))


def _candidates(c: np.ndarray) -> list[_Candidate]:
    """The simplest first."""
    everyone = tuple(range(len(c)))
    found = [_Candidate("line through the ends", Polynomial(), (int(c.argmin()), int(c.argmax())))]
    if len(c) > 2:
        found += [_Candidate("line", Polynomial(), everyone), _Candidate("interior", Interior(), everyone, True)]
    if len(c) > 3:
        found += [_Candidate("leaning interior", Interior(degree=2), everyone, True)]
    if len(c) > 2:
        found += [_Candidate("quadratic", Polynomial(degree=2), everyone)]
    return found


def _weights(candidate: _Candidate, c: np.ndarray) -> list[float] | None:
    return [HELD if abs(abs(s) - 1) < 1e-6 else 1.0 for s in c] if candidate.hold_ends else None


def _geometric(errors: np.ndarray) -> float | None:
    if not len(errors):
        return None
    return float(np.exp(np.mean(np.log(np.maximum(errors, 1e-12))))) if np.isfinite(errors).all() else float("inf")


def _left_out(products: np.ndarray, c: np.ndarray, candidate: _Candidate) -> float | None:
    """How far experts between the ends are from the chart without them, by the inner products of the updates."""
    squares = []
    for i in range(len(c)):
        if i in (c.argmin(), c.argmax()):
            continue
        rest = [j for j in candidate.used if j != i]
        away = np.zeros(len(c))
        away[i] = 1.0
        try:
            weights = _weights(candidate, c[rest])
            away[rest] -= expert_weights(len(rest), c[rest], c[i], candidate.features, weights=weights)
        except ValueError:  # too few are left
            return None
        squares.append(max(away @ products @ away, 0.0) / max(products[i, i], 1e-60))
    return float(np.sqrt(np.mean(squares))) if squares else None


def _simplest(scored: list[tuple[float, TriedChart]]) -> TriedChart:
    least = min(score for score, _ in scored)
    return next(t for score, t in scored if score <= (1 + TIED) * least + 1e-6)
