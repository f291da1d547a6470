"""A rollout with intervals: finds the coordinate from the first frames of a file, and forecasts the rest."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax.cli.fitting import Fitted
from ccm_jax.cli.sure import LEVEL, Sure, sure_of
from ccm_jax.posterior import Prior
from ccm_jax.predict import predict_rollout
from ccm_jax.rollout import call_rollout


class Probe(NamedTuple):
    """One number of a field over time; ``low``, ``high`` and the rest after the observed frames.

    Attributes:
        place: index of the point on the grid.
        observed: ``[observed frames]``.
        mean: ``[steps]``.
        low: ``[steps]``.
        high: ``[steps]``.
        samples: ``[S, steps]``.
        truth: ``[steps]``, or None.
    """

    place: tuple[int, ...]
    observed: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    samples: np.ndarray
    truth: np.ndarray | None


class Forecasted(NamedTuple):
    """The frames after the observed ones.

    Attributes:
        observed: ``[history + K, *space, C]``.
        mean: ``[steps, *space, C]``.
        low: lower end of the 90 % interval of each number.
        high: upper end.
        samples: rollouts at coordinates drawn from the posterior, ``[S, steps, *space, C]``.
        coordinates: those, ``[S, D]``.
        truth: ``[steps, *space, C]``, or None.
        sure: what the observed frames say of the coordinate.
    """

    observed: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    samples: np.ndarray
    coordinates: np.ndarray
    truth: np.ndarray | None
    sure: Sure

    def at_the_middle(self) -> Probe:
        """The first channel at the middle of the grid."""
        place = tuple(n // 2 for n in self.mean.shape[1:-1])
        at = (..., *place, 0)
        truth = None if self.truth is None else self.truth[at]
        return Probe(place, self.observed[at], self.mean[at], self.low[at], self.high[at], self.samples[at], truth)

    def covered(self) -> np.ndarray:
        """The share of each frame's numbers that the interval holds, ``[steps]``."""
        assert self.truth is not None
        inside = (self.low <= self.truth) & (self.truth <= self.high)
        return inside.mean(axis=tuple(range(1, inside.ndim)))


def forecast(
    fitted: Fitted,
    x: np.ndarray,
    steps: int | None,
    *,
    truth: bool = False,
    prior: Prior | None = None,
    samples: int = 0,
    seed: int = 0,
) -> Forecasted:
    """Reads the coordinate off the first frames of a trajectory, and rolls out from the last of them.

    Args:
        fitted: a readout that knows how sure it is.
        x: the trajectory, ``[T, *space, C]``, in the model's units.
        steps: frames to predict; None is as many as ``x`` has, or as validation trajectories had.
        truth: whether ``x`` goes on with the truth.
        prior: of the physical values.
        samples: rollouts at coordinates that are drawn from the posterior.
        seed: of the draws.

    Raises:
        ValueError: for a readout without intervals, frames that are too few, or more steps than validation had.
    """
    readout = fitted.readout
    if readout.uncertainty is None:
        raise ValueError(f"rollout: no interval is possible: {fitted.unsure}")
    observed, residual = readout.history + readout.frames, readout.uncertainty.residual
    after, most = len(x) - observed, 0 if residual is None else len(residual.level)
    count = (min(after, most) if after > 0 else most) if steps is None else steps
    if count > most:
        raise ValueError(
            f"rollout: --steps is {count}, expected at most {most}: the frames that validation trajectories have after "
            f"the {observed} observed ones, on which the interval is fitted."
        )
    if after < 0 or (truth and after < count):
        needed = observed + (count if truth else 0)
        raise ValueError(
            f"rollout: --initial has {counted(len(x), 'frame')}, expected at least {needed}: {readout.history} of the "
            f"model's window, {readout.frames} to calibrate on (--frames){f', and {count} of truth' if truth else ''}."
        )
    seen = jnp.asarray(x[:observed])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no point of the chart explains")  # the command itself says so
        found = predict_rollout(readout, seen, count, prior=prior)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Forecast.interval")  # said with the interval of the value
        low, high = found.interval(LEVEL)
    drawn, rolled = np.zeros((0, readout.chart.features.dim)), np.zeros((0, *found.mean.shape))
    if samples:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said already
            coordinates = readout(seen, prior=prior).sample(jax.random.key(seed), samples)
        window = seen[None, readout.frames : observed]

        def roll(c: Any) -> Any:
            return call_rollout(readout.rollout_fn, readout.chart(c), window, count, None, observed)[0]

        drawn, rolled = np.asarray(coordinates), np.asarray(jax.jit(lambda c: jax.lax.map(roll, c))(coordinates))
    return Forecasted(
        observed=x[:observed],
        mean=np.asarray(found.mean),
        low=np.asarray(low),
        high=np.asarray(high),
        samples=rolled,
        coordinates=drawn,
        truth=x[observed : observed + count] if truth else None,
        sure=sure_of(readout, fitted.known, x[None, :observed], prior=prior),
    )
