"""The picture of the FNO's times, from the stored measurement: one for a screen, and one for a phone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

BARS = {"training step": "training_step", "forward": "forward", "forward, per core": "forward_by_core"}
COLOURS = ("#0072b2", "#e69f00", "#f0c87a")
AXIS, SIZES = "neuraloperator's time over ours", "grid, width, modes a side, batch"


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Writes ``fno.png``, and ``fno_phone.png``, which the site shows where the screen is narrow.

    Args:
        rows: of ``fno.json``, one for each size.
        folder: where the pictures go.
    """
    _screen(rows).savefig(folder / "fno.png", dpi=150)
    _phone(rows).savefig(folder / "fno_phone.png", dpi=200)


def _ratios(rows: Sequence[dict[str, Any]], what: str) -> tuple[np.ndarray, np.ndarray]:
    """The median ratio of each size, and how far its range reaches to both sides; NaN where it was not measured."""
    none = dict.fromkeys(("median", "low", "high"), np.nan)
    found = [row[f"{what}_ratio"] or none for row in rows]
    middle = np.array([each["median"] for each in found])
    return middle, np.abs(np.array([[each["low"], each["high"]] for each in found]).T - middle)


def _screen(rows: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(7.4, 3.4), layout="constrained")
    ax = figure.subplots()
    x = np.arange(len(rows))
    for i, ((label, what), colour) in enumerate(zip(BARS.items(), COLOURS, strict=True)):
        middle, error = _ratios(rows, what)
        ax.bar(x + 0.27 * (i - 1), middle, 0.25, yerr=error, color=colour, label=label, capsize=2)
    ax.axhline(1, color="#444444", linewidth=0.8)
    ax.set_xticks(x, [f"{r['grid']}², {r['width']}\n{r['modes']}, {r['batch']}" for r in rows])
    ax.set(ylabel=AXIS, xlabel=SIZES)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", frameon=False, ncols=3)
    return figure


def _phone(rows: Sequence[dict[str, Any]]) -> Figure:
    """Bars to the right, so that the sizes can be read."""
    figure = Figure(figsize=(3.6, 6.2), layout="constrained")
    ax = figure.subplots()
    y = np.arange(len(rows))
    for i, ((label, what), colour) in enumerate(zip(BARS.items(), COLOURS, strict=True)):
        middle, error = _ratios(rows, what)
        ax.barh(y + 0.27 * (i - 1), middle, 0.25, xerr=error, color=colour, label=label, capsize=2)
    ax.axvline(1, color="#444444", linewidth=0.8)
    ax.set_yticks(y, [f"{r['grid']}², {r['width']},\n{r['modes']}, {r['batch']}" for r in rows])
    ax.set_xlabel(AXIS)
    ax.set_title(f"at the left: {SIZES}", loc="right", fontsize=9)
    ax.set_ylim(len(rows) - 0.5, -0.5)  # the first size above
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", frameon=False)
    return figure
