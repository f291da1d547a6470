"""The figure that compares CCM with the strongest method of each kind, on all systems: README, and page of methods."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ccm_jax.cli.pictures import new_figure, tidy
from experiments.pipeline.methods import METHODS as PIPELINE
from experiments.report.systems import TITLES

# What must be trained, or known: its colour (Okabe and Ito's) and its words in the legend.
NEEDS = {
    "ccm": (PIPELINE["ccm_coord"].colour, "CCM: two experts of one anchor"),
    "experts": ("#111111", "without labels, or from the same experts"),
    "labels": ("#B84E00", "needs labelled or grouped data of all regimes"),
    "solver": ("#767676", "needs the equation"),
}


class Line(NamedTuple):
    """A kind of method: its label, what it needs, and the ratio whose peer (or numerator) stands for it, or a label."""

    label: str
    needs: str
    ratio: str = ""
    ours: bool = False
    method: str = ""


GROUPS: dict[str, tuple[Line, ...]] = {
    "five frames observed, value unknown": (
        Line("anchor, trained as long; sees one frame", "experts", "anchor_ratio"),
        Line("best network without labels, 1 to 5 frames", "experts", "frames_ratio"),
        Line("CCM-Prefix, on the one-frame anchor", "ccm", method="CCM-Prefix"),
        Line("CCM-Prefix, on one or three frames¹", "ccm", "frames_ratio", ours=True),
        Line("CoDA or GEPS, code fitted to the frames", "labels", "frames_ratio_adaptive"),
        Line("best conditioned network, with prefix readout", "labels", "frames_ratio_labelled"),
        Line("coarse solver, with prefix readout", "solver", "frames_ratio_solver"),
    ),
    "value known": (
        Line("other use of the experts (not SLERP)", "experts", "posthoc_ratio"),
        Line("SLERP, extrapolated", "experts", "slerp_ratio"),
        Line("CCM-Scale, on the one-frame anchor", "ccm", "posthoc_ratio", ours=True),
        Line("conditioned network, fine-tuned", "labels", "finetune_ratio"),
        Line("conditioned network, from scratch", "labels", "scratch_ratio"),
    ),
}


def error_of(content: dict[str, Any], system: str, line: Line) -> dict[str, Any] | None:
    """A kind's error outside the training range, with its interval; None where nothing of it was measured."""
    ratio = content["ratios"].get(system, {}).get(line.ratio) or {}
    label = line.method or ratio.get("ours" if line.ours else "peer")
    found = [m["outside"] for m in content["systems"].get(system, []) if m["label"] == label]
    return found[0] if found and found[0]["mean"] is not None else None


def overview(content: dict[str, Any], *, stacked: bool = False) -> Figure:
    """Errors outside the training range: a panel a system, a line a kind of method.

    Args:
        content: of ``results/peers.json``.
        stacked: one panel below the other, for a phone, instead of two side by side.
    """
    systems = [system for system in TITLES if system in content["systems"]]
    rows: list[Line | str] = []
    for heading, lines in GROUPS.items():
        rows += [heading, *lines]
    if stacked:
        figure = new_figure(4.0, (0.2 * len(rows) + 0.8) * len(systems) + 0.8)
        axes = figure.subplots(len(systems), 1, squeeze=False, gridspec_kw={"hspace": 0.08})[:, 0]
    else:
        count = (len(systems) + 1) // 2
        figure = new_figure(7.6, (0.2 * len(rows) + 0.75) * count + 0.5)
        grid = figure.subplots(count, 2, sharey=True, squeeze=False)
        axes = grid.ravel()[: len(systems)]
        for ax in grid.ravel()[len(systems) :]:
            ax.set_visible(False)
    for ax, system in zip(axes, systems, strict=True):
        ax.set_title(TITLES[system], fontsize=10, loc="right" if stacked else "center")
        _panel(ax, content, system, rows)
    for ax in () if stacked else axes[:-2]:
        ax.set_xlabel("")
    for ax in axes if stacked else axes[::2]:
        _label(ax, rows, size=7.5 if stacked else 9)
    marks = [axes[0].plot([], [], "o", color=colour, label=words)[0] for colour, words in NEEDS.values()]
    columns = 1 if stacked else 2
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _label(ax: Axes, rows: list[Line | str], size: float) -> None:
    """Names the lines, from top to bottom, each in the colour of what its kind needs."""
    ax.set_yticks(range(len(rows)), [row if isinstance(row, str) else row.label for row in rows])
    for text, row in zip(ax.get_yticklabels(), rows, strict=True):
        text.set(fontsize=size, color="#111111" if isinstance(row, str) else NEEDS[row.needs][0])
        text.set_fontweight("bold" if isinstance(row, str) or row.needs == "ccm" else "normal")
    ax.set_ylim(len(rows) - 0.5, -0.5)


def _panel(ax: Axes, content: dict[str, Any], system: str, rows: list[Line | str]) -> None:
    shown: list[tuple[int, float, float, str]] = []
    for y, row in enumerate(rows):
        found = None if isinstance(row, str) else error_of(content, system, row)
        if isinstance(row, str):
            continue
        if found is None:
            ax.text(0.98, y, "not measured", ha="right", va="center", fontsize=8, transform=ax.get_yaxis_transform())
            continue
        colour = NEEDS[row.needs][0]
        if not np.isfinite(found["mean"]):
            ax.text(0.98, y, "diverges", ha="right", va="center", fontsize=8, transform=ax.get_yaxis_transform())
            continue
        if row.needs == "ccm":
            ax.axvline(found["mean"], color=colour, lw=0.8, alpha=0.35, zorder=0)
        if found["low"] is not None:
            ax.plot([found["low"], found["high"]], [y, y], color=colour, lw=1.2, alpha=0.5)
        ax.plot(found["mean"], y, "o", color=colour, ms=6 if row.needs == "ccm" else 5)
        shown.append((y, found["mean"], max(found["mean"], found["high"] or 0.0), colour))
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * (high / low) ** 0.35)  # room for the numbers
    low, high = ax.get_xlim()
    if high < 10 * low:  # less than a decade may hold no power of ten
        ticks = [float(f"{digit}e{power}") for power in range(-9, 4) for digit in (1, 2, 4)]
        ticks = [tick for tick in ticks if low <= tick <= high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.xaxis.set_minor_formatter(NullFormatter())
    for y, mean, end, colour in shown:
        place: Any = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 8, "color": colour}
        ax.annotate(f"{mean:#.2g}", (end, y), **place, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    ax.set_xlabel("relative L2 error", fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    tidy(ax)
    ax.spines["left"].set_visible(False)
