"""A runnable model from a checkpoint: checkpoints of this package describe themselves, others need a description."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import counted
from ccm_jax._reasons import reason_of
from ccm_jax.interop import dpot_from_torch, fno_from_fno2d, fno_from_neuraloperator
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.own import LAYOUTS, Own, apply_of, find_own, params_of
from ccm_jax.io.description import FOREIGN, LAYOUT, PREDICTS, describe, stored
from ccm_jax.io.names import restore, unflatten
from ccm_jax.io.weights import Weights
from ccm_jax.models import is_registered, make_model
from ccm_jax.normalize import Normalization, normalized, normalized_rollout
from ccm_jax.rollout import Apply, RolloutFn, make_rollout

Arrays = Mapping[str, np.ndarray]
Importer = Callable[[Arrays], tuple[dict[str, Any], Any]]


class Surrogate(NamedTuple):
    """A runnable model.

    Attributes:
        apply: ``(params, window [N, history, *space, C]) -> frame``, in physical units.
        history: frames in its window.
        to_params: arrays by name as parameters.
        rollout_fn: the autoregressive rollout.
        spreads: whether rollouts may be spread over devices; PyTorch's come in turn, and use the cores themselves.
    """

    apply: Apply
    history: int
    to_params: Callable[[Arrays], Any]
    rollout_fn: RolloutFn
    spreads: bool = True


def surrogate_of(weights: Weights, description: str | None, frame: tuple[int, ...]) -> Surrogate:
    """The model of a checkpoint, for frames of a shape ``[*space, C]``.

    Raises:
        ValueError: if it cannot take such frames, or the description does not fit the weights.
    """
    said = describe(weights, description)
    name, args, history = str(said["model"]), _tuples(said.get("args") or {}), int(said.get("history", 1))
    dim, channels = len(frame) - 1, frame[-1]
    scale = _normalization(said, channels)
    if said.get("predicts") == "rate" and "time_step" not in said:
        raise ValueError(f"{description}: predicts is rate; say time_step, the time between two frames in its units.")
    if ":" in name and not is_registered(name):
        return _own(weights, said, scale, frame)
    _refuse_layout(name, said)
    if name in FOREIGN:
        load: Importer = {
            "neuraloperator": lambda arrays: fno_from_neuraloperator(
                dict(arrays) | {"_metadata": stored(weights, "_metadata")}, **args
            ),
            "fno2d": lambda arrays: fno_from_fno2d(arrays, grid=frame[:-1], **args),  # type: ignore[arg-type]
            "dpot-torch": dpot_from_torch,
        }[name]
        try:
            found, params = load(weights.arrays)
        except TypeError as error:
            raise ValueError(f"{name}: {error}; see args in {description}.") from error
        except ValueError as error:
            raise ValueError(f"{weights.path}: {error}") from error
        model = make_model("dpot" if name == "dpot-torch" else "fno", **found)
        if "history" not in said:
            history = _history(name, params, channels, dim, found.get("grid_channels", True))

        def to_params(arrays: Arrays) -> Any:
            return jax.tree.map(jnp.asarray, load(arrays)[1])

    else:
        model = make_model(name, **({"out_channels": channels} | args))

        def to_params(arrays: Arrays) -> Any:
            return jax.tree.map(jnp.asarray, unflatten(arrays))

        params = to_params(weights.arrays)
    apply = model.apply
    if "predicts" in said:
        layout = LAYOUTS["model"]._replace(**{key: said[key] for key in PREDICTS if key in said})
        apply = apply_of(Own(model, "model"), layout)
    apply = apply if scale is None else normalized(apply, scale)
    _try(weights, model.init, apply, params, (1, history, *frame))
    return Surrogate(apply, history, to_params, make_rollout(apply))


def _normalization(said: Mapping[str, Any], channels: int) -> Normalization | None:
    """Mean and standard deviation of a description, if it tells them: one number for all channels, or one for each."""
    if "mean" not in said and "std" not in said:
        return None
    mean, std = (jnp.ravel(jnp.asarray(said.get(k, d), jnp.float32)) for k, d in (("mean", 0.0), ("std", 1.0)))
    scale = Normalization(*(jnp.broadcast_to(x, (channels,)) if x.size == 1 else x for x in (mean, std)))
    if scale.mean.size != channels or scale.std.size != channels:
        raise ValueError(
            f"frames have {counted(channels, 'channel')}, mean and std {scale.mean.size} and {scale.std.size}."
        )
    return scale


def _refuse_layout(name: str, said: Mapping[str, Any]) -> None:
    given = sorted(set(said) & (set(LAYOUT) - set(PREDICTS)))
    if given:
        raise ValueError(f"{given[0]} is for networks of your own, MODULE:NAME; {name} is known here. Leave it out.")


def _own(weights: Weights, said: Mapping[str, Any], scale: Normalization | None, frame: tuple[int, ...]) -> Surrogate:
    """A network of the user's, by ``MODULE:NAME``, in the layout that the description says."""
    own = find_own(str(said["model"]), said.get("args") or {})
    layout, history = LAYOUTS[own.kind]._replace(**{k: said[k] for k in LAYOUT if k in said}), said.get("history", 1)
    window, what = (1, int(history), *frame), str(weights.path)
    if layout.static is not None and (layout.window != "merged" or layout.static.shape[:-1] != frame[:-1]):
        raise ValueError(
            f"static has shape {layout.static.shape}, expected {[*frame[:-1], 'S']} as these frames have, and a merged "
            "window."
        )
    if own.kind == "torch":
        return _torch(weights, own.network, layout, scale, window)

    def to_params(arrays: Arrays) -> Any:
        if own.kind in ("equinox", "nnx"):
            return params_of(own.network, arrays, what)
        tree = unflatten(arrays) if weights.tree is None else restore(arrays, weights.tree)
        return jax.tree.map(jnp.asarray, tree)

    apply, params = apply_of(own, layout), to_params(weights.arrays)
    with _fitting(weights, window):
        _check_frame(jax.eval_shape(apply, params, jnp.zeros(window)).shape, window)
    apply = apply if scale is None else normalized(apply, scale)
    return Surrogate(apply, history, to_params, make_rollout(apply))


