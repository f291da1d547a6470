"""What is wrong with frames that a readout is given: a batch for one trajectory, or channels in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted, is_traced, kind_of
from ccm_jax._doubts import warn
from ccm_jax._frames import warn_of_unit
from ccm_jax._stranger_doubts import warn_of_strangers, which_of
from ccm_jax._stride import Clue
from ccm_jax._trivial import POOR, trivial, worse_than_trivial
from ccm_jax.chart import Chart, Gated
from ccm_jax.rollout import call_rollout, shape_of

if TYPE_CHECKING:
    from ccm_jax.coordinate import Estimate
    from ccm_jax.readout import PrefixReadout

Array = jax.Array
SINGLE = "expected one trajectory [T, *space, C]"
RIM = 1e-3  # nearer than this to the edge of the search range, a coordinate lies at it
STRAY = 5.0  # times the largest error on validation: the family's own frames stay below it, also far outside
HIGHEST_GATE = (
    "the edge of the search range: the gate is a factor on the experts' shared update, 1 leaves it as it is, and even "
    "more than this would fit better, as happens with an undertrained anchor; check the merge on held-out frames"
)
EXACT = 1e-2  # relative errors below this are small, whatever those on validation are
EACH = "for a batch [N, T, *space, C], pass batch='each', one coordinate per trajectory"
BATCH = f"{EACH}, or 'pooled', one for all"
POOLING = ("PrefixReadout",)  # what takes batch='pooled', of those that name themselves below


def check_model(function: str, chart: Any, rollout_fn: Any) -> None:
    """Raises ValueError unless a chart and a rollout are given, in this order."""
    if not isinstance(chart, Chart):
        swapped = "; the arguments are (chart, rollout_fn)" if callable(chart) else ""
        inside = "; pass its .chart" if isinstance(getattr(chart, "chart", None), Chart) else swapped
        raise ValueError(f"{function}: chart is {kind_of(chart)}, expected a Chart of fit_chart{inside}.")
    if not callable(rollout_fn) or isinstance(rollout_fn, Chart):
        raise ValueError(
            f"{function}: rollout_fn is {kind_of(rollout_fn)}, expected a function (params, window, steps) -> "
            "frames, such as make_rollout(apply)."
        )


def check_single(function: str, shape: tuple[int, ...], needed: int) -> None:
    """Raises ValueError for frames of one trajectory that are too few, where they would do as a batch.

    Args:
        function: name in errors.
        shape: of the frames, as they were given.
        needed: frames that a trajectory must have.
    """
    if len(shape) > 3 and shape[0] < needed <= shape[1]:
        raise ValueError(f"{function}: frames have shape {list(shape)}, {SINGLE} with T at least {needed}; {BATCH}.")


def check_axes(function: str, known: tuple[int, ...] | None, given: tuple[int, ...], axes: int) -> None:
    """Raises ValueError for frames with more or fewer axes than those of validation, which some networks would take.

    Args:
        function: name in errors.
        known: shape ``[*space, C]`` of validation's frames; None where there were none.
        given: shape of the frames, as they were given.
        axes: of the frames, with those of trajectories and time.
    """
    if known is not None and axes == 2 + len(known) and given[-1] != known[-1]:
        raise ValueError(
            f"{function}: frames have {counted(given[-1], 'channel')} (shape {list(given)}), and those of validation "
            f"{known[-1]}, expected [*space, C] = {list(known)} or another grid, with channels last."
        )
    if known is not None and axes != 2 + len(known):
        wanted = SINGLE.replace("*space, C", ", ".join(map(str, known)))
        raise ValueError(
            f"{function}: frames have shape {list(given)}, {wanted} as in validation (the grid may be another); "
            f"{BATCH if function in POOLING else EACH}."
        )


def explained(readout: PrefixReadout, x: Array, single: bool, error: ValueError) -> ValueError:
    """The error of a model that does not take trajectories ``[N, T, *space, C]``, and whether batch is the reason.

    Args:
        readout: whose model it is.
        x: the trajectories, with a batch axis.
        single: whether they were given as one, without that axis.
        error: what the model said.
    """
    if str(error).startswith("make_rollout: it takes no context"):
        return error
    if str(error).startswith("make_rollout: apply returns"):
        return ValueError(str(error))
    other = x[0] if single else x[None]
    needed = readout.history + readout.frames
    said = str(error)
    said = said if said.startswith("make_rollout:") else f"PrefixReadout: {said}"
    if other.ndim > 2 and other.shape[1] >= needed and takes(readout, other):
        given = list(other.shape if single else x.shape)
        wanted = (
            f"{SINGLE}; {BATCH}" if single else "expected a batch [N, T, *space, C]; for one trajectory leave batch out"
        )
        said = f"PrefixReadout: frames have shape {given}, {wanted}."
    elif takes(readout, jnp.repeat(x[:, None], readout.history, axis=1)):
        given = list(x.shape[1:] if single else x.shape)
        wanted = "[T, *space, C]" if single else "[N, T, *space, C]"
        said = f"PrefixReadout: frames have shape {given}, expected {wanted} with T at least {needed}: no axis of time."
    return ValueError(said)


def lacks_batch(readout: PrefixReadout, x: Array, context: Any) -> bool:
    """Whether the model takes ``x`` with another axis in front only, so it is one trajectory and no batch."""
    alone, context = x[None], jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)
    return x.ndim > 1 and takes(readout, alone, context) and not takes(readout, x, context)


def takes(readout: PrefixReadout, x: Array, context: Any = None) -> bool:
    """Whether the model runs from the first frames of trajectories ``[N, T, *space, C]``."""

    def step(params: Any, window: Array, context: Any) -> Array:
        return call_rollout(readout.rollout_fn, params, window, 1, context, readout.history)

    return shape_of(step, readout.chart.origin, x[:, : readout.history], context) is not None


def warn_of_estimate(
    function: str, readout: PrefixReadout, shape: tuple[int, ...], found: Estimate, frames: Array | None, gaps: bool
) -> bool:
    """Warns of whatever makes an estimate doubtful, where numbers are known; says whether no network fits the frames.

    Args:
        function: name in the warnings.
        readout: that found it.
        shape: of the observed frames, ``[N, T, *space, C]``.
        found: with a leading axis of trajectories.
        frames: of that shape, all of them observed, to look for another time step where a fit is doubtful.
        gaps: whether points were filled in, on which validation was not.
    """
    clue = Clue(readout, frames)
    other_grid = readout.known is not None and shape[2:] != readout.known
    if other_grid:
        warn(
            f"{function}: frames have shape {list(shape[2:])}, and those of validation, which decided on the settings, "
            f"{list(readout.known or ())}; networks err differently on another grid: fit the readout on this grid."
        )
    unfit = _warn_persistence(function, found, validated=readout.known is not None)
    if not _warn_at_end(function, readout, found, clue) and not other_grid:
        _warn_stray(function, readout, found, clue)
    _warn_gate(function, readout, found)
    pooled = len(found.coordinate) != shape[0]  # one coordinate for all fits none as well as its own would
    return (not pooled and warn_of_strangers(function, found, clue, gaps)) or unfit


def warn_of_validation(
    function: str, readout: PrefixReadout, seen: Sequence[Array], found: Sequence[Estimate], alone: bool
) -> None:
    """Warns of whatever makes the estimates on validation doubtful, of all regimes together.

    Args:
        function: name in the warnings.
        readout: that found them.
        seen: observed frames of each regime, ``[N, T, *space, C]``.
        found: estimates of each regime, with a leading axis of trajectories.
        alone: whether the model has no inputs beside the frames.
    """
    every = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *found)
    shape = next((x.shape for x in seen if x.shape[2:] != readout.known), seen[0].shape)
    frames = jnp.concatenate(list(seen)) if alone and len({x.shape[1:] for x in seen}) == 1 else None
    said, shape = f"{function}: on validation", (len(every.coordinate), *shape[1:])
    if frames is None or not warn_of_unit(said, readout.sizes, frames):
        warn_of_estimate(said, readout, shape, every, frames, gaps=False)


def _warn_stray(function: str, readout: PrefixReadout, found: Estimate, clue: Clue) -> None:
    """Warns of frames that are fitted much worse than those of validation, if no p-value tells that better."""
    if readout.worst is None or found.loss is None or found.p_value is not None:
        return
    if is_traced(found, readout) or jax.process_count() > 1:
        return
    loss, worst = float(np.median(np.asarray(found.loss))), float(readout.worst)
    if np.isfinite(loss) and loss > max(STRAY * worst, EXACT):
        warn(
            f"{function}: the error on these frames is {loss:.2g}, and on those of validation at most {worst:.2g}; "
            "check the time step and units, and add the noise of these frames to validation"
            f"{clue(np.argsort(-np.asarray(found.loss))) or '.'}"
        )


def _warn_at_end(function: str, readout: PrefixReadout, found: Estimate, clue: Clue) -> bool:
    """Warns of coordinates at the edge of a continuous search range, where numbers are known; says whether.

    Args:
        function: name in the warning.
        readout: that found them.
        found: with coordinates ``[N, d]``.
        clue: what the time step of these frames seems to be.
    """
    if is_traced(found, readout):
        return False
    lost, c = at_end(readout, found.coordinate), found.coordinate
    if len(lost):
        axes = readout.chart.features.dim - isinstance(readout.chart.features, Gated)
        low, high = (np.asarray(a)[:axes] for a in (readout.low, readout.high))
        of = "the coordinate" if len(c) == 1 else f"the coordinate of {which_of(lost, len(c))}"
        warn(
            f"{function}: {of} is at the edge of the search range, {low.tolist()} to {high.tolist()}; the optimum may "
            "lie outside: check units, the order of channels and the experts' coordinates (reach=... searches further)"
            f"{clue(lost) or '.'}"
        )
    return len(lost) > 0


def at_end(readout: PrefixReadout, coordinates: Any) -> np.ndarray:
    """Which of coordinates ``[N, d]`` lie at the edge of a continuous search range; none on other searches."""
    if jax.process_count() > 1 or readout.search != "continuous":
        return np.zeros(0, int)
    axes = readout.chart.features.dim - isinstance(readout.chart.features, Gated)
    c, low, high = (np.asarray(a)[..., :axes] for a in (coordinates, readout.low, readout.high))
    return np.flatnonzero(((np.abs(c - low) < RIM) | (np.abs(c - high) < RIM)).any(axis=-1))


def gate_at_end(readout: PrefixReadout, coordinates: Any) -> np.ndarray:
    """Which of coordinates ``[N, d]`` have the highest gate that is searched; none on other searches."""
    if jax.process_count() > 1 or not readout.free_gate or readout.search != "continuous":
        return np.zeros(0, int)
    return np.flatnonzero(np.asarray(coordinates)[..., -1] > float(np.asarray(readout.high)[-1]) - RIM)


def _warn_gate(function: str, readout: PrefixReadout, found: Estimate) -> None:
    """Warns of gates at the edge of the search range, where numbers are known."""
    if is_traced(found, readout):
        return
    lost = gate_at_end(readout, found.coordinate)
    if len(lost):
        of = "" if len(found.coordinate) == 1 else f" of {which_of(lost, len(found.coordinate))}"
        at = f"{float(readout.high[-1]):g}"
        warn(f"{function}: the gate{of} is {at}, {HIGHEST_GATE}; compare with a gate of 1 there.")


def _warn_persistence(function: str, found: Estimate, *, validated: bool) -> bool:
    """Warns if every network diverges, or none is better than a trivial forecast of observed frames: says whether.

    Without validation, nothing else tells a wrong unit: then also if the best is not clearly better.
    """
    if is_traced(found) or jax.process_count() > 1 or found.anchor_loss is None or found.persistence_loss is None:
        return False
    lost = np.flatnonzero(~np.isfinite(np.asarray(found.coordinate)).all(axis=-1))
    if len(lost):
        warn(
            f"{function}: every rollout of {which_of(lost, len(found.coordinate))} diverges, so the coordinate is "
            "NaN; check that axes are [T, *space, C], and that the order of channels, their units and normalization "
            "are those of the training data."
        )
    anchor, repeated = (np.asarray(a) for a in (found.anchor_loss, found.persistence_loss))
    tried = np.asarray(found.losses).min(axis=-1)
    found_loss = tried if found.loss is None else np.fmin(np.asarray(found.loss), tried)
    best, persistence = float(np.mean(np.minimum(found_loss, anchor))), float(np.mean(repeated))
    if unfit := np.isfinite(best) and worse_than_trivial(best, persistence):
        what, error = trivial(persistence)
        warn(
            f"{function}: {what} has error {error:.3g} on these frames, no more than the best network "
            f"({best:.3g}); check that axes are [T, *space, C], and that the order of channels, their units and "
            "normalization are those of the training data (states that hardly change are no reason for concern)."
        )
    elif not validated and POOR * persistence < best < np.inf:
        warn(
            f"{function}: the best network's error on these frames is {best / persistence:.0%} of that of repeating "
            f"the last frame ({best:.3g} and {persistence:.3g}); check units, the order of channels, normalization and "
            "the time step. With validation trajectories, the readout compares with theirs."
        )
    return bool(unfit)
