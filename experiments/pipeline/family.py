"""A family of weights with the model and the protocol that judge it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from ccm_jax import Chart, Gated, Polynomial, fit_chart
from ccm_jax.evaluate import as_error, future_error, future_error_each, in_groups, sweep_errors
from ccm_jax.parallel import place
from ccm_jax.prefix import prefix_errors
from ccm_jax.rollout import RolloutFn

Array = jax.Array
Params = Any


class Family(NamedTuple):
    """Anchor and experts, the model that they are weights of, and how errors are counted.

    Attributes:
        anchor: the family anchor.
        experts: fine-tuned from it; with one axis those of its low and of its high end.
        rollout_fn: the model in physical units, ``(params, window, steps) -> frames``.
        history: frames in the model's window.
        frames: the K frames of the prefix after it.
        bank: candidate coordinates on the line, ``[n]``.
        mesh: devices that share the work, or None.
        coordinates: of the experts.
        features: of the chart through them.
    """

    anchor: Params
    experts: tuple[Params, ...]
    rollout_fn: RolloutFn
    history: int
    frames: int
    bank: np.ndarray
    mesh: Mesh | None = None
    coordinates: Any = (-1.0, 1.0)
    features: Any = Polynomial()

    @property
    def low(self) -> Params:
        """The expert at the low end of one axis."""
        return self.experts[0]

    @property
    def high(self) -> Params:
        """The expert at the high end of one axis."""
        return self.experts[1]

    @property
    def protocol(self) -> dict[str, int]:
        """The arguments of :mod:`ccm_jax.evaluate` that say where the future begins."""
        return {"history": self.history, "frames": self.frames}

    @property
    def line(self) -> Chart:
        """The chart through the experts: with one axis, the paper's line."""
        return fit_chart(self.anchor, self.experts, self.coordinates, features=self.features)

    @property
    def plane(self) -> Chart:
        """The same with a gate on its shared part: of a line coordinates (alpha, gate), and the anchor at (0, 0)."""
        return fit_chart(self.anchor, self.experts, self.coordinates, features=Gated(self.features))

    def errors_of(self, params: Params, x: Any) -> np.ndarray:
        """Future errors ``[N, T_future]`` of fixed weights on trajectories ``[N, T, *space, C]``."""
        groups = in_groups(
            lambda g, _: future_error(params, self.rollout_fn, g, **self.protocol)[None], x, np.zeros((1, 1))
        )
        return groups[0]

    def errors_along(self, chart: Chart, candidates: Any, x: Any) -> np.ndarray:
        """Future errors ``[n, N, T_future]`` of every candidate ``[n, d]``."""
        return sweep_errors(chart, self.rollout_fn, x, candidates, mesh=self.mesh, **self.protocol)

    def errors_each(self, chart: Chart, coordinates: Any, x: Any) -> np.ndarray:
        """Future errors ``[N, T_future]`` with a coordinate ``[N, d]`` of its own for each trajectory."""
        placed = place((chart, jnp.asarray(x), coordinates), self.mesh)
        chart, x, coordinates = placed
        return np.asarray(future_error_each(chart, self.rollout_fn, x, coordinates, mesh=self.mesh, **self.protocol))

    def errors_of_prefix(self, chart: Chart, candidates: Any, x: Any) -> np.ndarray:
        """Errors ``[n, N, K]`` of every candidate over the observed frames."""
        how: dict[str, Any] = {"history": self.history, "frames": self.frames, "mesh": self.mesh}
        chart, observed = place(chart, self.mesh), np.asarray(x)[:, : self.history + self.frames]
        return in_groups(
            lambda g, bank: prefix_errors(chart, self.rollout_fn, g, bank, **how), observed, candidates, self.mesh
        )


def bank_of(config: ConfigDict) -> np.ndarray:
    """The candidate coordinates of a configuration, ``[n]``."""
    c = config.calibration
    return c.low + c.step * np.arange(round((c.high - c.low) / c.step) + 1)


def column(bank: np.ndarray) -> np.ndarray:
    """A bank ``[n]`` as candidates ``[n, 1]``."""
    return np.asarray(bank, np.float32)[:, None]


def mean_error(errors: Any) -> float:
    """Mean over frames and trajectories; infinite where it is not finite, so that divergence never wins."""
    return float(as_error(errors))
