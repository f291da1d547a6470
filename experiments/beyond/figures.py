"""Figures of the study beyond the paper, each from what rows stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter

from ccm_jax.cli.pictures import GREEN, new_figure, tidy
from experiments.beyond.said import AXES, name_of
from experiments.beyond.summary import ALARM, LEVEL

Gathered = dict[str, Any]
Found = dict[str, Any]
GREY, BLUE, ORANGE = "#6f6f6f", "#0072b2", "#e69f00"
RED = "#d55e00"
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", RED)


def draw(gathered: Gathered) -> dict[str, Figure]:
    """Every figure whose rows are done, by the name of its file."""
    drawn = {
        "value": value(_of(gathered, "value")),
        "strangers": strangers(_of(gathered, "strangers")),
        "noise": noise(_of(gathered, "noise")),
        "plane": plane(_of(gathered, "plane")),
        "experts": experts(_of(gathered, "experts")),
        "unlabelled": unlabelled(_of(gathered, "unlabelled")),
        "drift": drift(_of(gathered, "drift")),
        "equations": equations(
            {name: found for name in ("burgers", "ks", "rd_3d") if (found := _done(gathered, name))}
        ),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _done(gathered: Gathered, name: str) -> list[Found]:
    return [one["found"] for one in gathered.get(name, []) if "found" in one]


def _of(gathered: Gathered, kind: str) -> dict[str, list[Found]]:
    """What the seeds of each row of a kind found, by system."""
    names = [name for name in gathered if name == kind or name.endswith(f" {kind}")]
    return {name.removesuffix(f" {kind}"): found for name in names if (found := _done(gathered, name))}


def _panels(count: int, width: float = 3.3, height: float = 2.9) -> tuple[Figure, Any]:
    figure = new_figure(width * count, height)
    return figure, np.atleast_1d(figure.subplots(1, count, squeeze=False)[0])


def value(of: dict[str, list[Found]]) -> Figure | None:
    """Error of the value and half-width of its interval against the regime, and the coverage."""
    if not of:
        return None
    figure, axes = _panels(len(of))
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
        ax.set(
            title=name_of(system), xlabel="coordinate of the value", ylabel="% of the experts' distance", ylim=(0, None)
        )
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8, loc="upper center")
    axes[0].set_ylim(top=1.5 * axes[0].get_ylim()[1])  # room for it
    return figure


def strangers(of: dict[str, list[Found]]) -> Figure | None:
    """Share flagged against the best candidate's future error, over the family's; each kind is a line."""
    if not of:
        return None
    figure, axes = _panels(len(of))
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for colour, kind in zip(COLOURS, seeds[0]["ladders"], strict=False):
            for i, found in enumerate(seeds):
                ladder = found["ladders"][kind]
                label = kind.replace("_", " ") if i == 0 else None
                ax.plot(ladder["error_ratio"], ladder["flagged"], "o:", ms=4, lw=0.8, color=colour, label=label)
        ax.axvline(2, color=GREY, lw=0.8, ls=":")
        ax.axhline(ALARM, color=GREY, lw=0.8, ls=":")
        ax.set(
            title=name_of(system),
            xscale="log",
            xlabel="forecast error relative to the family's",
            ylabel="share flagged",
            ylim=(-0.05, 1.05),
        )
        ax.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
        _few_ticks(ax)
        tidy(ax)
    return figure


def _few_ticks(ax: Any) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic x axis."""
    ax.xaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_xlim()
    ticks = [t for t in (1, 2, 5, 10, 20, 50, 100) if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])


def noise(of: dict[str, list[Found]]) -> Figure | None:
    """Median error of the value under every condition, inside and outside."""
    if not of:
        return None
    figure, axes = _panels(len(of), 3.6, 3.6)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        labels = [_condition(c) for c in seeds[0]["conditions"]]
        y = -np.arange(len(labels))
        for side, face in (("inside", "white"), ("outside", BLUE)):
            x = np.array([[row[side] for row in found["median"]["matched"]] for found in seeds])
            ax.plot(100 * x.mean(axis=0), y, "o", color=BLUE, markerfacecolor=face, ms=4, label=side)
        ax.axvline(10, color=GREY, lw=0.8, ls=":")
        ax.set_yticks(y, labels if ax is axes[0] else [""] * len(labels), fontsize=8)
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


