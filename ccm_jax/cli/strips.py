"""A rollout as a picture: a few of its frames in a row, over the truth and with its errors where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.cli.pictures import animate, colours_of, name_of, new_figure, show_field, where_installed
from ccm_jax.cli.showing import percent

COLUMNS = 6  # frames in a row, at most


@where_installed
def draw_rollout(
    predicted: np.ndarray,
    truth: np.ndarray | None,
    output: Path,
    fields: Sequence[str] = (),
    *,
    before: int = 0,
    errors: np.ndarray | None = None,
) -> None:
    """The strip and the animation beside ``output``; of a box its middle plane, and a line has no animation.

    Args:
        predicted: frames ``[T, *space, C]``.
        truth: the same, or None.
        output: the file of the frames.
        fields: names of the channels.
        before: frames of the file that come before the first predicted one, from which the titles count.
        errors: relative L2 errors of the frames, ``[T]``, or None.
    """
    if predicted.ndim == 5:
        middle = predicted.shape[3] // 2
        predicted, truth = predicted[..., middle, :], None if truth is None else truth[..., middle, :]
    title, target = name_of(fields), output.with_suffix(".png")
    if len(fields) > 1:
        title = f"channel {fields[0]}, the first of {len(fields)}"
    if predicted.ndim == 3:
        _lines(predicted, truth, target, title, before, errors)
    else:
        _planes(predicted, truth, target, title, before, errors)
        animate(predicted, output.with_suffix(".gif"))


def _lines(
    predicted: np.ndarray, truth: np.ndarray | None, target: Path, title: str, before: int, errors: np.ndarray | None
) -> None:
    """Of a line, time over space; where the truth is known, with their difference in colours of its own."""
    rows = [predicted] if truth is None else [predicted, truth]
    colours = colours_of(rows[-1][..., 0])
    network = "network"
    if errors is not None:
        network += f": mean error {percent(float(errors.mean()))}, last frame {percent(float(errors[-1]))}"
    shown = [(network, predicted, colours)]
    if truth is not None:
        off = predicted - truth
        most = max(float(np.percentile(np.abs(off[..., 0]), 99.5)), 1e-12)
        different = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        shown += [("truth", truth, colours), ("network minus truth", off, different)]
    figure = new_figure(5.6, 1.4 * len(shown) + 0.6)
    column = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    extent = (before + 0.5, before + len(predicted) + 0.5, -0.5, predicted.shape[1] - 0.5)  # frames count from 1
    pictures = []
    for ax, (label, frames, style) in zip(column, shown, strict=True):
        pictures.append(show_field(ax, frames[..., 0], aspect="auto", extent=extent, **style))
        ax.set(title=label, ylabel="x")
        ax.title.set_fontsize(9)
    column[-1].set_xlabel("frame")
    column[-1].xaxis.get_major_locator().set_params(integer=True)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.colorbar(pictures[0], ax=column[: len(rows)], shrink=0.8, extend=_ends(rows, colours))
    if truth is not None:
        _, off, different = shown[-1]
        figure.colorbar(pictures[-1], ax=column[-1], shrink=0.8, extend=_ends([off], different))
    figure.savefig(target, dpi=150, bbox_inches="tight")  # labels of the colour bar, too


def _planes(
    predicted: np.ndarray, truth: np.ndarray | None, target: Path, title: str, before: int, errors: np.ndarray | None
) -> None:
    rows = [predicted] if truth is None else [predicted, truth]
    colours = colours_of(rows[-1][..., 0])
    at = np.unique(np.linspace(0, len(predicted) - 1, COLUMNS).round().astype(int))
    figure = new_figure(1.5 * len(at) + 0.9, 1.6 * len(rows) + 0.4)
    axes = np.atleast_2d(figure.subplots(len(rows), len(at), squeeze=False))
    for row, frames, label in zip(axes, rows, ("network", "truth"), strict=False):
        for ax, i in zip(row, at, strict=True):
            picture = show_field(ax, frames[i, ..., 0], **colours)
            ax.set_xticks([])
            ax.set_yticks([])
            if frames is rows[0]:
                error = "" if errors is None else f"\nerror {percent(float(errors[i]))}"
                ax.set_title(f"frame {before + i + 1}{error}", fontsize=8)
        row[0].set_ylabel(label)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.colorbar(picture, ax=axes, shrink=0.8, extend=_ends(rows, colours))
    figure.savefig(target, dpi=150, bbox_inches="tight")  # labels of the colour bar, too


def _ends(rows: Sequence[np.ndarray], colours: dict[str, Any]) -> str:
    """Which ends of the colour bar are arrows, because values beyond them share their colour."""
    below = any((frames[..., 0] < colours["vmin"]).any() for frames in rows)
    above = any((frames[..., 0] > colours["vmax"]).any() for frames in rows)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
