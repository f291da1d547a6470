"""Figures of the study, from its tables alone; every number with its interval over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from experiments.figures import COLOURS, new_figure, tidy

OURS, THEIRS, BAD = COLOURS["ccm_coord"], "#8c8c8c", COLOURS["wrong_sign"]


def half(value: dict[str, Any] | None) -> float:
    """Half the width of an interval; 0 where there is none."""
    if value is None or value["high"] is None or value["mean"] is None:
        return 0.0
    return float(value["high"] - value["mean"])


def mean(value: dict[str, Any] | None) -> float:
    """The mean, or NaN where there is none, so that nothing is drawn."""
    return float("nan") if value is None or value["mean"] is None else float(value["mean"])


def published(rows: list[dict[str, Any]]) -> Figure:
    """Published gains beside ours."""
    rows = [row for row in rows if row["kind"] == "gain"]
    figure = new_figure(7.6, 0.46 * len(rows) + 1.0)
    ax, y = figure.subplots(), np.arange(len(rows))[::-1]
    ax.barh(y + 0.19, [100 * row["published"] for row in rows], 0.36, color=THEIRS, label="published")
    ours, halves = [100 * mean(row["ours"]) for row in rows], [100 * half(row["ours"]) for row in rows]
    ax.barh(y - 0.19, ours, 0.36, xerr=halves, color=OURS, label="here", error_kw={"lw": 1})
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_xlim(left=max(-60, ax.get_xlim()[0]))
    ax.axvline(0, color="black", lw=0.8)
    ax.set_xlabel("less error than the anchor, outside the support unless said (%)")
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    tidy(ax)
    return figure


def over_anchor(rows: list[dict[str, Any]]) -> Figure:
    """Errors over the better anchor's, on a logarithmic axis; 1 is the anchor."""
    figure = new_figure(7.6, 0.34 * len(rows) + 1.0)
    ax, y = figure.subplots(), np.arange(len(rows))[::-1]
    values = np.array([mean(row["ours"]) for row in rows])
    colours = [
        OURS if row["key"] == "ccm_coord" else BAD if v > 1 else THEIRS for row, v in zip(rows, values, strict=True)
    ]
    halves = np.array([half(row["ours"]) for row in rows])
    lower = np.minimum(halves, 0.95 * np.nan_to_num(values, posinf=1.0))
    shown = np.where(np.isfinite(values), values, np.nan)
    ax.barh(y, shown - 1, left=1, color=colours, xerr=[lower, halves], error_kw={"lw": 1})
    for at, value in zip(y, values, strict=True):
        if np.isposinf(value):
            ax.text(1.05, at, "diverges", va="center", color=BAD)
    ax.set_xscale("log")
    for axis_format in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        axis_format(LogFormatter(minor_thresholds=(1, 0.4)))
    ax.axvline(1, color="black", lw=0.8)
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_xlabel("error outside the support over the better anchor's")
    tidy(ax)
    return figure


def layers(rows: list[dict[str, Any]]) -> Figure:
    """Which layers carry the physics."""
    figure = new_figure(7.6, 0.34 * len(rows) + 1.0)
    ax, y = figure.subplots(), np.arange(len(rows))[::-1]
    ax.barh(y + 0.19, [100 * mean(r["alone"]) for r in rows], 0.36, color=OURS, label="gained by it alone")
    ax.barh(y - 0.19, [100 * mean(r["lost"]) for r in rows], 0.36, color=THEIRS, label="lost without it")
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_xlabel("share of the direction's gain over the average (%)")
    ax.axvline(0, color="black", lw=0.8)
    ax.legend(frameon=False)
    tidy(ax)
    return figure


