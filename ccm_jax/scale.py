"""CCM-Scale: the coordinate of a physical value, by a map fitted on validation regimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._shown import shown
from ccm_jax.chart import Chart, complete
from ccm_jax.coordinate import Estimate, coordinate_from_map, normalised_coordinate
from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.evaluate import as_error, sweep_errors
from ccm_jax.prefix import refine_readout, select
from ccm_jax.rollout import RolloutFn

Array = jax.Array

# The paper's one number, and monotone curves, in order of freedom.
KINDS: dict[str, dict[str, Any]] = {
    "gamma": {"degree": 1, "intercept": False},
    "line": {"degree": 1, "intercept": True},
    "monotone quadratic": {"degree": 2, "intercept": True},
}
REACH = 2.0  # widths beyond the validation regimes
BANK = np.linspace(-2.5, 2.5, 21)  # coordinates at which the error of the future is measured


class MapFit(NamedTuple):
    """How a map was fitted.

    Attributes:
        coordinates: normalised metadata of the validation regimes, ``[R]``.
        best: their best coordinates on the chart, ``[R]``.
        sweep: errors of the future along the bank, ``[R, n]``.
        kind: of the map, a key of ``KINDS``.
        leave_one_out: root mean square error on the regime left out, of each kind.
    """

    coordinates: tuple[float, ...]
    best: tuple[float, ...]
    sweep: tuple[tuple[float, ...], ...]
    kind: str
    leave_one_out: tuple[tuple[str, float], ...]

    def __repr__(self) -> str:
        return shown(self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ScaleReadout:
    """A function from a physical value to an :class:`~ccm_jax.Estimate`.

    Attributes:
        map: from normalised metadata to coordinates.
        low: value at the low expert.
        high: value at the high expert.
        scale: ``"linear"`` or ``"log"``.
        fit: how the map was fitted, or None.
    """

    map: CoordinateMap
    low: float = field(metadata={"static": True})
    high: float = field(metadata={"static": True})
    scale: Literal["linear", "log"] = field(default="linear", metadata={"static": True})
    fit: MapFit | None = field(default=None, metadata={"static": True})

    def __repr__(self) -> str:
        return shown(self)

    def __call__(self, value: float | Array) -> Estimate:
        """The coordinate of a physical value, in the unit of ``low`` and ``high``.

        Raises:
            ValueError: for a value further from the validation regimes than the map reaches.
        """
        return coordinate_from_map(value, self.low, self.high, self.map, scale=self.scale, clip=None)


def fit_scale_readout(
    chart: Chart,
    rollout_fn: RolloutFn,
    validation: Sequence[Any],
    values: Sequence[float],
    *,
    low: float,
    high: float,
    scale: Literal["linear", "log"] = "linear",
    history: int = 1,
    frames: int = 4,
    bank: Any = None,
    contexts: Sequence[Any] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[float], None] | None = None,
) -> ScaleReadout:
    """Fits CCM-Scale: the best coordinate of each validation regime, and the map that predicts left-out ones best.

    Args:
        chart: weights along one coordinate (with a gate, which is 1).
        rollout_fn: ``(params, window, steps) -> frames``.
        validation: trajectories of each regime, ``[N, T, *space, C]``.
        values: the physical value of each regime.
        low: value at the low expert, coordinate -1.
        high: value at the high expert, coordinate +1.
        scale: of the values, ``"linear"`` or ``"log"``.
        history: frames in the model's window.
        frames: observed frames after it, from the last of which every rollout starts.
        bank: coordinates ``[n]`` at which the error of the future is measured; the default is ``BANK``.
        contexts: for each regime what the model takes beside the window; see
            :func:`~ccm_jax.rollout.call_rollout`.
        mesh: devices to spread over.
        progress: called with the value of each regime that is done.

    Returns:
        A :class:`ScaleReadout`.

    Raises:
        ValueError: if there are not as many values as regimes, or fewer than two.

    Source: CCM-Scale of arXiv 2605.14546; its one number gamma is the simplest of the maps.
    """
    if len(values) != len(validation) or len(values) < 2:
        raise ValueError(
            f"fit_scale_readout: {len(values)} values for {len(validation)} regimes, expected one each, two or more."
        )
    given = [None] * len(validation) if contexts is None else list(contexts)
    if len(given) != len(validation):
        raise ValueError(f"fit_scale_readout: {len(given)} contexts for {len(validation)} regimes, expected one each.")
    tried = np.asarray(BANK if bank is None else bank, np.float64)
    candidates = np.asarray(complete(chart.features, jnp.asarray(tried, jnp.float32)[:, None]))
    # Decimal values should give decimal coordinates: float32 arithmetic must not show.
    s = [round(float(normalised_coordinate(value, low, high, scale=scale)), 5) for value in values]
    sweep = []
    how: dict[str, Any] = {"history": history, "prefix": frames, "mesh": mesh}
    for value, x, context in zip(values, validation, given, strict=True):
        errors = sweep_errors(chart, rollout_fn, x, candidates, context=context, **how)
        sweep.append(tuple(float(as_error(e.mean(axis=-1))) for e in errors))
        if progress is not None:
            progress(value)
    best = [best_coordinate(tried, errors) for errors in sweep]
    chosen = choose_map(s, best)
    fit = MapFit(tuple(s), tuple(best), tuple(sweep), chosen.kind, chosen.leave_one_out)
    return ScaleReadout(chosen.map, low, high, scale, fit)


class ChosenMap(NamedTuple):
    """A map, its kind (a key of ``KINDS``), and the error on the regime left out of each kind."""

    map: CoordinateMap
    kind: str
    leave_one_out: tuple[tuple[str, float], ...]


def choose_map(coordinates: Sequence[float], best: Sequence[float]) -> ChosenMap:
    """Chooses the kind of map that best predicts the best coordinate of left-out regimes, and fits it on all.

    Args:
        coordinates: normalised metadata of the validation regimes, ``[R]``.
        best: their best coordinates along this axis of the chart, ``[R]``; see
            :func:`~ccm_jax.hindsight.best_in_hindsight`.

    Returns:
        A :class:`ChosenMap`. With several parameters, one is chosen for each.

    Raises:
        ValueError: for fewer than two distinct coordinates, or best coordinates that are not finite.

    Example:
        >>> chosen = choose_map([-1.25, -0.5, 0.5, 1.25], [-1.0, -0.4, 0.4, 1.0])
        >>> chosen.kind, round(float(chosen.map(2.0)), 3)
        ('gamma', 1.6)
    """
    s, found = np.array(coordinates), np.array(best)
    scores = {kind: leave_one_out(s, found, settings) for kind, settings in KINDS.items()}
    kind = min(scores, key=lambda k: scores[k])
    return ChosenMap(CoordinateMap.fit(s, found, reach=REACH, **KINDS[kind]), kind, tuple(scores.items()))


def best_coordinate(bank: Any, errors: Any) -> float:
    """Where errors ``[n]`` along a bank are smallest, between its points: the vertex of the parabola there."""
    candidates = jnp.asarray(bank, jnp.float32)[:, None]
    return float(refine_readout(select(candidates, jnp.asarray(errors, jnp.float32))).coordinate[0])


def leave_one_out(s: np.ndarray, best: np.ndarray, how: dict[str, Any]) -> float:
    """Root mean square error of a kind of map on the left-out regime; infinite if too few are left."""
    errors = []
    for i in range(len(s)):
        rest = np.arange(len(s)) != i
        if len(np.unique(s[rest])) < how["degree"] + 1:
            return float("inf")
        fitted = CoordinateMap.fit(s[rest], best[rest], reach=float("inf"), **how)
        errors.append(float(fitted(s[i])) - best[i])
    return float(np.sqrt(np.mean(np.square(errors))))
