"""``ccm calibrate``: the coordinate that observed frames ask for, how sure it is, and the weights there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.table import Table

from ccm_jax import processor
from ccm_jax.cli.checkpoints import note
from ccm_jax.cli.console import console, say
from ccm_jax.cli.fitting import fit_readout, open_chart
from ccm_jax.cli.following import evaluate_next
from ccm_jax.cli.frames import Layout, choose_samples, layout_options, read_observations, read_regimes
from ccm_jax.cli.merge import check_output, digest, merge
from ccm_jax.cli.persistence import check_persistence, persistence_option
from ccm_jax.cli.pictures import draw_calibration
from ccm_jax.cli.prefix import Found, find
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.source import Source, source_options
from ccm_jax.cli.sure import Sure, as_prior, parameter_option, prior_option, why_stranger
from ccm_jax.cli.until import frames_until
from ccm_jax.cli.waiting import waiting
from ccm_jax.io.atomic import remove_abandoned, together, write_json
from ccm_jax.io.description import HELP

MOST = 10_000  # candidates of a bank
MANY = 64  # trajectories of one regime, of which a few tell the coordinate
BAR = 40  # characters of the longest bar in the terminal


class Options(NamedTuple):
    """What the command line says beside what is merged."""

    model: str | None
    prefix: Path
    layout: Layout
    sample: str | None
    missing: str
    mask: Path | None
    frames: int
    until: float | None
    validation: Path | None
    parameter: tuple[str, ...]
    prior: tuple[str, ...]
    bank: str | None
    accept_persistence: bool
    write_anyway: bool
    output: Path | None
    report: Path | None


def parse_bank(text: str) -> np.ndarray:
    """``"-1.5:1.5:0.25"`` as candidates, both ends included."""
    try:
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise ValueError(f"--bank {text}: expected LOW:HIGH:STEP, for instance -1.5:1.5:0.25.") from error
    if not (np.isfinite([low, high, step]).all() and low < high and 0 < step <= high - low):
        raise ValueError(f"--bank {text}: expected LOW below HIGH, and a STEP between 0 and their distance.")
    if (high - low) / step > MOST:
        raise ValueError(f"--bank {text} has more than {MOST:,} candidates; take a longer STEP.")
    return low + step * np.arange(round((high - low) / step) + 1)


def typed(coordinate: tuple[float, ...]) -> str:
    """A coordinate for the terminal."""
    return ", ".join(f"{c:+.2f}" for c in coordinate)


def show(found: Found) -> None:
    """Losses of what was tried first, in the terminal, then the coordinate and its yardsticks."""
    losses = np.asarray(found.losses)
    finite = losses[np.isfinite(losses)]
    for c, loss in zip(found.candidates, losses, strict=True):
        bar = "diverges"
        if np.isfinite(loss):
            bar = "█" * max(1, round(BAR * loss / max(float(finite.max()), 1e-30))) + f" {loss:.4f}"
        say(f"  {typed(tuple(c))}  {bar}")
    if "observed" in found.readout:
        say(
            f"{found.readout['observed']:.0%} of the points are observed; "
            f"the others are filled in ({found.readout['fill']})."
        )
    spread = "" if found.spread is None else f", ± {found.spread:.2f} over {len(found.choices)} trajectories"
    if found.sure is not None and found.sure.stranger:
        say(why_stranger(found.sure))
        say(f"best coordinate of a merge {typed(found.coordinate)}{spread}")
    elif not np.isfinite(found.loss):
        say("Every merge diverges on these frames: keep the anchor.")
    elif found.keeps_anchor:
        say("The anchor fits these frames at least as well as any merge: keep it.")
        say(f"best coordinate of a merge {typed(found.coordinate)}, error {found.loss:.4f}")
    else:
        say(f"coordinate {typed(found.coordinate)}{spread}")
    merged, anchor = (f"{e:.4f}" if np.isfinite(e) else "infinite" for e in (found.loss, found.anchor_loss))
    say(
        f"error on the observed frames: merged {merged}, anchor {anchor}, last frame repeated "
        f"{found.persistence_loss:.4f}"
    )
    if found.at_rim and not found.keeps_anchor:
        say("The coordinate is at the end of the searched range; check it on held-out frames (ccm evaluate).")
    if found.drawn_back and not found.keeps_anchor:
        say("The coordinate was moved toward the anchor, because the rollout at the best fit grows beyond the frames.")
    if found.sure is None:
        say(f"No interval: {found.unsure}")
    else:
        show_sure(found.sure, found.coordinate)


def show_sure(sure: Sure, coordinate: tuple[float, ...]) -> None:
    """Intervals as a table, and what is doubtful about them."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "estimate", f"{100 * sure.level:.0f} % interval"):
        table.add_column(heading, justify="right" if heading else "left")
    several = len(sure.axes) > 1
    for i, (axis, c) in enumerate(zip(sure.axes, coordinate, strict=False)):
        if not axis.flat:
            low, high = axis.coordinate_interval
            table.add_row(f"coordinate {i + 1}" if several else "coordinate", f"{c:+.3f}", f"{low:+.3f} to {high:+.3f}")
            low, high = axis.interval
            table.add_row(axis.name, f"{axis.value:.4g}", f"{low:.4g} to {high:.4g}")
    if table.rows:
        console.print(table)
    for line in sure.remarks():
        say(line)


