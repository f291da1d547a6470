"""CCM-Scale: the coordinate of a physical value, by a map fitted on validation regimes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._checks import check_one_each, check_real, is_traced
from ccm_jax._evaluated import check_future
from ccm_jax._scale_doubts import NAME, better_scale, warn_of_map, warn_of_scale, warn_of_units
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
ROUNDING = 2e-5  # of normalized values, which are rounded to five decimals
REACH = 2.0  # widths beyond the validation regimes
BANK = np.linspace(-2.5, 2.5, 21)  # coordinates at which the error of the future is measured


class MapFit(NamedTuple):
    """How a map was fitted.

    Attributes:
        coordinates: normalized metadata of the validation regimes, ``[R]``.
        best: their best coordinates on the chart, ``[R]``.
        sweep: errors of the future along the bank, ``[R, n]``.
        kind: of the map, a key of ``KINDS``.
        leave_one_out: root mean square error of the coordinate on the regime left out, of each kind.
        scales: the smallest of those on each scale of the values that can be had, ``"linear"`` and ``"log"``.
    """

    coordinates: tuple[float, ...]
    best: tuple[float, ...]
    sweep: tuple[tuple[float, ...], ...]
    kind: str
    leave_one_out: tuple[tuple[str, float], ...]
    scales: tuple[tuple[str, float], ...] = ()

    def __repr__(self) -> str:
        return shown(self)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class ScaleReadout:
    """A function from a physical value to an :class:`~ccm_jax.Estimate`.

    Attributes:
        map: from normalized metadata to coordinates.
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
        if is_traced(self.map):
            return shown(self)
        kind = "" if self.fit is None else f", {self.fit.kind}, leave-one-out error {self._error():.2g}"
        low, high = self.known
        return (
            f"ScaleReadout({self.scale} scale, experts at {self.low:g} and {self.high:g}{kind}; "
            f"validation from {low:.4g} to {high:.4g}, extrapolates beyond)"
        )

    def _error(self) -> float:
        assert self.fit is not None
        return dict(self.fit.leave_one_out)[self.fit.kind]

    @property
    def known(self) -> tuple[float, float]:
        """The lowest and the highest value that the map was fitted on; beyond them it goes on along its tangents."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        if self.scale == "log":
            middle, half = np.log(self.low * self.high) / 2, np.log(self.high / self.low) / 2
        ends = middle + half * np.array([float(self.map.low), float(self.map.high)])
        low, high = np.exp(ends) if self.scale == "log" else ends
        return float(low), float(high)

    def beyond(self, value: float) -> bool:
        """Whether a value lies outside the validation regimes, so its coordinate is extrapolated."""
        s = float(normalised_coordinate(value, self.low, self.high, scale=self.scale, name="ScaleReadout.beyond"))
        return not float(self.map.low) - ROUNDING <= s <= float(self.map.high) + ROUNDING

    def __call__(self, value: float | Array) -> Estimate:
        """The coordinate of a physical value, in the unit of ``low`` and ``high``; see :meth:`beyond`.

        Raises:
            ValueError: for a value further from the validation regimes than the map reaches.
        """
        check_real("ScaleReadout: value is", value)
        try:
            return coordinate_from_map(value, self.low, self.high, self.map, scale=self.scale, clip=None)
        except ValueError as error:
            if not str(error).startswith("CoordinateMap:"):
                raise ValueError(str(error).replace("coordinate_from_map:", "ScaleReadout:", 1)) from error
            low, high = self.known
            raise ValueError(
                f"ScaleReadout: value is {np.asarray(value):g}, too far from the validation values {low:.4g} to "
                f"{high:.4g}; check its unit, or fit on values nearer to it."
            ) from error


def fit_scale_readout(
    chart: Chart,
    rollout_fn: RolloutFn,
    validation: Sequence[Any],
    values: Sequence[float],
    *,
    low: float,
    high: float,
    scale: Literal["linear", "log", "auto"] | None = None,
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
        scale: scale of the values, ``"linear"`` or ``"log"``; ``"auto"`` takes the one on which left-out regimes are
            predicted better. None is ``"linear"``, with a warning where ``"log"`` is clearly better. Trying both costs
            no rollouts.
        history: frames in the model's window.
        frames: observed frames after it, from the last of which every rollout starts.
        bank: coordinates ``[n]`` at which the error of the future is measured; the default is ``BANK``.
        contexts: the model's inputs besides the window, for each regime; see
            :func:`~ccm_jax.rollout.call_rollout`.
        mesh: devices to spread over.
        progress: called with the value of each finished regime.

    Returns:
        A :class:`ScaleReadout`; its ``fit`` tells the errors on left-out regimes.

    Raises:
        ValueError: unless there is one value per regime, for two regimes or more; for trajectories without frames
            after the observed ones.

    Warns:
        UserWarning: if ``scale`` is not given, and left-out regimes are predicted clearly better on the other one; if
            no value lies between those of the experts; if best coordinates are at the edge of the bank, or fall as
            values rise; if a value left out of the fit is missed by more than 0.5.

    Example:
        >>> from ccm_jax import fit_chart, make_rollout
        >>> anchor, low, high = ({"rate": jnp.array([r])} for r in (-1.0, -1.5, -0.5))
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
        >>> rollout_fn = make_rollout(lambda p, u: u[:, -1] * jnp.exp(0.1 * p["rate"][0]))
        >>> t = jnp.arange(8.0)[None, :, None, None]
        >>> def decay(value):  # its rate follows the logarithm of the value: -1.5 at 0.01, -0.5 at 1
        ...     return jnp.exp(0.1 * (-0.5 + jnp.log10(value) / 2) * t) * jnp.ones((1, 8, 4, 1))
        >>> values = [0.005, 0.02, 0.1, 0.5, 2.0]
        >>> readout = fit_scale_readout(
        ...     chart, rollout_fn, [decay(v) for v in values], values, low=0.01, high=1.0, scale="auto"
        ... )
        >>> readout.scale, [round(float(c), 2) for c in readout(0.1).coordinate]
        ('log', [0.0])
        >>> readout.beyond(0.1), readout.beyond(4.0)
        (False, True)

    Source: CCM-Scale of arXiv 2605.14546; its one number gamma is the simplest of the maps.
    """
    check_one_each(NAME, values, "value", validation, "regime")
    check_real(f"{NAME}: values are", values)
    if len(set(values)) < 2 or not np.isfinite(np.asarray(values, float)).all():
        raise ValueError(f"{NAME}: values are {list(values)}, expected finite ones, at least two of them different.")
    given = [None] * len(validation) if contexts is None else list(contexts)
    check_one_each(NAME, given, "context", validation, "regime")
    if scale not in (None, "linear", "log", "auto"):
        raise ValueError(f"{NAME}: scale is {scale!r}, expected 'linear', 'log' or 'auto'.")
    for i, x in enumerate(validation):
        check_future(f"{NAME}: trajectories of validation[{i}]", x, history, frames)
    tried = np.asarray(BANK if bank is None else bank, np.float64)
    candidates = np.asarray(complete(chart.features, jnp.asarray(tried, jnp.float32)[:, None]))
    warn_of_units(values, low, high)
    placed = {of: _normalized(values, low, high, of) for of in _scales(scale, [*values, low, high])}
    sweep = []
    how: dict[str, Any] = {"history": history, "frames": frames, "mesh": mesh}
    for i, (value, x, context) in enumerate(zip(values, validation, given, strict=True)):
        try:
            errors = sweep_errors(chart, rollout_fn, x, candidates, context=context, **how)
        except ValueError as error:
            said = str(error).replace("future_error_sweep: trajectories have", f"{NAME}: validation[{i}] has")
            raise ValueError(said) from error
        sweep.append(tuple(float(as_error(e.mean(axis=-1))) for e in errors))
        if progress is not None:
            progress(value)
    best = [best_coordinate(tried, errors) for errors in sweep]
    maps = {of: choose_map(s, best) for of, s in placed.items()}
    errors_of = {of: min(error for _, error in made.leave_one_out) for of, made in maps.items()}
    # The first is the default; the other one has to be better.
    taken = min(maps, key=lambda of: errors_of[of]) if scale == "auto" else next(iter(maps))
    if scale is None:
        warn_of_scale(errors_of)
    explained = bool(better_scale(errors_of, taken))  # a large error, by the scale that was taken
    warn_of_map(values, best, tried, 0.0 if explained else errors_of[taken])
    chosen, s = maps[taken], placed[taken]
    fit = MapFit(tuple(s), tuple(best), tuple(sweep), chosen.kind, chosen.leave_one_out, tuple(errors_of.items()))
    return ScaleReadout(chosen.map, low, high, taken, fit)


def _scales(scale: str | None, numbers: Sequence[float]) -> tuple[Literal["linear", "log"], ...]:
    """The scales that maps are fitted on, the one that is asked for first; trying both costs no rollouts."""
    if scale == "log":
        return ("log", "linear")
    return ("linear", "log") if min(numbers) > 0 else ("linear",)


def _normalized(values: Sequence[float], low: float, high: float, scale: Literal["linear", "log"]) -> list[float]:
    """Coordinates of values as metadata alone gives them."""
    # Decimal values should yield decimal coordinates: float32 arithmetic must not show.
    return [round(float(normalised_coordinate(value, low, high, scale=scale, name=NAME)), 5) for value in values]


class ChosenMap(NamedTuple):
    """A map, its kind (a key of ``KINDS``), and the error on the regime left out of each kind."""

    map: CoordinateMap
    kind: str
    leave_one_out: tuple[tuple[str, float], ...]


def choose_map(coordinates: Sequence[float], best: Sequence[float]) -> ChosenMap:
    """Chooses the kind of map that best predicts the best coordinate of left-out regimes, and fits it on all.

    Args:
        coordinates: normalized metadata of the validation regimes, ``[R]``.
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
