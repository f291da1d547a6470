"""Frames from any file of trajectories, and no more of them than a verb needs."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from ccm_jax._checks import counted
from ccm_jax._reasons import clean
from ccm_jax.cli.checkpoints import note
from ccm_jax.cli.letters import more_axes
from ccm_jax.io.boundary import memory
from ccm_jax.io.overwrite import is_read
from ccm_jax.io.recordings import Recording, open_recording
from ccm_jax.io.recordings.opening import other_step, refuse_other_order
from ccm_jax.io.recordings.parameters import NOT_FINITE
from ccm_jax.io.recordings.recording import time_step

SHARE = 0.5  # of the machine's memory that frames may take
COUNTERS = frozenset(("seed", "ic", "index", "sample"))  # of a trajectory, which change no regime


class Layout(NamedTuple):
    """What the command line says of files of trajectories: channels, and what their axes are."""

    fields: tuple[str, ...] | None = None
    axes: str | None = None

    def open(self, path: Path) -> Recording:
        """The description of a file."""
        is_read(path)
        return open_recording(path, fields=self.fields, axes=self.axes)

    def open_validation(self, path: Path) -> Recording:
        """The description of a second file, which may have one axis more than ``--axes``: samples, in front.

        A file that does not take the letters, because it names its axes itself, is read as it says.
        """
        try:
            return self.open(path)
        except ValueError:
            if self.axes is None:
                raise
            more = () if "N" in self.axes.upper() else (f"N{self.axes}",)
            for axes in (*more, None):
                with contextlib.suppress(ValueError):
                    found = self._replace(axes=axes).open(path)
                    if axes is not None or not assumed_axes(found):
                        return found
            raise

    def words(self) -> list[str]:
        """The options as they were given."""
        return [word for name, value in self.facts().items() for word in (f"--{name}", value)]

    def facts(self) -> dict[str, str]:
        """What was said, for a card."""
        fields = {} if self.fields is None else {"fields": ",".join(self.fields)}
        return fields | ({} if self.axes is None else {"axes": self.axes})


def layout_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how files of trajectories are read, as one argument ``layout``."""

    @functools.wraps(function)
    def packed(*, fields: str | None, axes: str | None, **rest: Any) -> Any:
        names = None if fields is None else tuple(name.strip() for name in fields.split(",") if name.strip())
        return function(layout=Layout(names, axes), **rest)

    for option in (
        click.option(
            "--axes",
            metavar="NTCXY",
            help="One letter per array axis, if the file does not name them: N samples, T time, X Y Z space, C "
            "channels, 1 an axis of length 1.",
        ),
        click.option("--fields", metavar="NAME,NAME", help="Channels, in the order that the network expects."),
    ):
        packed = option(packed)
    return packed


def shorten(names: tuple[str, ...], most: int = 8) -> str:
    """Names of channels for a terminal."""
    return ", ".join(names) if len(names) <= most else f"{names[0]}, {names[1]}, …, {names[-1]} ({len(names)})"


def choose_samples(recording: Recording, samples: str | None) -> list[int]:
    """The numbers of the samples ``"0"``, ``"0,3"`` or ``"0:8"``; None is all of them.

    Raises:
        ValueError: for a text of another form, or if there are none.
    """
    count = recording.shape[0]
    try:
        if samples is None:
            chosen = list(range(count))
        elif ":" in samples:
            begin, end = samples.split(":")
            chosen = list(range(int(begin or 0), int(end or count))[: count + 1])  # one that is not there is enough
        else:
            chosen = [int(i) for i in samples.split(",")]
    except ValueError as error:
        raise ValueError(f"--sample {samples}: expected 0, or 0,3, or 0:8.") from error
    outside = [i for i in chosen if not 0 <= i < count]
    if outside and count:
        there = f"it has {counted(count, 'sample')}, " + (f"0 to {count - 1}" if count > 1 else "number 0")
        raise ValueError(f"{recording.path}: there is no sample {outside[0]}; {there} (--sample).")
    twice = [i for i in chosen if chosen.count(i) > 1] if samples is not None and "," in samples else []
    if twice:
        raise ValueError(f"--sample {samples}: {twice[0]} is listed twice and would count twice; list it once.")
    if not chosen or not count:
        asked = "" if samples is None else f"--sample {samples}: "
        raise ValueError(f"{asked}no samples to read; {recording.path} has {count}.")
    return chosen


