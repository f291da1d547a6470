"""Fields of one, two or three space axes as pictures of two."""

from __future__ import annotations

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
