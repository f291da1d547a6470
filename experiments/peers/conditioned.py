"""Networks that take the parameter as an input, and what they are to this package: charts.

    weights(c) = base + sum_k c_k slope_k

A constant input channel shifts the bias of the first layer and nothing else, so a network with such a channel has a
slope in that one bias. Slopes in all biases, or in all leaves, condition it more. So the readouts of :mod:`ccm_jax`
read the parameter of a conditioned network off metadata, maps and frames as they read that of merged experts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from ccm_jax import Chart, Polynomial
from ccm_jax.metrics import relative_l2
from ccm_jax.normalize import Normalization
from ccm_jax.rollout import Apply
from ccm_jax.train import Loss

Array = jax.Array
Params = Any
Kind = Literal["channel", "biases", "all"]


def _is_bias(path: Any, _: Array) -> bool:
    return getattr(path[-1], "key", None) == "bias"


def _is_lift(path: Any) -> bool:
    return any(getattr(part, "key", None) == "lift" for part in path)


KINDS: dict[str, Callable[[Any, Array], bool]] = {
    "channel": lambda path, leaf: _is_bias(path, leaf) and _is_lift(path),
    "biases": _is_bias,
    "all": lambda path, leaf: True,
}


def with_channel(base: Params, key: Array | None, *, history: int, channels: int) -> Params:
    """The weights of a network whose window has one channel more, the parameter: its weights are drawn, or zero.

    Args:
        base: weights of an FNO whose first layer, ``lift``, sees ``history * channels`` fields and the grid.
        key: for an untrained network; without one the network does not look at the channel yet.
        history: frames in the window.
        channels: fields of a frame.
    """

    def widen(path: Any, leaf: Array) -> Array:
        if not _is_lift(path) or leaf.ndim != 2:
            return leaf
        row = jnp.zeros((1, leaf.shape[1]))
        if key is not None:
            row = jax.random.normal(key, row.shape) * leaf.shape[0] ** -0.5
        fields, grid = leaf[: history * channels], leaf[history * channels :]
        frames = jnp.split(fields, history)
        return jnp.concatenate([part for frame in frames for part in (frame, row)] + [grid])

    return jax.tree_util.tree_map_with_path(widen, base)


def without_channel(network: Params, *, history: int, channels: int) -> Params:
    """The same network as ``{"base", "slopes"}``: a channel that is constant in space is a slope of the first bias."""
    wide = next(x for path, x in jax.tree_util.tree_leaves_with_path(network) if _is_lift(path) and x.ndim == 2)
    of_channel = [t * (channels + 1) + channels for t in range(history)]

    def narrow(path: Any, leaf: Array) -> Array:
        return jnp.delete(leaf, jnp.array(of_channel), axis=0) if _is_lift(path) and leaf.ndim == 2 else leaf

    found = start(jax.tree_util.tree_map_with_path(narrow, network), "channel")
    slope = wide[jnp.array(of_channel)].sum(axis=0, keepdims=True)
    return found | {"slopes": jax.tree.map(lambda s: slope if s.ndim else s, found["slopes"])}


def channel_loss(apply: Apply, normalization: Normalization, *, history: int = 1) -> Loss:
    """Mean relative L2 error of one step of a network :func:`with_channel`.

    Args:
        apply: the model on normalised states.
        normalization: of the states; the parameter is shown as it is.
        history: frames in the window.

    Returns:
        ``loss(weights, frames [N, history + 1, *space, C + 1])``, as :func:`conditioned_loss` takes them.
    """
    mean, std = normalization

    def loss(weights: Params, frames: Array) -> Array:
        shift, scale = (jnp.expand_dims(x, tuple(range(frames.ndim - 1))) for x in (mean, std))
        states = (frames[..., :-1] - shift) / scale
        shown = jnp.concatenate([states, frames[..., -1:]], axis=-1)[:, :history]
        predicted = apply(weights, shown) * scale[0] + shift[0]
        return jnp.mean(relative_l2(predicted[:, None], frames[:, history:, ..., :-1]))

    return loss


def start(base: Params, kind: str, key: Array | None = None, dim: int = 1) -> Params:
    """A network that does not depend on its parameter yet: ``{"base", "slopes"}``.

    Args:
        base: weights, of an anchor or untrained.
        kind: a key of ``KINDS``: which leaves have slopes.
        key: with one, slopes of the first layer are drawn as a fresh input channel's weights are.
        dim: number of parameters.
    """

    def slope(path: Any, leaf: Array) -> Array:
        if not KINDS[kind](path, leaf):
            return jnp.zeros(())  # no slope; a leaf without numbers could not be stored
        if key is not None and KINDS["channel"](path, leaf):
            return jax.random.normal(key, (dim, *leaf.shape)) * leaf.size**-0.5
        return jnp.zeros((dim, *leaf.shape), leaf.dtype)

    return {"base": base, "slopes": jax.tree_util.tree_map_with_path(slope, base)}


def weights_at(network: Params, c: Array) -> Params:
    """The weights at a parameter ``[dim]``."""
    return jax.tree.map(lambda b, s: b + jnp.tensordot(c, s, 1) if s.ndim else b, network["base"], network["slopes"])


def chart_of(network: Params, warp: Any = None) -> Chart:
    """The conditioned network as a chart; its coordinates are the parameter as the network was given it."""
    dims = {s.shape[0] for s in jax.tree.leaves(network["slopes"]) if s.ndim}
    (dim,) = dims
    basis = jax.tree.map(lambda b, s: s if s.ndim else jnp.zeros((dim, *b.shape), b.dtype), *network.values())
    return Chart(network["base"], basis, Polynomial(dim=dim, constant=False), warp)


def conditioned_loss(apply: Apply, *, history: int = 1) -> Loss:
    """Mean relative L2 error of one step, each sample at the weights of its own parameter.

    Returns:
        ``loss(network, frames [N, history + 1, *space, C + 1])``; the last channel holds the parameter, everywhere.
    """

    def loss(network: Params, frames: Array) -> Array:
        c, states = frames[:, 0].reshape(len(frames), -1)[:, -1:], frames[..., :-1]

        def one(c: Array, window: Array) -> Array:
            return apply(weights_at(network, c), window[None])[0]

        predicted = jax.vmap(one)(c, states[:, :history])
        return jnp.mean(relative_l2(predicted[:, None], states[:, history:]))

    return loss
