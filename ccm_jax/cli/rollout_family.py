"""``ccm rollout`` of a family: the coordinate from the first frames, and a forecast with intervals."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ccm_jax._checks import counted
from ccm_jax.cli.answers import tell
from ccm_jax.cli.apart import check_apart, unit_unlike
from ccm_jax.cli.checkpoints import warn
from ccm_jax.cli.console import say
from ccm_jax.cli.fitting import fit_readout, open_chart
from ccm_jax.cli.following import rollout_next
from ccm_jax.cli.forecast import Forecasted, forecast
from ccm_jax.cli.frames import read_regimes, read_samples
from ccm_jax.cli.kept import look_next
from ccm_jax.cli.pictures import draw_forecast
from ccm_jax.cli.prefix import ANCHOR_KEPT, find
from ccm_jax.cli.prior import as_prior, check_named, parse_prior
from ccm_jax.cli.rolled import errors_as_json, finite_frames, said_errors, write
from ccm_jax.cli.showing import show_sure, why_kept, why_refuted, why_stranger
from ccm_jax.cli.source import Source
from ccm_jax.cli.sure import LEVEL
from ccm_jax.cli.waiting import waiting


def of_family(source: Source, given: dict[str, Any], output: Path) -> dict[str, Any]:
    """Finds the coordinate from the first frames, and rolls out with intervals; returns what ``--json`` says."""
    recipe = source.read()
    if recipe.method != "chart":
        raise ValueError(f"{source.recipe}: method is {recipe.method}, and only a chart has a coordinate to find.")
    if given["validation"] is None:
        raise ValueError(
            "rollout: a family is calibrated first, for which --validation FILE is needed: trajectories of three or "
            f"more known values. To run one network, name its file instead, as in: ccm rollout {recipe.anchor}"
        )
    parse_prior(given["prior"])
    recording = given["layout"].open(given["initial"])
    x = read_samples(recording, [given["sample"]])[0]
    validation = read_regimes(given["layout"].open_validation(given["validation"]), recording)
    check_apart("--initial", given["initial"], [given["sample"]], x[None], validation)
    opened = open_chart(recipe, given["model"], recording)
    check_named(given["prior"], validation, given["parameter"], len(recipe.coordinates[0]))
    fitted = fit_readout(opened, x.shape[1:], given["frames"], validation, parameters=given["parameter"])
    prior = as_prior(given["prior"], fitted.readout, fitted.known, fitted.unsure)
    how = {name: given[name] for name in ("truth", "samples", "seed")}
    with waiting("forecasting"):
        found = forecast(fitted, x, given["steps"], prior=prior, **how)
    if unit := unit_unlike(validation, given["initial"], found.observed[None]):
        warn(f"{unit}.")
    if not found.sure.unlike:
        show_sure(found.sure, found.sure.coordinate)
    remain = len(x) - len(found.observed)
    if given["steps"] is None and len(found.mean) < remain:
        say(
            f"{counted(len(found.mean), 'frame')} of the {remain} that remain in the file are predicted: as many as "
            "validation trajectories have after the observed ones, on which the interval is fitted."
        )
    if found.sure.unlike:
        with waiting("comparing with the anchor"):
            read = find(fitted, found.observed[None], prior=prior)
        if read.keeps_anchor:
            if read.refuted:
                warn(why_refuted(read))
            else:
                say(why_stranger(found.sure))
            say(f"{output} is not written.")
            if given["as_json"]:
                tell({"output": None, "coordinate": "anchor", "sure": found.sure.as_json()})
            if found.sure.stranger:
                look_next(given["initial"], given["layout"])
            elif not read.clue:
                rollout_next(recipe.anchor, given["model"], given["initial"], given["sample"], given["layout"])
            raise click.exceptions.Exit(ANCHOR_KEPT)
        if found.sure.stranger:
            warn(why_stranger(found.sure, why_kept(read)))
        show_sure(found.sure, found.sure.coordinate)
    return write_band(found, output, recording.fields)


def write_band(found: Forecasted, output: Path, fields: Sequence[str]) -> dict[str, Any]:
    """The file of a forecast: its mean as the frames, the ends of the interval, and samples; and its pictures."""
    told: dict[str, Any] = errors_as_json(None) | {"covered": None, "coordinate": list(found.sure.coordinate)}
    more = {"low": found.low, "high": found.high}
    if len(found.samples):
        more |= {"samples": found.samples, "coordinates": found.coordinates}
    if found.truth is not None:
        covered = found.covered()
        errors, persistence = said_errors(found.mean, found.truth, found.observed[-1])
        more |= {"errors": errors, "covered": covered}
        told |= errors_as_json(errors, persistence) | {"covered": float(covered.mean())}
        mean, last = (f"{100 * share:.0f} %" for share in (covered.mean(), covered[-1]))
        say(f"The 90 % interval contains {mean} of the true values, {last} in the last frame.")
        if covered.mean() < LEVEL / 2:
            warn(
                "the interval is far too narrow for this trajectory: do not rely on it, and pass --validation "
                "trajectories of values nearer to this one, and beyond it."
            )
    good = min(finite_frames(part) for part in (found.mean, found.low, found.high))
    if good < len(found.mean):
        shorter = f"take at most {good} --steps" if good else "check units, channels and time step"
        warn(f"the forecast is not finite from predicted frame {good + 1} on and has no picture; {shorter}.")
    draw = functools.partial(draw_forecast, found, fields=fields) if good == len(found.mean) else None
    written = write(output, draw, found.mean, **more)
    return written | {"finite_frames": good} | told | {"sure": found.sure.as_json()}