def prefix(families: dict[str, list[dict[str, Any]]]) -> Figure:
    """Error after the choice over the best in hindsight, against what is known of the prefix."""
    labels = {
        "frames": "observed frames K",
        "step": "step of the bank",
        "width": "width of the bank, ±",
        "noise": "noise over signal",
        "missing": "pixels missing",
    }
    figure = new_figure(9.6, 2.6)
    axes: Any = figure.subplots(1, len(labels), sharey=True)
    for ax, (family, label) in zip(axes, labels.items(), strict=True):
        rows = families.get(family, [])
        x = [row["at"] for row in rows]
        y, halves = np.array([mean(row["ours"]) for row in rows]), np.array([half(row["ours"]) for row in rows])
        ax.plot(x, y, "o-", color=OURS, ms=4)
        if len(x):
            ax.fill_between(x, y - halves, y + halves, color=OURS, alpha=0.2, lw=0)
        ax.axhline(1, color="black", lw=0.8)
        ax.set_xlabel(label)
        tidy(ax)
    axes[0].set_ylabel("error over the best\nin hindsight")
    return figure


def tuned(rows: list[dict[str, Any]]) -> Figure:
    """Gains after other fine-tunings."""
    figure = new_figure(7.6, 0.42 * len(rows) + 1.0)
    ax, y = figure.subplots(), np.arange(len(rows))[::-1]
    for shift, who, label in ((0.2, "coord", "CCM-Coord"), (-0.2, "prefix", "CCM-Prefix, plain bank")):
        values = [100 * mean(row["gains"][who]) for row in rows]
        halves = [100 * half(row["gains"][who]) for row in rows]
        colour = COLOURS[f"ccm_{who}"]
        ax.barh(y + shift, values, 0.38, xerr=halves, color=colour, label=label, error_kw={"lw": 1})
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_xlim(left=max(-60, ax.get_xlim()[0]))
    ax.set_xlabel("less error outside the support than the anchor (%)")
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    tidy(ax)
    return figure


def path(found: list[dict[str, Any]]) -> Figure:
    """The path against the line: projection, distance with its second-order bound, and errors as the gap grows."""
    figure = new_figure(9.6, 3.0)
    axes: Any = figure.subplots(1, 3)
    for i, one in enumerate(found):
        s = [row["coordinate"] for row in one["experts"]]
        first = {"label": "measured"} if i == 0 else {}
        axes[0].plot(s, [row["projection"] for row in one["experts"]], "o-", color=OURS, ms=3, lw=1, **first)
        axes[1].plot(s, [row["line_to_expert"] for row in one["experts"]], "o-", color=OURS, ms=3, lw=1, **first)
        second = {"label": "second-order bound"} if i == 0 else {}
        axes[1].plot(s, [row["bound"] for row in one["experts"]], "--", color=BAD, lw=1, **second)
        _gaps(axes[2], one, i == 0)
    axes[0].axline((0, 0), slope=1, color="black", lw=0.8)
    axes[0].set(xlabel="coordinate s of the expert", ylabel="its projection on the direction")
    axes[1].set(xlabel="coordinate s of the expert", ylabel="distance of the line from it\n(in norms of the direction)")
    axes[2].set(
        xlabel="half the gap between the endpoints", ylabel="error of the line on far regimes\nover the anchor's"
    )
    for ax in axes:
        tidy(ax)
        ax.legend(frameon=False, fontsize=8)
    return figure


def _gaps(ax: Axes, one: dict[str, Any], labelled: bool) -> None:
    gaps = sorted({float(g) for row in one["errors"] for g in row["line"]})

    def over(row: dict[str, Any], value: float | None) -> float:
        return np.inf if value is None else value / row["anchor"]

    values = [np.mean([over(row, row["line"][f"{g:g}"]) for row in one["errors"]]) for g in gaps]
    ax.plot(gaps, values, "o-", color=OURS, ms=3, lw=1, label="line" if labelled else None)
    there = [over(row, row["expert_there"]) for row in one["errors"]]
    ax.axhline(
        float(np.mean(there)), color=THEIRS, lw=1, ls=":", label="an expert fine-tuned there" if labelled else None
    )