def check_free(options: Options) -> Path | None:
    """The report's path; raises ValueError if anything cannot be written."""
    report = options.report
    if options.output is not None:
        check_output(options.output)
        report = report or options.output.with_name(f"{options.output.name.removesuffix('.safetensors')}.json")
    if report is not None and report.suffix != ".json":
        raise ValueError(f"--report is {report}, expected a name that ends in .json.")
    if report is not None:
        remove_abandoned(report)
    for path in (report, report and report.with_suffix(".png")):
        if path is not None and os.path.lexists(path):
            raise ValueError(f"{path} exists, and nothing is overwritten; choose a new path or remove it.")
    return report


def write(recipe: Recipe, found: Found, options: Options, output: Path) -> None:
    """The merged checkpoint, which says how its coordinate was found."""
    facts: dict[str, Any] = {"prefix": str(options.prefix), "prefix_sha256": digest(options.prefix)}
    facts |= options.layout.facts()
    if options.mask is not None:
        facts |= {"mask": str(options.mask), "mask_sha256": digest(options.mask)}
    facts |= {"samples": options.sample or "all", "model": options.model, "frames": found.frames}
    facts |= {"loss": found.loss, "anchor_loss": found.anchor_loss, "persistence_loss": found.persistence_loss}
    facts |= {"spread": found.spread, "readout": dict(found.readout)}
    if found.sure is not None:
        facts |= {"intervals": {axis.name: axis.interval for axis in found.sure.axes}, "p_value": found.sure.p_value}
    merge(found.place_in(recipe), output, found=facts, model=options.model)


