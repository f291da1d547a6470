"""Opening files of trajectories, one or a folder of them, and whether what they say of themselves agrees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ccm_jax.io.boundary import reading
from ccm_jax.io.recordings.recording import Recording
from ccm_jax.io.recordings.registry import described, suffixes


def open_recording(path: str | Path) -> Recording:
    """Opens a file of trajectories; its layout is told by its content.

    Raises:
        ValueError: if it is none, damaged, or of no known layout.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"open_recording: there is no file {path}.")
    with reading("open_recording", path, "write it anew with write_recording"):
        found = described(path)
    for what, values, n in (
        ("frames", found.times, found.shape[1]),
        *((f"points along {a}", x, n) for a, x, n in zip("xyz", found.axes or (), found.shape[2:], strict=False)),
    ):
        if values is not None and (np.ndim(values) != 1 or np.asarray(values).dtype.kind not in "fiu"):
            raise ValueError(f"open_recording: {path} has {what} that are no list of numbers; write it anew.")
        if values is not None and len(values) != n:
            raise ValueError(
                f"open_recording: {path} has {n} {what} in its data, and coordinates of {len(values)}: its axes are in "
                f"another order than those of {found.layout}, or it is damaged. Write it anew with write_recording."
            )
    return found


def open_recordings(path: str | Path) -> list[Recording]:
    """Opens a file, or all files of trajectories in a folder, which must agree in fields, grid, points and time step.

    Raises:
        ValueError: if there are none, or they do not agree, naming the two.
    """
    path = Path(path)
    files = sorted(p for p in path.iterdir() if p.suffix in suffixes()) if path.is_dir() else [path]
    found = [open_recording(file) for file in files]
    if not found:
        raise ValueError(f"open_recordings: {path} has no files of trajectories ({', '.join(suffixes())}).")
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
    return found


def _points_and_steps(first: Recording, other: Recording) -> Iterator[tuple[str, str, str]]:
    """Where two files differ in the ends of their axes or in their time steps; what a file does not tell cannot."""
    for axis, a, b in zip("xyz", first.axes or (), other.axes or (), strict=False):
        one, two = (np.asarray([x[0], x[-1]], float) for x in (a, b))
        if not np.allclose(one, two, rtol=1e-3, atol=1e-3 * float(np.ptp(one))):
            yield f"points along {axis}", f"{one[0]:.4g} to {one[1]:.4g}", f"{two[0]:.4g} to {two[1]:.4g}"
    mine, its = (_step_if_even(recording) for recording in (first, other))
    if mine is not None and its is not None and abs(mine - its) > 1e-2 * max(mine, its):
        yield "a time step", f"{mine:.4g}", f"{its:.4g}"


def _step_if_even(recording: Recording) -> float | None:
    try:
        return recording.time_step
    except ValueError:  # a matter for whoever needs the step
        return None
