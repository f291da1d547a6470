"""Which trajectories every data stage holds: the one table that simulation and recorded files are allocated by.

A row is a regime, how many trajectories of it, and their purpose. In recorded data every row takes samples of its own:
what is tested is never trained on, by whichever stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.pipeline.axes import LAYOUTS, axes_of, by_axis, join
from experiments.pipeline.data import coordinate_of, outside
from experiments.pipeline.drifts import SPLITS, drifts_of
from experiments.pipeline.systems import start_of

GAPS = (0.25, 0.5, 1.0, 1.5)  # the study of the path in weight space has pairs of experts at -g and +g
MORE = (0.0, 2.0)  # and experts at these coordinates
# Where intervals are asked to cover: no validation regime, and trajectories of their own.
COVERED = (-2.0, -1.8, -1.6, -1.4, -1.15, -0.9, -0.6, -0.4, -0.1, 0.1, 0.4, 0.6, 0.9, 1.15, 1.4, 1.6, 1.8, 2.0)

# In the order in which recorded samples are handed out, with the field of config.data that says how many.
RUN = {
    "data_test": "test",
    "data_validation": "validation",
    "data_endpoints": "endpoint",
    "data_support": "support",
}
STUDY = {"data_same_regime": "endpoint", "data_path": "endpoint"}
PEERS = {"data_ceiling": "endpoint"}
BEYOND = {"data_coverage": "test"}
NUMBERS = RUN | STUDY | PEERS | BEYOND
DRIFTS = {f"data_drift_{split}": split for split in SPLITS}  # simulated only
PLANE = {f"data_{layout}": "endpoint" for layout in LAYOUTS}  # of two axes, which are simulated


class Row(NamedTuple):
    """Trajectories of one regime.

    Attributes:
        value: on the physical axis, or one on each axis; where it drifts, one for each interval between frames.
        number: of trajectories.
        purpose: a key of :data:`experiments.pipeline.data.PURPOSES`.
    """

    value: Any
    number: int
    purpose: str


def value_of(config: ConfigDict, s: Any) -> Any:
    """The regime at a normalised coordinate, one for each axis."""
    return join(_on_axis(axis, coordinate) for axis, coordinate in by_axis(config, s))


def _on_axis(axis: ConfigDict, s: float) -> float:
    low, high = axis.low, axis.high
    part = (s + 1) / 2
    return float(low ** (1 - part) * high**part if axis.scale == "log" else low + part * (high - low))


def path_coordinates(config: ConfigDict) -> list[float]:
    """Where the study trains experts beside the endpoints: coordinates whose regimes the equation has."""
    wanted = sorted({*MORE, *GAPS, *(-g for g in GAPS)} - {-1.0, 1.0})
    return [s for s in wanted if has_regime(config, s)]


def covered_values(config: ConfigDict) -> list[float]:
    """The regimes of the split on which intervals are judged: as far out as test regimes, where the equation is."""
    tested = [coordinate_of(config, float(v)) for v in config.regimes.test]
    kept = [s for s in COVERED if min(tested) <= s <= max(tested)]
    return [value_of(config, s) for s in kept if has_regime(config, s)]


def has_regime(config: ConfigDict, s: float) -> bool:
    """Whether the equation has a regime at a normalised coordinate."""
    try:
        start_of(config, value_of(config, s))
    except ValueError:
        return False
    return True


def plan(config: ConfigDict, stage: str) -> list[Row]:
    """The rows of a data stage.

    Raises:
        ValueError: for a stage that is not planned here: its samples could be those of another.
    """
    if stage in DRIFTS and "drift" in config:
        paths = [tuple(value_of(config, s) for s in path) for path in drifts_of(config, DRIFTS[stage])]
        return [Row(path, config.drift.trajectories, f"drift_{DRIFTS[stage]}") for path in paths]
    regimes = config.regimes
    rows = {
        "data_test": [(v, "test") for v in regimes.test],
        "data_validation": [(v, "validation") for v in regimes.validation],
        "data_support": [(v, "support") for v in regimes.support],
    }
    rows |= _of_line(config, stage) if len(axes_of(config)) == 1 else _of_plane(config)
    if stage not in rows:
        raise ValueError(f"plan: no data stage {stage!r}, expected one of {', '.join(rows)}; give it rows in plans.py.")
    number = config.data[(NUMBERS | PLANE)[stage]]
    return [Row(value, number, purpose) for value, purpose in rows[stage]]


def _of_line(config: ConfigDict, stage: str) -> dict[str, list[tuple[Any, str]]]:
    """Values and purposes of the stages beside, with one axis; those that ask the equation, of the stage alone."""
    axis, regimes = config.axis, config.regimes
    low, high = ("pair", "pair") if config.finetune.paired else ("low", "high")
    middle = (axis.low * axis.high) ** 0.5 if axis.scale == "log" else (axis.low + axis.high) / 2
    return {
        "data_endpoints": [(axis.low, low), (axis.high, high)],
        "data_same_regime": [(middle, "low"), (middle, "high")],
        "data_path": [(value_of(config, s), "pair") for s in path_coordinates(config)] if stage == "data_path" else [],
        "data_coverage": [(v, "coverage") for v in covered_values(config)] if stage == "data_coverage" else [],
        "data_ceiling": [(v, "ceiling") for v in regimes.test if outside(coordinate_of(config, v))],
    }


def _of_plane(config: ConfigDict) -> dict[str, list[tuple[Any, str]]]:
    """The same with two axes: every expert starts from the same states."""
    return {f"data_{name}": [(value_of(config, s), "pair") for s in layout] for name, layout in LAYOUTS.items()}


def allocation(config: ConfigDict, stage: str) -> Iterator[tuple[str, Row]]:
    """Stages and rows in the order in which samples are handed out, for a stage of a run or of a study.

    The study comes after the run, and peers after the study, so that what comes first takes the same samples whether
    the rest is made or not.
    """
    before: dict[str, str] = {}
    for part in (RUN, STUDY, PEERS, BEYOND):
        before |= part
        if stage in part:
            break
    for name in before:
        yield from ((name, row) for row in plan(config, name))
