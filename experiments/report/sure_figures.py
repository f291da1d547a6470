"""The figure of how sure a prefix readout is, from saved numbers alone."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccm_jax.cli.pictures import draw_density, new_figure, plain_ticks, tidy
from experiments.pipeline.methods import METHODS
from experiments.report.figures import NARROW, axis_label
from experiments.report.numbers import signed
from experiments.report.sure import too_narrow, two_of

GREEN = METHODS["ccm_prefix"].colour
WARNING: Any = {"ha": "right", "va": "top", "fontsize": 8, "color": "#222222", "weight": "bold"}
ROOM = 1.45  # height of the axes over that of a posterior: for the legend


def sureness(found: dict[str, Any], config: dict[str, Any], channel: str, narrow: bool = False) -> Figure:
    """The posterior of the value, the error of a forecast at one point in its band, and errors beside expected ones.

    A row for each of two regimes; one below the other if ``narrow``.
    """
    rows = [found["regimes"][i] for i in two_of([row["coordinate"] for row in found["regimes"]])]
    if narrow:
        figure = new_figure(NARROW, 7.2 * len(rows))
        axes = figure.subplots(3 * len(rows), 1).reshape(len(rows), 3)
    else:
        figure = new_figure(9.6, 3.2 * len(rows) + 0.2)
        axes = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(4, 5, 5))
    figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.1)
    for (left, middle, right), row in zip(axes, rows, strict=True):
        narrow_here = too_narrow(row)
        where = "inside the training range" if row["split"] == "id" else "outside the training range"
        draw_density(left, np.array(row["values"]), np.array(row["probability"]), tuple(row["intervals"][0]))
        left.axvline(row["value"], color="black", lw=1.2, ls="--", ymax=1 / ROOM, label="true value")
        left.set(xlabel=axis_label(config), ylabel="posterior")
        left.set_ylim(0, ROOM * left.get_ylim()[1])
        left.locator_params(axis="x", nbins=4 if narrow else 3)
        left.set_title(f"{row['value']:g} (coordinate {signed(row['coordinate'])}),\n{where}", fontsize=9, loc="left")
        _band(middle, row, channel)
        for ax, what in ((left, "value"), (middle, "forecast")):
            if what in narrow_here:
                text = f"too narrow here:\n{textwrap.fill(narrow_here[what], 26)}"
                ax.text(0.98, 0.98, text, transform=ax.transAxes, **WARNING)
        _errors(right, row)
        for ax in (left, middle, right) if row is rows[0] else ():
            ax.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _frames(ax: Axes, row: dict[str, Any]) -> np.ndarray:
    """The numbers of the forecast frames, counted from 1."""
    ax.set_xlabel("frame")
    ax.locator_params(axis="x", integer=True, nbins=6)
    return len(row["observed"]) + 1 + np.arange(len(row["mean"]))


def _band(ax: Axes, row: dict[str, Any], channel: str) -> None:
    """Truth minus forecast at one point: the band is thin beside the values themselves."""
    frame = _frames(ax, row)
    mean, low, high, truth = (np.array(row[name], float) for name in ("mean", "low", "high", "truth"))
    ax.fill_between(frame, low - mean, high - mean, color=GREEN, alpha=0.22, lw=0, label="90 % interval")
    ax.axhline(0, color=GREEN, lw=1.6, label="mean of the forecast")
    ax.plot(frame, truth - mean, color="black", lw=1.2, ls="--", label="truth")
    bound = 1.1 * max(float(np.nanmax(np.abs([low - mean, high - mean, truth - mean]), initial=0)), 1e-12)
    if np.isfinite(bound):
        ax.set_ylim(-bound, 1.7 * bound)  # room for the legend
    ax.set_title(f"{channel} at {row['place']}, minus its forecast", fontsize=9, loc="left")
    tidy(ax)


def _errors(ax: Axes, row: dict[str, Any]) -> None:
    """Errors of all trajectories, beside what the intervals expect."""
    frame = _frames(ax, row)
    for i, each in enumerate(np.array(row["error"], float)):
        ax.plot(frame, each, color=GREEN, alpha=0.6, lw=0.8, label="each trajectory" if i == 0 else None)
    ax.plot(frame, row["expected_error"], color="black", lw=1.4, ls="--", label="expected")
    ax.set_yscale("log")
    ax.set_title("relative L2 error", fontsize=9, loc="left")
    tidy(ax)
    plain_ticks(ax)
