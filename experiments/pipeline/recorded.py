"""Trajectories from files instead of the solver: ``--config.data.path=FOLDER``.

A regime is every sample whose physical parameter has the value that is asked for. Each purpose (test, validation,
endpoints, support) takes samples of its own, in that order, so that nothing is trained on that is judged on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io.recordings import Recording, common_parameter, open_recordings
from ccm_jax.io.recordings.layouts import SUFFIXES
from experiments.pipeline.systems import SYSTEMS, stored_channels

CLOSE = 1e-3  # two values within this fraction are the same regime


class DataError(ValueError):
    """Files that cannot serve the configuration."""


def identity(config: ConfigDict) -> dict[str, Any]:
    """What the trajectories depend on beside the configuration: the files, by name, size and time of change."""
    path = Path(config.data.path)
    files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES) if path.is_dir() else [path]
    stats = [(file.name, file.stat()) for file in files]
    return {"path": str(path.absolute()), "files": [[name, s.st_size, s.st_mtime_ns] for name, s in stats]}


def sections(config: ConfigDict, value: float) -> list[tuple[str, int]]:
    """The purposes that a regime's samples serve, and how many each takes, in order."""

    def among(values: Any) -> bool:
        return any(_same(v, value) for v in values)

    regimes, sizes = config.regimes, config.data
    wanted = [
        ("test", sizes.test, among(regimes.test)),
        ("validation", sizes.validation, among(regimes.validation)),
        ("endpoint", sizes.endpoint, among((config.axis.low, config.axis.high))),
        ("support", sizes.support, among(regimes.support)),
    ]
    return [(name, count) for name, count, asked in wanted if asked]


def _same(a: float, b: float) -> bool:
    return _close(a, b, CLOSE)


def _close(a: float, b: float, fraction: float) -> bool:
    return abs(a - b) <= fraction * max(abs(a), abs(b))


@functools.lru_cache(maxsize=1)
def _opened(path: str, _identity: str) -> list[Recording]:
    """The files, described once: a file of a thousand samples has as many attributes to read."""
    return open_recordings(path)


def samples_of(config: ConfigDict, value: float, count: int, purpose: str) -> list[tuple[Recording, int]]:
    """The samples of a regime that a purpose takes.

    Raises:
        DataError: if the files have too few, with how many they have; or cannot be read.
    """
    try:
        found = [
            (recording, int(i))
            for recording in _opened(config.data.path, str(identity(config)))
            for i in np.flatnonzero([_same(v, value) for v in common_parameter(recording, config.axis.parameters[0])])
        ]
    except ValueError as error:
        raise DataError(str(error)) from error
    name = purpose if purpose in ("test", "validation", "support") else "endpoint"
    plan = sections(config, value)
    begin = sum(n for _, n in plan[: [p for p, _ in plan].index(name)]) if name in dict(plan) else 0
    if len(found) < begin + count:
        asked = ", ".join(f"{n} for {p}" for p, n in plan)
        raise DataError(
            f"recorded: {config.data.path} has {len(found)} samples with {config.axis.parameters[0]} = {value:g}, "
            f"expected {max(begin + count, sum(n for _, n in plan))} ({asked}); lower config.data.{name}, or change "
            "config.regimes to values that the files have."
        )
    return found[begin : begin + count]


def check_files(config: ConfigDict) -> None:
    """Looks at the files' descriptions, before a run: samples enough, and every one fit for its purpose.

    Raises:
        DataError: with the file, what was expected, what it has, and the remedy.
    """
    regimes = config.regimes
    values = {config.axis.low, config.axis.high, *regimes.support, *regimes.validation, *regimes.test}
    for value in sorted(values):
        for purpose, count in sections(config, value):
            for recording, sample in samples_of(config, value, count, purpose):
                channels_of(config, recording, sample)


def channels_of(config: ConfigDict, recording: Recording, sample: int) -> list[int]:
    """Where a file has our fields: by name where it has them, in its order where it has none of the names.

    Raises:
        DataError: for other fields, too few frames, a grid too coarse or another time step.
    """
    fields, grid, solver = stored_channels(config), config.data.grid, config.solver
    what, frames = f"recorded: {recording.path}, sample {sample}", solver.burn_in + solver.frames + 1
    named = set(fields) <= set(recording.fields)
    if not named and (len(recording.fields) != len(fields) or set(fields) & set(recording.fields)):
        raise DataError(f"{what} has fields {recording.fields}, expected {fields}; see data.observe.")
    if recording.shape[1] < frames or min(recording.shape[2:]) < grid or len(recording.shape) != 4:
        raise DataError(
            f"{what} has {recording.shape[1]} frames on a grid {recording.shape[2:]}, expected at least {frames} on "
            f"two axes of at least {grid}; lower solver.frames or data.grid."
        )
    try:
        step = recording.time_step
    except ValueError as error:
        raise DataError(f"recorded: {error}") from error
    if step is not None and not _close(step, solver.dt, 1e-2):
        raise DataError(f"{what} has frames {step:.6g} apart, expected {solver.dt:g}; set config.solver.dt={step:.6g}.")
    return [recording.fields.index(name) for name in fields] if named else list(range(len(fields)))


def read_batches(config: ConfigDict, value: float, count: int, purpose: str) -> Iterator[tuple[np.ndarray, float]]:
    """One regime from the files, as :func:`experiments.pipeline.data.simulate_batches` gives it.

    Yields:
        One trajectory after the other, ``[1, frames + 1, grid, grid, C]``, resampled to the grid of the data; and 0.

    Raises:
        DataError: for too few samples or frames, a grid too coarse, or numbers that are not finite.
    """
    begin, grid = config.solver.burn_in, config.data.grid
    for recording, sample in samples_of(config, value, count, purpose):
        channels = channels_of(config, recording, sample)
        x = recording.frames(sample, slice(begin, begin + config.solver.frames + 1))[..., channels]
        if not np.isfinite(x).all():
            raise DataError(
                f"recorded: {recording.path}, sample {sample} holds NaN or infinite values; mend or drop it."
            )
        yield np.asarray(_stored(config.system, grid)(x))[None], 0.0


@functools.cache
def _stored(system: str, grid: int) -> Any:
    return jax.jit(jax.vmap(lambda state: SYSTEMS[system].store(state, (grid, grid))))
