"""``ccm data``: say what a file of trajectories holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.markup import escape
from rich.table import Table

from ccm_jax.cli.answers import json_option, tell
from ccm_jax.cli.checkpoints import warn
from ccm_jax.cli.console import say, show_table
from ccm_jax.cli.faults import Suggesting, line_of, without_python
from ccm_jax.cli.following import calibrate_next, file_beside, follow, frames_beside
from ccm_jax.cli.frames import Layout, assumed_axes, layout_options, shorten, varying
from ccm_jax.io.boundary import one_line
from ccm_jax.io.recordings import Recording, files_of, open_recording, open_recordings
from ccm_jax.io.recordings.opening import check_alike
from ccm_jax.io.recordings.recording import time_step

MANY = 8  # channels: more of them, where a file does not say so, are probably points of the grid


@click.group("data", cls=Suggesting)
def command() -> None:
    """Describe files of trajectories."""


@command.command("describe")
@click.argument("path", type=click.Path(path_type=Path))
@layout_options
@json_option
def describe(path: Path, layout: Layout, as_json: bool) -> None:
    """Show the layout, fields, grid, times and parameters of a file.

    PATH may be a folder. Below the table: unreadable files, assumptions, and omitted parts with reasons.

    \b
    ccm data describe 2D_diff-react_NA_NA.h5
    ccm data describe states.npy --axes NTCXY

    \b
    On the example family (ccm example):
    ccm data describe example/test-0.00075.npz
    """
    headings = ("file", "layout", "fields", "samples", "frames", "grid", "times", "parameters")
    rows = []
    recordings, faults = _opened(path, layout)
    for r in recordings:
        times = "–" if r.times is None else f"{r.times[0]:g} … {r.times[-1]:g}"
        names = sorted({name for row in r.parameters for name in row})
        ranges = []
        for name in names:
            values = [row[name] for row in r.parameters if name in row]
            low, high = min(values), max(values)
            ranges.append(f"{name} = {low:g}" if low == high else f"{name} = {low:g} … {high:g}")
        grid = "×".join(map(str, r.shape[2:]))
        row = (
            escape(one_line(r.path.name)),
            r.layout,
            escape(shorten(r.fields)),
            str(r.shape[0]),
            str(r.shape[1]),
            grid,
            times,
        )
        rows.append((*row, escape("\n".join(ranges)) or "–"))
    show_table(str(path), *_tables(headings, rows))
    for what in ("assumed", "left_out"):
        said: dict[str, list[str]] = {}
        for r in recordings:
            for line in getattr(r, what):
                said.setdefault(line, []).append(r.path.name)
        for line, names in said.items():
            where = "" if len(names) == len(recordings) else f" ({', '.join(names[:3])}{', …' * (len(names) > 3)})"
            say(f"{what.replace('_', ' ')}: {without_python(line)}{where}")
    if any(r.times is None for r in recordings):
        say("times: none; write times=... (of each frame) or dt=... (between frames) next to the frames.")
    for r in recordings:
        try:
            time_step(r, None)
        except ValueError as error:
            faults.append(line_of(error))
    warn(*faults)
    if as_json:
        tell([described(r) for r in recordings])
    if len(recordings) == 1:
        family: dict[str, Any] = {"like": recordings[0], "layout": layout}
        if varying(recordings[0], range(recordings[0].shape[0])):
            test = file_beside(path, "test", **family)
            frames = ["--prefix", *(["OBSERVED_FRAMES"] if test is None else [str(test), "--sample", "0"])]
            frames += ["--validation", str(path)]
        else:
            validation = file_beside(path, "validation", **family)
            frames = ["--prefix", str(path), *(["--sample", "0"] * (recordings[0].shape[0] > 1))]
            frames += [] if validation is None else ["--validation", str(validation)]
        words = layout.words() or likely_axes(recordings[0])
        calibrate_next(path, [*frames, *words])
    elif file_beside(path / "any", "test") is not None:
        calibrate_next(path / "any", [*frames_beside(path / "any"), *layout.words()])
    else:
        follow("data", "describe", recordings[0].path, *layout.words())


def _opened(path: Path, layout: Layout) -> tuple[list[Recording], list[str]]:
    """The file, or the files of a folder that can be read; and what is wrong with others, or with them together."""
    if len(files := files_of(path)) < 2:
        return open_recordings(path, fields=layout.fields, axes=layout.axes), []
    found, faults = [], []
    for file in files:
        try:
            found.append(open_recording(file, fields=layout.fields, axes=layout.axes))
        except (ValueError, OSError) as error:
            faults.append(line_of(error))
    if not found:
        raise ValueError(faults[0])
    try:
        check_alike(found)
    except ValueError as error:
        faults.append(line_of(error))
    return found, faults


def likely_axes(recording: Recording) -> list[str]:
    """``--axes`` as a file's assumption suggests it, where the channels that are assumed are too many to be any."""
    suggested = re.search(r"say (--axes) ([A-Z1]+)", assumed_axes(recording))
    return [] if suggested is None or len(recording.fields) <= MANY else list(suggested.groups())


def described(recording: Recording) -> dict[str, Any]:
    """What the table shows, JSON-able, with the parameters of each sample."""
    samples, frames, *grid = recording.shape
    return {
        **{"path": recording.path, "layout": recording.layout, "fields": recording.fields},
        **{"samples": samples, "frames": frames, "grid": grid, "parameters": recording.parameters},
        "times": None if recording.times is None else np.asarray(recording.times, float).tolist(),
        **{what: [without_python(line) for line in getattr(recording, what)] for what in ("assumed", "left_out")},
    }


def _tables(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[Table]:
    """What all files share, a line for each fact; then a row for each of several files."""
    same = [len({row[i] for row in rows}) == 1 for i in range(len(headings))]
    if any(same):
        table = Table(show_header=False)
        for heading, value, shared in zip(headings, rows[0], same, strict=True):
            if shared:
                table.add_row(heading, value)
        yield table
    if len(rows) > 1:
        table = Table(box=None, padding=(0, 2, 0, 0))  # names of files have more room
        for heading in (h for h, shared in zip(headings, same, strict=True) if not shared):
            table.add_column(heading, overflow="fold", no_wrap=heading == "parameters", min_width=len(heading))
        for row in rows:
            table.add_row(*(value for value, shared in zip(row, same, strict=True) if not shared))
        yield table


@command.command("generate", hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def generate(arguments: tuple[str, ...]) -> None:
    """Generate a family of trajectories. Needs the solvers, which are in the repository and not in the package.

    \b
    In a clone:
    python -m experiments.generate --config=rd_ood --output=family.h5
    """
    raise ValueError(
        "data generate: the package has no solvers; in a clone of the repository run "
        "'python -m experiments.generate --config=rd_ood --output=family.h5'."
    )
