"""Figures of the study, from its tables alone; every number with its interval over seeds."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ccm_jax.cli.pictures import new_figure, tidy
from experiments.pipeline.methods import METHODS

ENDS = (("low", -1), ("high", 1))
OURS, THEIRS, BAD = METHODS["ccm_coord"].colour, "#8c8c8c", METHODS["wrong_sign"].colour


def mean(value: dict[str, Any] | None) -> float:
    """The mean: NaN where nothing was measured, infinity where what was measured diverged."""
    return float("nan") if value is None else float("inf") if value["mean"] is None else float(value["mean"])


def ends(values: list[dict[str, Any] | None]) -> np.ndarray:
    """Lengths of the error bars ``[2, n]`` below and above the means; 0 where there is no interval."""

    def length(v: dict[str, Any] | None, end: str, sign: int) -> float:
        known = v is not None and v[end] is not None and v["mean"] is not None
        return max(0.0, sign * (v[end] - v["mean"])) if known else 0.0  # type: ignore[index]

    return np.array([[length(v, end, sign) for v in values] for end, sign in ENDS])


def published(rows: list[dict[str, Any]]) -> Figure:
    """Published gains beside ours."""
    rows = [row for row in rows if row["kind"] == "gain"]
    figure = new_figure(7.6, 0.46 * len(rows) + 1.0)
    ax, y = figure.subplots(), np.arange(len(rows))[::-1]
    ax.barh(y + 0.19, [100 * row["published"] for row in rows], 0.36, color=THEIRS, label="published")
    bars = 100 * ends([row["ours"] for row in rows])
    ax.barh(
        y - 0.19,
        drawable([100 * mean(row["ours"]) for row in rows]),
        0.36,
        xerr=bars,
        color=OURS,
        label="here",
        error_kw={"lw": 1},
    )
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_xlim(left=max(-100, ax.get_xlim()[0]))
    ax.axvline(0, color="black", lw=0.8)
    ax.set_xlabel("less error than the anchor (%)")
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
    bars = ends([row["ours"] for row in rows])
    ax.barh(y, drawable(values) - 1, left=1, color=colours, xerr=bars, error_kw={"lw": 1})
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
    for shift, what, colour, label in (
        (0.19, "alone", OURS, "gained by it alone"),
        (-0.19, "lost", THEIRS, "lost without it"),
    ):
        values, bars = drawable([100 * mean(r[what]) for r in rows]), 100 * ends([r[what] for r in rows])
        ax.barh(y + shift, values, 0.36, xerr=bars, color=colour, label=label, error_kw={"lw": 1})
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
        y = drawable([mean(row["ours"]) for row in rows])
        ax.plot(x, y, "o-", color=OURS, ms=4)
        if len(x):
            below, above = ends([row["ours"] for row in rows])
            ax.fill_between(x, y - below, y + above, color=OURS, alpha=0.2, lw=0)
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
        values = drawable([100 * mean(row["gains"][who]) for row in rows])
        bars = 100 * ends([row["gains"][who] for row in rows])
        colour = METHODS[f"ccm_{who}"].colour
        ax.barh(y + shift, values, 0.38, xerr=bars, color=colour, label=label, error_kw={"lw": 1})
    ax.set_yticks(y, [row["what"] for row in rows])
    ax.set_xlim(left=max(-100, ax.get_xlim()[0]))
    ax.set_xlabel("less error outside the support than the anchor (%)")
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    tidy(ax)
    return figure


def along(found: dict[str, Any]) -> Figure:
    """Error along the line on every regime, mean and range over seeds."""
    figure = new_figure(7.6, 3.4)
    ax = figure.subplots()
    rows = sorted(found["regimes"], key=lambda row: row["coordinate"])
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(rows)))
    for row, colour in zip(rows, colours, strict=True):
        errors = drawable([[float("nan") if e is None else e for e in at] for at in row["errors"]])
        style = "-" if row["split"] == "ood" else ":"
        ax.plot(found["bank"], errors.mean(axis=1), style, color=colour, lw=1.4, label=f"s = {row['coordinate']:+.2g}")
        ax.fill_between(found["bank"], errors.min(axis=1), errors.max(axis=1), color=colour, alpha=0.15, lw=0)
    ax.set(yscale="log", xlabel="coordinate along the line", ylabel="relative L2 error after the observed frames")
    figure.legend(frameon=False, loc="outside right upper", fontsize=8)
    tidy(ax)
    return figure


def path(found: list[dict[str, Any]]) -> Figure:
    """The path against the line: projection, distance with its second-order estimate, and errors as the gap grows."""
    figure = new_figure(9.6, 3.0)
    axes: Any = figure.subplots(1, 3)
    for ax, what, style, colour, label in (
        (axes[0], "projection", "o-", OURS, "measured"),
        (axes[1], "line_to_expert", "o-", OURS, "measured"),
        (axes[1], "second_order", "--", BAD, "if it were a parabola"),
    ):
        _band(
            ax, [row["coordinate"] for row in found[0]["experts"]], _over(found, "experts", what), style, colour, label
        )
    gaps = sorted({float(g) for row in found[0]["errors"] for g in row["line"]})
    ratios = np.array(
        [[np.mean([_ratio(row, row["line"][f"{g:g}"]) for row in one["errors"]]) for g in gaps] for one in found]
    )
    _band(axes[2], gaps, drawable(ratios), "o-", OURS, "line")
    there = [_ratio(r, r["expert_there"]) for one in found for r in one["errors"] if r["expert_there"] is not None]
    if there:
        axes[2].axhline(float(np.mean(there)), color=THEIRS, lw=1, ls=":", label="an expert fine-tuned there")
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


def drawable(values: Any) -> np.ndarray:
    """Finite numbers as they are, all others as NaN, which is not drawn."""
    x = np.asarray(values, float)
    return np.where(np.isfinite(x), x, np.nan)


def _ratio(row: dict[str, Any], value: float | None) -> float:
    return np.inf if value is None or row["anchor"] is None else value / row["anchor"]


def _over(found: list[dict[str, Any]], table: str, what: str) -> np.ndarray:
    return np.array([[row[what] for row in one[table]] for one in found], float)


def _band(ax: Axes, x: list[float], y: np.ndarray, style: str, colour: str, label: str) -> None:
    """Mean and range over seeds, ``y [seeds, n]``."""
    ax.plot(x, y.mean(axis=0), style, color=colour, ms=3, lw=1, label=label)
    ax.fill_between(x, y.min(axis=0), y.max(axis=0), color=colour, alpha=0.18, lw=0)
