"""CCM-Scale in the terminal: the coordinate of a physical value, by trajectories of known values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax import processor
from ccm_jax._checks import counted
from ccm_jax._given import RIM
from ccm_jax._scale_doubts import better_scale
from ccm_jax._trivial import trivial, worse_than_trivial
from ccm_jax.chart import Gated
from ccm_jax.cli.card import digest
from ccm_jax.cli.checkpoints import warn
from ccm_jax.cli.console import say
from ccm_jax.cli.faults import line_of
from ccm_jax.cli.fitting import open_chart
from ccm_jax.cli.frames import Layout, read_regimes
from ccm_jax.cli.parameters import values_of
from ccm_jax.cli.prefix_length import FRAMES
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.source import check_near
from ccm_jax.cli.steps import check_step
from ccm_jax.cli.units import place_of
from ccm_jax.cli.waiting import waiting
from ccm_jax.evaluate import persistence_error
from ccm_jax.parallel import mesh_of_all
from ccm_jax.scale import BANK, ScaleReadout, fit_scale_readout

FEWEST = 3  # values: of two, the error on the one left out says nothing
APART = 1.0  # half the experts' distance: a range that errs by more has hardly the experts' values
CURVES = {
    "gamma": "the coordinate by --range, times one fitted factor (gamma)",
    "line": "a straight line",
    "monotone quadratic": "a monotone quadratic",
}


class Scaled(NamedTuple):
    """A recipe at the coordinate of its value, and how that was found, for the card."""

    recipe: Recipe
    found: dict[str, Any]


def by_validation(
    recipe: Recipe, path: Path, layout: Layout, model: str | None, parameter: tuple[str, ...], frames: int | None
) -> Scaled:
    """Fits the coordinate as a function of the value on validation trajectories, says it, and takes it at the value.

    Args:
        recipe: a chart along one axis, with a value and the values of its experts.
        path: file of trajectories of three or more known values.
        layout: how it is read.
        model: what the weights are of, where they do not say so.
        parameter: the one of the file that the value is of; the one that varies, if not given.
        frames: after the window, from the last of which forecasts start, or None for the usual number; fewer where
            trajectories are shorter.

    Raises:
        ValueError: for a recipe of several axes, fewer values, values in another unit than the experts', trajectories
            that are too short or of another time step, or a coordinate that falls as the value rises.
    """
    assert recipe.value is not None and recipe.units is not None
    axes = recipe.features.dim - isinstance(recipe.features, Gated)
    if recipe.method != "chart" or axes != 1:
        raise ValueError("--validation fits the coordinate of a chart along one axis; leave it out, or --method.")
    recording = layout.open_validation(path)
    processor.prepare()
    regimes = read_regimes(recording)
    names, values, why = values_of(regimes, parameter, 1)
    if why:
        raise ValueError(f"--validation {path} {why}")
    known = values[:, 0]
    count = len(set(known.tolist()))
    if count < FEWEST:
        raise ValueError(
            f"--validation {path} has {counted(count, 'value')} of {names[0]}, expected at least {FEWEST}."
        )
    for value in known:
        place_of(float(value), recipe.units, f"--validation {path}: {names[0]} {value:g}")
    opened = open_chart(recipe, model, recording)
    surrogate = opened.surrogate
    shortest = min(x.shape[1] for x in regimes.trajectories.values())
    if shortest <= surrogate.history:
        raise ValueError(
            f"--validation {path} has trajectories of {counted(shortest, 'frame')}, expected more than the model's "
            f"window of {surrogate.history}."
        )
    frames = frames or FRAMES
    check_step(opened, regimes, frames)
    frames = min(frames, shortest - surrogate.history - 1)
    trajectories = list(regimes.trajectories.values())
    scale = recipe.units.scale
    try:
        with waiting("fitting the coordinate of a value", steps=True) as progress, warnings.catch_warnings():
            done = iter(range(1, len(known) + 1))
            warnings.filterwarnings("ignore", "fit_scale_readout")  # said below, in words of the terminal
            readout = fit_scale_readout(
                opened.chart,
                surrogate.rollout_fn,
                trajectories,
                known.tolist(),
                low=recipe.units.low,
                high=recipe.units.high,
                scale=scale,
                history=surrogate.history,
                frames=frames,
                mesh=mesh_of_all() if surrogate.spreads else None,
                progress=lambda _: progress(next(done), len(known)),
            )
        at = round(float(np.ravel(readout(recipe.value).coordinate)[0]), 6)
    except ValueError as error:
        raise ValueError(f"--validation {path}: {line_of(error)}") from error
    fit = readout.fit
    assert fit is not None
    still = [float(np.mean(persistence_error(x, history=surrogate.history, frames=frames))) for x in trajectories]
    best, persistence = float(np.mean([min(row) for row in fit.sweep])), float(np.mean(still))
    if worse_than_trivial(best, persistence):
        what, least = trivial(persistence)
        warn(
            f"--validation {path}: {what} has error {least:.4g}, and the best merges {best:.4g}: check units, the "
            "order of channels, and the mean and std of --model before you use these weights."
        )
    if np.polyfit(fit.coordinates, fit.best, 1)[0] <= 0:
        raise ValueError(
            f"--validation {path}: the best coordinate does not increase with {names[0]}: check --range and whether "
            "the low and the high expert are swapped."
        )
    placed = recipe._replace(coordinate=(at,))
    check_near(placed)
    _say(placed, readout, names[0], known)
    found = {
        "readout": "CCM-Scale",
        "validation": str(path),
        "validation_sha256": digest(path),
        "parameter": names[0],
        "validation_values": [float(known.min()), float(known.max())],
        "regimes": [
            {"value": float(v), "linear": s, "best": b}
            for v, s, b in zip(known, fit.coordinates, fit.best, strict=True)
        ],
        "curve": fit.kind,
        "scale": scale,
        "leave_one_out": dict(fit.leave_one_out)[fit.kind],
        "linear_coordinate": recipe.coordinate[0],
        "frames": frames,
        "model": model,
    }
    return Scaled(placed, found)


def _say(recipe: Recipe, readout: ScaleReadout, name: str, known: np.ndarray) -> None:
    """The coordinate, the curve that gives it, and what is doubtful about it."""
    fit, (low, high) = readout.fit, (known.min(), known.max())
    assert fit is not None and recipe.value is not None and recipe.units is not None
    at, linear = recipe.coordinate[0], recipe.units.coordinate(recipe.value, "--value")
    say(f"{name} {recipe.value:g} is at coordinate {at:+.3f}; by --range alone it is at {linear:+.3f}.")
    log = ", in the logarithm" if readout.scale == "log" else ""
    say(
        f"curve: {CURVES[fit.kind]}{log}, fitted on {counted(len(known), 'regime')}, {low:.4g} to "
        f"{high:.4g}; error of the coordinate on a regime left out: {dict(fit.leave_one_out)[fit.kind]:.2g}"
    )
    if other := better_scale(dict(fit.scales), readout.scale):
        words = "with --log" if other == "log" else "without --log"
        warn(f"{words}, that error is {dict(fit.scales)[other]:.2g}: check which scale the physics suggests.")
    if not low <= recipe.value <= high:
        warn(
            f"value {recipe.value:g} is outside the validation regimes ({low:.4g} to {high:.4g}), where the curve "
            "continues as a straight line: compare the merge with the anchor on held-out frames (ccm evaluate)."
        )
    if np.abs(np.subtract(fit.coordinates, fit.best)).max() > APART:
        warn(
            f"--range {recipe.units.low:g}:{recipe.units.high:g} puts validation values more than {APART:g} from their "
            "best coordinates: check that it holds the values of the experts, in the unit of the validation file."
        )
    ends = np.abs(np.abs(fit.best) - np.abs(BANK).max()) < RIM
    if ends.any():
        warn(
            f"at {name} {known[int(np.argmax(ends))]:.4g}, the best coordinate is at the edge of the search range; "
            "the optimum may lie outside: check that grid, time step, units and the order of channels are those of the "
            "training data."
        )
