"""Paths of a parameter that changes during a rollout: ``config.drift``, where a configuration has one.

A path is a shape with numbers, in normalised coordinates over the time t from 0 to 1:

    ("ramp", a, b)                      from a to b; the same number twice is a constant
    ("sine", middle, size, periods)     middle + size sin(2 pi periods t)
    ("step", a, b, when)                a until the share ``when`` of the time, then b
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

SPLITS = ("validation", "test")
REACH = {"validation": 1.25, "test": 2.0}  # largest |s|: validation stays as near as its constant regimes do

SHAPES: dict[str, Callable[..., np.ndarray]] = {
    "ramp": lambda t, a, b: a + (b - a) * t,
    "sine": lambda t, middle, size, periods: middle + size * np.sin(2 * np.pi * periods * t),
    "step": lambda t, a, b, when: np.asarray(np.where(t < when, a, b)),
}


def drifts_of(config: ConfigDict, split: str) -> np.ndarray:
    """The coordinates of every path of a split, at the middle of each interval between frames, ``[paths, frames]``."""
    frames = config.solver.frames
    t = (np.arange(frames) + 0.5) / frames
    return np.stack([SHAPES[kind](t, *numbers) for kind, *numbers in config.drift[split]])


def check_drift(config: ConfigDict, exists: Callable[[float], bool]) -> None:
    """Raises ValueError for paths that cannot be simulated or would be tuned on.

    Args:
        config: with ``drift.validation``, ``drift.test`` and ``drift.trajectories``.
        exists: whether the equation has a regime at a coordinate.
    """

    def need(ok: bool, field: str, expected: str, got: Any) -> None:
        if not ok:
            raise ValueError(f"config.drift.{field} is {got}, expected {expected}.")

    drift = config.drift
    if config.data.path:
        raise ValueError("config.data.path is set, but drifts are simulated; use a configuration without `drift`.")
    need(drift.trajectories >= 1, "trajectories", "at least 1 for each path", drift.trajectories)
    for split in SPLITS:
        need(len(drift[split]) > 0, split, "at least one path", drift[split])
        for path in drift[split]:
            need(_known(path), split, "paths such as ('ramp', -1, 1), ('sine', 0, 1, 1) or ('step', -1, 1, 0.5)", path)
        low, high = (float(end(drifts_of(config, split))) for end in (np.min, np.max))
        reach = REACH[split]
        need(max(-low, high) <= reach + 1e-9, split, f"paths within |s| <= {reach}", f"{drift[split]}")
        for s in (low, high):
            need(exists(s), split, f"paths through regimes that {config.system} has", f"at s = {s:g}")
    seen = {tuple(path) for path in drift.validation} & {tuple(path) for path in drift.test}
    need(not seen, "validation", "other paths than the test's: what is tested must not be tuned on", sorted(seen))


def _known(path: Sequence[Any]) -> bool:
    if not path or path[0] not in SHAPES:
        return False
    try:
        values = SHAPES[path[0]](np.linspace(0, 1, 3), *path[1:])
    except TypeError:
        return False
    return bool(np.isfinite(values).all())
