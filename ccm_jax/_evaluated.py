"""What is refused of the arguments of an evaluation, in the name of the function that was called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import as_count, check_numbers, counted, is_traced, kind_of
from ccm_jax._doubts import warn
from ccm_jax._given import check_model
from ccm_jax.chart import Chart
from ccm_jax.coordinate import Estimate
from ccm_jax.rollout import Rollout, RolloutFn

Array = jax.Array
Params = Any
WITHIN = ("future_frames:", "future_error:", "future_error_each:", "future_error_sweep:")  # call one another


def check_future(what: str, trajectories: Any, history: int, frames: int) -> None:
    """Raises ValueError for trajectories ``[N, T, ...]`` without a frame after the observed ones.

    Args:
        what: function and argument, as the error begins.
        trajectories: anything with a shape; what has none is left to others.
        history: frames in the model's window.
        frames: observed frames after it.
    """
    name = what.partition(":")[0]
    history, frames = as_count(f"{name}: history", history), as_count(f"{name}: frames", frames, 0)
    shape = np.shape(trajectories)
    if len(shape) > 1 and shape[1] <= history + frames:
        raise ValueError(
            f"{what} have {counted(shape[1], 'frame')}, expected more than the {history} of the window and the "
            f"{frames} observed after it; use longer trajectories [N, T, *space, C], or fewer frames."
        )


def _as_array(what: str, trajectories: Any) -> Any:
    """Numbers as an array, at least in single precision; raises ValueError for what is none, and warns of NaN."""
    if not hasattr(trajectories, "shape"):
        try:
            trajectories = np.asarray(trajectories, np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{what} are {kind_of(trajectories)}, expected an array [N, T, *space, C]; a file is opened by "
                "ccm_jax.io.recordings.open_recording."
            ) from error
    kind, size = np.dtype(trajectories.dtype).kind, np.dtype(trajectories.dtype).itemsize
    if kind in "iub" or (kind != "c" and size < 4):
        trajectories = trajectories.astype(np.float32)
    if not is_traced(trajectories) and bool(jnp.isnan(trajectories).any()):
        warn(f"{what} contain NaN, so their errors are NaN; fix or remove them.")
    return trajectories


def _warn_without_space(what: str, trajectories: Any) -> None:
    """Warns of three axes that a network took, which may be those of one trajectory."""
    if len(trajectories.shape) == 3 and not is_traced(trajectories):
        n, t, c = trajectories.shape
        warn(
            f"{what} have shape {[n, t, c]}, read as {n} trajectories of {counted(t, 'frame')} with "
            f"{counted(c, 'channel')} and no space [N, T, C]; for one trajectory [T, X, C], pass x[None]."
        )


def _shape_in(how: dict[str, Any]) -> dict[str, int]:
    """The numbers of observed frames among the arguments of a function of :mod:`ccm_jax.evaluate`."""
    return {"history": how.get("history", 1), "frames": how.get("frames", 4)}


def _raise_as(name: str, error: ValueError) -> NoReturn:
    """Raises the error of a function that another one calls, in the name of that one."""
    said = str(error)
    inner = next((each for each in WITHIN if said.startswith(each)), "")
    if said.startswith("rollout_fn "):
        raise ValueError(f"{name}: {said}") from error
    if not inner or said.startswith(f"{name}:"):
        raise error
    raise ValueError(f"{name}:{said[len(inner) :]}") from error


def in_order(function: Callable[..., Array]) -> Callable[..., Array]:
    """Names arguments in another order than (params, rollout_fn, trajectories), before jit does not understand them."""

    @functools.wraps(function)
    def checked(params: Params, rollout_fn: RolloutFn, trajectories: Array, **how: Any) -> Array:
        if isinstance(params, Rollout) or (callable(params) and not callable(rollout_fn)):
            raise ValueError(
                f"{function.__name__}: params is {kind_of(params)} and rollout_fn {kind_of(rollout_fn)}, expected "
                "weights and a function; the arguments are (params, rollout_fn, trajectories)."
            )
        if not isinstance(params, (Chart, Estimate)):
            check_numbers(function.__name__, "params", params)
        trajectories = _as_array(f"{function.__name__}: trajectories", trajectories)
        check_future(f"{function.__name__}: trajectories", trajectories, **_shape_in(how))
        try:
            errors = function(params, rollout_fn, trajectories, **how)
            _warn_without_space(f"{function.__name__}: trajectories", trajectories)
            return errors
        except ValueError as error:
            if not isinstance(params, (Chart, Estimate)):
                _raise_as(function.__name__, error)
            raise ValueError(
                f"{function.__name__}: params is {'a Chart' if isinstance(params, Chart) else 'an Estimate'}, expected "
                "weights; pass chart(found)."
            ) from error

    return checked


def as_rows(function: Callable[..., Array]) -> Callable[..., Array]:
    """Takes coordinates from an Estimate or a list, and names those without their two axes, before jit fails on them.

    They are the fourth argument of the function, in rows ``[n, d]``.
    """
    name = list(inspect.signature(function).parameters)[3]

    @functools.wraps(function)
    def checked(chart: Chart, rollout_fn: RolloutFn, trajectories: Array, *rows: Any, **how: Any) -> Array:
        check_model(function.__name__, chart, rollout_fn)
        if not rows and name in how:
            rows = (how.pop(name),)
        given = [getattr(each, "coordinate", each) for each in rows]
        c = [each if hasattr(each, "ndim") else np.asarray(each, np.float32) for each in given]
        if c and c[0].ndim != 2:
            raise ValueError(
                f"{function.__name__}: {name} have shape {list(c[0].shape)}, expected [n, d]: one row for each, with "
                f"{counted(chart.features.dim, 'number')}."
            )
        trajectories = _as_array(f"{function.__name__}: trajectories", trajectories)
        check_future(f"{function.__name__}: trajectories", trajectories, **_shape_in(how))
        try:
            errors = function(chart, rollout_fn, trajectories, *c, **how)
            _warn_without_space(f"{function.__name__}: trajectories", trajectories)
            return errors
        except ValueError as error:
            _raise_as(function.__name__, error)

    return checked
