"""Fields of one, two or three space axes as pictures of two."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def panels(field: Any, at: Any) -> Any:
    """Frames of one field ``[T, *space]`` as pictures ``[pictures, a, b]``, all drawn by :func:`upright`.

    Of two space axes the frames ``at`` some times, ``[times, H, W]``; of three their middle slices across the last
    axis; of one all frames together, as one picture of time and space, ``[1, T, N]``.

    Args:
        field: array of numpy or jax.
        at: numbers of the frames, ``[times]``.
    """
    if field.ndim == 2:
        return field[None]
    if field.ndim == 3:
        return field[at]
    return field[at][..., field.shape[-1] // 2]


def upright(picture: Any) -> Any:
    """A picture ``[a, b]`` as ``imshow(..., origin="lower")`` takes it: the first axis to the right, the second up."""
    return picture.swapaxes(-1, -2)


def better_anchor(results: dict[str, Any], arrays: Collection[str]) -> str:
    """The anchor whose frames are shown: the better one, or the first where an older run kept no frames of the other.

    Args:
        results: of the run.
        arrays: ``evaluation.npz``, or its names.
    """
    better = str(results.get("summary", {}).get("better_anchor", "anchor"))
    return better if f"frames/{better}" in arrays else "anchor"
