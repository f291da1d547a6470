"""Trivial forecasts, which every network should beat: the last frame repeated, and zeros.

Shares of the error of the last frame repeated, by what is said of a network that has more of it:
"""

from __future__ import annotations

HOPELESS = 2.0  # a search between candidates does not end below the last frame repeated
HARDLY = 0.9  # on future frames: hardly any skill
POOR = 0.5  # on observed frames, without validation: poor, or its frames are wrong
# Networks whose frames are one step apart err less. On the example family they have at most 0.05 of it in the first
# frames, and on every second frame of the same files at least 0.18.
BADLY = 0.1  # on observed frames: the time step may be another one

ZEROS = 1.0  # relative error of a forecast of zeros


def worse_than_trivial(best: float, persistence: float) -> bool:
    """Whether the best network is no better than the last frame repeated, or than zeros."""
    return not best < min(ZEROS, persistence)  # NaN is no yardstick


def trivial(persistence: float) -> tuple[str, float]:
    """The better of both trivial forecasts and its error."""
    return ("repeating the last frame", persistence) if persistence <= ZEROS else ("a forecast of zeros", ZEROS)
