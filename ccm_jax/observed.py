"""Partially observed frames: masks, sensors, and how a readout treats them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted, is_traced
from ccm_jax.fill import Fill, complete_frames

if TYPE_CHECKING:
    from ccm_jax.readout import PrefixReadout

Array = jax.Array
Missing = Literal["refuse", "nan"]


class Observed(NamedTuple):
    """Observed frames, their mask, and completed frames that a model can start from; a pytree.

    Attributes:
        frames: ``[N, T, *space, C]``, 0 at points that were not observed.
        mask: ``[N, T, *space]``, True where a point was observed.
        complete: ``[N, T, *space, C]``, the frames as completed.
    """

    frames: Array
    mask: Array
    complete: Array


Frames = Array | Observed  # what the steps of a readout take: whole frames, or those with gaps


def complete_of(x: Frames) -> Array:
    """Whole frames ``[N, T, *space, C]``."""
    return x.complete if isinstance(x, Observed) else x


def split_prefix(x: Frames, begin: int, history: int, frames: int) -> tuple[Array, Array, Array | None]:
    """The window that a rollout of the prefix begins from, the frames that it predicts, and their mask, if any."""
    start = begin + history
    if isinstance(x, Observed):
        return x.complete[:, begin:start], x.frames[:, start : start + frames], x.mask[:, start : start + frames]
    return x[:, begin:start], x[:, start : start + frames], None


def as_mask(function: str, frames: Array, mask: Any, missing: Missing) -> Array:
    """Where trajectories ``[N, T, *space, C]`` were observed, ``[N, T, *space]``.

    Args:
        function: name in errors.
        frames: the trajectories.
        mask: booleans ``[*space]``, ``[T, *space]`` or ``[N, T, *space]``, True where a point was observed; or None.
        missing: ``"nan"`` takes a point for missing where any of its channels is NaN.

    Raises:
        ValueError: for a mask of another type or shape.
    """
    if missing not in ("refuse", "nan"):
        raise ValueError(f"{function}: missing is {missing!r}, expected 'refuse' or 'nan'.")
    shape = frames.shape[:-1]
    where = jnp.ones(shape, bool) if mask is None else jnp.asarray(mask)
    if where.dtype != bool:
        raise ValueError(
            f"{function}: mask is {where.dtype}, expected booleans, True where a point was observed; for zeros and "
            "ones pass mask.astype(bool)."
        )
    leading = where.ndim - len(shape[2:])
    fits = 0 <= leading <= 2 and all(a in (b, 1) for a, b in zip(where.shape[::-1], shape[::-1], strict=False))
    if not fits:
        raise ValueError(
            f"{function}: mask has shape {list(where.shape)}, expected [*space] = {list(shape[2:])}, [T, *space] or "
            f"[N, T, *space] = {list(shape)}; it has no axis of channels."
        )
    where = jnp.broadcast_to(where, shape)
    return where & ~jnp.isnan(frames).any(axis=-1) if missing == "nan" else where


def check_observed(
    function: str, where: Array, windows: Sequence[range], counted: np.ndarray, masked: bool = True
) -> None:
    """Raises ValueError for masks ``[N, T, *space]`` that leave nothing to start from, or nothing to compare with.

    Args:
        function: name in errors.
        where: True where a point was observed.
        windows: frames that a model starts from.
        counted: frames of which one at least must be observed.
        masked: whether a mask was given, and not NaN alone.
    """
    if is_traced(where):
        return
    points = np.asarray(where.any(axis=tuple(range(2, where.ndim))))  # [N, T]
    if not points.any():
        why = "the mask leaves no point observed; True means observed, so pass ~mask if it marks the gaps"
        raise ValueError(f"{function}: {why if masked else 'every point of the frames is NaN; pass observed frames'}.")
    for window in windows:
        empty = np.argwhere(~points[:, list(window)])
        if len(empty):
            i, k = empty[0]
            raise ValueError(
                f"{function}: nothing is observed of frame {window[k]} of trajectory {i}, from which the model starts; "
                "shift the frames to where something is, or leave the trajectory out."
            )
    blind = np.flatnonzero(~points[:, counted].any(axis=1))
    if len(blind):
        raise ValueError(
            f"{function}: nothing is observed of trajectory {blind[0]} in the frames that count, "
            f"{', '.join(str(k) for k in counted)}; observe one of them, or fit a readout that counts more of them, "
            "with choices=Choices(begin=(0,))."
        )


def observe(fill: Fill, frames: Array, where: Array) -> Observed:
    """Observed frames with their completion; what stands where nothing was observed is dropped, NaN included."""
    kept = jnp.where(where[..., None], frames, 0)
    return Observed(kept, where, complete_frames(fill, kept, where))


REMEDY = "fix or remove it"


def check_prefix(
    function: str, prefix: Array, history: int, frames: int, *, mask: Array | None = None, remedy: str = REMEDY
) -> None:
    """Raises ValueError for observed frames ``[N, T, *space, C]``, 0 outside of a mask, that cannot be scored."""
    if prefix.ndim < 3:
        raise ValueError(
            f"{function}: frames have shape {list(prefix.shape)} with their batch axis, expected [N, T, *space, C]."
        )
    if frames < 1 or history < 1 or prefix.shape[1] < history + frames or not len(prefix):
        raise ValueError(
            f"{function}: prefix has {counted(prefix.shape[1], 'frame')} (shape {list(prefix.shape)} with its batch "
            f"axis), expected at least {history + frames}: {history} for the model's window and {frames} to score; "
            "observe more frames, or score fewer."
        )
    if is_traced(prefix, mask):
        return
    finite, empty = _finite_and_empty(prefix, mask, range(history, history + frames))
    if not finite:
        frame = int(np.argwhere(~np.isfinite(np.asarray(prefix)))[0, 1])
        raise ValueError(f"{function}: prefix contains NaN or infinite values, first in frame {frame}; {remedy}.")
    if np.asarray(empty).any():
        raise ValueError(
            f"{function}: frame {history + int(np.argwhere(np.asarray(empty))[0, 1])} of the prefix is all zeros, "
            "so its relative error is undefined; start the prefix at a nonzero state."
        )


@functools.partial(jax.jit, static_argnames=("scored",))
def _finite_and_empty(prefix: Array, mask: Array | None, scored: range) -> tuple[Array, Array]:
    """Whether all numbers are finite, and which of the scored frames are 0 everywhere, ``[N, frames]``."""
    kept = slice(scored.start, scored.stop)
    empty = jnp.all(prefix[:, kept] == 0, axis=tuple(range(2, prefix.ndim)))
    if mask is not None:  # a frame of which nothing was observed does not count
        empty &= mask[:, kept].any(axis=tuple(range(2, mask.ndim)))
    return jnp.all(jnp.isfinite(prefix)), empty


def observations(
    function: str, readout: PrefixReadout, x: Array, mask: Any = None, missing: Missing = "refuse"
) -> Frames:
    """What a readout looks at of trajectories ``[N, T, *space, C]``: the first frames, completed if that is asked for.

    See :class:`~ccm_jax.PrefixReadout` for the arguments, and for what is refused in the name of ``function``.
    """
    history, frames = readout.history, readout.frames
    remedy = REMEDY if missing == "nan" else f"{REMEDY}, or pass missing='nan' if NaN marks what was not observed"
    length = history + frames  # one program, however many frames follow
    if mask is None and missing == "refuse" and readout.fill.cutoff is None:
        x = x[:, :length]
        check_prefix(function, x, history, frames, remedy=remedy)
        return x
    where = as_mask(function, x, mask, missing)[:, :length]
    x = jnp.where(where[..., None], x[:, :length], 0)
    check_prefix(function, x, history, frames, mask=where, remedy=remedy)
    if not is_traced(readout.weights):
        starts = [readout.begin] if readout.growth is None else [readout.begin, frames]
        counted = readout.begin + history + np.flatnonzero(np.asarray(readout.weights) > 0)
        check_observed(function, where, [range(start, start + history) for start in starts], counted, mask is not None)
    return observe(readout.fill, x, where)


def sensor_mask(sensors: Any, grid: Sequence[Any], *, periodic: bool = False) -> np.ndarray:
    """The mask of point sensors: True at the grid points nearest to them.

    Args:
        sensors: ``[P, d]``; indices if ``grid`` is a shape, positions if it holds points.
        grid: the shape, ``(64, 64)``, or the positions of the points along each axis, evenly spaced.
        periodic: whether positions wrap around.

    Returns:
        Booleans ``[*space]``.

    Raises:
        ValueError: for a sensor outside the grid, by more than half a spacing, or no sensor at all.

    Example:
        >>> sensor_mask([[0, 2]], (2, 3)).astype(int).tolist()
        [[0, 0, 1], [0, 0, 0]]
        >>> sensor_mask([[0.31, 0.9]], [np.linspace(0, 1, 3), np.linspace(0, 1, 3)]).nonzero()
        (array([1]), array([2]))
    """
    by_shape = all(np.ndim(axis) == 0 for axis in grid)
    axes = [np.arange(n) if by_shape else np.asarray(n, np.float64) for n in grid]
    at = np.asarray(sensors)
    if at.ndim != 2 or not len(at) or at.shape[1] != len(axes):
        raise ValueError(
            f"sensor_mask: sensors have shape {list(at.shape)}, expected [P, {len(axes)}], one row or more; each "
            "sensor needs one entry per axis of the grid."
        )
    if by_shape and not np.issubdtype(at.dtype, np.integer):
        raise ValueError(
            f"sensor_mask: sensors are {at.dtype}, expected whole numbers beside a grid that is given by its shape; "
            "for positions, pass the points of each axis."
        )
    found = []
    for axis, (points, here) in enumerate(zip(axes, at.T, strict=True)):
        spacing = (points[-1] - points[0]) / max(len(points) - 1, 1) or 1.0
        index = (here - points[0]) / spacing
        rounded = np.round(index)
        outside = ~((rounded >= 0) & (rounded < len(points)))  # NaN is outside as well
        if periodic and not by_shape:
            rounded, outside = rounded % len(points), ~np.isfinite(index)
        if outside.any():
            i = int(np.argmax(outside))
            raise ValueError(
                f"sensor_mask: sensor {i} at {at[i].tolist()} is outside the grid along axis {axis}, which goes from "
                f"{points[0]:g} to {points[-1]:g}; drop it, or check units and the order of the axes."
            )
        found.append(rounded.astype(int))
    mask = np.zeros([len(points) for points in axes], bool)
    mask[tuple(found)] = True
    return mask
