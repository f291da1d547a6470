"""Fits the uncertainty of a prefix readout, on validation regimes of known physical values."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._checks import check_level, check_one_each, check_real, counted
from ccm_jax._doubts import unsaid, warn
from ccm_jax._frames import as_frames
from ccm_jax._given import warn_of_validation
from ccm_jax._interval_doubts import (
    warn_if_disordered,
    warn_if_exchanged,
    warn_if_falling,
    warn_if_few,
    warn_if_left_out,
    warn_if_within,
)
from ccm_jax._plain import plain
from ccm_jax.chart import Gated
from ccm_jax.curve import Curve, fit_curve
from ccm_jax.forecast import Residual, evidence_of, fit_residual, spread_of
from ccm_jax.membership import fit_membership, statistic_of
from ccm_jax.readout import PrefixReadout, check_readout
from ccm_jax.search import Local, local_at
from ccm_jax.uncertainty import Uncertainty, fit_scatter, inflation_of, small_sample, usual_gates
from ccm_jax.validation import refuse_single

NAME = "fit_uncertainty"
POINTS = 257  # of the grid of values, at least
COARSE = 2.0  # steps of the grid that are larger, in deviations of the coordinate, miss what frames say: it is refined
FINER = 5  # times at most that steps are halved
MISSED = 10.0  # deviations: between values further apart, a peak can be less likely than the tail far outside
FEWEST = 3  # regimes


class Read(NamedTuple):
    """The readout's results on the trajectories of all validation regimes, along one axis.

    Attributes:
        regime: index of each trajectory's regime, ``[N]``.
        value: its physical value, ``[N]``.
        found: its coordinate, ``[N]``.
        variance: loss over curvature there, ``[N]``.
    """

    regime: np.ndarray
    value: np.ndarray
    found: np.ndarray
    variance: np.ndarray


def fit_uncertainty(
    readout: PrefixReadout,
    validation: Sequence[Any],
    values: Any,
    *,
    reach: float = 1.0,
    level: float = 0.9,
    contexts: Sequence[Any] | None = None,
    mesh: Mesh | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PrefixReadout:
    """Adds uncertainty to a readout: its estimates get a posterior, and are otherwise unchanged.

    A curve through the validation regimes models the coordinate found for each physical value, and its uncertainty
    beyond them. Floor and tightness of the scatter around it are fitted by likelihood. Deviations are then inflated so
    that intervals cover regimes that were left out of the fit, and are larger where an estimate's gate is unusual.

    Args:
        readout: returned by :func:`~ccm_jax.fit_prefix_readout`.
        validation: trajectories of each regime, ``[N, T, *space, C]``, two or more per regime.
        values: the physical value of each regime, ``[R]`` or ``[R, d]`` for several axes.
        reach: how far the grid of values extends beyond the validation regimes, in widths of their range.
        level: the coverage that intervals are calibrated to.
        contexts: the model's inputs besides the window, for each regime.
        mesh: devices to spread over.
        progress: called as ``progress(done, total)`` after each regime.

    Returns:
        The readout with ``uncertainty``.

    Raises:
        ValueError: for fewer than three regimes with distinct values, coordinates that do not depend on them, or
            wrong types.

    Warns:
        UserWarning: if the readout keeps the anchor on all trajectories of the lowest or highest value; if all regimes
            lie between the experts, so nothing checks the intervals of values beyond them; if the coordinate falls
            as the value rises, or goes up and down; if the grid of values is too coarse; for few trajectories, whose
            scatter is uncertain.

    Example:
        >>> from ccm_jax import fit_chart, fit_prefix_readout, make_rollout
        >>> anchor, low, high = ({"rate": jnp.array([r])} for r in (-1.0, -1.5, -0.5))
        >>> chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
        >>> readout = fit_prefix_readout(chart, make_rollout(lambda p, u: u[:, -1] * jnp.exp(0.1 * p["rate"][0])))
        >>> def decay(rate, bump):  # three trajectories that the model does not quite explain
        ...     t = jnp.arange(8.0)[:, None, None]
        ...     return jnp.stack([jnp.exp(0.1 * rate * t + b * t**2) * jnp.ones((8, 4, 1)) for b in bump])
        >>> rates = [-1.6, -1.2, -0.8, -0.4]
        >>> regimes = [decay(r, (-2e-4, 0.0, 1e-4)) for r in rates]
        >>> found = fit_uncertainty(readout, regimes, rates)(decay(-1.0, [0.0])[0])
        >>> low, high = found.interval(0.9)[0]
        >>> bool(low < -1.0 < high), bool(high - low < 0.5)
        (True, True)

    Source: smoothing spline of :mod:`ccm_jax.curve`; inflation as in split conformal prediction (Vovk et al., 2005).
    """
    check_readout(NAME, readout)
    if isinstance(validation, (str, os.PathLike)):
        raise ValueError(
            f"{NAME}: validation is a path, expected a list of arrays [N, T, *space, C], one for each value."
        )
    check_real(f"{NAME}: values are", values)
    check_level(NAME, level)
    labels = np.asarray(values, np.float64)
    labels = labels[:, None] if labels.ndim == 1 else labels
    axes = readout.chart.features.dim - isinstance(readout.chart.features, Gated)
    _check(labels, validation, axes)
    given = [None] * len(validation) if contexts is None else list(contexts)
    check_one_each(NAME, given, "context", validation, "regime")
    observed = readout.history + readout.frames
    bare = plain(readout)
    found, local, statistic, loss, seen_of, estimates = [], [], [], [], [], []
    shape = {"history": readout.history, "frames": readout.frames}
    for i, (x, context) in enumerate(zip(validation, given, strict=True)):
        seen = as_frames(readout.chart, x, f"{NAME}: frames of validation[{i}]")[:, :observed]
        try:
            with unsaid():  # said of all regimes together
                estimate = bare(seen, batch="each", context=context, mesh=mesh)
        except ValueError:
            refuse_single(f"{NAME}: validation[{i}]", readout, jnp.asarray(x), context)
            raise
        estimates.append(estimate)
        seen_of.append(seen)
        c = estimate.coordinate
        local.append(local_at(bare, seen, context, c, mesh=mesh))
        tried = statistic_of(readout.chart, readout.rollout_fn, seen, c, context=context, **shape)
        statistic.append(np.asarray(tried, np.float64))
        loss.append(np.asarray(estimate.loss))
        found.append(np.asarray(c, np.float64))
        if progress is not None:
            progress(i + 1, len(validation))
    warn_of_validation(NAME, bare, seen_of, estimates, alone=contexts is None)
    regime = np.repeat(np.arange(len(validation)), [len(c) for c in found])
    fitted = []
    for axis in range(axes):
        coordinate, variance = np.concatenate(found)[:, axis], np.concatenate([at.variance for at in local])[:, axis]
        usable = np.isfinite(coordinate) & np.isfinite(variance)
        read = Read(regime[usable], labels[regime[usable], axis], coordinate[usable], variance[usable])
        fitted.append(_fit_axis(read, level))
        warn_if_disordered(NAME, axis, read)
    grid = np.stack([_grid(labels[:, axis], reach) for axis in range(axes)])
    floor, tightness, inflation = (jnp.asarray([one[i] for one in fitted], jnp.float32) for i in (2, 3, 4))
    kept = np.isfinite(np.concatenate(statistic))
    membership = fit_membership(np.concatenate(statistic)[kept], np.concatenate(found)[kept, :axes], regime[kept])
    curves, logarithmic = tuple(one[0] for one in fitted), tuple(one[1] for one in fitted)
    warn_if_few(NAME, regime)
    warn_if_falling(NAME, curves, logarithmic, labels)
    told = np.isfinite(np.concatenate([at.variance for at in local])).all(axis=-1)  # not where the anchor is kept
    warn_if_left_out(NAME, regime, told, labels)
    warn_if_exchanged(NAME, np.concatenate(found)[told, :axes], labels[regime[told]])
    warn_if_within(NAME, np.concatenate(found)[told, :axes], regime[told])
    values_on = jnp.asarray(grid, jnp.float32)
    sure = Uncertainty(curves, values_on, floor, tightness, inflation, membership, logarithmic=logarithmic)
    if isinstance(readout.chart.features, Gated):
        gates = jnp.asarray(usual_gates(np.concatenate(found)[told, -1]), jnp.float32)
        sure = dataclasses.replace(sure, gates=gates)
    sure = _refined(sure, local, labels)
    if min(np.shape(x)[1] for x in validation) > observed:
        residual = _residual(bare, sure, list(zip(validation, given, found, local, loss, strict=True)))
        sure = dataclasses.replace(sure, residual=residual)
    return dataclasses.replace(readout, uncertainty=sure)


def _refined(sure: Uncertainty, local: Sequence[Local], labels: np.ndarray) -> Uncertainty:
    """The same on a grid of values that is fine enough for what frames say: a narrow peak may lie between points."""
    sd = np.quantile(np.concatenate([np.asarray(sure.deviation(at)) for at in local]), 0.1, axis=0)  # [d]
    centre, variance = (np.asarray(a, np.float64) for a in sure.expected())
    inside = (np.asarray(sure.values) >= labels.min(axis=0)[:, None]) & (
        np.asarray(sure.values) <= labels.max(axis=0)[:, None]
    )
    step = np.abs(np.diff(centre, axis=-1)) / np.sqrt(variance + sd[:, None] ** 2 + 1e-24)[:, 1:]
    coarsest = float(np.max(step[inside[:, 1:]], initial=0.0))
    if not coarsest > COARSE:
        return sure
    halvings = min(int(np.ceil(np.log2(2 * coarsest))), FINER)
    ends = np.asarray(sure.values)[:, [0, -1]].astype(np.float64)
    left = coarsest / 2**halvings
    if left > MISSED:
        warn(
            f"{NAME}: the grid of {(POINTS - 1) * 2**halvings + 1} values is too coarse: from one to the next, the "
            f"coordinate moves by {left:,.0f} of its standard deviations, and the peak of a posterior may lie between "
            "them; pass a smaller reach, or regimes over a smaller range."
        )
    grid = np.stack([np.linspace(low, high, (POINTS - 1) * 2**halvings + 1) for low, high in ends])
    return dataclasses.replace(sure, values=jnp.asarray(grid, jnp.float32))


def _residual(readout: PrefixReadout, sure: Uncertainty, regimes: list[tuple[Any, ...]]) -> Residual:
    """What the model gets wrong on the future frames of validation trajectories, at the coordinates that are found."""
    observed = readout.history + readout.frames
    parts = []
    for x, context, found, local, loss in regimes:
        x, c = as_frames(readout.chart, x), jnp.asarray(found, jnp.float32)
        how: dict[str, Any] = {"steps": x.shape[1] - observed, "start": observed, "context": context}
        window = x[:, readout.frames : observed]
        mean, variance = spread_of(readout.chart, readout.rollout_fn, window, sure(c, local), **how)
        parts.append([np.asarray(a) for a in (x[:, observed:], mean, variance, evidence_of(loss, c))])
    whole = [np.concatenate(column) for column in zip(*parts, strict=True)]
    finite = np.isfinite(whole[1]).all(axis=tuple(range(1, whole[1].ndim)))  # what diverges has no residual to learn
    return fit_residual(*(a[finite] for a in whole))


def _fit_axis(read: Read, level: float) -> tuple[Curve, bool, float, float, float]:
    """Curve, whether it takes logarithms, floor, tightness and inflation of one axis."""
    regimes = np.unique(read.regime)
    if len(regimes) < FEWEST:
        raise ValueError(
            f"{NAME}: the readout finds a coordinate in {len(regimes)} of the regimes, expected {FEWEST} or more; "
            "where it keeps the anchor, it yields no value; pass regimes further from the anchor."
        )
    mean = np.array([read.found[read.regime == r].mean() for r in regimes])
    inner = read.found - mean[np.searchsorted(regimes, read.regime)]
    freedom = len(inner) - len(regimes)
    if freedom < 1:
        raise ValueError(
            f"{NAME}: the readout finds a coordinate on one trajectory of each regime, expected two or more in at "
            "least one of them, to estimate their scatter; pass more trajectories, or regimes further from the anchor."
        )
    inner = inner * np.sqrt(len(inner) / freedom)  # means were fitted
    floor, tightness = fit_scatter(inner, read.variance)
    scatter = np.sqrt(np.mean(inner**2))
    if np.ptp(mean) <= 4 * scatter / np.sqrt(len(inner) / len(regimes)):
        raise ValueError(
            f"{NAME}: the coordinates found in the regimes ({np.min(mean):+.2g} to {np.max(mean):+.2g}, with a "
            f"standard deviation of {scatter:.2g} in each) do not distinguish the regimes; observe more frames, "
            "or regimes further apart."
        )
    logs = (False, True) if (read.value > 0).all() else (False,)
    curves = {log: _curve(read, regimes, log, scatter) for log in logs}
    log = max(curves, key=lambda kind: float(curves[kind].likelihood))
    standardised = []
    for left_out in regimes:
        rest = regimes[regimes != left_out]
        if len(rest) < FEWEST:
            rest = regimes
        at = read.regime == left_out
        centre, variance = _curve(read, rest, log, scatter)(np.log(read.value[at]) if log else read.value[at])
        total = np.asarray(variance) + floor**2 + tightness**2 * read.variance[at]
        standardised += list((read.found[at] - np.asarray(centre)) / np.sqrt(total + 1e-24))
    # Where the curve through the other regimes is uncertain, those left out lie well within it and say little of the
    # scatter: it is covered by itself, too, and never shrunk below what so few trajectories tell of it.
    scattered = inner / np.sqrt(floor**2 + tightness**2 * read.variance + 1e-6 * np.mean(inner**2) + 1e-24)
    inflation = max(inflation_of(standardised, level), inflation_of(scattered, level), small_sample(freedom, level))
    return curves[log], log, floor, tightness, inflation


def _curve(read: Read, regimes: np.ndarray, log: bool, scatter: float) -> Curve:
    """The curve through the mean coordinates of regimes."""
    places = np.array([read.value[read.regime == r][0] for r in regimes])
    mean = [read.found[read.regime == r].mean() for r in regimes]
    noise = [scatter / np.sqrt((read.regime == r).sum()) for r in regimes]
    return fit_curve(np.log(places) if log else places, mean, noise)


def _grid(values: np.ndarray, reach: float) -> np.ndarray:
    """Values that are thought possible: those of validation and beyond, on their side of 0 where they are positive."""
    low, high = values.min() - reach * np.ptp(values), values.max() + reach * np.ptp(values)
    if values.min() > 0:
        low = max(low, 0.02 * values.min())
    return np.linspace(low, high, POINTS)


def _check(labels: np.ndarray, validation: Sequence[Any], axes: int) -> None:
    """Raises ValueError for regimes and values that cannot serve."""
    if len(labels) != len(validation) or labels.ndim != 2 or labels.shape[1] != axes:
        array = "; of one array, the first axis counts as regimes" * hasattr(validation, "ndim")
        raise ValueError(
            f"{NAME}: values have shape {list(labels.shape)} for {counted(len(validation), 'regime')} and {axes} "
            f"{'axis' if axes == 1 else 'axes'}, expected one physical value for each regime and axis{array}."
        )
    if not np.isfinite(labels).all() or any(len(np.unique(column)) < FEWEST for column in labels.T):
        raise ValueError(
            f"{NAME}: values are {labels.tolist()}, expected finite ones, at least {FEWEST} distinct on each axis."
        )
    for i, x in enumerate(validation):
        if np.ndim(x) < 3 or len(x) < 2:
            raise ValueError(
                f"{NAME}: validation[{i}] has shape {list(np.shape(x))}, expected [N, T, *space, C] with two "
                "trajectories or more, to estimate their scatter."
            )
