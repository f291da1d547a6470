"""How a foreign network takes its window and what it returns: where channels and frames are, and what is predicted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np


class Layout(NamedTuple):
    """What a network expects, compared with this package's states ``[N, history, *space, C]``.

    Attributes:
        channels: ``"first"``, ``[N, C, *space]``, or ``"last"``, ``[N, *space, C]``.
        window: ``"merged"``, the frames of the window as channels, the oldest first; or ``"axis"``, an axis of their
            own after that of the batch.
        batched: False for a network of one state, without the axis of the batch.
        predicts: ``"frame"``, the next one; ``"increment"``, what is to be added to the last one; or ``"rate"``, its
            derivative, an explicit step of Euler's.
        time_step: time between two frames, in the units of a rate.
        static: fields ``[*space, S]`` that the network takes as further channels, after those of a merged window.
    """

    channels: Literal["first", "last"] = "last"
    window: Literal["merged", "axis"] = "merged"
    batched: bool = True
    predicts: Literal["frame", "increment", "rate"] = "frame"
    time_step: float = 1.0
    static: np.ndarray | None = None


def next_frame(network: Callable[[Any], Any], window: Any, layout: Layout, xp: Any) -> Any:
    """The frame after a window ``[N, history, *space, C]``, ``[N, *space, C]``, by a batched network.

    Of several results of the network the first is its frame; an axis of one frame after the batch's is dropped.

    Args:
        network: takes and gives arrays in the layout.
        window: an array of ``xp``.
        layout: the network's.
        xp: ``jax.numpy``, or ``torch``.
    """
    x = window
    if layout.window == "merged":
        x = xp.moveaxis(x, 1, -2)
        x = x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
        if layout.static is not None:
            static = xp.broadcast_to(layout.static, (len(x), *layout.static.shape))
            x = xp.concat([x, static], axis=-1)
    if layout.channels == "first":
        x = xp.moveaxis(x, -1, 1 if layout.window == "merged" else 2)
        x = x.contiguous() if hasattr(x, "contiguous") else x  # modules may call view, as on states of their own
    out = network(x)
    out = out[0] if isinstance(out, (tuple, list)) and out else out
    if not hasattr(out, "ndim"):
        raise TypeError(f"the network gives {type(out).__name__}, expected an array, or a tuple whose first is one")
    if out.ndim == window.ndim and out.shape[1] == 1:
        out = out[:, 0]
    if layout.channels == "first":
        out = xp.moveaxis(out, 1, -1)
    if layout.predicts == "frame":
        return out
    return window[:, -1] + (layout.time_step * out if layout.predicts == "rate" else out)
