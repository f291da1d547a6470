"""Colours of fields: the same in the film, the slider and the figures."""

from __future__ import annotations

import numpy as np

SIGNED = "RdBu_r"  # of fields with both signs, and of differences: zero is white
PLAIN = "cividis"  # of fields with one sign, such as a depth


def palette(truth: np.ndarray) -> str:
    """Matplotlib's name of the colours of a field."""
    return SIGNED if truth.min() < 0 < truth.max() else PLAIN


def limits(truth: np.ndarray, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The values at both ends of the colours, for each picture ``[..., H, W]`` of the truth, as ``[...]``.

    Args:
        truth: pictures.
        signed: whether zero is in the middle.
    """
    low, high = truth.min(axis=(-2, -1)), truth.max(axis=(-2, -1))
    if not signed:
        return low, high
    bound = np.maximum(np.abs(low), np.abs(high))
    return -bound, bound


def furthest(error: np.ndarray) -> np.ndarray:
    """The largest size of an error in each picture ``[..., H, W]``, as ``[...]``; 1 where there is none."""
    found = np.abs(np.where(np.isfinite(error), error, 0.0)).max(axis=(-2, -1))
    return np.where(found > 0, found, 1.0)
