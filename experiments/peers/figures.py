"""Figures of the peers: errors of every method on a system, by what it must know; and the budget's plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ccm_jax.cli.pictures import new_figure, tidy
from experiments.pipeline.methods import METHODS as PIPELINE

OURS, THEIRS, BOUND = PIPELINE["ccm_coord"].colour, "#6f6f6f", "#b3b3b3"
ORDER = ("nothing", "frames", "value")
HEADINGS = {"nothing": "no extra information", "frames": "five frames", "value": "parameter value"}


def errors(methods: list[dict[str, Any]]) -> Figure:
    """Errors outside (filled) and inside (open) the support, one line a method, grouped by what it knows."""
    groups = [
        (knows, sorted((m for m in methods if m["knows"] == knows), key=lambda m: m["outside"]["mean"] or np.inf))
        for knows in ORDER
    ]
    lines = sum(len(group) + 1.3 for _, group in groups)
    figure = new_figure(7.6, 0.25 * lines + 0.8)
    ax, y, ticks, labels = figure.subplots(), 0.0, [], []
    for knows, group in groups:
        ax.text(0.0, y, HEADINGS[knows], fontweight="bold", va="center", ha="right", transform=ax.get_yaxis_transform())
        y -= 1
        for m in group:
            colour = BOUND if m["bound"] else OURS if m["ours"] else THEIRS
            for split, face in (("inside", "white"), ("outside", colour)):
                value = m[split]["mean"]
                if not m[split]["seeds"]:
                    continue
                if value is None or not np.isfinite(value):
                    ax.text(0.99, y, "diverges", va="center", ha="right", transform=ax.get_yaxis_transform())
                    continue
                if m[split]["low"] is not None:
                    ax.plot([m[split]["low"], m[split]["high"]], [y, y], color=colour, lw=1, alpha=0.6)
                ax.plot(value, y, "o", color=colour, markerfacecolor=face, markersize=5)
            ticks.append(y)
            labels.append(m["label"] + (" ·" if m["number_of_seeds"] == 1 else ""))
            y -= 1
        y -= 0.3
    ax.set_yticks(ticks, labels, fontsize=8)
    for label, colour in zip(ax.get_yticklabels(), _colours(groups), strict=True):
        label.set_color(colour)
    ax.set_xscale("log")
    ax.set_ylim(y + 0.7, 0.8)
    ax.tick_params(axis="x", which="both", top=True, labeltop=True)  # the figure is longer than a screen
    figure.supxlabel(
        "relative L2 error of future frames: outside the training range (filled), inside (open)", fontsize=9
    )
    ax.grid(axis="x", which="both", lw=0.3, alpha=0.5)
    tidy(ax)
    return figure


def _colours(groups: Any) -> list[str]:
    return [OURS if m["ours"] else "#333333" for _, group in groups for m in group]
