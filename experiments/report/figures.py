"""Figures of a run, from its saved numbers alone; ``narrow`` ones are for a phone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ccm_jax.cli.pictures import new_figure, plain_ticks, tidy
from experiments.pipeline.methods import METHODS, drawn
from experiments.report.numbers import signed
from experiments.report.results import found_best, observed

NARROW = 3.9  # inches: on a phone, letters are then 1.2 times as high as they say
BAR = ((-0.08, -1.0), (0.08, -1.0), (0.08, 1.0), (-0.08, 1.0), (-0.08, -1.0))  # a marker with an edge, which "|" lacks


def _legend(figure: Figure, narrow: bool, **settings: Any) -> None:
    """The legend beside the plot, or below it."""
    place = {"loc": "outside lower center", "ncols": 2} if narrow else {"loc": "outside right upper"}
    figure.legend(**settings, **place, frameon=False, fontsize=8)


def fewer_ticks(ax: Axes, narrow: bool) -> None:
    """Leaves room between the numbers on the horizontal axis."""
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", nbins=4 if narrow else 6)


def axis_label(config: dict[str, Any]) -> str:
    """The physical parameter with its unit."""
    axis = config["axis"]
    return f"{axis['label']} ({axis['unit']})" if axis["unit"] else axis["label"]


def by_coordinate(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of test regimes in the order of their coordinates."""
    return sorted(results["regimes"], key=lambda row: row["coordinate"])


