"""``ccm calibrate``: the coordinate that observed frames ask for, how sure it is, and the weights there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from ccm_jax import processor
from ccm_jax._doubts import BEYOND
from ccm_jax._frames import DOUBTFUL
from ccm_jax._trivial import worse_than_trivial
from ccm_jax.cli.answers import force_option, json_option, tell
from ccm_jax.cli.apart import check_apart, sizes_in, unit_unlike
from ccm_jax.cli.beginning import words_for
from ccm_jax.cli.calibrated import write
from ccm_jax.cli.checkpoints import check_there, new_folder, note, warn
from ccm_jax.cli.console import say
from ccm_jax.cli.fitting import fit_readout, open_chart
from ccm_jax.cli.following import evaluate_next, free, others_of, rollout_next
from ccm_jax.cli.frames import choose_samples, layout_options, read_observations, read_regimes, varying
from ccm_jax.cli.grouped import Grouped
from ccm_jax.cli.kept import calibrate_again, kept_next
from ccm_jax.cli.noise import noise_option, with_noise
from ccm_jax.cli.parameters import parameter_option
from ccm_jax.cli.persistence import persistence_option
from ccm_jax.cli.pictures import draw_calibration
from ccm_jax.cli.prefix import ANCHOR_KEPT, Found, find
from ccm_jax.cli.prefix_length import FRAMES, frames_option
from ccm_jax.cli.prior import as_prior, check_named, parse_prior, prior_option
from ccm_jax.cli.refused import WINDOW, check_count, read_first
from ccm_jax.cli.showing import show, show_candidates, typed
from ccm_jax.cli.source import Source, remarks, source_options
from ccm_jax.cli.unfit import Blamed, check_first
from ccm_jax.cli.units import range_options
from ccm_jax.cli.until import check_until, find_until
from ccm_jax.cli.waiting import waiting
from ccm_jax.cli.wanted import Options, check_free, parse_bank, with_units
from ccm_jax.fit_readout import REACH
from ccm_jax.io.atomic import together, write_json
from ccm_jax.io.description import HELP
from ccm_jax.io.leaves import check_order
from ccm_jax.io.save import ending_of
from ccm_jax.io.weights import open_weights

MANY = 64  # trajectories of one regime, of which a few tell the coordinate


@click.command("calibrate", cls=Grouped)
@source_options
@click.option("--model", metavar="MODEL", help=HELP)
@click.option("--prefix", required=True, type=click.Path(path_type=Path), help="File with the observed frames.")
@layout_options
@click.option("--sample", metavar="WHICH", help="Which of its trajectories: 0, or 0,3, or 0:8. Default: all.")
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
@frames_option("Number of observed frames after the model's window.")
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
@noise_option
@parameter_option
@prior_option
@click.option(
    "--bank", metavar="LOW:HIGH:STEP", help="Choose only among these coordinates; the paper's bank is -1.5:1.5:0.25."
)
@click.option(
    "--reach",
    type=click.FloatRange(min=1.0, max=BEYOND),
    metavar="X",
    default=REACH,
    show_default=True,
    help="Search coordinates from -X to X.",
)
@range_options
@persistence_option
@click.option("--write-anyway", is_flag=True, help="Write the best merge even if the anchor fits better.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Merged checkpoint to write.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="File NAME.json for the numbers, with a figure NAME.png. Default: next to OUTPUT.",
)
@force_option
@click.option("--show-candidates", is_flag=True, help="Also print the errors of the coordinates that are tried first.")
@json_option
def command(source: Source, **given: Any) -> None:
    """Find the coordinate that best fits the observed frames, and write the weights there.

    \b
    ccm calibrate --anchor a.pt --low l.pt --high h.pt --model neuraloperator --prefix seen.npy -o merged.safetensors
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --validation others.h5 -o merged.safetensors
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --validation others.h5 --prior 4e-3:5e-4 --report found.json
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --validation others.h5 --until 0.1 -o merged.safetensors
    ccm calibrate --recipe recipe.yaml --prefix seen.npy --missing nan --mask sensors.npy -o merged.safetensors

    \b
    On the example family (ccm example):
    cd example
    ccm calibrate --family . --prefix test-0.00075.npz --sample 0 --validation validation.npz -o merged.safetensors

    p, from --validation, is the p-value of the frames: a small p means that no point of the chart explains them. p and
    the intervals need validation trajectories of three or more known values. When the weights are written:

    \b
    outcome                                               weights        exit code
    - no network beats repeating the last frame or zeros  refused        2
    - every merge diverges                                never written  3
    - no merge has a smaller error than the anchor        not written    3
    - another time step fits better, p < 0.05 or unknown  not written    3
    - p < 0.001, and coordinate at the edge of the range  not written    3
    - p < 0.001, and more than half the anchor's error    not written    3
    - coordinate at the edge of the range, and more than
      half the anchor's error                             not written    3
    - exit code 3 for another reason, and --write-anyway  written        0
    - anything else                                       written        0

    Exit code 3 means: keep the anchor.
    """
    options = Options(**given)
    recipe = source.read()
    if recipe.method != "chart":
        raise ValueError(f"{source.recipe}: method is {recipe.method}, and only a chart has a coordinate to find.")
    if options.bank is not None and options.reach != REACH:
        raise ValueError("--bank and --reach exclude each other: a bank sets its own range.")
    if options.noise is not None and options.validation is None:
        raise ValueError("--noise is added to validation trajectories: pass --validation as well.")
    if options.bank is not None and options.validation is not None:
        raise ValueError("--bank and --validation exclude each other: a bank has no settings to choose.")
    bank = None if options.bank is None else parse_bank(options.bank)
    parse_prior(options.prior)
    if options.until is not None:
        check_until(options.until, options.validation, incomplete=options.missing == "nan" or options.mask is not None)
    recipe = with_units(recipe, options)
    check_there(recipe.anchor, *recipe.experts, options.mask)
    recording = options.layout.open(options.prefix)
    others = None if options.validation is None else options.layout.open_validation(options.validation)
    report = check_free(options)
    if options.output is not None:
        check_order(options.output, open_weights(recipe.anchor))
    processor.prepare()
    chosen = choose_samples(recording, options.sample)
    if len(chosen) > MANY:
        note(f"{len(chosen)} trajectories are rolled out at every candidate; --sample 0:{MANY} is faster.")
    if varied := varying(recording, chosen):
        warn(
            f"{options.prefix}: the trajectories differ in {', '.join(varied)}, and one coordinate is fitted to all of "
            "them; choose those of one regime by --sample."
        )
    until = options.until is not None
    first = read_first(recording, chosen, options.missing, options.mask, None if until else options.frames)
    regimes = None if others is None else read_regimes(others, recording)
    opened, axes = open_chart(recipe, options.model, recording), len(recipe.coordinates[0])
    if options.bank is None:
        check_named(options.prior, regimes, options.parameter, axes)
    count, stopped = options.frames, None
    needed = None if until else opened.surrogate.history + count
    frames, mask = first
    if needed is not None and opened.surrogate.history > WINDOW:
        of = f"{opened.surrogate.history} of the model's window and {count} after it"
        check_count(recording, needed, of, "observe more frames")
        frames, mask = read_observations(recording, chosen, options.missing, options.mask, needed)
    unit = ""
    if regimes is not None:
        check_apart("--prefix", options.prefix, chosen, frames, regimes, mask)
        unit = unit_unlike(regimes, options.prefix, frames, mask)
        regimes = regimes if options.noise is None else with_noise(regimes, options.noise)
    blamed = Blamed(recipe, options.model, recording)
    if not (options.accept_persistence or (unit and options.write_anyway)) and regimes is not None:
        check_first(opened, count, frames, mask, blamed, unit)
    experts = recipe.coordinates if recipe.holds_experts else ()

    def find_with(count: int) -> Found:
        how_sure: dict[str, Any] = {"anyway": options.write_anyway, "reach": options.reach}
        fitted = fit_readout(opened, frames.shape[2:], count, regimes, bank, options.parameter, **how_sure)
        prior = as_prior(options.prior, fitted.readout, fitted.known, fitted.unsure)
        with waiting(f"{'compiling and ' * (regimes is None)}searching the coordinate", steps=True) as progress:
            how: dict[str, Any] = {"always": options.write_anyway, "experts": experts, "progress": progress}
            return find(fitted, frames, mask, prior=prior, **how)

    if options.until is None or regimes is None:
        found = find_with(count)
    else:
        found, stopped = find_until(opened, frames, regimes, options.until, find_with)
        count = found.frames
    found = found._replace(clue="") if unit else found  # the unit explains what another time step seems to improve
    best = min(found.loss, found.anchor_loss)
    trivial = worse_than_trivial(best, found.persistence_loss)
    doubtful = not unit and (trivial or found.at_end_of_search or (found.sure is not None and found.sure.unlike))
    axes_of = blamed.axes() if doubtful else ""
    if options.accept_persistence or not trivial:
        warn(*[f"{unit}."] * bool(unit))
        written = options.write_anyway and options.output is not None
        show(found, axes, written=written, experts=recipe.expert_names)
    if options.show_candidates:
        show_candidates(found, axes)
    if trivial and not options.accept_persistence:
        blamed.check(found.persistence_loss, best, frames, mask, unit, axes_of)
    if doubtful and regimes is not None and (size := unit_unlike(regimes, options.prefix, frames, mask, far=DOUBTFUL)):
        warn(f"{size}.")
    if axes_of:
        warn(f"{recording.path}: {axes_of}: check which of them is meant.")
    if options.range is not None and found.sure is not None:
        note("--range is not used: with --validation, the value is read off its regimes.")
    if not found.keeps_anchor:
        warn(*remarks(found.place_in(recipe), typed=False))
    if recipe.units is not None and not found.keeps_anchor and found.sure is None:
        say(
            f"This is the value {recipe.units.value(found.coordinate[0]):.4g} if coordinates are linear in "
            f"{'its logarithm' if recipe.units.scale == 'log' else 'it'} (experts at {recipe.units.low:g} and "
            f"{recipe.units.high:g})."
        )

    def weights_next() -> None:
        """Where no weights are asked for: how to get them, or to run the anchor where that is the answer."""
        if not found.keeps_anchor:
            return calibrate_again(recipe, source.recipe, options, free(f"merged{ending_of(recipe.anchor)}"))
        if unit:  # frames in another unit are no start
            return None
        return kept_next(recipe, found, source.recipe, options, chosen[0], recording.shape[1])

    numbers = found.as_json() | ({} if stopped is None else {"until": stopped}) | {"noise": options.noise}
    if report is None:
        if options.as_json:
            tell(numbers | {"output": None, "report": None})
        say("Nothing is written: add -o for the weights, or --report found.json for the numbers.")
        weights_next()
        return
    finite = np.isfinite(found.loss)
    keep = options.output is not None and (not finite or (found.keeps_anchor and not options.write_anyway))
    made = new_folder(options.output or report)
    with together(options.output or report) as place:
        if options.output is not None and not keep:
            sizes = sizes_in(frames, mask, regimes)
            write(recipe, found, options, place(options.output), sizes)
        write_json(place(report), numbers)
        draw_calibration(found, axes, place(report).with_suffix(".png"))
        drawn = place(report).with_suffix(".png").exists()
    if options.as_json:
        tell(numbers | {"output": None if keep else options.output, "report": report})
    if not finite and keep:
        say(f"{options.output} is not written: no merge stays finite.")
    elif keep:
        say(f"{options.output} is not written; add --write-anyway to write the best merge.")
    elif options.output is not None:
        say(f"Wrote the weights at {typed(found.coordinate, axes)} to {options.output}{made}.")
    if keep and options.output is not None and options.output.exists():
        warn(f"{options.output} is from an earlier run and was not changed.")
    say(f"Numbers: {report}" + (f"; figure: {report.with_suffix('.png')}." if drawn else "."))
    if options.output is None or (finite and keep):
        weights_next()
    elif not keep:
        observed = opened.surrogate.history + count
        if mask is None:  # a rollout needs whole frames
            start = words_for(observed, recording.shape[1])
            rollout_next(options.output, options.model, options.prefix, chosen[0], options.layout, start=start)
        held_out = others_of(recording, options.layout, chosen, observed)
        prefix = ["--frames", str(count)] if count != FRAMES else []
        how: dict[str, Any] = {"after": "Next" if mask is not None else "Then", "by_folder": source.recipe is None}
        evaluate_next(recipe, options.output, options.model, [*held_out, *prefix], **how)
    if keep:
        raise click.exceptions.Exit(ANCHOR_KEPT)
