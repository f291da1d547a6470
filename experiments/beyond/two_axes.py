"""Two hidden parameters: the readouts of a chart of their plane over the best coordinate in hindsight."""

from __future__ import annotations

from typing import Any

from ccm_jax.metrics import over
from experiments.pipeline.data import outside
from experiments.pipeline.plane import run_plane, train_networks
from experiments.pipeline.stages import Run
from experiments.report.plane import SHOWN, collect


def two_axes_networks(run: Run, known: dict[str, Any]) -> dict[str, Any]:
    """Trains the networks of :func:`two_axes`, whose stages it shares: the seconds of each."""
    trained = train_networks(run)
    made = {"anchor": trained.anchor, "window": trained.window, **trained.experts}
    return {"seconds": {name: stage.seconds for name, stage in made.items()}}


def two_axes(run: Run, known: dict[str, Any]) -> dict[str, Any]:
    """Errors on every test regime of the plane, of both charts and of the networks that are told nothing.

    Returns:
        The regimes, their ``coordinates [R, 2]`` and which lie ``outside``; ``errors`` of the network that sees all
        observed frames (``window``) and of the anchor, ``[R]``; for each of the ``charts`` its ``errors`` by method,
        their means over all regimes, inside and outside, and over the best in hindsight (``summary``), and the
        ``score`` on validation regimes; the ``chart`` with the smallest score, and of that ``plane_over_best``, the
        mean error of CCM-Prefix over that of the best coordinate in hindsight.
    """
    results = collect(run.config, run_plane(run))
    charts = {
        name: {
            "errors": row["errors"],
            "summary": row["summary"],
            "score": row["validation"]["score"],
            "best": [chosen["best"] for chosen in row["chosen"]],
            "maps": [fitted["kind"] for fitted in row["validation"]["maps"]],
            "prefix": row["validation"]["prefix"],
        }
        for name, row in results["charts"].items()
    }
    chosen, regimes = charts[results["chart"]]["summary"], results["regimes"]
    return {
        "values": regimes["value"],
        "coordinates": regimes["coordinate"],
        "outside": [outside(s) for s in regimes["coordinate"]],
        "errors": results["errors"],
        "summary": results["summary"],
        "charts": charts,
        "chart": results["chart"],
        "plane_over_best": chosen["ccm_prefix"]["over_best"],
        "over_best": {method: chosen[method]["over_best"] for method in SHOWN[:-1]},
        "window_over_prefix": over(results["summary"]["window"]["all"], chosen["ccm_prefix"]["all"]),
        "wall_seconds": results["wall_seconds"],
    }
