"""What all layouts have in common: fields, grid, times, and the physical parameters of each sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Recording(NamedTuple):
    """A file of trajectories. Nothing is read before ``frames`` is called.

    Attributes:
        path: the file.
        layout: its kind, for instance ``"pdebench"``.
        fields: names of the channels.
        shape: samples, frames and points along each space axis, x first.
        times: of the frames, ``[T]``; None if the file does not tell.
        axes: coordinates of the points along each space axis; None if the file does not tell.
        parameters: physical parameters of each sample, by the file's names.
        frames: ``(sample, slice of frames) -> [t, *space, C]`` in float32, axes in the order x, y, z; reads no other
            frames from the file.
        assumed: what the file does not say and its reader took for granted, a sentence each.
        left_out: what the file holds beside this, ``"name: reason"``.
    """

    path: Path
    layout: str
    fields: tuple[str, ...]
    shape: tuple[int, ...]
    times: np.ndarray | None
    axes: tuple[np.ndarray, ...] | None
    parameters: list[dict[str, float]]
    frames: Callable[[int, slice], np.ndarray]
    assumed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def trajectory(self, sample: int, cut: slice = slice(None)) -> np.ndarray:
        """All frames of one sample, or some of them, ``[T, *space, C]``.

        Raises:
            ValueError: if there is no such sample.
        """
        if not 0 <= sample < self.shape[0]:
            raise ValueError(f"{self.path}: there is no sample {sample}; it has {self.shape[0]}, numbered from 0.")
        return self.frames(sample, cut)

    @property
    def time_step(self) -> float | None:
        """Time between two frames; None if the file does not tell, or has one frame.

        Raises:
            ValueError: if the frames are not evenly spaced in time.
        """
        return time_step(self, None)


def time_step(recording: Recording, count: int | None) -> float | None:
    """Time between two of the first frames of a file; None is all of them, or that the file does not tell.

    Steps are even within 1 %, or within the rounding of the type in which times are stored.

    Raises:
        ValueError: if the times go back, stand still or are unevenly spaced: a network predicts frames one step apart.
    """
    stored = None if recording.times is None else np.asarray(recording.times)[:count]
    if stored is None or len(stored) < 2:
        return None
    steps = np.diff(stored.astype(float))
    step = float(np.median(steps))
    off = np.abs(steps - step) > 1e-2 * abs(step) + rounding_of(stored)
    if step > 0 and not off.any():
        return float(steps.mean())
    at = int(np.argmax(off if step > 0 else steps <= 0))
    remedy = (
        "sort them by time, as xarray's sortby does"
        if (steps <= 0).any()
        else "resample them, or split the file where frames are missing"
    )
    raise ValueError(
        f"{recording.path}: frame {at} is at time {stored[at]:g} and the next at {stored[at + 1]:g}, expected frames "
        f"one time step apart{f', {step:g}' * (step > 0)}; {remedy}, or correct the times."
    )


def rounding_of(times: np.ndarray) -> float:
    """By how much the difference of two stored times may be off."""
    return 2 * float(np.finfo(times.dtype).eps) * float(np.abs(times).max()) if times.dtype.kind == "f" else 0.0


TIMES = ("times", "time", "t")  # arrays of the times of frames
STEPS = ("dt", "delta_t", "time_step", "timestep")  # the time between frames, in lower case


def with_step(recording: Recording) -> Recording:
    """The recording with times from a number such as ``dt``, which is then no physical parameter.

    Where the file has times as well, they count. A step that differs between trajectories remains a parameter.
    """
    names = sorted({name for row in recording.parameters for name in row if name.lower() in STEPS})
    values = {row[name] for row in recording.parameters for name in names if name in row}
    if not names or (recording.times is None and len(values) > 1):
        return recording
    rows = [{name: value for name, value in row.items() if name not in names} for row in recording.parameters]
    if recording.times is not None:
        said = (f"{', '.join(names)}: a time step, and the file has the times of the frames",)
        return recording._replace(parameters=rows, left_out=(*recording.left_out, *said))
    step = values.pop()
    if step <= 0:
        raise ValueError(
            f"{recording.path}: {names[0]} is {step:g}, expected a time between frames above 0; correct it."
        )
    said = (f"{names[0]} = {step:g} is taken for the time between frames",)
    times = step * np.arange(recording.shape[1])
    return recording._replace(parameters=rows, times=times, assumed=(*recording.assumed, *said))


# What an experiment's parameters are called in the files of others.
ALIASES = {
    "diffusivity_u": ("Du", "D_u"),
    "diffusivity_v": ("Dv", "D_v"),
    "threshold": ("k",),
    "viscosity": ("nu", "visc"),
    "height": ("inner_height", "h_in"),
    "gravity": ("grav", "g"),
}


def common_parameter(recording: Recording, name: str) -> np.ndarray:
    """A physical parameter of every sample, ``[N]``, by our name or the file's, in the case of either.

    Raises:
        ValueError: if a sample does not have it, with those that it has.
    """
    names = (name, *ALIASES.get(name, ()))
    values = []
    for i, parameters in enumerate(recording.parameters):
        folded = {key.lower(): value for key, value in parameters.items()} | parameters  # as it is written goes first
        found = [folded[n] for n in (*names, *map(str.lower, names)) if n in folded]
        if not found:
            there = ", ".join(sorted(parameters)) or "none"
            raise ValueError(f"{recording.path}: sample {i} has no parameter {' or '.join(names)}; it has {there}.")
        values.append(found[0])
    return np.asarray(values, float)
