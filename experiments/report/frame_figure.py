"""The figure of one forecast: truth, the better anchor and CCM-Prefix in their last frame, with their errors."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ccm_jax.cli.pictures import new_figure
from experiments.pipeline.methods import METHODS
from experiments.report.colours import SIGNED, furthest, limits, palette
from experiments.report.figures import NARROW
from experiments.report.numbers import signed
from experiments.report.panels import better_anchor, panels, upright
from experiments.report.results import observed


def frames(
    results: dict[str, Any], arrays: dict[str, np.ndarray], index: int, channels: tuple[str, ...], narrow: bool = False
) -> Figure:
    """One trajectory of one regime: truth, the better anchor and CCM-Prefix, with their errors.

    The last frame; of three space axes its middle slice, of one the whole future over time. A narrow figure has a
    column for each channel.
    """
    over_time = arrays["frames/truth"].ndim == 4
    who = (better_anchor(results, arrays), "ccm_prefix")
    figure, axes = _axes(len(channels), narrow)
    for c, (channel, row) in enumerate(zip(channels, axes, strict=True)):
        fields = {name: arrays[f"frames/{name}"][index, ..., c] for name in ("truth", *who)}  # [T, *space]
        pictures = {name: upright(panels(field, [-1])[0]) for name, field in fields.items()}
        images = _draw(row, pictures, "auto" if over_time else "equal")
        if c == 0 or narrow:
            titles = ["truth", *(METHODS[name].label for name in who)]
            titles += [f"error of {METHODS[name].label}" for name in who]
            for i, (ax, title) in enumerate(zip(row, titles, strict=True)):
                above = f"{channel}\n" if narrow and i == 0 else ""
                title = title if narrow else textwrap.fill(title, 22)  # as wide as its picture
                ax.set_title(above + (title if c == 0 or above else ""), fontsize=9)
        if not narrow:
            row[0].set_ylabel(channel, rotation=0, labelpad=10)
        for image, beside in ((images[0], row[:3]), (images[-1], row[3:])):
            if narrow:
                bar = figure.colorbar(image, ax=list(beside), location="bottom", fraction=0.03, pad=0.01, aspect=30)
                bar.locator = MaxNLocator(3)
            else:
                bar = figure.colorbar(image, ax=beside[-1], fraction=0.05, pad=0.02)
            bar.ax.tick_params(labelsize=8)
    title = _title(results, index, arrays["frames/truth"].shape[1], over_time, narrow)
    figure.suptitle(title, fontsize=9 if narrow else 10)
    return figure


def _axes(channels: int, narrow: bool) -> tuple[Figure, Any]:
    """A row of five axes for each channel; a column in a narrow figure."""
    if not narrow:
        figure = new_figure(9.0, 1.72 * channels + 0.4)
        return figure, figure.subplots(channels, 5, squeeze=False)
    width = NARROW if channels > 1 else 0.7 * NARROW
    figure = new_figure(width, 5 * (0.9 * width / channels + 0.22) + 1.5)
    return figure, figure.subplots(5, channels, squeeze=False).T


def _draw(row: Any, pictures: dict[str, np.ndarray], aspect: Any) -> list[Any]:
    """The fields in the colours of the truth, and the errors in theirs."""
    truth = pictures["truth"]
    colours = palette(truth)
    low, high = limits(truth, colours == SIGNED)
    errors = [picture - truth for name, picture in pictures.items() if name != "truth"]
    worst = max(furthest(error) for error in errors)
    shown = [(picture, colours, low, high) for picture in pictures.values()]
    shown += [(error, SIGNED, -worst, worst) for error in errors]
    return [_show(ax, *one, aspect) for ax, one in zip(row, shown, strict=True)]


def _show(ax: Axes, picture: np.ndarray, colours: str, low: Any, high: Any, aspect: Any) -> Any:
    ax.set(xticks=[], yticks=[])
    style: Any = {"cmap": colours, "vmin": low, "vmax": high, "aspect": aspect, "interpolation": "bilinear"}
    return ax.imshow(picture, origin="lower", **style)


def _title(results: dict[str, Any], index: int, count: int, over_time: bool, narrow: bool) -> str:
    row, before = results["regimes"][index], observed(results["config"])
    where = f"{results['config']['axis']['label']} = {row['value']:g} (coordinate {signed(row['coordinate'])})"
    last = before + count
    when = f"frames {before + 1} to {last}, from left to right" if over_time else f"frame {last}"
    return f"{where},\n{when}" if narrow else f"{where}, {when}"
