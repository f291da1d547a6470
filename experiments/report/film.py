"""The animation of the report: truth, anchor and CCM-Prefix over the frames after the prefix."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.report.explorer import sprite
from experiments.report.panels import panels
from experiments.report.sure import two_of

ROWS = {"truth": "truth", "anchor": "anchor", "ccm_prefix": "CCM-Prefix"}


def film(results: dict[str, Any], arrays: Any) -> dict[str, Any] | None:
    """What the page plays, JSON-able: for the regimes nearest to the middle and furthest away one bitmap of all frames.

    Args:
        results: of the run; errors that are not finite are None.
        arrays: ``evaluation.npz``, with the frames of the first trajectory of each regime.

    Returns:
        None for one space axis, whose picture shows all times at once.
    """
    regimes, truth = results["regimes"], arrays["frames/truth"]
    if truth.ndim == 4:
        return None
    times = np.arange(truth.shape[1])
    first = results["config"]["model"]["history"] + results["config"]["calibration"]["frames"]
    shown = []
    for i in two_of([row["coordinate"] for row in regimes]):
        rows = np.stack([panels(arrays[f"frames/{name}"][i, ..., 0], times) for name in ROWS])
        error = {name: regimes[i]["error_over_time"][name] for name in ("anchor", "ccm_prefix")}
        shown.append({key: regimes[i][key] for key in ("value", "coordinate", "split")})
        shown[-1] |= {"sprite": sprite(rows), "error": error}
    height, width = rows.shape[-2:]
    frames = [int(first + t) + 1 for t in times]  # counted from 1
    return {"rows": shown, "labels": list(ROWS.values()), "frames": frames, "height": height, "width": width}