def coordinate_sweep(results: dict[str, Any], sweep: np.ndarray, narrow: bool = False) -> Figure:
    """Error along the direction for each regime, as a multiple of its smallest; what each readout chose."""
    order = np.argsort([row["coordinate"] for row in results["regimes"]])
    rows, bank = by_coordinate(results), np.array(results["bank"])
    errors = sweep[order].mean(axis=-1)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    smallest = errors.min(axis=1, keepdims=True)
    ratio = np.where(np.isfinite(errors), errors / np.where(np.isfinite(smallest), smallest, 1.0), np.nan)
    figure = new_figure(NARROW if narrow else 7.8, 5.0)
    ax = figure.subplots()
    step, size_of = bank[1] - bank[0], 0.8 if narrow else 1.0
    edges = np.append(bank - step / 2, bank[-1] + step / 2)
    image = ax.pcolormesh(edges, np.arange(len(rows) + 1) - 0.5, np.log10(ratio), cmap="cividis_r", vmin=0, vmax=1)
    for i, row in enumerate(rows):
        chosen = row["chosen"]
        prefix = np.atleast_1d(np.array(chosen["ccm_prefix"], float))
        marks = (
            (row["coordinate"], 0.0, BAR, "ccm_coord", 24, "#ffffff"),
            (float(np.nanmean(prefix)), 0.15, "o", "ccm_prefix", 7.5, METHODS["ccm_prefix"].colour),
            (chosen["best"], -0.25, "*", "best", 10, "#ffffff"),
        )  # each in a lane of its own
        ax.plot(prefix, np.full(len(prefix), i + 0.4), ".", color=METHODS["ccm_prefix"].colour, markersize=2)
        for x, lane, marker, name, size, colour in marks:
            if name == "best" and not found_best(row):
                continue
            ax.plot(
                x,
                i + lane,
                marker=marker,
                color=colour,
                markersize=size * size_of,
                markeredgecolor="#111111",  # so that white is seen on every colour
                markeredgewidth=size_of,
                label=METHODS[name].label if i == 0 else None,
                linestyle="none",
            )
    names = [f"{row['value']:g}" + ("" if narrow else f"  (coordinate {signed(row['coordinate'])})") for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set_xlabel("coordinate on the physical direction")
    ax.set_ylabel(axis_label(results["config"]), labelpad=10)
    ax.set_xlim(edges[0], edges[-1])
    bar = figure.colorbar(image, ax=ax, extend="max", ticks=[0, np.log10(2), np.log10(5), 1])
    bar.ax.set_yticklabels(["1", "2", "5", "10"])
    bar.set_label("error / smallest error of the regime")
    columns = 1 if narrow else 3
    legend = figure.legend(loc="outside upper center", ncols=columns, fontsize=8, frameon=True, facecolor="#b9b9b9")
    legend.get_frame().set_edgecolor("none")
    for handle in legend.get_lines():
        handle.set(markersize=min(handle.get_markersize(), 10), markeredgewidth=0.6)
        if handle.get_marker() == BAR:  # at this size it would be all edge
            wider: Any = [(2.5 * x, y) for x, y in BAR]
            handle.set_marker(wider)
    return figure


def growth(results: dict[str, Any], indices: list[int], narrow: bool = False) -> Figure:
    """Error by frame in some regimes."""
    config = results["config"]
    if narrow:
        figure = new_figure(NARROW, 2.6 * len(indices) + 0.8)
        axes = figure.subplots(len(indices), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    else:
        figure = new_figure(3.6 * len(indices) + 1.4, 3.2)
        axes = figure.subplots(1, len(indices), sharey=True, squeeze=False)[0]
    first = observed(config)
    for ax, index in zip(axes, indices, strict=True):
        row = results["regimes"][index]
        for name, method in drawn("over_time").items():
            y = row["error_over_time"][name]
            y = [np.nan if value is None else value for value in y]
            frame = first + 1 + np.arange(len(y))  # counted from 1
            ax.plot(frame, y, color=method.colour, linestyle=method.dash, label=method.label, linewidth=1.6)
        ax.set_yscale("log")
        if not narrow or ax is axes[-1]:
            ax.set_xlabel("frame")
        ax.locator_params(axis="x", integer=True, nbins=6)
        ax.set_title(f"{row['value']:g}  (coordinate {signed(row['coordinate'])})", fontsize=9)
        tidy(ax)
        plain_ticks(ax)
    axes[0].set_ylabel("relative L2 error")
    handles, labels = axes[0].get_legend_handles_labels()
    _legend(figure, narrow, handles=handles, labels=labels)
    return figure


def geometry(results: dict[str, Any], narrow: bool = False) -> Figure:
    """Per layer: how large the two parts of the updates are, and the cosine between the updates."""
    layers = results["geometry"][:-1]
    names = [layer["name"].replace("']['", ".").strip("[]'") for layer in layers]
    y = np.arange(len(layers))[::-1]
    figure = new_figure(NARROW if narrow else 8.4, 0.24 * len(layers) + 1.2)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    scale = np.array([max(layer["anchor_norm"], 1e-12) for layer in layers])
    for offset, part, colour in ((0.2, "shared_norm", "#CC79A7"), (-0.2, "direction_norm", "#0072B2")):
        label = {"shared_norm": "shared update", "direction_norm": "physical direction"}[part]
        left.barh(y + offset, [layer[part] for layer in layers] / scale, 0.38, color=colour, label=label)
    left.set_yticks(y, names, fontsize=8 if narrow else 7)
    left.set_xlabel("norm / anchor's" if narrow else "norm / norm of the anchor's leaf")
    if narrow:
        _legend(figure, narrow)
    else:
        left.legend(frameon=False, fontsize=8)
    right.barh(y, [layer["cosine"] for layer in layers], 0.6, color="#666666")
    left.locator_params(axis="x", nbins=3 if narrow else 5)
    right.set_xticks([-1, 0, 1])
    right.axvline(0, color="#222222", linewidth=0.8)
    right.set(xlim=(-1.15, 1.15), xlabel="cosine" if narrow else "cosine between the two updates")
    for ax in (left, right):
        tidy(ax)
    return figure


def training(losses: dict[str, np.ndarray], narrow: bool = False) -> Figure:
    """Training loss of every set of weights, smoothed over a hundredth of its steps."""
    figure = new_figure(NARROW if narrow else 7.2, 2.6)
    ax = figure.subplots()
    for name, values in losses.items():
        width = max(1, len(values) // 100)
        smooth = values[: len(values) // width * width].reshape(-1, width).mean(axis=1)
        step, method = (np.arange(len(smooth)) + 0.5) * width, METHODS[name]
        ax.plot(step, smooth, color=method.colour, label=method.label, linewidth=1.2)
    ax.set(yscale="log", xlabel="step", ylabel="training loss")
    ax.legend(frameon=False, fontsize=8)
    tidy(ax)
    plain_ticks(ax)
    return figure
