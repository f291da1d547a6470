"""What a filter found of drifting parameters: a table for the terminal, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from ccm_jax.cli.pictures import new_figure, tidy
from ccm_jax.io.atomic import read_json, replacing
from experiments.pipeline.methods import METHODS
from experiments.pipeline.stages import Run, Stages
from experiments.pipeline.store import write_json
from experiments.pipeline.tracking import tracking
from experiments.runner.progress import console
from experiments.runner.runtime import is_writer

HEADINGS = {
    "known": "true path",
    "filter": "filter",
    "window": "sliding window",
    "first": "first frames",
    "anchor": "anchor",
}
FORECASTS = {
    "known": "true path",
    "linear": "linear",
    "constant": "constant",
    "first": "first frames",
    "anchor": "anchor",
}
COLUMNS = 4


def report_drifts(run: Run, done: Stages, workdir: Path) -> None:
    """Follows the drifts of a finished run, and writes ``tracking.json`` and ``figures/drift.*`` into its folder."""
    stage = tracking(run, done.validation, done.anchor, done.endpoints)
    found = read_json(stage.path / "tracking.json")
    write_json(workdir / "tracking.json", found)
    if is_writer():
        (workdir / "figures").mkdir(exist_ok=True)
        for kind in ("png", "pdf"):
            with replacing(workdir / "figures" / f"drift.{kind}") as partial:
                figure(found).savefig(partial, dpi=150)
    console.print()
    console.print(table(found, "errors", HEADINGS, "one-step relative L2 error, by what the coordinate comes from"))
    console.print(table(found, "forecast", FORECASTS, "forecast of the second half, by how the coordinate goes on"))
    told = found["errors_over_known"]["filter"]
    if told is not None:
        console.print(f"The filter has {told:.2f} x the one-step error of weights that know the path.", markup=False)


def table(found: dict[str, Any], what: str, headings: dict[str, str], title: str) -> Table:
    """Errors of every path, for the terminal."""
    shown = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    shown.add_column("path", no_wrap=True)
    for heading in headings.values():
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in found["paths"]:
        cells = ["inf" if row[what][name] is None else f"{row[what][name]:.4f}" for name in headings]
        shown.add_row(" ".join(str(part) for part in row["path"]), *cells)
    return shown


def figure(found: dict[str, Any]) -> Figure:
    """The true path and the filtered one with its 90 % band, of the first trajectory of each path."""
    rows = found["paths"]
    lines, colour = -(-len(rows) // COLUMNS), METHODS["ccm_prefix"].colour
    drawn = new_figure(9.6, 0.5 + 1.9 * lines)
    axes = np.atleast_2d(drawn.subplots(lines, min(COLUMNS, len(rows)), sharex=True, sharey=True, squeeze=False))
    for ax, row in zip(axes.flat, rows, strict=False):
        frame = 1 + np.arange(len(row["known"]))
        mean, reach = np.array(row["filtered"]), 1.645 * np.array(row["std"])
        ax.fill_between(frame, mean - reach, mean + reach, color=colour, alpha=0.2, lw=0)
        ax.plot(frame, mean, color=colour, lw=1.4, label="filtered, with a 90 % band")
        ax.plot(frame, row["known"], color="black", lw=1.2, ls="--", label="true path")
        ax.set_ylim(-2.5, 2.5)
        ax.set_title(" ".join(f"{part}" for part in row["path"]), fontsize=8)
        tidy(ax)
    for ax in axes.flat[len(rows) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("frame")
    for ax in axes[:, 0]:
        ax.set_ylabel("coordinate")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    drawn.legend(handles, labels, frameon=False, loc="outside upper center", ncols=2)
    return drawn
