"""How sure a calibration is: learned where validation trajectories carry their physical value, said in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ccm_jax.chart import Gated
from ccm_jax.fit_uncertainty import FEWEST, fit_uncertainty
from ccm_jax.readout import PrefixReadout

LEVEL = 0.9
ALARM = 0.05  # below this p-value the frames are of another family


class Sure(NamedTuple):
    """What observed frames say of the physical value.

    Attributes:
        name: of the value, in the file of validation trajectories.
        value: median of the posterior.
        interval: that holds 90 % of it.
        p_value: small where no point of the chart explains the frames.
        flat: whether the frames say nothing of the value.
        values: grid, ``[G]``.
        probability: on the grid, ``[G]``.
    """

    name: str
    value: float
    interval: tuple[float, float]
    p_value: float
    flat: bool
    values: list[float]
    probability: list[float]

    def lines(self) -> list[str]:
        """For the terminal."""
        said = []
        if self.p_value < ALARM:
            said.append(
                f"No point of this chart explains these frames (p = {self.p_value:.2g} against validation residuals): "
                "another equation, forcing, wall or unit? Keep the anchor."
            )
        if self.flat:
            said.append(f"The frames say nothing of {self.name}; give more of them (--frames).")
        else:
            low, high = self.interval
            said.append(f"{self.name} {self.value:.4g}, 90 % interval {low:.4g} to {high:.4g}")
        return said


def values_of(parameters: Sequence[Mapping[str, float]]) -> tuple[str, list[float]] | None:
    """Name and value of the one parameter that differs between regimes; None if it is not one, or not known."""
    names = set.intersection(*(set(known) for known in parameters)) if parameters else set()
    varying = [name for name in sorted(names) if len({known[name] for known in parameters}) > 1]
    if len(varying) != 1 or len({known[varying[0]] for known in parameters}) < FEWEST:
        return None
    return varying[0], [known[varying[0]] for known in parameters]


def with_uncertainty(
    readout: PrefixReadout, regimes: Mapping[str, np.ndarray], parameters: Sequence[Mapping[str, float]]
) -> tuple[PrefixReadout, str | None]:
    """The readout with what validation regimes tell of its errors, and the name of the value; or why it has none."""
    axes = readout.chart.features.dim - isinstance(readout.chart.features, Gated)
    known = values_of(parameters)
    if known is None or axes != 1 or any(len(x) < 2 for x in regimes.values()):
        return readout, None
    name, values = known
    return fit_uncertainty(readout, list(regimes.values()), values), name


def sure_of(readout: PrefixReadout, name: str, x: Any) -> Sure:
    """What frames ``[N, T, *space, C]`` of one regime say of the value, all trajectories together."""
    found = readout(jnp.asarray(x), batch="pooled")
    assert found.posterior is not None and found.p_value is not None
    low, high = (float(end) for end in found.interval(LEVEL)[0])
    return Sure(
        name=name,
        value=float(found.value()[0]),
        interval=(low, high),
        p_value=float(found.p_value),
        flat=bool(found.posterior.flat()[0]),
        values=np.asarray(found.posterior.values[0], float).tolist(),
        probability=np.asarray(found.posterior.probability[0], float).tolist(),
    )
