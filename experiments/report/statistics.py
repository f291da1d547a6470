"""Intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import scipy.stats

Scale = Literal["linear", "log", "correlation"]

# Where a quantity is taken to vary evenly: an interval of a ratio never holds zero, and one of a correlation no 1.1.
_SCALES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "linear": (np.asarray, np.asarray),
    "log": (np.log, np.exp),
    "correlation": (lambda r: np.arctanh(np.clip(r, -1 + 1e-9, 1 - 1e-9)), np.tanh),
}


def interval(values: list[float], scale: Scale = "linear") -> dict[str, Any]:
    """Mean and Student's 95 % interval of the values, of their logarithms for ratios, of Fisher's z for correlations.

    Without an interval (a single value, or one that is not finite) its ends are None, and the mean is the plain one.
    """
    x = np.asarray(values, float)
    there, back = _SCALES[scale]
    found: dict[str, Any] = {"mean": float(x.mean()), "low": None, "high": None, "seeds": x.tolist()}
    if len(x) < 2 or not np.isfinite(x).all() or (scale == "log" and x.min() <= 0):
        return found
    z = there(x)
    half = scipy.stats.t.ppf(0.975, len(x) - 1) * z.std(ddof=1) / np.sqrt(len(x))
    return found | {key: float(back(z.mean() + sign * half)) for key, sign in (("mean", 0), ("low", -1), ("high", 1))}
