"""Figures of an experiment on a plane, from its saved numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ccm_jax.cli.pictures import new_figure, tidy
from experiments.pipeline.methods import METHODS
from experiments.report.plane import CHARTS, FIXED, SHOWN, label_of


def _axis_label(axis: dict[str, Any]) -> str:
    return f"{axis['label']} ({axis['unit']})" if axis["unit"] else axis["label"]


def _on_grid(results: dict[str, Any], errors: list[float | None]) -> tuple[np.ndarray, list[float], list[float]]:
    """Errors of regimes as an array ``[second axis, first axis]``, NaN where there is none; and the values on each."""
    values = results["regimes"]["value"]
    first, second = (sorted({pair[i] for pair in values}) for i in (0, 1))
    grid = np.full((len(second), len(first)), np.nan)
    for (a, b), error in zip(values, errors, strict=True):
        grid[second.index(b), first.index(a)] = np.nan if error is None else error
    return grid, first, second


def errors(results: dict[str, Any]) -> Figure:
    """Maps of the error over the plane: a row for each chart, the chosen one first; the training range is framed."""
    config, chosen = results["config"], results["chart"]
    order = [chosen, *(name for name in results["charts"] if name != chosen)]
    figure = new_figure(2.3 * (1 + len(SHOWN)) + 0.8, 2.6 * len(order) + 0.5)
    axes = figure.subplots(len(order), 1 + len(SHOWN), sharex=True, sharey=True, squeeze=False)
    shown = [[(label_of(f, config), results["errors"][f])] for f in FIXED]
    for row, chart in zip(shown, order, strict=True):
        row += [(METHODS[m].label, results["charts"][chart]["errors"][m]) for m in SHOWN]
    known = [e for row in shown for _, errors in row for e in errors if e is not None and e > 0]
    norm = LogNorm(min(known), max(known)) if known else None
    image = None
    for i, row in enumerate(shown):
        for j, (title, found) in enumerate(row):
            ax, (grid, first, second) = axes[i][j], _on_grid(results, found)
            image = ax.imshow(grid, origin="lower", cmap="cividis_r", norm=norm, aspect="auto")
            ax.set_title(title, fontsize=9)
            ax.set_xticks(range(len(first)), [f"{v:g}" for v in first], fontsize=7, rotation=45)
            ax.set_yticks(range(len(second)), [f"{v:g}" for v in second], fontsize=7)
            for (y, x), error in np.ndenumerate(grid):
                if np.isfinite(error) and norm is not None:
                    ink = "white" if norm(error) > 0.6 else "black"
                    ax.text(x, y, f"{error:.3f}".lstrip("0"), ha="center", va="center", fontsize=7, color=ink)
            ax.add_patch(_support(config, first, second))
        axes[i][0].set_ylabel(_axis_label(config["axis2"]), fontsize=8)
        axes[i][1].set_title(f"experts at {CHARTS[order[i]]}\n{row[1][0]}", fontsize=9)
    axes[-1][len(axes[-1]) // 2].set_xlabel(_axis_label(config["axis"]), fontsize=8)
    if image is not None:
        figure.colorbar(image, ax=axes, label="relative L2 error after the observed frames", fraction=0.02)
    return figure


def _support(config: dict[str, Any], first: list[float], second: list[float]) -> Rectangle:
    """The frame around the regimes inside the training range."""
    ends = []
    for axis, values in ((config["axis"], first), (config["axis2"], second)):
        low, high = axis["low"], axis["high"]
        inside = [i for i, v in enumerate(values) if low - 1e-9 <= v <= high + 1e-9]
        ends.append((min(inside, default=0) - 0.5, max(inside, default=0) + 0.5))
    (left, right), (bottom, top) = ends
    return Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor="#D55E00", linewidth=1.5)


def coordinates(results: dict[str, Any]) -> Figure:
    """Where the chosen chart is read: physical coordinates, the means that prefixes choose, the best in hindsight."""
    chosen = results["charts"][results["chart"]]["chosen"]
    figure = new_figure(5.6, 4.6)
    ax = figure.subplots()
    ax.add_patch(Rectangle((-1, -1), 2, 2, color="#eef2f6", zorder=0, label="training range of the anchor"))
    for i, row in enumerate(chosen):
        s, best = (np.array(row[name], float) for name in ("ccm_coord", "best"))
        prefix = np.array(row["ccm_prefix"], float)[:, :2]
        mean = np.nanmean(prefix, axis=0)
        told = (lambda name: METHODS[name].label) if i == 0 else (lambda name: None)
        ax.plot(*np.stack([s, mean], axis=1), "-", color="#999999", linewidth=0.8)
        ax.plot(*prefix.T, ".", color=METHODS["ccm_prefix"].colour, markersize=2)
        ax.plot(*s, "+", color=METHODS["ccm_coord"].colour, markersize=9, label=told("ccm_coord"))
        ax.plot(*best, "*", color="black", markersize=7, label=told("best"))
        ax.plot(*mean, "o", color=METHODS["ccm_prefix"].colour, markersize=5, label=told("ccm_prefix"))
    names = [results["config"][name]["label"] for name in ("axis", "axis2")]
    ax.set(xlabel=f"coordinate, {names[0]}", ylabel=f"coordinate, {names[1]}", xlim=(-2.7, 2.7), ylim=(-2.7, 2.7))
    tidy(ax)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure
