"""Numbers as the report writes them, and what some of them mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ccm_jax.metrics import over
from experiments.pipeline.methods import ANCHORS

RARE = 0.05  # what happens less often by chance is not put down to it


def signed(x: float) -> str:
    """A coordinate with a true minus sign, and with no sign where it rounds to zero.

    Example:
        >>> signed(-1.5), signed(2), signed(-0.001)
        ('−1.50', '+2.00', '0.00')
    """
    text = f"{x:+.2f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def plain(x: float) -> str:
    """A value of the physical parameter, without a power of ten.

    Example:
        >>> plain(1.5e-05), plain(0.005748), plain(60.0)
        ('0.000015', '0.00575', '60')
    """
    return np.format_float_positional(float(f"{x:.3g}"), trim="-")


def digits(size: float) -> str:
    """A factor, with more digits near 1, and with all of those before the point.

    Example:
        >>> digits(1.04), digits(4.74), digits(10.9), digits(312.0)
        ('1.04', '4.7', '11', '312')
    """
    return f"{size:.2f}" if 0.95 < size < 1.1 else f"{size:.0f}" if 99.5 <= size < math.inf else f"{size:.2g}"


def too_often(below: int, count: int, level: float) -> bool:
    """Whether so many of ``count`` p-values lie below a level that chance alone hardly explains it.

    Example:
        >>> too_often(7, 32, 0.05), too_often(3, 32, 0.05)
        (True, False)
    """
    fewer = sum(math.comb(count, k) * level**k * (1 - level) ** (count - k) for k in range(below))
    return 1 - fewer < RARE


def by_regime(results: dict[str, Any], name: str) -> tuple[float, float] | None:
    """How many times the error of a method the better anchor's is, at least and at most, outside the training range.

    Which anchor is the better one may change from regime to regime: each has the strictest reference.

    Args:
        results: of the run.
        name: of the method.

    Returns:
        None for fewer than two regimes in which the method or an anchor has an error.
    """
    factors = []
    for errors in (row["errors"] for row in results["regimes"] if row["split"] == "ood"):
        anchor = min((errors[key] for key in ANCHORS if errors[key] is not None), default=None)
        if anchor is not None or errors[name] is not None:
            factors.append(over(anchor, errors[name]))
    return (min(factors), max(factors)) if len(factors) > 1 else None
