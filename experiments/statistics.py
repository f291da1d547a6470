"""Intervals over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.stats


def interval(values: list[float]) -> dict[str, Any]:
    """Mean of the values, and Student's 95 % interval of it."""
    x = np.asarray(values, float)
    mean = float(x.mean())
    if len(x) < 2:
        return {"mean": mean, "low": None, "high": None, "seeds": x.tolist()}
    half = float(scipy.stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "seeds": x.tolist()}
