"""DPOT's published weights as ``models.DPOT``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ccm_jax.interop.flat import Names, Params


def dpot_from_torch(state: Mapping[str, Any]) -> tuple[dict[str, Any], Params]:
    """A DPOT ``state_dict`` (temporal aggregation by ``exp_mlp``, no normalization inside) as ``models.DPOT``.

    Args:
        state: its arrays by name; of the published files, what lies under ``model``.

    Returns:
        The arguments of the model and its parameters, as numpy arrays. The class head, whose logits nothing here uses,
        is kept, so that all weights merge.

    Raises:
        ValueError: for parts that ``models.DPOT`` does not have, by name, or more than one frame put out at a time.

    Source: Hao et al., DPOT (2024), the names and shapes of ``models/dpot.py``.
    """
    names = Names("dpot_from_torch", {k.removeprefix("module."): v for k, v in state.items()})
    depth = 1 + max((int(m[1]) for key in names.left if (m := re.match(r"blocks\.(\d+)\.", key))), default=-1)
    if not depth:
        raise ValueError("dpot_from_torch: there are no blocks.0 ...; a DPOT has patch_embed, blocks and out_layer.")
    cut = names.take("patch_embed.proj.0.weight")  # [out, in, p, p]
    patch, channels = cut.shape[-1], cut.shape[1] - 3
    params: Params = {
        "patch_0": {
            "kernel": np.transpose(cut, (2, 3, 1, 0)).reshape(-1, cut.shape[0]),
            "bias": names.take("patch_embed.proj.0.bias"),
        },
        "patch_1": names.dense("patch_embed.proj.2"),
        "position": np.moveaxis(names.take("pos_embed")[0], 0, -1),
        "time": {
            "w": names.take("time_agg_layer.w"),
            "gamma": names.take("time_agg_layer.gamma", "only the aggregation exp_mlp is supported"),
        },
    }
    width = params["patch_1"]["bias"].size
    for i in range(depth):
        at = f"blocks.{i}"
        for j in (0, 1):
            norm = f"{at}.norm{j + 1}"
            params[f"norm_{i}_{j}"] = {"scale": names.take(f"{norm}.weight"), "bias": names.take(f"{norm}.bias")}
        params[f"attention_{i}"] = {key: names.take(f"{at}.filter.{key}") for key in ("w1", "b1", "w2", "b2")}
        params[f"mlp_{i}_0"], params[f"mlp_{i}_1"] = names.dense(f"{at}.mlp.0"), names.dense(f"{at}.mlp.2")
    spread = names.take("out_layer.0.weight")  # [D, out, p, p], a transposed convolution
    params["out_0"] = {"kernel": np.transpose(spread, (0, 2, 3, 1)).reshape(width, -1)}
    params["out_bias"] = names.take("out_layer.0.bias")
    params["out_1"], params["out_2"] = names.dense("out_layer.2"), names.dense("out_layer.4")
    classes = 0
    if "cls_head.0.weight" in names:
        for j in range(3):
            params[f"class_{j}"] = names.dense(f"cls_head.{2 * j}")
        classes = params["class_2"]["bias"].size
    names.finish("models.DPOT")
    out = params["out_2"]["bias"].size
    if out != channels:
        raise ValueError(f"dpot_from_torch: {out} channels come out for {channels}; expected one frame at a time.")
    arguments = {
        "out_channels": out,
        "patch": patch,
        "width": width,
        "mlp": params["mlp_0_0"]["bias"].size,
        "depth": depth,
        "heads": params["attention_0"]["w1"].shape[1],
        "out_width": params["out_bias"].size,
        "positions": params["position"].shape[:2],
        "classes": classes,
    }
    return arguments, params
