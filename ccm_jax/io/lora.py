"""LoRA adapters as experts: low-rank updates of an anchor's weights, as PEFT and loralib store them.

weight = anchor + (lora_alpha / r) * B A            (lora_alpha / sqrt(r) with use_rslora)
bias = anchor + (lora_alpha / r) * bias of B        (with lora_bias)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax._reasons import clean
from ccm_jax._wrappers import WRAPPERS
from ccm_jax.io.weights import Path_, Weights, open_weights

CONFIG = "adapter_config.json"  # PEFT's, beside the weights
FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PART = re.compile(r"^(?P<name>.+)\.lora_(?P<side>[AB])(\.(?!weight$|bias$)(?P<of>[^.]+))?(\.(?P<kind>weight|bias))?$")
_WRAPPED = ("base_model.model.", "base_model.")
# Ways to begin an adapter that take what it begins with out of the anchor's weights.
_MOVED = ("pissa", "olora", "corda", "loftq", "lora_ga")
_PATTERN = 200, 2  # characters and repetitions of a pattern at most: others could take for ever
_REFUSED = ("lora_magnitude_vector", "lora_embedding_", "hada_", "lokr_", "ia3_", "vera_")


def open_expert(path: Path_, anchor: Weights) -> Weights:
    """Opens a checkpoint that belongs to an anchor; a LoRA adapter becomes the weights that it makes of the anchor's.

    Args:
        path: a checkpoint of any kind, an adapter's file, or PEFT's folder of one.
        anchor: what it was trained from.

    Raises:
        ValueError: for an adapter that does not fit the anchor, is of another kind, or does not say its scale.
    """
    path = Path(path)
    file = next((path / name for name in FILES if (path / name).is_file()), path)
    expert = open_weights(file)
    if not any(_PART.match(name) for name in expert.arrays):
        return expert
    beside = file.with_name(CONFIG)
    config = _config(beside) if beside.is_file() else dict(expert.metadata)
    if "lora_alpha" not in config:
        raise ValueError(
            f"{file} is a LoRA adapter without a recorded scale; write lora_alpha into {beside}, as "
            '{"lora_alpha": 16}, the number that it was trained with.'
        )
    return expert._replace(path=path, arrays=with_adapter(anchor.arrays, expert.arrays, config), tree=None)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds {type(config).__name__}, expected names with values.")
    return config


def with_adapter(
    anchor: Mapping[str, np.ndarray], adapter: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The anchor's weights with those of an adapter added; whole weights in it (biases, heads) take their place.

    Args:
        anchor: arrays by name.
        adapter: ``NAME.lora_A.weight [r, in]`` and ``NAME.lora_B.weight [out, r]`` (of convolutions ``[r, in, k, ...]``
            and ``[out, r, 1, ...]``), with or without PEFT's prefix ``base_model.model.``.
        config: PEFT's: ``lora_alpha``, and if there are any ``alpha_pattern``, ``use_rslora``, ``fan_in_fan_out``.

    Raises:
        ValueError: for parts that are no plain LoRA, or have no counterpart in the anchor, by name.
    """
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(_MOVED):
        raise ValueError(
            f"with_adapter: init_lora_weights is {clean(start)}, which also moves the anchor's weights, and these are "
            "not in the adapter; save it with path_initial_model_for_weight_conversion, or the weights of "
            "merge_and_unload."
        )
    found = [part for name in adapter if (part := _PART.match(name))]
    several = sorted({part["of"] or "" for part in found})
    if len(several) > 1:
        raise ValueError(f"with_adapter: it holds the adapters {clean(' and '.join(several))}; save one of them alone.")
    merged, pairs = dict(anchor), dict[str, dict[str, np.ndarray]]()
    for name, leaf in adapter.items():
        if any(kind in name for kind in _REFUSED):
            raise ValueError(f"with_adapter: {name} is of another kind of adapter, expected lora_A and lora_B.")
        if part := _PART.match(name):
            which = part["side"] if part["kind"] != "bias" else f"{part['side']}.bias"
            pairs.setdefault(_plain(part["name"]), {})[which] = np.asarray(leaf)
        else:
            merged[_known(_plain(name).replace(".modules_to_save", ""), anchor, name)] = leaf
    for name, pair in pairs.items():
        bias = pair.pop("B.bias", None)
        if set(pair) != {"A", "B"}:
            raise ValueError(
                f"with_adapter: {name} has lora_{' and lora_'.join(sorted(pair)) or 'B.bias'} alone, expected lora_A "
                "and lora_B."
            )
        scale, update = _scale(name, len(pair["A"]), config), _product(pair["B"], pair["A"])
        update = update.T if config.get("fan_in_fan_out") else update
        for kind, change in (("weight", update), ("bias", bias)):
            if change is not None:
                whole = _known(f"{name}.{kind}", anchor, name)
                if change.shape != merged[whole].shape:
                    raise ValueError(
                        f"with_adapter: {name} makes {change.shape}, and {whole} is {merged[whole].shape}."
                    )
                # Wider than a narrow anchor, whose type would round a small update away; a merge casts at its end.
                wide = np.result_type(merged[whole].dtype, np.float32)
                merged[whole] = np.asarray(merged[whole], wide) + np.asarray(scale * change, wide)
    return merged


