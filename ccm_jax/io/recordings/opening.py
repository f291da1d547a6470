"""Opening files of trajectories, one or a folder of them, and whether what they say of themselves agrees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ccm_jax._reasons import missing
from ccm_jax.io.boundary import check_names, reading
from ccm_jax.io.recordings.recording import Recording, with_step
from ccm_jax.io.recordings.registry import described, suffixes
from ccm_jax.io.recordings.stores import is_store


def open_recording(path: str | Path, *, fields: Sequence[str] | None = None, axes: str | None = None) -> Recording:
    """Opens a file of trajectories; its layout is detected from its content.

    Args:
        path: a file, or the folder of a Zarr store.
        fields: names of the channels that are wanted, in their order; by default all, in the file's.
        axes: what each axis of the arrays is, for a file that does not say it: N for samples, T for time, X, Y, Z for
            space, C for channels, 1 for an axis of length 1; ``"NTCXY"`` is channels first.

    Returns:
        A description with all that is assumed and left out; frames are read when they are asked for.

    Raises:
        ValueError: if it is none, damaged, or of no known layout, or if ``fields`` or ``axes`` do not fit it.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    if path.is_dir() and not is_store(path):
        inside = ", ".join(file.name for file in files_of(path)[:3]) or "none of trajectories"
        raise ValueError(f"open_recording: {path} is a folder; name one of its files ({inside}).")
    if not path.is_file() and not is_store(path):
        raise FileNotFoundError(f"open_recording: {missing(path)}")
    with reading("open_recording", path, "write it again with write_recording"):
        found = described(path, axes)
        check_names("open_recording", path, [*found.fields, *(name for row in found.parameters for name in row)])
    for what, values, n in (
        ("frames", found.times, found.shape[1]),
        *((f"points along {a}", x, n) for a, x, n in zip("xyz", found.axes or (), found.shape[2:], strict=False)),
    ):
        if values is not None and (np.ndim(values) != 1 or np.asarray(values).dtype.kind not in "fiu"):
            raise ValueError(f"open_recording: {path} has {what} that are not a list of numbers; write it again.")
        if values is not None and not np.isfinite(values).all():
            at = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"open_recording: {path} has {what} of which number {at} is {np.asarray(values)[at]:g}, expected "
                "finite numbers; correct the coordinate, or drop what it belongs to."
            )
        if values is not None and len(values) != n and what == "frames":
            raise ValueError(
                f"open_recording: {path} has {n} frames and {len(values)} times; write one per frame, or leave the "
                "times out. If its axes are others than they were taken for, say what they are by --axes (axes=...)."
            )
        if values is not None and len(values) != n:
            raise ValueError(
                f"open_recording: {path} has {n} {what} in its data, and coordinates of {len(values)}: its axes are in "
                f"another order than those of {found.layout}, or it is damaged. Say what they are by --axes "
                "(axes=...), or write it again with write_recording."
            )
    found = with_step(found)
    return found if fields is None else _with_fields(found, tuple(fields))


def _with_fields(recording: Recording, fields: tuple[str, ...]) -> Recording:
    """The recording with these channels, in this order."""
    unknown = [name for name in fields if name not in recording.fields]
    if unknown or not fields or len(set(fields)) < len(fields):
        aside = "".join(f"; {text}" for text in recording.left_out if text.partition(":")[0] in unknown)
        raise ValueError(
            f"open_recording: --fields (fields=...) is {', '.join(fields) or 'empty'}, expected some of "
            f"{', '.join(recording.fields)}, each once, as {recording.path} has them{aside}."
        )
    at, read = [recording.fields.index(name) for name in fields], recording.frames
    others = [f"{name}: not among the fields that were asked for" for name in recording.fields if name not in fields]
    return recording._replace(
        fields=fields,
        frames=lambda sample, cut: np.ascontiguousarray(read(sample, cut)[..., at]),
        left_out=(*recording.left_out, *others),
    )


def files_of(path: str | Path) -> list[Path]:
    """The files of trajectories that a path stands for: those of a folder by name, or itself if it is one."""
    path = Path(path)
    if not path.is_dir() or is_store(path):
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix in suffixes())


def open_recordings(
    path: str | Path, *, fields: Sequence[str] | None = None, axes: str | None = None
) -> list[Recording]:
    """Opens a file, or all files of trajectories in a folder, which must agree in fields, grid, points and time step.

    Args:
        path: of a file, a Zarr store or a folder.
        fields: see :func:`open_recording`.
        axes: see :func:`open_recording`.

    Raises:
        ValueError: if there are none, or they do not agree, naming the two.
    """
    path, files = Path(path), files_of(path)
    found = [open_recording(file, fields=fields, axes=axes) for file in files]
    if not found:
        raise ValueError(f"open_recordings: {path} has no files of trajectories ({', '.join(suffixes())}).")
    check_alike(found)
    return found


def check_alike(found: Sequence[Recording]) -> None:
    """Raises ValueError if files do not agree in fields, grid, points or time step, naming the two."""
    for other in found[1:]:
        for what, a, b in (
            ("fields", found[0].fields, other.fields),
            ("a grid", found[0].shape[2:], other.shape[2:]),
            *_points_and_steps(found[0], other),
        ):
            if a != b:
                raise ValueError(
                    f"open_recordings: {other.path} has {what} {b}, and {found[0].path} {a}; put them into two folders."
                )


def _points_and_steps(first: Recording, other: Recording) -> Iterator[tuple[str, str, str]]:
    """Where two files differ in the ends of their axes or in their time steps; what a file does not tell cannot."""
    for axis, a, b in zip("xyz", first.axes or (), other.axes or (), strict=False):
        one, two = (np.asarray([x[0], x[-1]], float) for x in (a, b))
        if not np.allclose(one, two, rtol=1e-3, atol=1e-3 * float(np.ptp(one))):
            yield f"points along {axis}", f"{one[0]:.4g} to {one[1]:.4g}", f"{two[0]:.4g} to {two[1]:.4g}"
    steps = other_step(first, other)
    if steps is not None:
        yield "a time step", f"{steps[0]:.4g}", f"{steps[1]:.4g}"


def other_step(first: Recording, other: Recording) -> tuple[float, float] | None:
    """The time steps of two files if they differ by more than 1 %; None too where one does not tell its step."""
    mine, its = (_step_if_even(recording) for recording in (first, other))
    return (mine, its) if mine is not None and its is not None and abs(mine - its) > 1e-2 * max(mine, its) else None


def refuse_other_order(first: Recording, other: Recording) -> None:
    """Raises ValueError for two files that name the same fields in another order, in which a network would mix them."""
    mine, its = first.fields, other.fields
    if mine != its and sorted(mine) == sorted(its):
        raise ValueError(
            f"{first.path} has the fields {', '.join(mine)}, and {other.path} {', '.join(its)}: say the order in which "
            f"the network takes them by --fields {','.join(its)} or another."
        )


def _step_if_even(recording: Recording) -> float | None:
    try:
        return recording.time_step
    except ValueError:  # uneven: a matter for whoever reads frames there
        return float(np.median(np.diff(np.asarray(recording.times, float))))
