"""Frames as readouts take them: their type, and whether they have the size of those of validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_merged, is_traced, kind_of
from ccm_jax._doubts import warn
from ccm_jax.chart import Chart
from ccm_jax.observed import Frames, Observed

Array = jax.Array
UNLIKE = 30.0  # times larger or smaller than any of validation: frames in another unit
UNLIKE_ALIKE = 10.0  # the same, where all of validation is of one size:
ALIKE = 2.0  # times the smallest, at most
DOUBTFUL = 3.0  # the factor that is told where frames are doubtful for another reason, too


def as_frames(chart: Chart, frames: Any, what: str = "frames") -> Array:
    """Frames in a floating type that is no narrower than the weights', so that a rollout keeps its type.

    Raises:
        ValueError: for anything but an array of real numbers with two axes or more, in the name of ``what``.
    """
    expected = "expected [T, *space, C] or a batch of those"
    try:
        x = jnp.asarray(frames)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} are {kind_of(frames)}, {expected}: an array of numbers.") from error
    if jnp.iscomplexobj(x):
        raise ValueError(f"{what} are {x.dtype}, expected real numbers; pass real and imaginary parts as two channels.")
    if x.ndim < 2:
        raise ValueError(f"{what} have shape {list(x.shape)}, {expected}.")
    weights = [leaf.real.dtype for leaf in jax.tree.leaves(chart.origin) if is_merged(leaf)]
    return x.astype(jnp.result_type(x.dtype, jnp.float32, *weights))


def sizes_of(regimes: Iterable[Any], observed: int) -> np.ndarray:
    """Lowest and highest root mean square of the first frames of trajectories ``[N, T, *space, C]``, ``[2]``."""
    sizes = [np.square(np.asarray(x[:, :observed], np.float64)).mean(axis=tuple(range(1, x.ndim))) for x in regimes]
    every = np.sqrt(np.concatenate(sizes))
    return np.array([every.min(), every.max()])


def warn_unlike(function: str, regimes: Sequence[Any]) -> None:
    """Warns of a regime whose frames are so much larger or smaller than all others' that it has another unit."""
    ends = np.array([sizes_of([x], x.shape[1]) for x in regimes])
    for i, (low, high) in enumerate(ends):
        others = np.delete(ends, i, axis=0)
        if len(others) > 1 and (others.max() * UNLIKE < low or high * UNLIKE < others.min() < np.inf):
            ratio = np.sqrt(low * high / (others.min() * others.max() + 1e-300))
            times = float(f"{max(ratio, 1 / max(ratio, 1e-30)):.2g}")
            warn(
                f"{function}: the frames of validation[{i}] are about {times:,.0f} times "
                f"{'larger' if ratio > 1 else 'smaller'} than those of all other regimes: check their unit."
            )
            return


def other_unit(
    sizes: Any, frames: Any, mask: Any = None, *, far: float | None = None, of: str = "those of validation"
) -> str:
    """What frames ``[N, T, *space, C]`` of another unit are told, without a full stop; empty for others.

    Args:
        sizes: of validation, of :func:`sizes_of`; None where there is none.
        frames: 0 where they were not observed.
        mask: where they were, ``[N, T, *space]``; None is everywhere.
        far: factor from which on frames are told; by default one that no flow of the same unit has.
        of: what the sizes are of, in words.
    """
    if sizes is None or is_traced((sizes, frames, mask)) or jax.process_count() > 1:
        return ""
    x = np.square(np.asarray(frames, np.float64))
    mean = x.mean() if mask is None else x[np.asarray(mask)].mean()
    size, (low, high) = float(np.sqrt(mean)), (float(s) for s in np.asarray(sizes, np.float64))
    far = far or (UNLIKE if high > ALIKE * low else UNLIKE_ALIKE)
    if not (low > 0 and 0 < size < np.inf) or low / far <= size <= high * far:
        return ""
    ratio = size / np.sqrt(low * high)
    times = float(f"{max(ratio, 1 / ratio):.2g}")
    said = f"{times:,.0f}" if times < 1e6 else f"{times:.0e}"
    return (
        f"the frames are about {said} times {'larger' if ratio > 1 else 'smaller'} than {of} (root mean "
        f"square {size:.3g}, and {low:.3g} to {high:.3g}): check their unit"
    )


def warn_of_unit(function: str, sizes: Any, x: Frames, *, far: float | None = None) -> bool:
    """Warns of frames that :func:`other_unit` tells something of, where numbers are known; says whether."""
    frames, mask = (x.frames, x.mask) if isinstance(x, Observed) else (x, None)
    said = other_unit(sizes, frames, mask, far=far)
    if said:
        warn(f"{function}: {said}.")
    return bool(said)
