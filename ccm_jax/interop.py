"""Weights of other packages as trees of this one, and back, without their code: flat names in, flat names out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

Flat = Mapping[str, Any]
Params = dict[str, Any]

_CONV = "fno_blocks.convs.{}.weight.tensor"


def fno_from_neuraloperator(state: Flat) -> tuple[dict[str, Any], Params]:
    """A neuraloperator ``FNO`` (dense, real data, no norms, no padding) as arguments and parameters of ``models.FNO``.

    The same numbers come out: ``make_model("fno", **arguments).apply(params, window)`` is the module's forward pass on
    ``window[:, 0]`` with channels last.

    Args:
        state: its ``state_dict``, as arrays by name; a ``_metadata`` entry is left aside.

    Returns:
        The arguments of the model and its parameters, as numpy arrays.

    Raises:
        ValueError: for parts that ``models.FNO`` does not have, by name.

    Source: neuraloperator 2.0.0, ``neuralop/models/fno.py``; modes are stored from ``-m`` to ``m - 1``.
    """
    name = "fno_from_neuraloperator"
    left = {key: np.asarray(value) for key, value in state.items() if key != "_metadata"}
    depth = 1 + max((int(m[1]) for key in left if (m := re.match(r"fno_blocks\.convs\.(\d+)\.", key))), default=-1)
    if not depth or _CONV.format(0) not in left:
        raise ValueError(f"{name}: there is no {_CONV.format(0)}, expected a dense FNO; it may be factorised.")
    spectral = left[_CONV.format(0)]
    width, modes = spectral.shape[0], (*(n // 2 for n in spectral.shape[2:-1]), spectral.shape[-1] - 1)
    if any(n % 2 for n in spectral.shape[2:-1]):
        raise ValueError(f"{name}: n_modes are odd on an axis (weights {spectral.shape}), expected even ones.")

    def take(key: str) -> np.ndarray:
        if key not in left:
            raise ValueError(f"{name}: there is no {key}; models.FNO has linear skips and soft gates only.")
        return left.pop(key)

    def dense(prefix: str) -> Params:
        weight = take(f"{prefix}.weight")
        return {"kernel": weight.reshape(weight.shape[:2]).T, "bias": take(f"{prefix}.bias")}

    def multiple(what: str, hidden: int) -> int:
        if hidden % width:
            raise ValueError(f"{name}: {what} has {hidden} hidden channels, expected a multiple of the width, {width}.")
        return hidden // width

    params: Params = {}
    deep = "lifting.fcs.1.weight" in left
    if deep:
        params["lift_hidden"] = dense("lifting.fcs.0")
    params["lift"] = dense("lifting.fcs.1" if deep else "lifting.fcs.0")
    mlp = 0.0
    for i in range(depth):
        weight = take(_CONV.format(i))
        pair = np.stack([weight.real, weight.imag]).astype(np.float32)
        params[f"spectral_{i}"] = {"weight": np.moveaxis(pair, (1, 2), (-2, -1))}
        skip = take(f"fno_blocks.fno_skips.{i}.conv.weight")[..., 0].T
        params[f"pointwise_{i}"] = {"kernel": skip, "bias": take(f"fno_blocks.convs.{i}.bias").reshape(-1)}
        if f"fno_blocks.channel_mlp.{i}.fcs.0.weight" in left:
            for j in (0, 1):
                params[f"channel_{i}_{j}"] = dense(f"fno_blocks.channel_mlp.{i}.fcs.{j}")
            params[f"gate_{i}"] = take(f"fno_blocks.channel_mlp_skips.{i}.weight").reshape(-1)
            mlp = params[f"channel_{i}_0"]["bias"].size / width
    params["project_0"], params["project_1"] = dense("projection.fcs.0"), dense("projection.fcs.1")
    if left:
        raise ValueError(f"{name}: models.FNO has no place for {', '.join(sorted(left))}.")
    arguments = {
        "modes": modes,
        "width": width,
        "depth": depth,
        "out_channels": params["project_1"]["bias"].size,
        "lifting": multiple("the lifting", params["lift_hidden"]["bias"].size) if deep else 0,
        "projection": multiple("the projection", params["project_0"]["bias"].size),
        "channel_mlp": mlp,
        "activation": "gelu_exact",
        "twice": not mlp,
        "residual": False,
    }
    return arguments, params


def fno_to_neuraloperator(params: Params) -> dict[str, np.ndarray]:
    """The ``state_dict`` of a neuraloperator ``FNO``, as arrays by name, for parameters of a periodic ``models.FNO``.

    The module's settings are those that :func:`fno_from_neuraloperator` gives, the other way round.
    """
    depth = sum(key.startswith("spectral_") for key in params)
    shape = np.shape(params["spectral_0"]["weight"])
    dims = len(shape) - 3
    if dims < 1 or shape[0] != 2 or any(n % 2 for n in shape[1:dims]):
        raise ValueError(
            f"fno_to_neuraloperator: spectral weights are {list(shape)}, expected [2, 2 m_1, ..., m_d + 1, C, C]; "
            "a model on a cosine basis has no counterpart there."
        )
    state: dict[str, np.ndarray] = {}

    def dense(prefix: str, layer: Params) -> None:
        state[f"{prefix}.weight"] = np.asarray(layer["kernel"]).T[..., None]
        state[f"{prefix}.bias"] = np.asarray(layer["bias"])

    lifts = ["lift_hidden", "lift"] if "lift_hidden" in params else ["lift"]
    for j, lift in enumerate(lifts):
        dense(f"lifting.fcs.{j}", params[lift])
    for i in range(depth):
        re_im = np.moveaxis(np.asarray(params[f"spectral_{i}"]["weight"]), (-2, -1), (1, 2))
        state[_CONV.format(i)] = (re_im[0] + 1j * re_im[1]).astype(np.complex64)
        state[f"fno_blocks.convs.{i}.bias"] = np.asarray(params[f"pointwise_{i}"]["bias"]).reshape(-1, *[1] * dims)
        state[f"fno_blocks.fno_skips.{i}.conv.weight"] = np.asarray(params[f"pointwise_{i}"]["kernel"]).T[..., None]
        if f"gate_{i}" in params:
            for j in (0, 1):
                dense(f"fno_blocks.channel_mlp.{i}.fcs.{j}", params[f"channel_{i}_{j}"])
            gate = np.asarray(params[f"gate_{i}"]).reshape(1, -1, *[1] * dims)
            state[f"fno_blocks.channel_mlp_skips.{i}.weight"] = gate
    for j in (0, 1):
        dense(f"projection.fcs.{j}", params[f"project_{j}"])
    return state