def assumed_axes(recording: Recording) -> str:
    """What is assumed of the axes of a file, to go on an error that another reading of it might explain."""
    return next((f"; {text}" for text in recording.assumed if text.startswith("its axes")), "")


def size_of(recording: Recording, samples: int, count: int | None = None) -> int:
    """Bytes of the first frames of some samples, or of all their frames."""
    frames = recording.shape[1] if count is None else min(count, recording.shape[1])
    return 4 * samples * frames * math.prod(recording.shape[2:]) * len(recording.fields)


def check_size(recording: Recording, samples: int, count: int | None = None) -> None:
    """Raises ValueError for more frames than memory holds."""
    there = memory()
    if there is None:
        return
    size, frames = size_of(recording, samples, count), recording.shape[1] if count is None else count
    if size > SHARE * there:
        raise ValueError(
            f"{recording.path}: {counted(frames, 'frame')} of {counted(samples, 'sample')} take {size / 1e9:.1f} GB, "
            f"and this machine has {there / 1e9:.1f} GB of memory; choose fewer samples by --sample, or put "
            "fewer into the file."
        )


def read_samples(
    recording: Recording,
    chosen: list[int],
    count: int | None = None,
    *,
    mask: np.ndarray | None = None,
    missing: str = "refuse",
    remedy: str = "; fix it, or choose other samples with --sample",
) -> np.ndarray:
    """Trajectories ``[N, T, *space, C]`` of the samples of these numbers, 0 outside of a mask ``[N, T, *space]``.

    Args:
        recording: the file.
        chosen: numbers of the samples.
        count: first frames that are read; None is all.
        mask: where they count; changed in place where NaN is taken for what was not observed.
        missing: ``"nan"`` takes it so.
        remedy: for the message.

    Raises:
        ValueError: for samples that are not there, more than memory holds, frames that are unevenly spaced in time, or
            numbers that are not finite.
    """
    check_size(recording, len(chosen), count)
    time_step(recording, count)  # uneven ones are refused
    cut = slice(count)
    frames = np.stack([recording.trajectory(i, cut) for i in chosen])
    if mask is not None:
        mask &= ~np.isnan(frames).any(axis=-1) if missing == "nan" else True
        frames = np.where(mask[..., None], frames, 0)
    if not np.isfinite(frames).all():
        where = np.argwhere(~np.isfinite(frames))[0]
        raise ValueError(
            f"{recording.path}: sample {chosen[where[0]]} contains NaN or infinite values, first in frame {where[1]}"
            f"{remedy}."
        )
    return frames


