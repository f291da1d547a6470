"""What is refused of validation trajectories and of choices, and by how much fields grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import as_count, as_number, kind_of
from ccm_jax._doubts import warn
from ccm_jax._frames import as_frames, warn_unlike
from ccm_jax._given import at_end, check_model, lacks_batch, takes
from ccm_jax._stride import Clue
from ccm_jax.observed import check_prefix
from ccm_jax.readout import PrefixReadout
from ccm_jax.rollout import call_rollout

Array = jax.Array


def as_regimes(readout: PrefixReadout, validation: Any) -> list[Array]:
    """Validation trajectories as a list of arrays, one for each regime."""
    if isinstance(validation, Mapping):
        raise ValueError(
            "fit_prefix_readout: validation is a mapping, expected a list of arrays [N, T, *space, C], one for each "
            "regime; pass list(validation.values())."
        )
    if getattr(validation, "ndim", 0) > 0:
        validation = _of_one_array(readout, validation)
    what = "fit_prefix_readout: frames of validation"
    return [as_frames(readout.chart, x, f"{what}[{i}]") for i, x in enumerate(validation)]


def _of_one_array(readout: PrefixReadout, x: Array) -> list[Array]:
    """The regimes of one array, if the model and the number of frames leave only one way to read it."""
    ways = {"[x] for one regime": [x], "list(x) for several": list(x), "[x[None]] for one trajectory": [x[None]]}
    observed = readout.history + readout.frames

    def fits(first: Array) -> bool:
        return first.ndim > 2 and first.shape[1] > observed and takes(readout, first)

    fit = [how for how, regimes in ways.items() if fits(jnp.asarray(regimes[0]))]
    if len(fit) != 1:
        *others, last = fit or ways
        raise ValueError(
            f"fit_prefix_readout: validation is one array {list(x.shape)}, expected a list of arrays [N, T, *space, "
            f"C], one for each regime; pass {', '.join(others)}, or {last}."
        )
    return ways[fit[0]]


def growth_of(regimes: Sequence[Array], observed: int) -> float:
    """Twice the largest growth of a field beyond its observed frames, among trajectories ``[N, T, *space, C]``."""
    factors = []
    for x in regimes:
        size = np.sqrt(np.mean(np.square(np.asarray(x, np.float64)), axis=tuple(range(2, x.ndim - 1))))  # [N, T, C]
        factors.append((size.max(axis=1) / np.maximum(size[:, :observed].max(axis=1), 1e-12)).max())
    return 2 * float(max(factors))


def warn_of_fit(
    function: str, readout: PrefixReadout, data: Sequence[Any], found: Sequence[Array], ratios: Sequence[float]
) -> None:
    """Warns of validation on which another time step explains the frames, or no merge is better than the anchor.

    Args:
        function: name in the warning.
        readout: that was chosen.
        data: trajectories ``[N, T, *space, C]`` and context of each regime.
        found: coordinates ``[N, d]`` of each regime.
        ratios: future error over the anchor's on each regime.
    """
    warn_of_step(function, readout, data, found)
    if round(min(ratios), 3) >= 1:  # equal where the readout keeps the anchor
        warn(
            f"{function}: on no validation regime is a merge better than the anchor (error {max(ratios):.3g} times the "
            "anchor's at most); check that validation is of the experts' equation, in the model's units and time step."
        )


def warn_of_step(function: str, readout: PrefixReadout, data: Sequence[Any], found: Sequence[Array]) -> None:
    """Warns of the first regime most of whose coordinates end at the rim, if another time step explains its frames.

    Args:
        function: name in the warning.
        readout: that was chosen.
        data: trajectories ``[N, T, *space, C]`` and context of each regime.
        found: coordinates ``[N, d]`` of each regime.
    """
    for i, ((x, context), coordinates) in enumerate(zip(data, found, strict=True)):
        lost = at_end(readout, coordinates)
        clue = Clue(readout, x)(lost) if context is None and 2 * len(lost) > len(x) else ""
        if clue:
            warn(f"{function}: the coordinates of validation[{i}] are at the edge of the search range{clue}")
            return


def check_validation(readout: PrefixReadout, regimes: Sequence[Array], contexts: Sequence[Any]) -> None:
    """Raises ValueError for validation trajectories that cannot serve."""
    name, observed = "fit_prefix_readout", readout.history + readout.frames
    if not regimes:
        raise ValueError(f"{name}: validation is empty, expected trajectories [N, T, ...] of at least one regime.")
    for i, (x, context) in enumerate(zip(regimes, contexts, strict=True)):
        if x.ndim < 3 or x.shape[1] <= observed:
            refuse_single(f"{name}: validation[{i}]", readout, x, context)
            raise ValueError(
                f"{name}: validation[{i}] has shape {list(x.shape)}, expected [N, T, *space, C] with T above "
                f"{observed}: {readout.history} of the window, {readout.frames} of the prefix, and a future to be "
                "judged on."
            )
        if x.shape[1:] != regimes[0].shape[1:]:
            raise ValueError(
                f"{name}: validation[{i}] has frames {list(x.shape[1:])}, validation[0] {list(regimes[0].shape[1:])}; "
                "use the same frames, grid and channels for all regimes."
            )
        check_prefix(f"{name}, validation[{i}]", x, readout.history, readout.frames)
        if not bool(jnp.isfinite(x).all()):
            raise ValueError(f"{name}: validation[{i}] contains NaN or infinite values; fix or remove them.")
    warn_unlike(name, regimes)
    window, context = regimes[0][:, : readout.history], contexts[0]

    def step(params: Any, window: Array, context: Any) -> Array:
        return call_rollout(readout.rollout_fn, params, window, 1, context, readout.history)

    try:
        jax.eval_shape(step, readout.chart.origin, window, context)
    except ValueError as error:
        refuse_single(f"{name}: validation[0]", readout, regimes[0], context)
        if str(error).startswith("make_rollout:"):  # it says all there is to say
            raise ValueError(str(error)) from error
        if str(error).startswith("rollout_fn returns"):
            raise ValueError(f"{name}: {error}") from error
        raise ValueError(
            f"{name}: validation[0] has shape {list(regimes[0].shape)}, expected [N, T, *space, C] with frames that "
            f"the model takes: {error}"
        ) from error


def refuse_single(what: str, readout: PrefixReadout, x: Array, context: Any) -> None:
    """Raises ValueError for a trajectory where a batch of them is expected; ``what`` names it."""
    if lacks_batch(readout, x, context):
        raise ValueError(
            f"{what} has shape {list(x.shape)}, expected [N, T, *space, C]; it has no batch axis: pass x[None]."
        )


def check_settings(chart: Any, rollout_fn: Any, history: Any, frames: Any, reach: Any) -> tuple[int, int]:
    """The numbers of frames as whole numbers; raises ValueError for those that are none, and for what is no model."""
    name = "fit_prefix_readout"
    check_model(name, chart, rollout_fn)
    if not as_number(reach, f"{name}: reach") > 0:
        raise ValueError(f"{name}: reach is {reach}, expected a number above 0.")
    return as_count(f"{name}: history", history), as_count(f"{name}: frames", frames)


def check_choices(choices: Any, frames: int) -> None:
    """Raises ValueError for choices that leave nothing to choose, or a frame or pull that there is not."""
    if not hasattr(choices, "free_gate"):
        raise ValueError(
            f"fit_prefix_readout: choices is {kind_of(choices)}, expected Choices, such as Choices(begin=(0,))."
        )
    for name, values in choices._asdict().items():
        if np.ndim(values) == 0 and (name, values) != ("begin", None):
            raise ValueError(
                f"fit_prefix_readout: choices.{name} is {values!r}, expected a tuple, such as ({values!r},)."
            )
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
