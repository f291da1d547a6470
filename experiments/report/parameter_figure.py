"""The figure of errors against the physical parameter: this run's, beside the strongest alternatives'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ccm_jax.cli.pictures import new_figure, plain_ticks, tidy
from experiments.pipeline.methods import drawn
from experiments.report.ends import Curve, label_ends
from experiments.report.figures import NARROW, axis_label, by_coordinate, fewer_ticks

PEERS = ("#E69F00", "#56B4E9", "#CC79A7", "#D55E00", "#999999")  # of Okabe and Ito's colours
# They lie on those of CCM-Scale, or are controls: the table has them. An anchor that others are compared with is drawn.
TABLE_ONLY = ("anchor_more", "average", "wrong_sign", "ccm_coord", "best")
EXPERTS = ("low", "high")
DASH = 6  # as long as the gaps: of two curves on each other, one is seen in the gaps of the other


def error_by_regime(results: dict[str, Any], curves: Sequence[dict[str, Any]] = (), narrow: bool = False) -> Figure:
    """Errors against the physical parameter: of this run solid, of alternatives dashed, with the training range shaded.

    Args:
        results: of the run.
        curves: of :func:`experiments.report.peers.curves_of`; the experts are drawn where there is none.
        narrow: for a phone.
    """
    rows, axis = by_coordinate(results), results["config"]["axis"]
    better = results["summary"].get("better_anchor")
    width, height = (NARROW, 4.8) if narrow else (8.2, 4.2)
    figure = new_figure(width, height)
    ax = figure.subplots()
    ax.axvspan(axis["low"], axis["high"], color="#eef2f6", zorder=0)
    lines = []
    for name, method in drawn("by_regime").items():
        if (name in TABLE_ONLY and name != better) or (curves and name in EXPERTS):
            continue
        x, y = np.array([[row["value"], row["errors"][name]] for row in rows], float).T
        lines.append(Curve(method.label, method.colour, x, y))
        look: dict[str, Any] = {"marker": "o", "lw": 2.0} if method.bold else {"lw": 1.3}
        look |= {"markeredgecolor": "#444444", "markeredgewidth": 0.4}
        ax.plot(x, y, color=method.colour, ms=4, label=method.label, **look)
    for number, (curve, colour) in enumerate(zip(curves, PEERS, strict=False)):
        order = np.argsort(curve["values"])
        x, y = np.array([curve["values"], curve["errors"]], float)[:, order]
        lines.append(Curve(curve["short"], colour, x, y))
        ax.plot(x, y, color=colour, linestyle=(DASH * (number % 2), (DASH, DASH)), lw=1.5, label=curve["short"])
    ax.set(yscale="log", xscale=axis["scale"], xlabel=axis_label(results["config"]))
    ax.set_ylabel("relative L2 error after the observed frames")
    place: Any = {"transform": ax.get_xaxis_transform(), "ha": "center", "va": "top", "fontsize": 9}
    middle = np.sqrt(axis["low"] * axis["high"]) if axis["scale"] == "log" else (axis["low"] + axis["high"]) / 2
    ax.text(middle, 0.985, "training range", color="#666666", **place)
    tidy(ax)
    plain_ticks(ax)
    fewer_ticks(ax, narrow)
    label_ends(ax, lines, 72 * height - 45, columns=15 if narrow else 30, size=8 if narrow else 9)
    return figure
