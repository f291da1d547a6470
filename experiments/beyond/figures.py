"""Figures of the study beyond the paper, each from what rows stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ccm_jax.cli.pictures import GREEN, new_figure, tidy
from experiments.beyond.said import AXES, name_of
from experiments.beyond.summary import ALARM, LEVEL

Gathered = dict[str, Any]
Found = dict[str, Any]
GREY, BLUE, ORANGE = "#6f6f6f", "#0072b2", "#e69f00"
COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#56b4e9", "#d55e00")


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
        ax.plot(s, 100 * width / 2, "o-", ms=3, color=BLUE, label=f"half-width of the {LEVEL:.0%} interval")
        ax.plot(s, 100 * error, "o-", ms=3, color=GREY, label="error of the value")
        for x, y, share in zip(s, 100 * width / 2, covered, strict=True):
            if share < LEVEL - 0.05:
                ax.annotate(f"{share:.0%}", (x, y), fontsize=7, ha="center", va="bottom")
        ax.set(
            title=name_of(system), xlabel="coordinate of the value", ylabel="% of the experts' distance", ylim=(0, None)
        )
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=7, loc="upper center")
    axes[0].set_ylim(top=1.35 * axes[0].get_ylim()[1])  # room for it
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
                ax.plot(ladder["error_ratio"], ladder["flagged"], "o-", ms=3, lw=1, color=colour, label=label)
        ax.axvline(2, color=GREY, lw=0.8, ls=":")
        ax.axhline(ALARM, color=GREY, lw=0.8, ls=":")
        ax.set(
            title=name_of(system),
            xscale="log",
            xlabel="forecast error relative to the family's",
            ylabel="share flagged",
        )
        ax.legend(frameon=False, fontsize=7)
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
        ax.set_yticks(y, labels if ax is axes[0] else [""] * len(labels), fontsize=7)
        ax.set(title=name_of(system), xlabel="error of the value, %", xscale="log")
        _few_ticks(ax)
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=7)
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
    shown = {"window of five": ("errors", "window"), "CCM-Prefix": ("chart", "ccm_prefix"), "best": ("chart", "best")}
    figure = new_figure(9.0, 2.9 * len(of))
    grid = figure.subplots(len(of), len(shown), squeeze=False)
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
            picture = ax.scatter(s[:, 0], s[:, 1], c=np.log10(errors), s=420, marker="s", cmap="viridis")
            picture.set_clim(np.log10(low), np.log10(high))
            for (x, y), e in zip(s, errors, strict=True):
                light = np.log10(e / low) > 0.6 * np.log10(high / low)  # of viridis, the upper part
                ink = "black" if light else "white"
                ax.annotate(f"{e:.3f}", (x, y), ha="center", va="center", fontsize=6, color=ink)
            ax.add_patch(_box())
            ax.set(title=label, xlabel=AXES[system][0], ylabel=AXES[system][1])
            ax.margins(0.15)
    return figure


def _box() -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((-1.5, -1.5), 3, 3, fill=False, color=GREY, lw=0.8, ls=":")


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
        ax.axhline(0.85, color=GREY, lw=0.8, ls=":")
        ax.set_xticks(range(3), ["Coord", "Scale", "Prefix"])
        ax.set(title=name_of(system), ylabel="chosen curve over the line of two")
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=7)
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
        ax.legend(frameon=False, fontsize=7)
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
        ax.plot(t, filtered, color=BLUE, label="filter, 90 %")
        ax.plot(np.arange(len(known)), known, color="black", lw=1, label="known")
        title = {"step": "jump"}.get(str(path["path"][0]), str(path["path"][0]))
        ax.set(title=title, xlabel="frame", ylabel="coordinate" if ax is axes[0] else "")
        ax.sharey(axes[0])
        tidy(ax)
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def equations(of: dict[str, list[Found]]) -> Figure | None:
    """Errors outside the support in other equations and numbers of axes."""
    if not of:
        return None
    labels = {"anchor": "anchor", "window": "window of five", "ccm_prefix": "CCM-Prefix", "ccm_scale": "CCM-Scale"}
    labels |= {"hindsight": "best coordinate"}
    figure, axes = _panels(len(of))
    for ax, (system, seeds) in zip(axes, of.items(), strict=True):
        for x, key in enumerate(labels):
            for side, face in (("inside", "white"), ("outside", BLUE)):
                errors = [found["means"][side][key] for found in seeds]
                ax.plot([x] * len(errors), errors, "o", ms=4, color=BLUE, markerfacecolor=face)
        ax.set_xticks(range(len(labels)), list(labels.values()), rotation=35, ha="right", fontsize=7)
        ax.set(title=name_of(system), yscale="log", ylabel="relative L2 error")
        tidy(ax)
    return figure
