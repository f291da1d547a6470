"""The solvers' benchmark as a picture and as a page of the documentation, drawn again from its numbers.

python -m benchmarks.solver_page docs/solvers.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter


def picture(results: dict[str, list[dict[str, Any]]]) -> Figure:
    """Speed against error, one panel per problem; a line through the fastest settings for their error."""
    columns = min(3, len(results))
    lines = -(-len(results) // columns)
    figure = Figure(figsize=(3 * columns, 2.9 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes[len(results) :]:
        ax.set_axis_off()
    colours = {"ccm_jax": "#0072B2", "exponax": "#D55E00", "scipy": "#009E73", "pyclaw": "#CC79A7"}
    for ax, (name, rows) in zip(axes, results.items(), strict=False):
        for who, colour in colours.items():
            points = [(r["error"], r["per_second"]) for r in rows if r["who"] == who and (r["error"] or 1.0) < 0.5]
            if points:
                ax.scatter(*zip(*points, strict=True), s=9, color=colour, alpha=0.3, linewidths=0)
                ax.plot(*zip(*front(points), strict=True), "o-", ms=4, lw=1.2, color=colour, label=who)
        ax.set(xscale="log", yscale="log", xlabel="relative L2 error", title=name)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_formatter(NullFormatter())
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="#dddddd", linewidth=0.6)
        ax.legend(frameon=False, fontsize=7)
    for ax in axes[::columns]:
        ax.set_ylabel("trajectories per second")
    return figure


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The pairs ``(error, speed)`` that no other one beats in both, by rising error.

    Example:
        >>> front([(1e-2, 5.0), (1e-3, 2.0), (1e-3, 1.0), (2e-2, 4.0)])
        [(0.001, 2.0), (0.01, 5.0)]
    """
    kept: list[tuple[float, float]] = []
    for error, speed in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or speed > kept[-1][1]:
            kept.append((error, speed))
    return kept


PAGE = """# Solver speed

The package's solvers compared with exponax, SciPy and PyClaw: trajectories per second at equal error. The smallest
ratio of speeds, ours divided by theirs, is {least}.

![Trajectories per second against error](solvers.png)

Each dot is a setting (grid, steps, order); lines join the fastest settings for their error. Up and to the left is
better.

The table compares every setting of the other packages with our fastest setting whose error is no larger (within 2 %).
Errors below 1e-5, close to rounding in single precision, count as equal. *Ratio* is our speed divided by theirs; the
smallest ratio of each problem is the relevant one, and 0 means that none of our settings was as accurate. Errors are
relative to a fine reference solution: our own in double precision for the spectral problems, and PyClaw's for the dam
break, which favours PyClaw. Written by `python -m benchmarks.solvers --output docs/solvers.json` on {cores} cores;
SciPy and PyClaw run one process per core.

Simulating 64 training trajectories of `rd_ood` (64² cells, 120 steps, stored on 32²): {as_run:.2f} s.

<details markdown>
<summary>Every setting of the other packages, with ours beside it</summary>

{table}

</details>

## Methods

- **Reaction–diffusion, Navier–Stokes, Burgers and Kuramoto–Sivashinsky** use spectral methods in a basis that
  satisfies their boundary conditions: errors of smooth solutions fall faster than any power of the grid spacing, and
  exponential time differencing integrates the stiff linear part exactly.
- **The dam break** uses finite volumes, because its shocks would make a spectral method oscillate at any resolution.
  It has two schemes: Heun's method on both axes together, which is symmetric under rotations of the grid and
  generates the experiments' data; and dimensional splitting (`scheme="splitting"`), which the figure shows to be
  several times faster at equal error.
- **A new periodic or zero-flux equation** is one short file based on `solvers.spectral` and `solvers.etdrk`;
  `solvers/burgers.py` is a good one to copy.
"""


def markdown(results: dict[str, list[dict[str, Any]]]) -> str:
    """Every setting of the other packages, with ours beside it."""
    lines = ["| problem | package | setting | error | trajectories / s | ours, error no larger | ratio |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, rows in results.items():
        for row in rows:
            if row["ratio"] is not None:
                ours, speed = row["ratio"] * row["per_second"], row["per_second"]
                cells = [name, row["who"], row["setting"], f"{row['error']:.1e}", f"{speed:.3g}", f"{ours:.3g}"]
                lines.append(f"| {' | '.join(cells)} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def smallest(results: dict[str, list[dict[str, Any]]]) -> str:
    """The smallest ratio of each problem, in words."""
    ratios = {name: [row["ratio"] for row in rows if row["ratio"] is not None] for name, rows in results.items()}
    return ", ".join(f"{min(found):.2f} ({name})" for name, found in ratios.items() if found)


def page(results: dict[str, list[dict[str, Any]]], as_run: float, cores: int) -> str:
    """The page of the documentation; ``as_run`` are the seconds of the main job's trajectories."""
    return PAGE.format(cores=cores, as_run=as_run, table=markdown(results), least=smallest(results))


def write(path: Path) -> None:
    """The picture and the page beside a file of numbers."""
    found = json.loads(path.read_text(encoding="utf-8"))
    results, cores = found["results"], int(found["machine"]["cores"])
    picture(results).savefig(path.with_suffix(".png"), dpi=130)
    text = page(results, found["rd_ood_64_trajectories"], cores)
    path.with_suffix(".md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
