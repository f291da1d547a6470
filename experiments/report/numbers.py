"""Numbers as the report writes them, and what some of them mean."""

from __future__ import annotations

import math

RARE = 0.05  # what happens less often by chance is not put down to it


def signed(x: float) -> str:
    """A coordinate with a true minus sign, and with no sign where it rounds to zero.

    Example:
        >>> signed(-1.5), signed(2), signed(-0.001)
        ('−1.50', '+2.00', '0.00')
    """
    text = f"{x:+.2f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def too_often(below: int, count: int, level: float) -> bool:
    """Whether so many of ``count`` p-values lie below a level that chance alone hardly explains it.

    Example:
        >>> too_often(7, 32, 0.05), too_often(3, 32, 0.05)
        (True, False)
    """
    fewer = sum(math.comb(count, k) * level**k * (1 - level) ** (count - k) for k in range(below))
    return 1 - fewer < RARE
