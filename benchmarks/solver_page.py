"""What the speeds of the solvers look like: a picture and a page of the documentation."""

from __future__ import annotations

import os
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter


def picture(results: dict[str, list[dict[str, Any]]]) -> Figure:
    """Speed against error, one panel a problem; up and to the left is better."""
    figure = Figure(figsize=(3.1 * len(results), 3.2), layout="constrained")
    axes = figure.subplots(1, len(results), squeeze=False)[0]
    colours = {"ccm_jax": "#0072B2", "exponax": "#D55E00", "scipy": "#009E73", "pyclaw": "#CC79A7"}
    for ax, (name, rows) in zip(axes, results.items(), strict=True):
        for who, colour in colours.items():
            points = [(r["error"], r["per_second"]) for r in rows if r["who"] == who and (r["error"] or 1.0) < 0.5]
            if points:
                ax.scatter(*zip(*points, strict=True), s=16, color=colour, label=who)
        ax.set(xscale="log", yscale="log", xlabel="relative L2 error", title=name)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="#dddddd", linewidth=0.6)
        ax.legend(frameon=False, fontsize=7)
    axes[0].set_ylabel("trajectories per second")
    return figure


PAGE = """# The solvers, and how fast they are

Reaction–diffusion, Navier–Stokes, Burgers and Kuramoto–Sivashinsky are solved spectrally, in the basis that satisfies
their boundaries: smooth solutions converge faster than any power of the grid, and exponential time differencing takes
the stiff linear part exactly. The dam break is solved by finite volumes, because its bores are discontinuous: a
spectral method would oscillate at them, at any resolution. It has two schemes: Heun's step of both axes together, which
turns with the grid and makes the experiments' data, and sweeps along one axis after the other (`scheme="splitting"`),
which the figure shows to be several times faster at equal error. A new periodic or zero-flux equation is one short file
on `solvers.spectral` and `solvers.etdrk`; `solvers/burgers.py` is one to copy.

![Trajectories per second against error](solvers.png)

Below, every setting of the others beside the best of ours whose error is equal (within 2 %) or smaller: `ratio` is our
speed over theirs, and its smallest value per problem is the figure that counts. A ratio of 0 means that none of our
settings was as accurate. The goals were 1.2 against exponax, 20 against SciPy and 1.5 against PyClaw. Errors are
distances to a fine solution: our own in double precision for the spectral problems; PyClaw's for the dam, which favours
PyClaw. Written by `python -m benchmarks.solvers --output docs/solvers.json`, on {cores} cores; SciPy and PyClaw run one
process a core.

64 trajectories of `rd_ood`, as its training data are made (64² cells, 120 steps, stored on 32²; goal one second):
{as_run:.2f} s.

{table}
"""


def markdown(results: dict[str, list[dict[str, Any]]]) -> str:
    """Of each peer's settings, ours beside it."""
    lines = ["| problem | theirs | setting | error | trajectories / s | ours at no larger error | ratio |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, rows in results.items():
        for row in rows:
            if row["ratio"] is not None:
                ours, speed = row["ratio"] * row["per_second"], row["per_second"]
                cells = [name, row["who"], row["setting"], f"{row['error']:.1e}", f"{speed:.3g}", f"{ours:.3g}"]
                lines.append(f"| {' | '.join(cells)} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def page(results: dict[str, list[dict[str, Any]]], as_run: float) -> str:
    """The page of the documentation; ``as_run`` are the seconds of the main job's trajectories."""
    return PAGE.format(cores=os.cpu_count(), as_run=as_run, table=markdown(results))
