"""neuraloperator's FNO weights as ``models.FNO``, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ccm_jax.interop.flat import Names, Params

Flat = Mapping[str, Any]

_CONV = "fno_blocks.convs.{}.weight.tensor"


def fno_from_neuraloperator(state: Flat, *, grid_channels: bool | None = None) -> tuple[dict[str, Any], Params]:
    """A neuraloperator ``FNO`` (dense, real data, no norms, no padding) as arguments and parameters of ``models.FNO``.

    The same numbers come out: ``make_model("fno", **arguments).apply(params, window)`` is the module's forward pass on
    ``window[:, 0]`` with channels last. (Version 2.0.0 shifts the spectrum wrongly where any axis but the last has an
    odd number of points; there the numbers are those of later versions.)

    Args:
        state: its ``state_dict``, as arrays by name. What an entry ``_metadata`` says of the module is checked.
        grid_channels: False for a module with ``positional_embedding=None``; None for what ``_metadata`` says, or else
            for a module with the usual grid.

    Returns:
        The arguments of the model and its parameters, as numpy arrays.

    Raises:
        ValueError: for parts and options that ``models.FNO`` does not have, by name.

    Source: neuraloperator 2.0.0, ``neuralop/models/fno.py``; modes are stored from ``-m`` to ``m - 1``.
    """
    said = state.get("_metadata")
    _check_options(said)
    if grid_channels is None:
        grid_channels = not isinstance(said, Mapping) or said.get("positional_embedding", "grid") is not None
    names = Names("fno_from_neuraloperator", state)
    depth = 1 + max(
        (int(m[1]) for key in names.left if (m := re.match(r"fno_blocks\.convs\.(\d+)\.", key))), default=-1
    )
    if not depth or _CONV.format(0) not in names:
        raise ValueError(
            f"{names.function}: there is no {_CONV.format(0)}, expected a dense FNO of neuraloperator; this one may be "
            f"factorised, or of another network: it has {', '.join(sorted(names.left)[:3])} and so on."
        )
    spectral = names.left[_CONV.format(0)]
    if not np.iscomplexobj(spectral) or spectral.ndim < 3 or spectral.shape[0] != spectral.shape[1]:
        raise ValueError(
            f"{names.function}: spectral weights are {spectral.dtype}{list(spectral.shape)}, expected complex "
            "[C, C, *modes]; it may be separable, or of a version before 1.0."
        )
    # An odd number of modes runs from -(n - 1) / 2; ours from -(n + 1) / 2, with zeros there.
    width, modes = spectral.shape[0], (*((n + 1) // 2 for n in spectral.shape[2:-1]), spectral.shape[-1] - 1)
    grown = [(0, 0), (0, 0), *((n % 2, 0) for n in spectral.shape[2:-1]), (0, 0)]
    hint = "models.FNO has linear skips (fno_skip) and soft gates (channel_mlp_skip) only"

    def multiple(what: str, hidden: int) -> int:
        if hidden % width:
            raise ValueError(
                f"{names.function}: {what} has {hidden} hidden channels, expected a multiple of the width, {width} "
                "(lifting_channel_ratio, projection_channel_ratio)."
            )
        return hidden // width

    params: Params = {}
    deep = "lifting.fcs.1.weight" in names
    if deep:
        params["lift_hidden"] = names.dense("lifting.fcs.0")
    params["lift"] = names.dense("lifting.fcs.1" if deep else "lifting.fcs.0")
    mlp = 0.0
    for i in range(depth):
        weight = np.pad(names.take(_CONV.format(i)), grown)
        pair = np.stack([weight.real, weight.imag]).astype(np.float32)
        params[f"spectral_{i}"] = {"weight": pair.transpose(0, *range(pair.ndim - 1, 2, -1), 1, 2)}
        skip = names.take(f"fno_blocks.fno_skips.{i}.conv.weight", hint)[..., 0].T
        bias = names.take(f"fno_blocks.convs.{i}.bias").reshape(-1)
        params[f"pointwise_{i}"] = {"kernel": skip, "bias": bias}
        if f"fno_blocks.channel_mlp.{i}.fcs.0.weight" in names:
            for j in (0, 1):
                params[f"channel_{i}_{j}"] = names.dense(f"fno_blocks.channel_mlp.{i}.fcs.{j}")
            gate = names.take(f"fno_blocks.channel_mlp_skips.{i}.weight", hint)
            params[f"gate_{i}"] = gate.reshape(-1)
            mlp = params[f"channel_{i}_0"]["bias"].size / width
    params["project_0"], params["project_1"] = names.dense("projection.fcs.0"), names.dense("projection.fcs.1")
    names.finish("models.FNO")
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
        "grid_channels": grid_channels,
        "residual": False,
    }
    return arguments, params


# Options whose choice leaves no trace in the weights: what they must be, where a file tells. Those of a factorised
# tensor (rank, implementation, ...) mean nothing for a dense one, and dropout nothing outside of training.
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "complex_data": (False,),
    "norm": (None,),
    "domain_padding": (None, 0, 0.0),
    "resolution_scaling_factor": (None, 1),
    "stabilizer": (None,),
    "preactivation": (False,),
    "fno_block_precision": ("full",),
    "separable": (False,),
    "factorization": (None,),
    "channel_mlp_skip": ("soft-gating",),
    "fno_skip": ("linear",),
    "max_n_modes": (None,),  # weights for more modes than n_modes, of which the middle is used
    "positional_embedding": ("grid", None),
}
# The same for functions and classes, of which a file has the name.
_FUNCTIONS = {"non_linearity": "gelu", "conv_module": "SpectralConv"}


def _check_options(metadata: Any) -> None:
    """Names every option of a module that ``models.FNO`` does not have."""
    if not isinstance(metadata, Mapping):
        return
    unused = () if metadata.get("use_channel_mlp", True) else ("channel_mlp_skip",)
    refused = [
        f"{key}={metadata[key]!r}"
        for key, allowed in _OPTIONS.items()
        if key in metadata and key not in unused and not any(metadata[key] is a or metadata[key] == a for a in allowed)
    ]
    for key, expected in _FUNCTIONS.items():
        name = getattr(metadata.get(key), "__name__", metadata.get(key))
        if name is not None and str(name).rpartition(".")[2] != expected:
            refused.append(f"{key}={name}")
    if refused:
        raise ValueError(f"fno_from_neuraloperator: models.FNO does not have {', '.join(refused)}.")


def fno_to_neuraloperator(params: Params) -> dict[str, np.ndarray]:
    """The ``state_dict`` of a neuraloperator ``FNO``, as arrays by name, for parameters of a periodic ``models.FNO``.

    The module's settings are those that :func:`fno_from_neuraloperator` gives, the other way round.
    """
    depth = sum(key.startswith("spectral_") for key in params)
    shape = np.shape(params["spectral_0"]["weight"])
    dims = len(shape) - 3
    if dims < 1 or shape[0] != 2 or any(n % 2 for n in shape[2 : dims + 1]):
        raise ValueError(
            f"fno_to_neuraloperator: spectral weights are {list(shape)}, expected [2, m_d + 1, ..., 2 m_1, C, C]; "
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
        re_im = np.asarray(params[f"spectral_{i}"]["weight"])
        re_im = re_im.transpose(0, -2, -1, *range(dims, 0, -1))
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
