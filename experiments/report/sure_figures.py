"""The figure of how sure a prefix readout is, from saved numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ccm_jax.cli.forecast import Probe
from ccm_jax.cli.pictures import draw_band, draw_density, new_figure, tidy
from experiments.pipeline.methods import METHODS
from experiments.report.numbers import signed


def sureness(found: dict[str, Any], config: dict[str, Any], narrow: bool = False) -> Figure:
    """For each regime the posterior of the value, a forecast at one point with its band, and errors beside expected.

    A row for each regime; one below the other if ``narrow``.
    """
    rows, axis = found["regimes"], config["axis"]
    if narrow:
        figure = new_figure(4.5, 6.9 * len(rows))
        axes = figure.subplots(3 * len(rows), 1).reshape(len(rows), 3)
    else:
        figure = new_figure(9.6, 3.2 * len(rows) + 0.2)
        figure.set_layout_engine("constrained", h_pad=0.12, w_pad=0.1)
        axes = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(4, 6, 4))
    colour = METHODS["ccm_prefix"].colour
    for (left, middle, right), row in zip(axes, rows, strict=True):
        where = "inside the support" if row["split"] == "id" else "outside the support"
        draw_density(left, np.array(row["values"]), np.array(row["probability"]), tuple(row["intervals"][0]))
        left.axvline(row["value"], color="black", lw=1.2, ls="--", label="true value")
        left.set(xlabel=f"{axis['label']} ({axis['unit']})" if axis["unit"] else axis["label"], ylabel="posterior")
        left.locator_params(axis="x", nbins=4 if narrow else 3)
        left.set_title(f"{row['value']:g}  (coordinate {signed(row['coordinate'])}),\n{where}", fontsize=9, loc="left")
        number = {name: np.array(row[name], float) for name in ("observed", "mean", "low", "high", "truth")}
        draw_band(middle, Probe(tuple(row["place"]), samples=np.zeros((0, len(row["mean"]))), **number), legend=False)
        middle.set_title("forecast at one point", fontsize=9, loc="left")
        errors = np.array(row["error"], float)
        frame = len(row["observed"]) + 1 + np.arange(errors.shape[1])
        for i, each in enumerate(errors):
            right.plot(frame, each, color=colour, alpha=0.35, lw=0.8, label="each trajectory" if i == 0 else None)
        right.plot(frame, row["expected_error"], color="black", lw=1.4, ls="--", label="expected")
        right.set(yscale="log", xlabel="frame")
        right.locator_params(axis="x", integer=True)
        right.set_title("relative L2 error", fontsize=9, loc="left")
        tidy(right)
        for ax in (left, middle, right) if row is rows[0] else ():
            ax.legend(frameon=False, fontsize=7)
    return figure
