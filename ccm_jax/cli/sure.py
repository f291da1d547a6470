"""How sure a calibration is: fitted where validation tells the physical values, and said in the terminal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._checks import counted
from ccm_jax._shown import shown_p
from ccm_jax.chart import Gated
from ccm_jax.cli.checkpoints import note
from ccm_jax.cli.faults import line_of
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.parameters import MORE, values_of, varying_names
from ccm_jax.cli.waiting import waiting
from ccm_jax.fit_uncertainty import FEWEST, fit_uncertainty
from ccm_jax.membership import ALARM, STRANGE
from ccm_jax.posterior import Posterior, Prior
from ccm_jax.readout import PrefixReadout

LEVEL = 0.9
POINTS = 257  # of the grid of coordinates
ERF = np.vectorize(math.erf, otypes=[float])
NOISE = "If the frames are noisy, add noise of the same size to the validation trajectories (ccm calibrate --noise)."


class Known(NamedTuple):
    """The physical values that validation tells, for each axis.

    Attributes:
        names: of the parameters.
        low: lowest value of each.
        high: highest value of each.
    """

    names: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Axis(NamedTuple):
    """What observed frames say along one axis.

    Attributes:
        name: of the physical parameter, in the file of validation trajectories.
        value: median of the posterior.
        interval: that holds 90 % of it.
        coordinate_interval: the same of the coordinate.
        flat: whether the frames do not constrain the value.
        falls: whether the coordinate falls as the value rises.
        cut: whether the lower and the upper end of the interval are cut off at the end of ``values``.
        known: lowest and highest value of the validation regimes.
        values: grid, ``[G]``.
        probability: on it, ``[G]``, with sum 1.
        coordinates: grid, ``[G]``.
        density: on it, ``[G]``.
    """

    name: str
    value: float
    interval: tuple[float, float]
    coordinate_interval: tuple[float, float]
    flat: bool
    falls: bool
    cut: tuple[bool, bool]
    known: tuple[float, float]
    values: list[float]
    probability: list[float]
    coordinates: list[float]
    density: list[float]

    @property
    def ends_not_known(self) -> list[str]:
        """Which ends of the interval are only where the posterior is cut off."""
        return [name for name, cut in zip(("lower", "upper"), self.cut, strict=True) if cut]

    @property
    def beyond(self) -> bool:
        """Whether the value lies outside of what validation knows."""
        return not self.known[0] <= self.value <= self.known[1]

    @property
    def partly(self) -> bool:
        """Whether the value lies inside of what validation knows, and part of its interval outside."""
        return not self.beyond and not self.known[0] <= self.interval[0] <= self.interval[1] <= self.known[1]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        outside = {"outside_validation": self.beyond, "interval_partly_outside": self.partly}
        return self._asdict() | outside | {"ends_not_known": self.ends_not_known}


class Sure(NamedTuple):
    """What observed frames say of the physical values, all trajectories together.

    Attributes:
        axes: of the chart.
        coordinate: mean of the posterior, which a prior moves, with the gate last if the chart has one.
        p_value: of the frames among those of validation regimes; small where no point of the chart explains them.
        level: of the intervals.
        gates: the smallest and the largest that are usual on validation; None where it says nothing of the last of
            ``coordinate``.
    """

    axes: tuple[Axis, ...]
    coordinate: tuple[float, ...]
    p_value: float
    level: float = LEVEL
    gates: tuple[float, float] | None = None

    @property
    def stranger(self) -> bool:
        """Whether no point of the chart explains the frames."""
        return self.p_value < STRANGE

    @property
    def unlike(self) -> bool:
        """Whether the chart explains the frames worse than nearly all of validation; so are strangers."""
        return self.p_value < ALARM

    def remarks(self) -> list[str]:
        """What is doubtful about the intervals."""
        said = []
        for axis in self.axes:
            if axis.falls and not axis.flat:
                said.append(
                    f"The coordinate falls as {axis.name} rises: the low and high expert seem to be swapped, and "
                    "ccm merge --value would go the wrong way."
                )
            if axis.flat and self.stranger:
                continue  # frames of another family are the reason, and more of them no remedy
            if axis.flat:
                said.append(f"The frames do not constrain {axis.name}: observe more (--frames), or pass --prior.")
                continue
            ends = zip(axis.cut, axis.interval, (axis.values[0], axis.values[-1]), ("down", "up"), strict=True)
            for cut, reached, last, way in ends:
                if cut:
                    said.append(
                        f"The interval of {axis.name} reaches at least {way} to {reached:.4g}; to find its end, add a "
                        f"validation regime at {axis.name} {last:.4g}, where the search stops."
                    )
            low, high = axis.known
            if axis.partly and not any(axis.cut):
                said.append(
                    f"Partly extrapolated: the interval of {axis.name} reaches beyond the validation regimes "
                    f"({low:.4g} to {high:.4g}), where it was not calibrated."
                )
            if axis.beyond:
                said.append(
                    f"Extrapolated: {axis.name} {axis.value:.4g} is outside the validation regimes ({low:.4g} to "
                    f"{high:.4g})."
                )
                if not any(axis.cut):  # which is said above
                    said.append("Its interval is probably too narrow; add validation regimes beyond it.")
        if self.gates is not None and not all(axis.flat for axis in self.axes):
            low, high = self.gates
            said.append(
                f"The gate {self.coordinate[-1]:.2f} is unusual (on validation, {low:.2f} to {high:.2f}): the interval "
                "is wider for it."
            )
        if self.unlike and not self.stranger:
            where = ", and more of those far outside the validation regimes" * any(a.beyond for a in self.axes)
            said.append(
                f"The chart explains these frames worse than most validation frames ({shown_p(self.p_value)}; 1 in 20 "
                f"in-family trajectories falls below {ALARM:g}{where}). Check equation, units and axis order. {NOISE}"
            )
        elif not self.unlike:
            said.append(
                f"{shown_p(self.p_value)}: these frames do not contradict the chart (below {ALARM:g}, they would)."
            )
        return said

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        axes = [axis.as_json() for axis in self.axes]
        return self._asdict() | {"axes": axes, "no_point_explains_the_frames": self.stranger}


def with_uncertainty(
    readout: PrefixReadout, validation: Regimes, names: Sequence[str], mesh: Mesh | None
) -> tuple[PrefixReadout, Known, str]:
    """The readout with what validation tells of its errors, and the values that it knows; or why there are none."""
    axes = readout.chart.features.dim - isinstance(readout.chart.features, Gated)
    chosen, values, why = values_of(validation, names, axes)
    if why:
        return readout, Known(), f"--validation {why}"
    if names and (more := sorted(set(varying_names(validation)) - set(chosen))):
        note(
            f"--validation: {', '.join(more)} varies too, and is not told apart; --parameter names {', '.join(chosen)}."
        )
    fewest, name = min((len(set(column)), name) for column, name in zip(values.T.tolist(), chosen, strict=True))
    if fewest < FEWEST:
        return readout, Known(), f"--validation has {counted(fewest, 'value')} of {name}; {MORE}."
    try:
        with waiting("compiling and fitting its uncertainty", steps=True) as progress, warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*the coordinate falls as")  # as remarks() says, with the remedy here
            how: dict[str, Any] = {"level": LEVEL, "mesh": mesh, "progress": progress}
            sure = fit_uncertainty(readout, list(validation.trajectories.values()), values, **how)
    except ValueError as error:
        return readout, Known(), line_of(error)
    assert sure.uncertainty is not None
    ends = np.asarray(sure.uncertainty.known(), float)  # of the regimes in which a coordinate is found, in float32
    low, high = (values[np.abs(values - end).argmin(axis=0), np.arange(len(chosen))].tolist() for end in ends.T)
    return sure, Known(chosen, tuple(low), tuple(high)), ""


def sure_of(readout: PrefixReadout, known: Known, x: Any, mask: Any = None, prior: Prior | None = None) -> Sure:
    """What frames ``[N, T, *space, C]`` of one regime say of the values; see :class:`~ccm_jax.PrefixReadout`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the command itself says what is wrong with the frames
        found = readout(jnp.asarray(x), batch="pooled", mask=mask, prior=prior)
    posterior, uncertainty = found.posterior, readout.uncertainty
    assert posterior is not None and uncertainty is not None and found.p_value is not None
    value, interval = np.asarray(posterior.value(), float), np.asarray(posterior.interval(LEVEL), float)
    axes, cut = [], np.asarray(posterior.cut())
    for i, (name, *ends_known) in enumerate(zip(*known, strict=True)):
        coordinates, cdf = coordinate_cdf(posterior, i)
        tail = (1 - LEVEL) / 2
        ends = np.interp([tail, 1 - tail], cdf, coordinates)
        axes.append(
            Axis(
                name=name,
                value=float(value[i]),
                interval=(float(interval[i, 0]), float(interval[i, 1])),
                coordinate_interval=(float(ends[0]), float(ends[1])),
                flat=bool(posterior.flat()[i]),
                cut=(bool(cut[i, 0]), bool(cut[i, 1])),
                falls=bool(posterior.mean[i, -1] < posterior.mean[i, 0]),
                known=(ends_known[0], ends_known[1]),
                values=np.asarray(uncertainty.values[i], float).tolist(),
                probability=np.asarray(posterior.probability[i], float).tolist(),
                coordinates=coordinates.tolist(),
                density=np.gradient(cdf, coordinates).tolist(),
            )
        )
    unusual = posterior.gates is not None and bool(posterior.unusual_gate())
    gates = tuple(np.asarray(posterior.gates, float).tolist()) if unusual else None
    coordinate = tuple(np.asarray(posterior.coordinate(), float).tolist())
    return Sure(tuple(axes), coordinate, float(found.p_value), gates=gates)


def coordinate_cdf(posterior: Posterior, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The share of the posterior below each of a grid of coordinates, ``[G]`` both: a mixture of normals."""
    p, mean, sd = (
        np.asarray(a[axis], np.float64) for a in (posterior.probability, posterior.mean, posterior.deviation)
    )
    sd = np.maximum(sd, 1e-6)
    held = p > 1e-6 * p.max()
    grid = np.linspace((mean - 4 * sd)[held].min(), (mean + 4 * sd)[held].max(), POINTS)
    below = 0.5 * (1 + ERF((grid[:, None] - mean[None]) / (sd[None] * 2**0.5)))
    return grid, below @ p