def read_observations(
    recording: Recording, chosen: list[int], missing: str, mask: Path | None, count: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Trajectories ``[N, T, *space, C]`` of a file's samples, and where they were observed, ``[N, T, *space]``.

    Args:
        recording: the file.
        chosen: numbers of the samples.
        missing: ``"nan"`` takes NaN for what was not observed; ``"refuse"`` refuses it.
        mask: file of booleans, or of zeros and ones, see :func:`read_mask`.
        count: first frames that are read; None is all.

    Returns:
        The mask is None if nothing is said of one.
    """
    if missing == "refuse" and mask is None:
        remedy = "; fix or remove it, or pass --missing nan if NaN marks what was not observed"
        return read_samples(recording, chosen, count, remedy=remedy), None
    check_size(recording, len(chosen), count)
    shape = (len(chosen), len(range(recording.shape[1])[:count]), *recording.shape[2:])
    where = np.ones(shape, bool) if mask is None else read_mask(mask, recording.shape, chosen, count)
    remedy = "" if missing == "nan" else " where the mask says that it was observed; correct it, or pass --missing nan"
    return read_samples(recording, chosen, count, mask=where, missing=missing, remedy=remedy), where


def read_mask(path: Path, shape: tuple[int, ...], chosen: list[int], count: int | None = None) -> np.ndarray:
    """The mask in a .npy file, ``[*space]``, ``[T, *space]`` or ``[N, T, *space]``, at the first frames of samples.

    Raises:
        ValueError: for a file that cannot be read, or that holds other numbers or another shape.
    """
    try:
        mask = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"--mask {path}: {error}; expected a .npy file, as numpy.save writes it.") from error
    numbers = isinstance(mask, np.ndarray) and mask.dtype.kind in "buif"
    leading = mask.ndim - len(shape[2:]) if numbers else 0
    if numbers and (not 0 <= leading <= 2 or mask.shape != shape[2 - leading :]):
        raise ValueError(
            f"--mask {path} has shape {list(mask.shape)}, expected that of the grid, {list(shape[2:])}, of all frames, "
            f"{list(shape[1:])}, or of all samples, {list(shape)}; it has no axis of channels."
        )
    there = [i for i in chosen if 0 <= i < shape[0]]  # others are refused where frames are read
    read = np.stack([np.broadcast_to(mask, shape)[i, :count] for i in there]) if numbers and there else np.zeros(0)
    if not numbers or not np.isin(read, (0, 1)).all():
        raise ValueError(f"--mask {path}: expected booleans, or zeros and ones, with 1 where a point was observed.")
    return read.astype(bool)


def varying(recording: Recording, chosen: Sequence[int]) -> list[str]:
    """Physical parameters whose values differ between samples, as ``"viscosity (3 values)"``."""
    told = [recording.parameters[i] for i in chosen if i < len(recording.parameters)]
    names = {name for row in told for name in row if name.lower() not in COUNTERS}
    counts = {name: len({row[name] for row in told if name in row}) for name in sorted(names)}
    return [f"{name} ({count} values)" for name, count in counts.items() if count > 1]


class Regimes(NamedTuple):
    """Trajectories of several regimes.

    Attributes:
        trajectories: ``[N, T, *space, C]`` of each, by its physical parameters in words.
        parameters: of each, by name; empty where the file tells none.
        path: the file.
    """

    trajectories: dict[str, np.ndarray]
    parameters: list[Mapping[str, float]]
    path: Path = Path()


def read_regimes(recording: Recording, beside: Recording | None = None) -> Regimes:
    """All trajectories of a file by their physical parameters; one regime if the file tells none.

    Raises:
        ValueError: for frames that cannot be read, or whose time step or number of space axes is not that of the file
            which they are beside.
    """
    if beside is not None:
        refuse_other_order(beside, recording)
    if beside is not None and (steps := other_step(beside, recording)):
        raise ValueError(
            f"{recording.path} has frames {steps[1]:.4g} apart in time, and {beside.path} {steps[0]:.4g}; a network "
            "predicts one time step: choose every n-th frame of one, or correct its times."
        )
    if beside is not None and len(recording.shape) != len(beside.shape):
        dim, space = (len(each.shape) - 2 for each in (recording, beside))
        if assumed_axes(beside) and not assumed_axes(recording):  # then the other file is read wrongly
            remedy = more_axes(beside.path, assumed_axes(beside), dim, space)
        else:
            write = f"write dim={space} into it, or " if recording.path.suffix == ".npz" else ""
            remedy = f"{write}name the axes of both by --axes{assumed_axes(recording)}"
        raise ValueError(
            f"{recording.path} is read as {dim}-D frames, and those of {beside.path} are {space}-D: {remedy}."
        )
    unknown = [text for text in recording.left_out if NOT_FINITE in text or not any(recording.parameters)]
    if unknown:
        note(f"{recording.path}: not read as a parameter: {clean('; '.join(unknown))}.")
    told: dict[str, Mapping[str, float]] = {}
    groups: dict[str, list[int]] = {}
    rows = [{k: v for k, v in known.items() if k.lower() not in COUNTERS} for known in recording.parameters]
    shared = set.intersection(*(set(row.items()) for row in rows)) if len({*map(str, rows)}) > 1 else set()
    for i, values in enumerate(rows):
        name = ", ".join(f"{k} = {v:.6g}" for k, v in sorted(set(values.items()) - shared)) or "all"
        groups.setdefault(name, []).append(i)
        told.setdefault(name, values)
    check_size(recording, recording.shape[0])
    remedy = "; fix it, or leave it out of the file"
    trajectories = {name: read_samples(recording, chosen, remedy=remedy) for name, chosen in groups.items()}
    return Regimes(trajectories, list(told.values()), recording.path)