def _torch(
    weights: Weights, module: Any, layout: Layout, scale: Normalization | None, window: tuple[int, ...]
) -> Surrogate:
    """A PyTorch module; one state goes through it at once, to meet every mismatch."""
    from ccm_jax.interop.torch import as_torch_params, run_torch, torch_rollout

    def to_params(arrays: Arrays) -> Any:
        return jax.tree.map(jnp.asarray, as_torch_params(module, arrays, str(weights.path)))

    params = to_params(weights.arrays)  # what does not fit here, has nothing to do with the frames
    with _fitting(weights, window):
        _check_frame(run_torch(module, layout, params, jnp.ones(window), 1)[:, 0].shape, window)
    plain = torch_rollout(module, layout)
    rollout_fn = plain if scale is None else normalized_rollout(plain, scale)

    def apply(params: Any, window: Any) -> Any:
        return rollout_fn(params, window, 1)[:, 0]

    return Surrogate(apply, window[1], to_params, rollout_fn, spreads=False)


def _history(name: str, params: Any, channels: int, dim: int, grid_channels: bool) -> int:
    """Frames in the window, from the inputs of the first layer."""
    if name == "dpot-torch":
        return int(params["time"]["w"].shape[0])
    first = params["lift_hidden"] if "lift_hidden" in params else params["lift"]
    inputs = first["kernel"].shape[0] - (dim if grid_channels else 0)
    if inputs <= 0 or inputs % channels:
        raise ValueError(
            f"the model takes {counted(inputs, 'channel')} besides the coordinates, and the frames have {channels}: "
            "other fields, or positional_embedding=None, set in a YAML file by args: {grid_channels: false}."
        )
    return inputs // channels


def _try(weights: Weights, init: Any, apply: Apply, params: Any, window: tuple[int, ...]) -> None:
    """Traces one step, which costs nothing and meets every mismatch."""
    with _fitting(weights, window):
        expected = jax.eval_shape(init, jax.random.key(0), jnp.zeros(window))
        shapes, given = (
            {jax.tree_util.keystr(p): tuple(leaf.shape) for p, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
            for tree in (expected, params)
        )
        for key in [*shapes, *given]:
            if shapes.get(key) != given.get(key):
                raise ValueError(f"{key} is {given.get(key, 'missing')}, expected {shapes.get(key, 'no such leaf')}")
        _check_frame(jax.eval_shape(apply, params, jnp.zeros(window)).shape, window)


@contextlib.contextmanager
def _fitting(weights: Weights, window: tuple[int, ...]) -> Iterator[None]:
    """Whatever a network raises, it does not fit; one line says so."""
    try:
        yield
    except ModuleNotFoundError:
        raise
    except Exception as error:  # networks of others may raise anything
        said = reason_of(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise ValueError(f"{weights.path} does not fit its model on a window {list(window)}: {said}.") from error


def _check_frame(shape: tuple[int, ...], window: tuple[int, ...]) -> None:
    if tuple(shape) != (window[0], *window[2:]):
        raise ValueError(f"a frame {list(shape[1:])} comes out for frames {list(window[2:])}")


def _tuples(args: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in args.items()}
