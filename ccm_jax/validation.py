"""What is refused of validation trajectories and of choices, and by how much fields grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.chart import Chart
from ccm_jax.observed import check_prefix
from ccm_jax.readout import PrefixReadout, as_frames
from ccm_jax.rollout import call_rollout

Array = jax.Array


def as_regimes(chart: Chart, validation: Sequence[Any]) -> list[Array]:
    """Validation trajectories as a list of arrays, one for each regime."""
    if isinstance(validation, Mapping):
        raise ValueError(
            "fit_prefix_readout: validation is a mapping, expected a list of arrays [N, T, *space, C], one for each "
            "regime; give list(validation.values())."
        )
    return [as_frames(chart, x) for x in validation]


def growth_of(regimes: Sequence[Array], observed: int) -> float:
    """Twice the largest growth of a field beyond its observed frames, among trajectories ``[N, T, *space, C]``."""
    factors = []
    for x in regimes:
        size = np.sqrt(np.mean(np.square(np.asarray(x, np.float64)), axis=tuple(range(2, x.ndim - 1))))  # [N, T, C]
        factors.append((size.max(axis=1) / np.maximum(size[:, :observed].max(axis=1), 1e-12)).max())
    return 2 * float(max(factors))


def check_validation(readout: PrefixReadout, regimes: Sequence[Array], contexts: Sequence[Any]) -> None:
    """Raises ValueError for validation trajectories that cannot serve."""
    name, observed = "fit_prefix_readout", readout.history + readout.frames
    if not regimes:
        raise ValueError(f"{name}: validation is empty, expected trajectories [N, T, ...] of at least one regime.")
    for i, x in enumerate(regimes):
        if x.ndim < 3 or x.shape[1] <= observed:
            raise ValueError(
                f"{name}: validation[{i}] has shape {x.shape}, expected [N, T, *space, C] with T above {observed}: "
                f"{readout.history} frames of the window, {readout.frames} of the prefix, and a future to be judged on."
            )
        if x.shape[1:] != regimes[0].shape[1:]:
            raise ValueError(
                f"{name}: validation[{i}] has frames {list(x.shape[1:])}, validation[0] {list(regimes[0].shape[1:])}; "
                "give all regimes the same frames, grid and channels."
            )
        check_prefix(f"{name}, validation[{i}]", x, readout.history, readout.frames)
        if not bool(jnp.isfinite(x).all()):
            raise ValueError(f"{name}: validation[{i}] holds NaN or infinite values; mend or drop them.")
    window, context = regimes[0][:, : readout.history], contexts[0]

    def step(params: Any, window: Array, context: Any) -> Array:
        return call_rollout(readout.rollout_fn, params, window, 1, context, readout.history)

    try:
        jax.eval_shape(step, readout.chart.origin, window, context)
    except ValueError as error:
        raise ValueError(
            f"{name}: validation[0] has shape {list(regimes[0].shape)}, expected [N, T, *space, C] with frames that "
            f"the model takes: {error}"
        ) from error


def check_choices(choices: Any, frames: int) -> None:
    """Raises ValueError for choices that leave nothing to choose, or a frame or pull that there is not."""
    begins = (0,) if choices.begin is None else choices.begin
    for name, values in (("free_gate", choices.free_gate), ("begin", begins), ("skip", choices.skip)):
        if not values:
            raise ValueError(f"fit_prefix_readout: choices.{name} is empty, expected at least one value.")
    if not any(begin >= 0 and 0 <= skip < frames - begin for begin in begins for skip in choices.skip):
        raise ValueError(
            f"fit_prefix_readout: choices.begin {begins} and choices.skip {choices.skip} leave none of the {frames} "
            "frames to score; begin + skip must be below that."
        )
    if min(begins) < 0 or not choices.pull or not all(pull >= 0 for pull in choices.pull):
        raise ValueError(
            f"fit_prefix_readout: choices.begin is {begins} and choices.pull {choices.pull}, expected numbers of at "
            "least 0, and one pull or more."
        )
