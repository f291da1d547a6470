"""Figures of the study beyond the paper, each from what rows stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ccm_jax.cli.pictures import GREEN, new_figure, tidy
from experiments.beyond.plane_figure import plane
from experiments.beyond.said import name_of
from experiments.beyond.summary import ALARM, LEVEL

Gathered = dict[str, Any]
Found = dict[str, Any]
GREY, BLUE, ORANGE = "#6f6f6f", "#0072b2", "#e69f00"
RED = "#d55e00"
NARROW = 4.0  # inches, the width of a phone
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", RED)


def draw(gathered: Gathered, *, stacked: bool = False) -> dict[str, Figure]:
    """Every figure whose rows are done, by the name of its file; ``stacked`` ones are for a phone."""
    drawn = {
        "value": value(_of(gathered, "value"), stacked),
        "strangers": strangers(_of(gathered, "strangers"), stacked),
        "noise": noise(_of(gathered, "noise"), stacked),
        "plane": plane(_of(gathered, "plane"), stacked),
        "experts": experts(_of(gathered, "experts"), stacked),
        "unlabelled": unlabelled(_of(gathered, "unlabelled"), stacked),
        "drift": drift(_of(gathered, "drift"), stacked),
        "equations": equations(
            {name: found for name in ("burgers", "ks", "rd_3d") if (found := _done(gathered, name))}, stacked
        ),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _done(gathered: Gathered, name: str) -> list[Found]:
    return [one["found"] for one in gathered.get(name, []) if "found" in one]


def _of(gathered: Gathered, kind: str) -> dict[str, list[Found]]:
    """What the seeds of each row of a kind found, by system."""
    names = [name for name in gathered if name == kind or name.endswith(f" {kind}")]
    return {name.removesuffix(f" {kind}"): found for name in names if (found := _done(gathered, name))}


def _panels(
    count: int, stacked: bool, width: float = 3.3, height: float = 2.9, columns: int = 1
) -> tuple[Figure, list[Any]]:
    """Panels side by side; stacked, on as many lines as it takes, of so many columns."""
    columns = columns if stacked else count
    rows = -(-count // columns)
    figure = new_figure(NARROW if stacked else width * count, height * rows)
    if stacked:
        layout: Any = figure.get_layout_engine()
        layout.set(h_pad=0.1)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def value(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Error of the value and half-width of its interval against the regime, and the coverage."""
    if not of:
        return None
    figure, axes = _panels(len(of), stacked)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        s = np.array(seeds[0]["coordinates"])
        error, width, covered = (
            np.array([[np.mean(row[key]) for row in found["regimes"]] for found in seeds]).mean(axis=0)
            for key in ("error", "width", "covered")
        )
        ax.axvspan(-1, 1, color="#eef2f6", zorder=0)
        ax.plot(s, 100 * width / 2, "o-", ms=4, color=BLUE, label=f"half-width of the {LEVEL:.0%} interval")
        ax.plot(s, 100 * error, "o-", ms=4, color=GREY, label="error of the value")
        few = covered < LEVEL - 0.05
        ax.plot(s[few], 100 * width[few] / 2, "o", ms=7, color=RED, label=f"covers less than {LEVEL - 0.05:.0%}")
        ax.set(title=name_of(system), xlabel="coordinate of the value", ylabel="% of the experts' gap", ylim=(0, None))
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8, loc="upper center")
    axes[0].set_ylim(top=1.5 * axes[0].get_ylim()[1])  # room for it
    return figure


def strangers(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Share flagged against the best candidate's future error, over the family's; each kind is a line in each seed."""
    if not of:
        return None
    figure, axes = _panels(len(of), stacked, height=3.5)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for colour, kind in zip(COLOURS, seeds[0]["ladders"], strict=False):
            for i, found in enumerate(seeds):
                ladder = found["ladders"][kind]
                label, share = kind.replace("_", " ") if i == 0 else None, 100 * np.asarray(ladder["flagged"])
                ax.plot(ladder["error_ratio"], share, "o-", ms=4, lw=1.4, color=colour, label=label)
        ax.axvline(2, color=GREY, lw=1, ls="--")
        ax.axhline(100 * ALARM, color=GREY, lw=1, ls=":")
        if ax is axes[-1]:
            where = {"xytext": (-4, 0), "textcoords": "offset points", "rotation": 90, "ha": "right", "va": "center"}
            ax.annotate("error doubled", (2, 78), fontsize=9, **where)
        ax.set(
            title=name_of(system),
            xscale="log",
            xlabel="forecast error relative to the family's",
            ylabel="% of frames flagged",
            ylim=(-5, 105),
        )
        ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        _few_ticks(ax)
        tidy(ax)
    return figure


def _few_ticks(ax: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic x axis."""
    ax.xaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_xlim()
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100) if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])


