"""Names of curves at their right ends, one above the other, so that a reader needs no legend."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

INK = "#222222"  # of the words: a curve's own colour may be too light to read
LINE = 1.3  # height of a line of words, in sizes
APART = 0.5  # between two names, in lines


class Curve(NamedTuple):
    """A curve that is drawn: its name, its colour and its points; those that are not finite have none."""

    label: str
    colour: str
    x: np.ndarray
    y: np.ndarray


def label_ends(ax: Axes, curves: Sequence[Curve], height: float, *, columns: int, size: float) -> None:
    """Writes the names to the right of the axes, each joined to the last finite point of its curve.

    Args:
        ax: the axes, with a logarithmic vertical axis, after everything is drawn.
        curves: those to be named; one without a finite point says that it diverges, at the top.
        height: of the axes, in points.
        columns: letters in a line of a name.
        size: of the letters, in points.
    """
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)
    names, places, ends = [], [], []
    for curve in curves:
        seen = np.flatnonzero(np.isfinite(curve.y))
        end = (float(curve.x[seen[-1]]), float(curve.y[seen[-1]])) if len(seen) else None
        name = curve.label if end else f"{curve.label} (diverges)"
        names.append(textwrap.fill(name, columns, break_on_hyphens=False))
        places.append(np.log(end[1] / low) / np.log(high / low) if end else 1.0)
        ends.append(end)
    line = size * LINE / height
    heights = np.array([line * (name.count("\n") + 1 + APART) for name in names])
    for curve, name, end, place in zip(curves, names, ends, spread(np.array(places), heights), strict=True):
        to = {"arrowstyle": "-", "color": curve.colour, "lw": 0.9, "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)}
        where: dict[str, Any] = {"xytext": (1.06, place), "textcoords": "axes fraction", "va": "center"}
        where |= {"xy": end, "arrowprops": to} if end else {"xy": (1.06, place), "xycoords": "axes fraction"}
        ax.annotate(name, annotation_clip=False, fontsize=size, color=INK, linespacing=1.1, **where)


def spread(places: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Moves names apart where they overlap, as little as possible and in their order, between 0 and 1.

    Args:
        places: of the middles, at best.
        heights: of the names.

    Returns:
        Places of the middles. Names that need more than there is reach beyond 0.
    """
    order = np.argsort(places, kind="stable")
    groups: list[tuple[list[int], float]] = []  # names that touch, and where their lower end is
    for index in order:
        members, bottom = [int(index)], float(places[index] - heights[index] / 2)
        while True:
            size = float(heights[members].sum())
            bottom = min(max(bottom, 0.0), 1.0 - size)
            if not groups or groups[-1][1] + heights[groups[-1][0]].sum() <= bottom:
                break
            members = groups.pop()[0] + members
            # The lower end that moves the middles least, in the mean.
            below = np.cumsum(heights[members]) - heights[members] / 2
            bottom = float(np.mean(places[members] - below))
        groups.append((members, bottom))
    found = np.empty(len(places))
    for members, bottom in groups:
        found[members] = bottom + np.cumsum(heights[members]) - heights[members] / 2
    return found
