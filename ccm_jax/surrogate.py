"""From a checkpoint to a model that runs: our own runs tell what they are, files of others are described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.interop import dpot_from_torch, fno_from_fno2d, fno_from_neuraloperator
from ccm_jax.io.description import FOREIGN, describe
from ccm_jax.io.names import unflatten
from ccm_jax.io.weights import Weights
from ccm_jax.models import make_model
from ccm_jax.normalize import Normalization, normalized
from ccm_jax.rollout import Apply, RolloutFn, make_rollout

Arrays = Mapping[str, np.ndarray]
Importer = Callable[[Arrays], tuple[dict[str, Any], Any]]


class Surrogate(NamedTuple):
    """A model that runs.

    Attributes:
        apply: ``(params, window [N, history, *space, C]) -> frame``, in physical units.
        history: frames in its window.
        to_params: arrays by name as parameters.
    """

    apply: Apply
    history: int
    to_params: Callable[[Arrays], Any]

    @property
    def rollout_fn(self) -> RolloutFn:
        """The autoregressive rollout."""
        return make_rollout(self.apply)


def surrogate_of(weights: Weights, description: str | None, frame: tuple[int, ...]) -> Surrogate:
    """The model of a checkpoint, for frames of a shape ``[*space, C]``.

    Raises:
        ValueError: if it cannot take such frames, or the description does not fit the weights.
    """
    said = describe(weights, description)
    name, args, history = str(said["model"]), _tuples(said.get("args") or {}), int(said.get("history", 1))
    dim, channels = len(frame) - 1, frame[-1]
    if name in FOREIGN:
        load: Importer = {
            "neuraloperator": lambda arrays: fno_from_neuraloperator(
                dict(arrays) | {"_metadata": weights.metadata.get("_metadata")}, **args
            ),
            "fno2d": lambda arrays: fno_from_fno2d(arrays, grid=frame[:2], **args),  # type: ignore[arg-type]
            "dpot-torch": dpot_from_torch,
        }[name]
        try:
            found, params = load(weights.arrays)
        except TypeError as error:
            raise ValueError(f"{name}: {error}; see args in {description}.") from error
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
    if "mean" in said or "std" in said:
        mean, std = (jnp.ravel(jnp.asarray(said.get(k, d), jnp.float32)) for k, d in (("mean", 0.0), ("std", 1.0)))
        scale = Normalization(*(jnp.broadcast_to(x, (channels,)) if x.size == 1 else x for x in (mean, std)))
        if scale.mean.size != channels or scale.std.size != channels:
            raise ValueError(f"frames have {channels} channels, mean and std {scale.mean.size} and {scale.std.size}.")
        apply = normalized(apply, scale)
    _try(weights, model.init, apply, params, (1, history, *frame))
    return Surrogate(apply, history, to_params)


def _history(name: str, params: Any, channels: int, dim: int, grid_channels: bool) -> int:
    """Frames in the window, from the inputs of the first layer."""
    if name == "dpot-torch":
        return int(params["time"]["w"].shape[0])
    first = params["lift_hidden"] if "lift_hidden" in params else params["lift"]
    inputs = first["kernel"].shape[0] - (dim if grid_channels else 0)
    if inputs <= 0 or inputs % channels:
        raise ValueError(
            f"the model takes {inputs} channels beside the coordinates, and the frames have {channels}: other fields, "
            "or positional_embedding=None, which a YAML file says by args: {grid_channels: false}."
        )
    return inputs // channels


def _try(weights: Weights, init: Any, apply: Apply, params: Any, window: tuple[int, ...]) -> None:
    """Traces one step, which costs nothing and meets every mismatch."""
    try:
        expected = jax.eval_shape(init, jax.random.key(0), jnp.zeros(window))
        shapes, given = (
            {jax.tree_util.keystr(p): tuple(leaf.shape) for p, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
            for tree in (expected, params)
        )
        for key in [*shapes, *given]:
            if shapes.get(key) != given.get(key):
                raise ValueError(f"{key} is {given.get(key, 'missing')}, expected {shapes.get(key, 'no such leaf')}")
        out = jax.eval_shape(apply, params, jnp.zeros(window))
        if out.shape != (window[0], *window[2:]):
            raise ValueError(f"a frame {list(out.shape[1:])} comes out for frames {list(window[2:])}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{weights.path} does not fit its model on a window {list(window)}: {error}.") from error


def _tuples(args: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in args.items()}
