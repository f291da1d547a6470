"""Which curve through the experts: a line, a quadratic, or a line with a correction inside; validation decides.

A curve through more experts is better between them and often worse beyond: so a candidate may not lose to the line
through the end experts outside, and of those that do not the best over all regimes is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.chart import Chart, Features, Gated, Polynomial, fit_chart
from ccm_jax.evaluate import as_error, future_error
from ccm_jax.geometry import tree_norm
from ccm_jax.interior import Interior
from ccm_jax.rollout import RolloutFn

Params = Any

ALLOWED = 1.0  # times the end line's error that a candidate may have outside
TIED = 0.005  # relative: of candidates that differ by less, the simplest is taken


class TriedChart(NamedTuple):
    """A candidate, and what speaks for it.

    Attributes:
        name: ``"line through the ends"``, ``"line"``, ``"interior"`` or ``"quadratic"``.
        overall: geometric mean of errors on all validation regimes; None without any.
        inside: geometric mean of errors on validation regimes between the experts; None without any.
        outside: of those beyond.
        left_out: distance of an expert between the ends from the chart that was fitted without it, relative to the
            length of its update; the root mean square over such experts, None where there are too few.
    """

    name: str
    overall: float | None
    inside: float | None
    outside: float | None
    left_out: float | None


class ChosenChart(NamedTuple):
    """The chart, its name, and all candidates."""

    chart: Chart
    name: str
    tried: tuple[TriedChart, ...]


class Regime(NamedTuple):
    """A validation regime: its coordinate, and trajectories ``[N, T, *space, C]``."""

    coordinate: float
    trajectories: Any


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

    With validation regimes the candidate with the smallest error (geometric mean) is taken, among those that are no
    worse than the line through the end experts outside; where no regime lies outside, among those that are that line
    there. Without validation regimes, leaving out one expert decides.

    Args:
        anchor: weights that all experts were fine-tuned from.
        experts: two or more trees like it, at different coordinates.
        coordinates: theirs, ``[M]``, the ends at -1 and +1.
        rollout_fn: ``(params, window, steps) -> frames``; needed with validation regimes.
        validation: regimes that are not tested.
        history: frames in the model's window.
        frames: observed frames after it, from the last of which rollouts start.

    Returns:
        A :class:`ChosenChart`, whose chart has a gate, for the readouts.

    Raises:
        ValueError: for fewer than two experts, equal coordinates, or validation regimes without a rollout.

    Example:
        >>> anchor = {"w": jnp.zeros(2)}
        >>> experts = [{"w": jnp.array([s, 0.2 * max(0.0, 1 - s**2)])} for s in (-1.0, -0.5, 0.0, 0.5, 1.0)]
        >>> choose_chart(anchor, experts, [-1.0, -0.5, 0.0, 0.5, 1.0]).name
        'interior'
    """
    c = np.asarray(coordinates, np.float64)
    if len(experts) < 2 or c.shape != (len(experts),) or len(np.unique(c)) < len(c):
        raise ValueError(
            f"choose_chart: {len(experts)} experts at coordinates {c.tolist()}, expected two or more, each at its own."
        )
    if not np.isclose([c.min(), c.max()], [-1.0, 1.0]).all():
        raise ValueError(f"choose_chart: coordinates span {c.min():g} to {c.max():g}, expected -1 to 1; rescale them.")
    if len(validation) and rollout_fn is None:
        raise ValueError("choose_chart: validation regimes need rollout_fn, to roll the merged weights out.")
    tried, charts = [], {}
    for name, features, used in _candidates(c):
        charts[name] = fit_chart(anchor, [experts[i] for i in used], c[used], features=Gated(features))
        errors = [_error(charts[name], rollout_fn, regime, history, frames) for regime in validation]
        beyond = np.array([abs(regime.coordinate) > 1 + 1e-9 for regime in validation], bool)
        overall, inside, outside = (_geometric(np.array(errors)[side]) for side in (beyond | True, ~beyond, beyond))
        left_out = _left_out(anchor, experts, c, features, used)
        tried.append(TriedChart(name, overall, inside, outside, left_out))
    best = _best(tried)
    return ChosenChart(charts[best.name], best.name, tuple(tried))


def _candidates(c: np.ndarray) -> list[tuple[str, Any, np.ndarray]]:
    """Name, features and the experts that are used, the simplest first."""
    ends, everyone = np.array([c.argmin(), c.argmax()]), np.arange(len(c))
    found: list[tuple[str, Features, np.ndarray]] = [("line through the ends", Polynomial(), ends)]
    if len(c) > 2:
        found += [("line", Polynomial(), everyone), ("interior", Interior(), everyone)]
        found += [("quadratic", Polynomial(degree=2), everyone)]
    return found


def _error(chart: Chart, rollout_fn: Any, regime: Regime, history: int, frames: int) -> float:
    x = jnp.asarray(regime.trajectories)
    return float(as_error(future_error(chart(regime.coordinate), rollout_fn, x, history=history, prefix=frames)))


def _geometric(errors: np.ndarray) -> float | None:
    if not len(errors):
        return None
    return float(np.exp(np.mean(np.log(np.maximum(errors, 1e-12))))) if np.isfinite(errors).all() else float("inf")


def _left_out(
    anchor: Params, experts: Sequence[Params], c: np.ndarray, features: Any, used: np.ndarray
) -> float | None:
    """How far experts between the ends are from the chart without them."""
    squares = []
    for i in range(len(c)):
        if i in (c.argmin(), c.argmax()):
            continue
        rest = [j for j in used if j != i]
        if np.linalg.matrix_rank(np.stack([np.asarray(features(jnp.array([c[j]]))) for j in rest])) < len(
            features(jnp.zeros(1))
        ):
            return None
        chart = fit_chart(anchor, [experts[j] for j in rest], c[rest], features=features)
        away, update = (
            float(tree_norm(jax.tree.map(lambda a, b: a - b, experts[i], other))) for other in (chart(c[i]), anchor)
        )
        squares.append((away / max(update, 1e-30)) ** 2)
    return float(np.sqrt(np.mean(squares))) if squares else None


def _best(tried: list[TriedChart]) -> TriedChart:
    ends = tried[0]
    if ends.overall is None:
        scored = [(t.left_out, t) for t in tried if t.left_out is not None]
        return _simplest(scored) if scored else ends
    if ends.outside is None:
        allowed = [t for t in tried if t.name in (ends.name, "interior")]
    else:
        allowed = [t for t in tried if t.outside is not None and t.outside <= ALLOWED * ends.outside]
    return _simplest([(t.overall, t) for t in allowed if t.overall is not None])


def _simplest(scored: list[tuple[float, TriedChart]]) -> TriedChart:
    least = min(score for score, _ in scored)
    return next(t for score, t in scored if score <= (1 + TIED) * least + 1e-6)
