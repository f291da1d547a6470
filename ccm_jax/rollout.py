"""Iterates a map: repeat it, record it, or roll out a model autoregressively."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ccm_jax._checks import as_count, counted, kind_of
from ccm_jax._reasons import text_of
from ccm_jax._shown import shown

Array = jax.Array
Params = Any
Step = Callable[[Array], Array]
Apply = Callable[[Params, Array], Array]
RolloutFn = Callable[..., Array]
MOST_TRIED = 12  # channels, or frames of a window, with which a model is tried that fails


def repeat(step: Step, n: int) -> Step:
    """The n-fold composition of ``step``, compiled once for any ``n``: ``u_0 -> u_n``."""

    def repeated(u: Array) -> Array:
        return jax.lax.fori_loop(0, n, lambda _, state: step(state), u)

    return repeated


def rollout(step: Step, n: int, *, include_init: bool = False) -> Callable[[Array], Array]:
    """Records ``n`` applications of ``step``.

    Args:
        step: state -> state.
        n: number of steps.
        include_init: whether the first frame is the initial state.

    Returns:
        A function ``u_0 -> [n, ...]`` (or ``[n + 1, ...]``), frames along a new leading axis.

    Example:
        >>> rollout(lambda u: 2 * u, 3)(jax.numpy.ones(())).tolist()
        [2.0, 4.0, 8.0]
    """

    def rolled(u: Array) -> Array:
        def body(state: Array, _: None) -> tuple[Array, Array]:
            state = step(state)
            return state, state

        _, frames = jax.lax.scan(body, u, None, length=n)
        return jnp.concatenate([u[None], frames]) if include_init else frames

    return rolled


@dataclass(frozen=True, eq=False)
class Rollout:
    """What :func:`make_rollout` makes; equal for equal models, so that programs compiled for one serve the other."""

    apply: Apply

    def __repr__(self) -> str:
        return shown(self)

    def __call__(self, params: Params, window: Array, steps: int, *context: Any) -> Array:
        if context:
            raise ValueError(
                "make_rollout: it takes no context; write your own rollout_fn(params, window, steps, context, start)."
            )
        if not hasattr(window, "ndim"):
            raise ValueError(
                f"make_rollout: window is {kind_of(window)}, expected frames [N, history, *space, C]; the "
                "arguments of a rollout are (params, window, steps)."
            )
        if window.ndim < 3:
            raise ValueError(f"make_rollout: window has shape {list(window.shape)}, expected [N, history, *space, C].")
        steps = as_count("make_rollout: steps", steps, 0)

        def body(window: Array, _: None) -> tuple[Array, Array]:
            return advance(self.apply, params, window)

        try:
            _, frames = jax.lax.scan(body, window, None, length=steps)
        except Exception as error:  # networks of others may raise anything
            remedy = "" if str(error).startswith("make_rollout:") else _remedy(self.apply, params, window)
            if not remedy:
                error.add_note(f"make_rollout: apply(params, window) raised this for a window {_named(window)}.")
                raise
            raise ValueError(f"make_rollout: apply fails on a window {list(window.shape)}: {remedy}") from error
        return jnp.moveaxis(frames, 0, 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rollout) or self.apply is other.apply:
            return isinstance(other, Rollout)
        known = _hash(self.apply)
        return known is not None and known == _hash(other.apply) and bool(self.apply == other.apply)

    def __hash__(self) -> int:
        found = _hash(self.apply)
        return id(self.apply) if found is None else found


def advance(apply: Apply, params: Params, window: Array) -> tuple[Array, Array]:
    """One step of a model: the next window, and the frame that is new in it."""
    frame = apply(params, window)
    _check_frame(frame, window)
    return jnp.concatenate([window[:, 1:], frame[:, None]], axis=1), frame


def _remedy(apply: Apply, params: Params, window: Array) -> str:
    """What to change where a model fails on a window, and would not if it was called otherwise; empty if unknown."""
    if shape_of(apply, params, window[None]) == (1, *window.shape[1:]):
        return "expected [N, history, *space, C]; for one trajectory, pass window[None]."
    if shape_of(apply, params, window[None, None]) == (1, *window.shape):
        return "expected [N, history, *space, C]; for one frame, pass window[None, None]."
    if shape_of(apply, {"params": params}, window) is not None:
        return 'params lack the level "params", as of Flax; pass the whole tree of init, {"params": ...}.'
    if shape_of(apply, window, params) == (*window.shape[:1], *window.shape[2:]):
        return "the arguments of apply are (params, window), in this order."
    return _other_axes(apply, params, window)


def _other_axes(apply: Apply, params: Params, window: Array) -> str:
    """What a model takes that fails on a window for its channels or its number of frames; empty if unknown."""
    n, history, *space, channels = window.shape

    def takes(*shape: int) -> bool:
        return shape_of(apply, params, jax.ShapeDtypeStruct(shape, window.dtype)) == (n, *shape[2:])

    if len(space) > 0 and takes(n, history, *space[1:], channels, space[0]):
        return "expected channels last, [N, history, *space, C]; pass jnp.moveaxis(window, 2, -1)."
    sizes = range(1, MOST_TRIED + 1)
    if found := [c for c in sizes if c != channels and takes(n, history, *space, c)]:
        return (
            f"the frames have {counted(channels, 'channel')}, and the model takes {found[0]}; pass the fields that it "
            "was trained on, channels last."
        )
    if found := [h for h in sizes if h != history and takes(n, h, *space, channels)]:
        return f"the window has {counted(history, 'frame')}, and the model takes {found[0]} (history={found[0]})."
    return ""


def _named(window: Array) -> str:
    """The shape of a window, with the names of its axes."""
    return f"[N, history, *space, C] = {list(window.shape)}"


def shape_of(function: Callable[..., Any], *given: Any) -> tuple[int, ...] | None:
    """The shape of what a model gives for other arguments than it got, without running it; None where it fails."""
    try:
        return tuple(jax.eval_shape(function, *given).shape)
    except Exception:  # networks of others may raise anything
        return None


def _check_frame(frame: Any, window: Array) -> None:
    """Raises ValueError unless a model returns one frame for a window."""
    expected = (window.shape[0], *window.shape[2:])
    if not hasattr(frame, "shape"):
        raise ValueError(
            f"make_rollout: apply returns {kind_of(frame)}, expected one frame [N, *space, C] = "
            f"{list(expected)}; return the frame only."
        )
    if frame.shape != expected:
        raise ValueError(
            f"make_rollout: apply returns {list(frame.shape)} for a window {_named(window)}, "
            f"expected one frame [N, *space, C] = {list(expected)}; a model of single "
            "frames takes window[:, -1]."
        )


def _hash(apply: Apply) -> int | None:
    """The hash of a model; None for one that has none, such as a module that holds arrays."""
    try:
        return hash(apply)
    except TypeError:
        return None


def make_rollout(apply: Apply) -> RolloutFn:
    """Turns a one-step model into an autoregressive rollout over a window of past frames.

    Rollouts of equal models are equal: made anew for each call, as ``make_rollout(model.apply)``, they compile once.

    Args:
        apply: ``apply(params, window) -> frame`` with ``window [N, history, *space, C]`` and
            ``frame [N, *space, C]``.

    Returns:
        ``rollout_fn(params, window, steps) -> frames [N, steps, *space, C]``. Every predicted frame enters the
        window as its newest; the oldest leaves it.

    Raises:
        ValueError: if ``apply`` is not a function; on the first call, if it does not return one frame for a window.

    Example:
        >>> rollout_fn = make_rollout(lambda params, window: params * window[:, -1])  # a model of single frames
        >>> rollout_fn(0.5, jnp.ones((1, 1, 4, 1)), 3)[0, :, 0, 0].tolist()
        [0.5, 0.25, 0.125]
    """
    expected = "expected a function (params, window) -> frame"
    if isinstance(apply, type):
        raise ValueError(f"make_rollout: apply is the class {apply.__name__}, {expected}; instantiate it first.")
    if hasattr(apply, "init") and callable(getattr(apply, "apply", None)):
        raise ValueError(f"make_rollout: apply is {kind_of(apply)}, {expected}; pass its .apply.")
    if not callable(apply):
        raise ValueError(f"make_rollout: apply is {kind_of(apply)}, {expected}.")
    takes = _signature(apply)
    if takes is not None and not _binds_two(takes):
        if inspect.isroutine(apply):
            given, remedy = "a function", "a model of more inputs needs a rollout_fn of its own, with a context"
        else:
            given = kind_of(apply)
            remedy = "put params into it: eqx.combine(params, static)(window), or nnx.merge(graphdef, params)(window)"
        raise ValueError(f"make_rollout: apply is {given} that takes {takes}, {expected}; {remedy}.")
    return Rollout(apply)


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except Exception:  # unknown of compiled code; objects of others may raise anything
        return None


def _binds_two(takes: inspect.Signature) -> bool:
    try:
        takes.bind(None, None)
    except TypeError:
        return False
    return True


def call_rollout(
    rollout_fn: RolloutFn, params: Params, window: Array, steps: int, context: Any, start: int | Array
) -> Array:
    """Calls a rollout with its additional inputs, if any.

    Args:
        rollout_fn: ``(params, window, steps)``, or with a context ``(params, window, steps, context, start)``.
        params: weights.
        window: ``[N, history, *space, C]``.
        steps: frames to predict.
        context: a tree of arrays ``[N, ...]``: static fields, a forcing over time, the parameter; or None.
        start: index within the trajectory of the first predicted frame, for models that take the time.

    Raises:
        ValueError: if the rollout fails on the window, or returns frames of another shape than the window's.
    """
    what = f"a window {_named(window)}"
    more = () if context is None else (context, start)
    try:
        frames = rollout_fn(params, window, steps, *more)
    except (ImportError, RuntimeError):
        raise
    except Exception as error:  # networks of others may raise anything
        if str(error).startswith("make_rollout:"):  # it says all there is to say
            raise
        said = (text_of(error) or type(error).__name__).partition("\n")[0].rstrip(".")
        takes = "(params, window, steps, context, start)" if more else "(params, window, steps)"
        such = "" if more else ", such as make_rollout(apply)"
        raise ValueError(
            f"rollout_fn does not take {what}; expected rollout_fn{takes}{such}, and frames of the grid and channels "
            f"that the model was trained on (these have {counted(window.shape[-1], 'channel')}). The model raised: "
            f"{said}."
        ) from error
    if not hasattr(frames, "shape"):
        raise ValueError(f"rollout_fn returns {kind_of(frames)}, expected frames [N, steps, *space, C].")
    expected = (window.shape[0], steps, *window.shape[2:])
    if frames.shape != expected:
        raise ValueError(
            f"rollout_fn returns {list(frames.shape)} for {what} and {counted(steps, 'step')}, expected [N, steps, "
            f"*space, C] = {list(expected)}; make it with make_rollout(apply), where apply returns one frame [N, "
            "*space, C]."
        )
    return frames