def plane(of: dict[str, list[Found]]) -> Figure | None:
    """Errors over the plane of two parameters: told nothing, read off frames, and the best in hindsight."""
    if not of:
        return None
    shown = {
        "window of five": ("errors", "window"),
        "CCM-Prefix": ("chart", "ccm_prefix"),
        "best in hindsight": ("chart", "best"),
    }
    figure = new_figure(9.6, 3.5 * len(of))
    grid = figure.subplots(len(of), len(shown), squeeze=False, gridspec_kw={"hspace": 0.12})
    for row, (system, seeds) in zip(grid, of.items(), strict=True):
        found = seeds[0]
        s = np.array(found["coordinates"])
        fields = {}
        for label, (where, key) in shown.items():
            source = found["errors"] if where == "errors" else found["charts"][found["chart"]]["errors"]
            if key in source:
                fields[label] = np.array(source[key], float)
        low, high = (f(np.concatenate(list(fields.values()))) for f in (np.nanmin, np.nanmax))
        for ax, (label, errors) in zip(row, fields.items(), strict=False):
            ax.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", xticks=range(-2, 3), yticks=range(-2, 3))
            for (x, y), e in zip(s, errors, strict=True):
                ax.add_patch(_cell(x, y, np.log10(e / low) / np.log10(high / low)))
            for (x, y), e in zip(s, errors, strict=True):
                light = np.log10(e / low) > 0.6 * np.log10(high / low)  # of viridis, the upper part
                ink = "#111111" if light else "white"
                ax.annotate(f"{100 * e:.2g}", (x, y), ha="center", va="center", fontsize=8, color=ink)
            ax.add_patch(Rectangle((-1.5, -1.5), 3, 3, fill=False, color=RED, lw=3))
            ax.set(title=label, xlabel=AXES[system][0], ylabel=AXES[system][1])
    return figure


def _cell(x: float, y: float, shade: float) -> Rectangle:
    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=colormaps["viridis"](shade), lw=0)


def experts(of: dict[str, list[Found]]) -> Figure | None:
    """Error of the chosen curve over that of the line through two experts, inside and outside, by readout."""
    if not of:
        return None
    figure, axes = _panels(len(of))
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
    axes[0].set(ylabel="error relative to the line of two", yscale="log")
    ticks = (0.35, 0.5, 0.7, 1, 1.4, 2)
    axes[0].set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes[0].yaxis.set_minor_formatter(NullFormatter())
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def unlabelled(of: dict[str, list[Found]]) -> Figure | None:
    """Coordinates discovered, against those that the experts were trained at."""
    if not of:
        return None
    figure, axes = _panels(len(of))
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


def drift(of: dict[str, list[Found]]) -> Figure | None:
    """Two paths of each kind, and what a filter made of them."""
    seeds = next(iter(of.values()), None)
    if not seeds:
        return None
    kinds = dict.fromkeys(str(path["path"][0]) for path in seeds[0]["paths"])
    paths = [path for kind in kinds for path in [p for p in seeds[0]["paths"] if p["path"][0] == kind][:2]]
    figure, axes = _panels(len(paths), 2.1, 2.5)
    for ax, path in zip(axes, paths, strict=True):
        known, filtered, std = (np.array(path[key]) for key in ("known", "filtered", "std"))
        t = np.arange(len(filtered))
        ax.fill_between(t, filtered - 1.64 * std, filtered + 1.64 * std, color=BLUE, alpha=0.2, lw=0)
        ax.plot(t, filtered, color=BLUE, lw=2.4, alpha=0.75, label="filter, 90 %")
        ax.plot(np.arange(len(known)), known, color="black", lw=1.2, ls=(0, (2, 2)), label="true path")
        title = {"step": "jump"}.get(str(path["path"][0]), str(path["path"][0]))
        ax.set(title=title, xlabel="frame", ylabel="coordinate" if ax is axes[0] else "")
        ax.sharey(axes[0])
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def equations(of: dict[str, list[Found]]) -> Figure | None:
    """Errors inside and outside the support in other equations and numbers of axes, a line a method."""
    if not of:
        return None
    labels = {"anchor": "anchor", "window": "window of five", "ccm_prefix": "CCM-Prefix", "ccm_scale": "CCM-Scale"}
    labels |= {"hindsight": "best coordinate in hindsight"}
    figure, axes = _panels(len(of), 3.4, 2.3)
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for y, key in enumerate(labels):
            for side, face in (("inside", "white"), ("outside", BLUE)):
                errors = [found["means"][side][key] for found in seeds]
                ax.plot(errors, [-y] * len(errors), "o", ms=4, color=BLUE, markerfacecolor=face)
        ax.sharex(axes[0])
        ax.set_yticks(-np.arange(len(labels)), list(labels.values()) if ax is axes[0] else [""] * len(labels))
        ax.set(title=name_of(system), xscale="log", xlabel="relative L2 error")
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