def _product(b: np.ndarray, a: np.ndarray) -> np.ndarray:
    """``B A`` of matrices; of a convolution and a pointwise one behind it, their composition."""
    if b.ndim < 2 or b.size != b.shape[0] * b.shape[1] or b.shape[1] != len(a):
        raise ValueError(f"with_adapter: lora_A is {a.shape} and lora_B {b.shape}, expected [r, in, ...] and [out, r].")
    wide = np.result_type(a.dtype, b.dtype, np.float32)
    return np.tensordot(b.reshape(b.shape[:2]).astype(wide), a.astype(wide), axes=1)


def _scale(name: str, rank: int, config: Mapping[str, Any]) -> float:
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, Mapping):
        raise ValueError(f"with_adapter: alpha_pattern is {clean(patterns)}, expected names of layers with numbers.")
    own = [alpha for key, alpha in patterns.items() if _fits(key, name)]
    alpha = own[0] if own else config["lora_alpha"]
    try:
        alpha = float(alpha)
    except (TypeError, ValueError):
        alpha = math.nan
    if not math.isfinite(alpha) or not rank:
        given = clean(own[0] if own else config["lora_alpha"])
        raise ValueError(
            f"with_adapter: {name} has lora_alpha {given} and rank {rank}, expected a finite number and 1 or more."
        )
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _fits(pattern: str, name: str) -> bool:
    """Whether a pattern for names of layers is that of this one, as PEFT reads it."""
    longest, most = _PATTERN
    if len(pattern) > longest or sum(map(pattern.count, "*+?{")) > most or set(pattern) & set("(|"):
        raise ValueError(
            f"with_adapter: alpha_pattern has {clean(pattern)}, expected names of layers, with at most {most} of * + ? "
            "and no groups; write the layers out."
        )
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error as error:
        raise ValueError(f"with_adapter: alpha_pattern has {clean(pattern)}: {error}; write the layers out.") from error


def _plain(name: str) -> str:
    for prefix in _WRAPPED:
        name = name.removeprefix(prefix)
    return name.replace(".base_layer", "")


def _known(name: str, anchor: Mapping[str, Any], what: str) -> str:
    """The anchor's name of a weight, which may have a wrapper's before it."""
    if name not in anchor:
        wrapped = [prefix + name for prefix in WRAPPERS if prefix + name in anchor]
        if len(wrapped) == 1:
            return wrapped[0]
        raise ValueError(
            f"with_adapter: {what} belongs to {name}, and the anchor has no such weight; pass the anchor that it was "
            "trained from."
        )
    return name