def noise(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Median error of the value under every condition, inside and outside."""
    if not of:
        return None
    figure, axes = _panels(len(of), stacked, 3.6, 3.6)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        labels = [_condition(c) for c in seeds[0]["conditions"]]
        y = -np.arange(len(labels))
        for side, face in (("inside", "white"), ("outside", BLUE)):
            x = np.array([[row[side] for row in found["median"]["matched"]] for found in seeds])
            ax.plot(100 * x.mean(axis=0), y, "o", color=BLUE, markerfacecolor=face, ms=4, label=side)
        ax.axvline(10, color=GREY, lw=0.8, ls=":")
        ax.set_yticks(y, labels if stacked or ax is axes[0] else [""] * len(labels), fontsize=8)
        ax.set(title=name_of(system), xlabel="error of the value, %", xscale="log")
        tidy(ax)
    limits = [limit for ax in axes for limit in ax.get_xlim()]
    for ax in axes:
        ax.set_xlim(min(limits), max(limits))
        _few_ticks(ax)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _condition(c: Found) -> str:
    parts = [f"noise {c['noise']:.0%}"] if c["noise"] else []
    if c["missing"]:
        parts.append(f"{c['missing']:.0%} missing" + (", fixed" if c["fixed"] else ""))
    return ", ".join(parts) or "clean"


def experts(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Error of the chosen curve over that of the line through two experts, inside and outside, by readout."""
    if not of:
        return None
    figure, axes = _panels(len(of), stacked)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for x, by in enumerate(("coord", "scale", "prefix")):
            for side, face in (("inside", "white"), ("outside", BLUE)):
                ratios = [found["over_line"][by][found["chosen"]][side] for found in seeds]
                ax.plot(
                    [x] * len(ratios), ratios, "o", color=BLUE, markerfacecolor=face, label=side if x == 0 else None
                )
        ax.axhline(1, color=GREY, lw=0.8)
        ax.sharey(axes[0])
        ax.set_xticks(range(3), ["CCM-Coord", "CCM-Scale", "CCM-Prefix"], fontsize=8)
        ax.set(title=name_of(system), xlim=(-0.5, 2.5))
        tidy(ax)
    axes[0].set(yscale="log")
    for ax in axes if stacked else axes[:1]:
        ax.set_ylabel("error relative to the line of two")
    ticks = (0.35, 0.5, 0.7, 1, 1.4, 2)
    axes[0].set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes[0].yaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def unlabelled(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Coordinates discovered, against those that the experts were trained at."""
    if not of:
        return None
    figure, axes = _panels(len(of), stacked)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for found in seeds:
            for name, colour in (("weights", GREY), ("predictions", BLUE)):
                s, c = np.array(found["coordinates"]), np.array(found[name]["found"])
                slope, offset = np.polyfit(c, s, 1)
                label = f"from {name}" if found is seeds[0] else None
                ax.plot(s, slope * c + offset, "o", ms=4, color=colour, label=label)
        ax.plot([-1.2, 1.2], [-1.2, 1.2], color=GREY, lw=0.8)
        ax.set(title=name_of(system), xlabel="coordinate of the expert", ylabel="discovered")
        ax.legend(frameon=False, fontsize=8)
        tidy(ax)
    return figure


def drift(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Two paths of each kind, and what a filter made of them."""
    seeds = next(iter(of.values()), None)
    if not seeds:
        return None
    kinds = dict.fromkeys(str(path["path"][0]) for path in seeds[0]["paths"])
    paths = [path for kind in kinds for path in [p for p in seeds[0]["paths"] if p["path"][0] == kind][:2]]
    figure, axes = _panels(len(paths), stacked, 2.1, 2.5, columns=2)
    for ax, path in zip(axes, paths, strict=True):
        known, filtered, std = (np.array(path[key]) for key in ("known", "filtered", "std"))
        t = np.arange(len(filtered))
        ax.fill_between(t, filtered - 1.64 * std, filtered + 1.64 * std, color=BLUE, alpha=0.2, lw=0)
        ax.plot(t, filtered, color=BLUE, lw=2.4, alpha=0.75, label="filter, 90 %")
        ax.plot(np.arange(len(known)), known, color="black", lw=1.2, ls=(0, (2, 2)), label="true path")
        title = {"step": "jump"}.get(str(path["path"][0]), str(path["path"][0]))
        ax.set(title=title, xlabel="frame", ylabel="coordinate" if ax in axes[:: 2 if stacked else len(axes)] else "")
        ax.sharey(axes[0])
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def equations(of: dict[str, list[Found]], stacked: bool) -> Figure | None:
    """Errors inside and outside the support in other equations and numbers of axes, a line a method."""
    if not of:
        return None
    labels = {"anchor": "anchor", "window": "window of five", "ccm_prefix": "CCM-Prefix", "ccm_scale": "CCM-Scale"}
    labels |= {"hindsight": "best coordinate in hindsight"}
    figure, axes = _panels(len(of), stacked, 3.4, 2.3)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for y, key in enumerate(labels):
            for side, face in (("inside", "white"), ("outside", BLUE)):
                errors = [found["means"][side][key] for found in seeds]
                ax.plot(errors, [-y] * len(errors), "o", ms=4, color=BLUE, markerfacecolor=face)
        ax.sharex(axes[0])
        ax.set_yticks(
            -np.arange(len(labels)), list(labels.values()) if stacked or ax is axes[0] else [""] * len(labels)
        )
        ax.set_title(name_of(system), loc="right" if stacked else "center")
        ax.set(xscale="log", xlabel="relative L2 error")
        tidy(ax)
    ticks = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if np.prod(np.subtract(axes[0].get_xlim(), t)) < 0]
    for ax in axes:
        ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
        ax.xaxis.set_minor_formatter(NullFormatter())
    marks = [
        axes[0].plot([], [], "o", ms=4, color=BLUE, markerfacecolor=face, label=side)[0]
        for side, face in (("inside", "white"), ("outside", BLUE))
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure
