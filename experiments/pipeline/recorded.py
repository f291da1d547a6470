"""Trajectories from files instead of the solver: ``--config.data.path=FOLDER``.

A regime is every sample whose physical parameter has the value that is asked for. Each row of a plan (test, validation,
endpoints, support, then what the study trains) takes samples of its own, in that order, so that nothing is trained on
that is judged on; see :mod:`experiments.pipeline.plans`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io.recordings import Recording, common_parameter, files_of, open_recordings
from experiments.pipeline.plans import NUMBERS, RUN, Row, allocation, plan
from experiments.pipeline.systems import settings_for, stored_channels
from solvers.system import find_system

CLOSE = 1e-3  # two values within this fraction are the same regime


class DataError(ValueError):
    """Files that cannot serve the configuration."""


def identity(config: ConfigDict) -> dict[str, Any]:
    """What the trajectories depend on beside the configuration: the files, by name, size and time of change."""
    path = Path(config.data.path)
    # A Zarr store is a folder, and what changes are the files in it.
    inside = [
        (file, sorted(p for p in file.rglob("*") if p.is_file()) if file.is_dir() else [file])
        for file in files_of(path)
    ]
    stats = [(str(p.relative_to(file.parent)), p.stat()) for file, parts in inside for p in parts]
    return {"path": str(path.absolute()), "files": [[name, s.st_size, s.st_mtime_ns] for name, s in stats]}


def sections(config: ConfigDict, stage: str, value: float) -> list[tuple[str, int]]:
    """What a regime's samples serve, and how many each takes, in order, as a stage sees it."""
    found = [(name, row) for name, row in allocation(config, stage) if _same(config, row.value, value)]
    names = RUN | {"data_path": "path"}
    return [(names.get(name, row.purpose), row.number) for name, row in found]


def _first_sample(config: ConfigDict, stage: str, row: Row) -> int:
    """The number of the first sample of a regime that a row takes.

    Raises:
        ValueError: for a row that the plans do not hold.
    """
    begin = 0
    for name, other in allocation(config, stage):
        if (name, other) == (stage, row):
            return begin
        begin += other.number if _same(config, other.value, row.value) else 0
    raise ValueError(f"recorded: {row} is no row of {stage}, so its samples could be those of another; see plans.py.")


def _same(config: ConfigDict, a: float, b: float) -> bool:
    # A value of zero is met by what is small beside the axis.
    return _close(a, b, CLOSE) or abs(a - b) <= CLOSE**2 * (config.axis.high - config.axis.low)


def _close(a: float, b: float, fraction: float) -> bool:
    return abs(a - b) <= fraction * max(abs(a), abs(b))


@functools.lru_cache(maxsize=1)
def _opened(path: str, _identity: str) -> list[Recording]:
    """The files, described once: a file of a thousand samples has as many attributes to read."""
    return open_recordings(path)


def samples_of(config: ConfigDict, stage: str, row: Row) -> list[tuple[Recording, int]]:
    """The samples of the files that a row of a data stage takes.

    Raises:
        DataError: if the files have too few, with how many they have; or cannot be read.
        ValueError: for a row that the plans do not hold.
    """
    name, (value, number, _) = config.axis.parameters[0], row
    begin = _first_sample(config, stage, row)
    try:
        found = [
            (recording, int(i))
            for recording in _opened(config.data.path, str(identity(config)))
            for i in np.flatnonzero([_same(config, v, value) for v in common_parameter(recording, name)])
        ]
    except ValueError as error:
        raise DataError(str(error)) from error
    if len(found) < begin + number:
        served = sections(config, stage, value)
        asked = ", ".join(f"{n} for {p}" for p, n in served)
        raise DataError(
            f"recorded: {config.data.path} has {len(found)} samples with {name} = {value:g}, expected "
            f"{sum(n for _, n in served)} ({asked}); lower config.data.{NUMBERS[stage]}, or change "
            "config.regimes to values that the files have."
        )
    return found[begin : begin + number]


def check_files(config: ConfigDict) -> None:
    """Looks at the files' descriptions, before a run: samples enough, and every one fit for its purpose.

    Raises:
        DataError: with the file, what was expected, what it has, and the remedy.
    """
    for stage in RUN:
        for row in plan(config, stage):
            for recording, sample in samples_of(config, stage, row):
                channels_of(config, recording, sample)


def channels_of(config: ConfigDict, recording: Recording, sample: int) -> list[int]:
    """Where a file has our fields: by name where it has them, in its order where it has none of the names.

    Raises:
        DataError: for other fields, too few frames, a grid too coarse or another time step.
    """
    fields, grid, solver = stored_channels(config), settings_for(config).stored, config.solver
    what, frames = f"recorded: {recording.path}, sample {sample}", solver.burn_in + solver.frames + 1
    named = set(fields) <= set(recording.fields)
    if not named and (len(recording.fields) != len(fields) or set(fields) & set(recording.fields)):
        raise DataError(f"{what} has fields {recording.fields}, expected {fields}; see data.observe.")
    space = recording.shape[2:]
    coarse = len(space) != len(grid) or any(n < m for n, m in zip(space, grid, strict=True))
    if recording.shape[1] < frames or coarse:
        raise DataError(
            f"{what} has {recording.shape[1]} frames on a grid {space}, expected at least {frames} on a grid of at "
            f"least {grid}; lower solver.frames or data.grid."
        )
    try:
        step = recording.time_step
    except ValueError as error:
        raise DataError(f"recorded: {error}") from error
    if step is not None and not _close(step, solver.dt, 1e-2):
        raise DataError(f"{what} has frames {step:.6g} apart, expected {solver.dt:g}; set config.solver.dt={step:.6g}.")
    return [recording.fields.index(name) for name in fields] if named else list(range(len(fields)))


def read_batches(config: ConfigDict, stage: str, row: Row) -> Iterator[tuple[np.ndarray, float]]:
    """One row of a data stage from the files, as :func:`experiments.pipeline.data.simulate_batches` gives it.

    Yields:
        One trajectory after the other, ``[1, frames + 1, *space, C]``, resampled to the grid of the data; and 0.

    Raises:
        DataError: for too few samples or frames, a grid too coarse, or numbers that are not finite.
    """
    begin, grid = config.solver.burn_in, settings_for(config).stored
    for recording, sample in samples_of(config, stage, row):
        channels = channels_of(config, recording, sample)
        x = recording.frames(sample, slice(begin, begin + config.solver.frames + 1))[..., channels]
        if not np.isfinite(x).all():
            raise DataError(
                f"recorded: {recording.path}, sample {sample} holds NaN or infinite values; fix or remove it."
            )
        yield np.asarray(_stored(config.system, grid)(x))[None], 0.0


@functools.cache
def _stored(system: str, grid: tuple[int, ...]) -> Any:
    return jax.jit(jax.vmap(lambda state: find_system(system).store(state, grid)))
