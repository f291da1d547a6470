"""The physical axes of an experiment: one, or two that span a plane.

A regime is a value on the axis, or a tuple of values, one on each; its normalised coordinate likewise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

# Where the experts of a plane are fine-tuned, in normalised coordinates: at its corners, or at both ends of either axis
# with the other parameter in its middle.
LAYOUTS: dict[str, tuple[tuple[float, float], ...]] = {
    "corners": ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)),
    "ends": ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)),
}
EXPERTS = tuple(f"expert_{i}" for i in range(4))  # their names, in the order of a layout


def axis_names(config: ConfigDict) -> tuple[str, ...]:
    """The fields that hold the axes: ``axis``, and ``axis2`` where an experiment has it."""
    return ("axis", "axis2") if "axis2" in config else ("axis",)


def axes_of(config: ConfigDict) -> tuple[ConfigDict, ...]:
    """The axes of an experiment."""
    return tuple(config[name] for name in axis_names(config))


def by_axis(config: ConfigDict, regime: Any) -> list[tuple[ConfigDict, Any]]:
    """Each axis with the value or the coordinate of a regime on it; an array ``[axes]`` may be traced."""
    axes = axes_of(config)
    return [(axes[0], regime)] if len(axes) == 1 else [(axis, regime[i]) for i, axis in enumerate(axes)]


def join(values: Iterable[float]) -> Any:
    """One number for each axis as a regime: the number of a single axis, or else a tuple."""
    found = tuple(values)
    return found[0] if len(found) == 1 else found


def said(config: ConfigDict, value: Any) -> str:
    """A regime in words: the label of each axis, and its value, or the first and the last of one that drifts."""
    return ", ".join(f"{axis.label} = {_numbers(v)}" for axis, v in by_axis(config, value))


def _numbers(value: Any) -> str:
    return " ... ".join(f"{v:g}" for v in (value[0], value[-1])) if isinstance(value, tuple) else f"{value:g}"
