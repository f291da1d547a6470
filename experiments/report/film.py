"""The animation of the report: truth, the better anchor and CCM-Prefix over the frames after the prefix."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.pipeline.methods import METHODS
from experiments.report.colours import SIGNED, limits, palette
from experiments.report.explorer import sprite
from experiments.report.panels import better_anchor, panels
from experiments.report.results import observed
from experiments.report.sure import two_of

PIXELS = 500_000  # of all frames together: a page with more is too large, and shows two regimes


def film(results: dict[str, Any], arrays: Any, channel: str) -> dict[str, Any] | None:
    """What the page plays, JSON-able: for each regime one bitmap of all frames, and the ends of their colours.

    Args:
        results: of the run; errors that are not finite are None.
        arrays: ``evaluation.npz``, with the frames of the first trajectory of each regime.
        channel: name of the field that is shown, the first one.

    Returns:
        None for one space axis, whose picture shows all times at once.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    regimes, truth = results["regimes"], arrays["frames/truth"]
    if truth.ndim == 4:
        return None
    who = (better_anchor(results, arrays), "ccm_prefix")
    times = np.arange(truth.shape[1])
    coordinates = [row["coordinate"] for row in regimes]
    few = (1 + len(who)) * truth[..., 0].size > PIXELS
    shown = []
    for i in two_of(coordinates) if few else np.argsort(coordinates):
        rows = np.stack([panels(arrays[f"frames/{name}"][i, ..., 0], times) for name in ("truth", *who)])
        colours = palette(rows[0])
        ends = np.stack(limits(rows[0], colours == SIGNED), -1)
        error = [regimes[i]["error_over_time"][name] for name in who]
        shown.append({key: regimes[i][key] for key in ("value", "coordinate", "split")})
        shown[-1] |= {
            "sprite": sprite(rows),
            "error": error,
            "ends": [[float(f"{e:.3g}") for e in end] for end in ends],
        }
        shown[-1] |= {"colours": [to_hex(colour) for colour in colormaps[colours](np.linspace(0, 1, 11))]}
    height, width = rows.shape[-2:]
    first = observed(results["config"])
    return {
        "rows": shown,
        "opens": int(np.argmax([abs(row["coordinate"]) for row in shown])),
        "labels": ["truth", *(METHODS[name].label for name in who)],
        "frames": [int(first + t) + 1 for t in times],  # counted from 1
        "height": height,
        "width": width,
        "channel": channel,
    }