@click.command("calibrate")
@source_options
@click.option("--model", help=HELP)
@click.option("--prefix", required=True, type=click.Path(path_type=Path), help="File with the observed frames.")
@layout_options
@click.option("--sample", help="Which of its trajectories: 0, or 0,3, or 0:8. Default: all.")
@click.option(
    "--missing",
    type=click.Choice(["refuse", "nan"]),
    default="refuse",
    show_default=True,
    help="Treat NaN as an error, or as a point that was not observed.",
)
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="NAME.npy, 1 where a point was observed; shape [*space], [T, *space] or [N, T, *space].",
)
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Number of observed frames after the model's window.",
)
@click.option(
    "--until",
    type=float,
    metavar="WIDTH",
    help="Instead of --frames: use frames until the coordinate's 90 % interval is at most this wide.",
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    help="File of trajectories of other regimes, on which to fit the readout's settings.",
)
@parameter_option
@prior_option
@click.option(
    "--bank", metavar="LOW:HIGH:STEP", help="Choose only among these coordinates; the paper's bank is -1.5:1.5:0.25."
)
@persistence_option
@click.option("--write-anyway", is_flag=True, help="Write the best merge even if the anchor fits better.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Merged checkpoint to write.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="File NAME.json for the numbers, with a figure NAME.png. Default: next to OUTPUT.",
)
def command(source: Source, **given: Any) -> None:
    """Find the coordinate that best fits the observed frames, and write the weights there.

    If no merge fits the frames better than the anchor, or no point of the chart explains them, no weights are written:
    keep the anchor. Intervals need validation trajectories of three or more known values.

    \b
    ccm calibrate --anchor a.pt --low l.pt --high h.pt --model neuraloperator --prefix seen.npy -o merged.safetensors
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --validation others.h5 -o merged.safetensors
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --validation others.h5 --prior 4e-3:5e-4 --report found.json
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --validation others.h5 --until 0.1 -o merged.safetensors
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --missing nan --mask sensors.npy -o merged.safetensors

    \b
    On the example family (ccm example):
    cd example
    ccm calibrate --anchor anchor.safetensors --low low.safetensors --high high.safetensors \\
      --prefix test-0.00075.npz --sample 0 -o merged.safetensors
    """
    options = Options(**given)
    recipe = source.read()
    if recipe.method != "chart":
        raise ValueError(f"{source.recipe}: method is {recipe.method}, and only a chart has a coordinate to find.")
    if options.bank is not None and options.validation is not None:
        raise ValueError("--bank and --validation exclude each other: a bank has no settings to choose.")
    bank = None if options.bank is None else parse_bank(options.bank)
    report = check_free(options)
    processor.prepare()
    recording = options.layout.open(options.prefix)
    chosen = choose_samples(recording, options.sample)
    if len(chosen) > MANY:
        note(f"{len(chosen)} trajectories are rolled out at every candidate; --sample 0:{MANY} is faster.")
    regimes = None if options.validation is None else read_regimes(options.layout.open(options.validation))
    opened = open_chart(recipe, options.model, recording)
    count, stopped = options.frames, None
    needed = None if options.until is not None else opened.surrogate.history + count
    frames, mask = read_observations(recording, chosen, options.missing, options.mask, needed)
    if options.until is not None:
        with waiting("filtering frame by frame"):
            count, stopped = frames_until(opened, frames, regimes, options.until, mask)
    with waiting("compiling and fitting the readout"):
        fitted = fit_readout(opened, frames.shape[2:], count, regimes, bank, options.parameter)
    prior = as_prior(options.prior, fitted.readout, fitted.known, fitted.unsure)
    with waiting("searching the coordinate"):
        found = find(fitted, frames, mask, prior=prior, always=options.write_anyway)
    show(found)
    if recipe.units is not None and not found.keeps_anchor:
        say(f"This is the value {recipe.units.value(found.coordinate[0]):.4g} (experts at {recipe.units}).")
    best = min(found.loss, found.anchor_loss)
    check_persistence("calibrate", found.persistence_loss, best, accept=options.accept_persistence)
    if report is None:
        return
    finite = np.isfinite(found.loss)
    keep = options.output is not None and (not finite or (found.keeps_anchor and not options.write_anyway))
    with together(options.output or report) as place:
        if options.output is not None and not keep:
            write(recipe, found, options, place(options.output))
        write_json(place(report), found.as_json() | ({} if stopped is None else {"until": stopped}))
        draw_calibration(found, place(report).with_suffix(".png"))
    if not finite and keep:
        say(f"{options.output} is not written: no merge stays finite.")
    elif keep:
        say(f"{options.output} is not written; add --write-anyway to write the best merge.")
    elif options.output is not None:
        say(f"Wrote the weights at {typed(found.coordinate)} to {options.output}.")
        evaluate_next(recipe, options.output, options.model)
    say(f"Numbers: {report}; figure: {report.with_suffix('.png')}.")
