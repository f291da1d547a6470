"""What ``ccm calibrate`` is asked for beside what it merges: its options, checked before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ccm_jax.cli.frames import Layout
from ccm_jax.cli.merge import check_output
from ccm_jax.cli.prefix_length import FRAMES
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.units import units_of
from ccm_jax.fit_readout import REACH
from ccm_jax.io.atomic import check_new
from ccm_jax.io.save import name_of

MOST = 10_000  # candidates of a bank


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
    noise: float | None
    parameter: tuple[str, ...]
    prior: tuple[str, ...]
    bank: str | None
    reach: float
    range: str | None
    log: bool
    accept_persistence: bool
    write_anyway: bool
    output: Path | None
    report: Path | None
    show_candidates: bool
    as_json: bool


def words_of(options: Options) -> list[str]:
    """What was asked for, as it is typed, without the outputs."""
    given = options._asdict()
    words = ["--prefix", str(options.prefix), *options.layout.words()]
    for name in ("model", "sample", "mask", "until", "validation", "noise", "bank", "range"):
        words += [] if given[name] is None else [f"--{name}", str(given[name])]
    words += ["--missing", options.missing] if options.missing != "refuse" else []
    words += ["--reach", f"{options.reach:g}"] if options.reach not in (REACH, None) else []
    words += ["--frames", str(options.frames)] if options.frames != FRAMES and options.until is None else []
    for name in ("parameter", "prior"):
        words += [word for each in given[name] for word in (f"--{name}", each)]
    return words + [f"--{name.replace('_', '-')}" for name in ("log", "accept_persistence") if given[name]]


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


def check_free(options: Options) -> Path | None:
    """The report's path; raises ValueError if anything cannot be written."""
    report = options.report
    if options.output is not None:
        check_output(options.output)
        report = report or options.output.with_name(f"{name_of(options.output)}.json")
    if report is not None and report.suffix != ".json":
        raise ValueError(f"--report is {report}, expected a name that ends in .json.")
    if report is not None:
        for path in (report, report.with_suffix(".png")):
            check_new(path)
    return report


def with_units(recipe: Recipe, options: Options) -> Recipe:
    """The recipe with the values that ``--range`` gives the ends, where it does not have its own.

    Raises:
        ValueError: for a range of experts along several axes, or one that the recipe gives too.
    """
    units = units_of(options.range, options.log)
    if units is None:
        return recipe
    if len(recipe.coordinates[0]) > 1:
        raise ValueError(
            f"--range {options.range}: the experts span several axes, and a range is of one; leave it out."
        )
    if recipe.units is not None and recipe.units != units:
        raise ValueError(f"--range {options.range}: the recipe says {recipe.units}; leave one out.")
    return recipe._replace(units=units)
