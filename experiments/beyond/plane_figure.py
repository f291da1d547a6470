"""The figure of two parameters: errors over the plane of their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ccm_jax.cli.pictures import new_figure
from experiments.beyond.said import AXES, name_of

RED = "#d55e00"
SHOWN = {
    "window of five": ("errors", "window"),
    "CCM-Prefix": ("chart", "ccm_prefix"),
    "best in hindsight": ("chart", "best"),
}


def plane(of: dict[str, list[dict[str, Any]]], stacked: bool) -> Figure | None:
    """Errors over the plane of two parameters: told nothing, read off frames, and the best in hindsight.

    Args:
        of: what the seeds of each system found.
        stacked: for a phone: two maps on a line instead of three.
    """
    if not of:
        return None
    figure = new_figure(4.0, 4.5 * len(of)) if stacked else new_figure(10.2, 3.5 * len(of))
    parts: Any = figure.subfigures(len(of), 1, squeeze=False)
    for part, (system, seeds) in zip(parts[:, 0], of.items(), strict=True):
        fields = _fields(seeds[0])
        low, high = (100 * f(np.concatenate(list(fields.values()))) for f in (np.nanmin, np.nanmax))
        norm = LogNorm(low, high)
        part.suptitle(name_of(system), fontsize=10)
        axes = list(part.subplots(*((2, 2) if stacked else (1, len(SHOWN))), squeeze=False).flat)
        for i, (ax, (label, errors)) in enumerate(zip(axes, fields.items(), strict=False)):
            _map(ax, np.array(seeds[0]["coordinates"]), 100 * errors, norm, 6.5 if stacked else 8)
            ax.set_title(label, fontsize=9 if stacked else 10)
            ax.set_xlabel(AXES[system][0] if not stacked or i else "", fontsize=8 if stacked else 9)
            ax.set_ylabel(AXES[system][1] if not stacked or i != 1 else "", fontsize=8 if stacked else 9)
        for ax in axes[len(fields) :]:
            ax.set_axis_off()
        where = {"cax": axes[-1].inset_axes((0.15, 0.0, 0.08, 1.0))} if stacked else {"ax": axes}
        _bar(part, norm, [tick for tick in (0.5, 1, 2, 5, 10, 20) if low <= tick <= high], where)
    return figure


def _bar(part: Any, norm: LogNorm, ticks: list[float], where: dict[str, Any]) -> None:
    bar = part.colorbar(ScalarMappable(norm, "viridis"), label="mean forecast error, %", **where)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.ax.minorticks_off()


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    """Errors at every pair, by what they are errors of."""
    sources = {"errors": found["errors"], "chart": found["charts"][found["chart"]]["errors"]}
    return {
        label: np.array(sources[where][key], float) for label, (where, key) in SHOWN.items() if key in sources[where]
    }


def _map(ax: Any, coordinates: Any, errors: Any, norm: LogNorm, size: float) -> None:
    ax.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", xticks=range(-2, 3), yticks=range(-2, 3))
    for (x, y), e in zip(coordinates, errors, strict=True):
        shade = float(norm(e))
        ax.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=colormaps["viridis"](shade), lw=0))
        ink = "#111111" if shade > 0.6 else "white"  # of viridis, the upper part is light
        ax.annotate(f"{e:.2g}", (x, y), ha="center", va="center", fontsize=size, color=ink)
    ax.add_patch(Rectangle((-1.5, -1.5), 3, 3, fill=False, color=RED, lw=3))
