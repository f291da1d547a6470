"""``ccm rollout``: a network from an initial state to a file, a strip of frames and an animation."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import processor
from ccm_jax._variances import negative_variance
from ccm_jax.cli.answers import force_option, json_option, tell
from ccm_jax.cli.beginning import Start, place_in
from ccm_jax.cli.calibrated import unit_unlike_calibrated
from ccm_jax.cli.checkpoints import check_there, note, open_checkpoints, warn
from ccm_jax.cli.console import say
from ccm_jax.cli.frames import layout_options, read_samples
from ccm_jax.cli.grouped import Grouped
from ccm_jax.cli.parameters import parameter_option
from ccm_jax.cli.predicts import say_jump, what_to_check
from ccm_jax.cli.prefix_length import frames_option
from ccm_jax.cli.prior import prior_option
from ccm_jax.cli.rolled import errors_as_json, finite_frames, said_errors, write
from ccm_jax.cli.rollout_family import of_family
from ccm_jax.cli.source import Source, source_options
from ccm_jax.cli.strips import draw_rollout
from ccm_jax.cli.surrogates import surrogate_for
from ccm_jax.cli.waiting import waiting
from ccm_jax.io.atomic import check_new
from ccm_jax.io.description import HELP


def of_checkpoint(checkpoint: Path, given: dict[str, Any], output: Path) -> dict[str, Any]:
    """Rolls out one set of weights; returns what ``--json`` says."""
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
    errors, persistence = (None, None) if real is None else said_errors(predicted, real, start, check)
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
        errors=None if errors is None else errors[:good],
    )
    written = write(output, draw if good else None, predicted, **({} if errors is None else {"errors": errors}))
    return written | {"finite_frames": good} | errors_as_json(errors, persistence)


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
@json_option
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
    told = of_family(source, given, output) if checkpoint is None else of_checkpoint(checkpoint, given, output)
    drawn = [path for path in before if path.exists() and path.stat().st_mtime_ns != before[path]]
    pictures = [str(path) for path in drawn if path != output]
    if pictures:
        say(f"Pictures: {', '.join(pictures)}.")
    if given["as_json"]:
        tell(told | {"pictures": pictures})
