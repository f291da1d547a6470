"""``ccm rollout``: a network from an initial state to a file, a strip of frames and an animation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import processor
from ccm_jax._checks import counted
from ccm_jax._trivial import trivial, worse_than_trivial
from ccm_jax._variances import negative_variance
from ccm_jax.cli.answers import force_option
from ccm_jax.cli.apart import check_apart, unit_unlike
from ccm_jax.cli.beginning import Start, place_in
from ccm_jax.cli.calibrated import unit_unlike_calibrated
from ccm_jax.cli.checkpoints import check_there, new_folder, note, open_checkpoints, warn
from ccm_jax.cli.console import say
from ccm_jax.cli.fitting import fit_readout, open_chart
from ccm_jax.cli.following import rollout_next
from ccm_jax.cli.forecast import Forecasted, forecast
from ccm_jax.cli.frames import layout_options, read_regimes, read_samples
from ccm_jax.cli.grouped import Grouped
from ccm_jax.cli.kept import look_next
from ccm_jax.cli.parameters import parameter_option
from ccm_jax.cli.pictures import draw_forecast
from ccm_jax.cli.predicts import UNITS, say_jump, what_to_check
from ccm_jax.cli.prefix import ANCHOR_KEPT, find
from ccm_jax.cli.prefix_length import frames_option
from ccm_jax.cli.prior import as_prior, check_named, parse_prior, prior_option
from ccm_jax.cli.showing import number, show_sure, why_kept, why_refuted, why_stranger
from ccm_jax.cli.source import Source, source_options
from ccm_jax.cli.strips import draw_rollout
from ccm_jax.cli.sure import LEVEL
from ccm_jax.cli.surrogates import surrogate_for
from ccm_jax.cli.waiting import waiting
from ccm_jax.io.atomic import check_new, together
from ccm_jax.io.description import HELP
from ccm_jax.metrics import relative_l2


def write(output: Path, draw: Callable[[Path], None] | None, frames: np.ndarray, **more: np.ndarray) -> None:
    """The file of frames ``[T, *space, C]``, with what goes beside them, and the pictures that ``draw`` makes."""
    made = new_folder(output)
    with together(output) as place:
        np.savez(place(output), allow_pickle=False, frames=frames, dim=frames.ndim - 2, **more)
        if draw is not None:
            draw(place(output))
    say(f"Wrote {output}{made}: {counted(len(frames), 'frame')} of shape {list(frames.shape[1:])}.")


def said_errors(
    predicted: np.ndarray, truth: np.ndarray, start: np.ndarray, check: Callable[[], str] = lambda: UNITS
) -> np.ndarray:
    """Relative L2 errors of frames, ``[T]``, said in the terminal beside those of the last frame before them.

    Where the network is worse than that, ``check`` tells what to look at.
    """
    repeated, real = np.broadcast_to(start, truth.shape), jnp.asarray(truth)[None]
    errors, still = (np.asarray(relative_l2(jnp.asarray(x)[None], real))[0] for x in (predicted, repeated))
    errors = np.where(np.isfinite(errors), errors, np.inf)
    mean, last, repeating = (number(e) for e in (errors.mean(), errors[-1], still.mean()))
    say(f"relative L2 error: mean {mean}, last frame {last} (the last given frame repeated: mean {repeating})")
    if worse_than_trivial(float(errors.mean()), float(still.mean())):
        what, error = trivial(float(still.mean()))
        warn(f"{what} has error {number(error)}, less than the network; {check()}.")
    return errors


def finite_frames(frames: np.ndarray) -> int:
    """How many frames ``[T, *space, C]`` come before the first that is not finite."""
    finite = np.isfinite(frames).all(axis=tuple(range(1, frames.ndim)))
    return len(frames) if finite.all() else int(np.argmin(finite))


def of_checkpoint(checkpoint: Path, given: dict[str, Any], output: Path) -> None:
    """Rolls out one set of weights."""
    initial, steps = given["initial"], given["steps"]
    recording = given["layout"].open(initial)
    first = read_samples(recording, [given["sample"]], 1)  # what no network takes is refused before one is loaded
    weights = open_checkpoints("rollout", [checkpoint])[0]
    surrogate = surrogate_for(weights, given["model"], recording)
    history = surrogate.history
    observed, count = place_in(initial, recording.shape[1], history, given)
    needed = observed + (count if given["truth"] else 0)
    x = first if needed == 1 else read_samples(recording, [given["sample"]], needed)[:, observed - history :]
    if given["start"] == "first" and recording.shape[1] > history and steps is not None and not given["truth"]:
        note(
            f"the rollout starts after frame {history} of {recording.shape[1]}; --truth compares it with the others, "
            "--start N begins after N frames, and --start last after all of them."
        )
    if unit := unit_unlike_calibrated(weights, x[:, :history]):
        warn(f"{initial}: {unit}.")
    run = jax.jit(surrogate.rollout_fn, static_argnums=2)
    with waiting("compiling and predicting"):
        predicted = np.asarray(run(surrogate.to_params(weights.arrays), jnp.asarray(x[:, :history]), count))[0]
    good = finite_frames(predicted)
    if good < count:
        shorter = f"; take at most {good} --steps" if good else "; check units, channels and time step"
        if negative := negative_variance(weights.arrays):
            name, lowest = negative
            shorter = f": the variance {name} is negative ({lowest:.3g}); merge nearer to the experts"
        warn(f"the rollout is not finite from predicted frame {good + 1} on{shorter}.")
    start, real = x[0, history - 1], x[0, history : history + count] if given["truth"] else None
    check = functools.partial(what_to_check, weights, given["model"], x)
    errors = {} if real is None else {"errors": said_errors(predicted, real, start, check)}
    if real is None:
        say_jump(predicted, start)
    if not good:
        say("No picture: there is no finite frame to draw.")
    shown = predicted[:good], None if real is None else real[:good]
    draw = functools.partial(
        draw_rollout,
        *shown,
        fields=recording.fields,
        before=observed,
        errors=errors["errors"][:good] if errors else None,
    )
    write(output, draw if good else None, predicted, **errors)


def of_family(source: Source, given: dict[str, Any], output: Path) -> None:
    """Finds the coordinate from the first frames, and rolls out with intervals."""
    recipe = source.read()
    if recipe.method != "chart":
        raise ValueError(f"{source.recipe}: method is {recipe.method}, and only a chart has a coordinate to find.")
    if given["validation"] is None:
        raise ValueError("rollout: intervals need --validation FILE, with trajectories of three or more known values.")
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
            if found.sure.stranger:
                look_next(given["initial"], given["layout"])
            elif not read.clue:
                rollout_next(recipe.anchor, given["model"], given["initial"], given["sample"], given["layout"])
            raise click.exceptions.Exit(ANCHOR_KEPT)
        if found.sure.stranger:
            warn(why_stranger(found.sure, why_kept(read)))
        show_sure(found.sure, found.sure.coordinate)
    write_band(found, output, recording.fields)


def write_band(found: Forecasted, output: Path, fields: Sequence[str]) -> None:
    """The file of a forecast: its mean as the frames, the ends of the interval, and samples; and its pictures."""
    more = {"low": found.low, "high": found.high}
    if len(found.samples):
        more |= {"samples": found.samples, "coordinates": found.coordinates}
    if found.truth is not None:
        covered = found.covered()
        more |= {"errors": said_errors(found.mean, found.truth, found.observed[-1]), "covered": covered}
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
    write(
        output,
        functools.partial(draw_forecast, found, fields=fields) if good == len(found.mean) else None,
        found.mean,
        **more,
    )


@click.command("rollout", cls=Grouped)
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@source_options
@click.option("--model", metavar="MODEL", help=HELP)
@click.option("--initial", required=True, type=click.Path(path_type=Path), help="File of frames to start from.")
@layout_options
@click.option("--sample", default=0, metavar="N", show_default=True, help="Which of its trajectories, one.")
@click.option(
    "--steps",
    type=click.IntRange(1, 10**6),
    metavar="N",
    help="Frames to predict. Default: as many as remain in the file; with a family, no more than validation "
    "trajectories have after the observed frames.",
)
@click.option(
    "--start",
    type=Start(),
    default="first",
    show_default=True,
    help="With CHECKPOINT: begin after the first window of the file, after its last frame, or after N frames.",
)
@click.option("--truth", is_flag=True, help="The file continues with the truth: report the error.")
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    help="With a family: trajectories of known values, for the interval.",
)
@parameter_option
@prior_option
@frames_option("With a family: observed frames after the model's window, used for calibration.")
@click.option(
    "--samples",
    type=click.IntRange(0, 1000),
    metavar="N",
    default=0,
    show_default=True,
    help="With a family: number of rollouts at coordinates drawn from the posterior.",
)
@click.option("--seed", default=0, metavar="N", show_default=True, help="Seed of these draws.")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="NAME.npz; also writes NAME.png and, in 2-D and 3-D, NAME.gif.",
)
@force_option
def command(checkpoint: Path | None, source: Source, output: Path, **given: Any) -> None:
    """Run CHECKPOINT from frames of a file. Writes OUTPUT.npz, a strip of frames and, in 2-D and 3-D, an animation.

    Given a family instead (--anchor, --low and --high, or --recipe), it finds the coordinate from the first frames, and
    every predicted number has a 90 % interval.

    Nothing is written, and the exit code is 3 (keep the anchor), if

    \b
    - another time step fits better, and p < 0.05;
    - p < 0.001 (no point of the chart explains those frames), and the merge has more than half of the anchor's error;
    - p < 0.001, and the coordinate is at the edge of the search range.

    \b
    ccm rollout merged.safetensors --model neuraloperator --initial start.npy --steps 50 -o rollout.npz
    ccm rollout merged.safetensors --initial seen.npy --start 5 --truth -o forecast.npz
    ccm rollout merged.safetensors --initial seen.npy --start last --steps 50 -o forecast.npz
    ccm rollout --recipe recipe.yaml --initial seen.npy --validation others.h5 --samples 8 -o forecast.npz

    \b
    On the example family (ccm example):
    cd example
    ccm rollout anchor.safetensors --initial test-0.0025.npz --truth -o rollout.npz
    """
    family = any(path is not None for path in source)
    if family == (checkpoint is not None):
        raise click.UsageError("pass either CHECKPOINT, or --anchor, --low and --high, or --recipe")
    needy = [f"--{name}" for name in ("validation", "parameter", "prior", "samples") if given[name]]
    if not family and needy:
        raise ValueError(f"rollout: {needy[0]} needs a family: pass --anchor, --low and --high instead of CHECKPOINT.")
    if family and given["start"] != "first":
        raise ValueError(
            "rollout: --start needs a CHECKPOINT; a family's forecast begins after the observed frames (--frames)."
        )
    if output.suffix != ".npz":
        raise ValueError(f"--output is {output}, expected a name that ends in .npz.")
    check_there(checkpoint, *source, given["initial"], given["validation"])
    before = {}
    for path in (output, output.with_suffix(".png"), output.with_suffix(".gif")):
        check_new(path)
        before[path] = path.stat().st_mtime_ns if path.exists() else None
    processor.prepare()
    if checkpoint is None:
        of_family(source, given, output)
    else:
        of_checkpoint(checkpoint, given, output)
    drawn = [path for path in before if path.exists() and path.stat().st_mtime_ns != before[path]]
    pictures = [str(path) for path in drawn if path != output]
    if pictures:
        say(f"Pictures: {', '.join(pictures)}.")
