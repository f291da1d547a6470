"""The original FNO2d, of *Fourier Neural Operator for Parametric PDEs* and of PDEBench, as ``models.FNO``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ccm_jax.interop.flat import Names, Params


def fno_from_fno2d(
    state: Mapping[str, Any],
    *,
    grid: tuple[int, int],
    coordinates: tuple[float, float] = (0.0, 1.0),
    padding: int = 0,
) -> tuple[dict[str, Any], Params]:
    """An original ``FNO2d`` as arguments and parameters of ``models.FNO``, for one grid.

    It is told the coordinates of each point, end points included; ``models.FNO`` counts them otherwise. The difference
    is an affine map, which depends on the grid and goes into the first layer: at that grid the same numbers come out.

    Args:
        state: its ``state_dict``, as arrays by name: ``fc0``, ``conv0`` ... , ``w0`` ..., ``fc1``, ``fc2``, channels of
            the past frames first and the two coordinates last.
        grid: points a side.
        coordinates: of the first and the last point; PDEBench's reaction-diffusion has (-0.9921875, 0.9921875).
        padding: points that its forward pass pads at the far ends: 0 in the time-stepping FNO2d, 2 in PDEBench's.

    Returns:
        The arguments of the model and its parameters, as numpy arrays.

    Raises:
        ValueError: for parts that ``models.FNO`` does not have, by name.

    Source: ``fourier_2d_time.py`` of the FNO's first repository; ``pdebench/models/fno/fno.py``.
    """
    names = Names("fno_from_fno2d", state)
    depth = 1 + max((int(m[1]) for key in names.left if (m := re.match(r"conv(\d+)\.weights1$", key))), default=-1)
    if not depth:
        raise ValueError("fno_from_fno2d: there is no conv0.weights1; an FNO2d has conv0, w0, fc0, fc1 and fc2.")
    axes = names.left["conv0.weights1"].ndim - 2
    if axes != 2:
        raise ValueError(
            f"fno_from_fno2d: it is an FNO{axes}d, conv0.weights1 has {axes} axes of modes, and an FNO2d has 2; run "
            "its own module, by --model MODULE:NAME."
        )
    if len(grid) != 2 or min(grid) < 2:
        raise ValueError(f"fno_from_fno2d: grid is {tuple(grid)}, expected the points of two axes, at least 2 each.")
    if padding and grid[0] != grid[1]:
        raise ValueError(f"fno_from_fno2d: padding is {padding} points on a grid {grid}; expected equal sides.")
    lift = names.dense("fc0")
    width = lift["bias"].size
    # Ours: nodes i / n, or cell centres (i + 1/2) / n where there are walls. Theirs: equally spaced, ends included.
    shift = 0.5 if padding else 0.0
    first, last = coordinates
    for axis, n in enumerate(grid):
        row = lift["kernel"].shape[0] - 2 + axis
        slope = (last - first) * n / (n - 1)
        lift["bias"] = lift["bias"] + (first - slope * shift / n) * lift["kernel"][row]
        lift["kernel"] = lift["kernel"].copy()
        lift["kernel"][row] *= slope
    params: Params = {"lift": lift}
    modes = (0, 0)
    for i in range(depth):
        positive, negative = names.take(f"conv{i}.weights1"), names.take(f"conv{i}.weights2")
        modes = (positive.shape[2], positive.shape[3])
        both = np.concatenate([negative, positive], axis=2)  # rows -m ... m - 1
        both = np.pad(both, ((0, 0), (0, 0), (0, 0), (0, 1)))  # theirs ends at m - 1, ours at m
        pair = np.stack([both.real, both.imag]).astype(np.float32)
        params[f"spectral_{i}"] = {"weight": pair.transpose(0, *range(pair.ndim - 1, 2, -1), 1, 2)}
        params[f"pointwise_{i}"] = names.dense(f"w{i}")
    params["project_0"], params["project_1"] = names.dense("fc1"), names.dense("fc2")
    names.finish("models.FNO")
    hidden = params["project_0"]["bias"].size
    arguments = {
        "modes": modes,
        "width": width,
        "depth": depth,
        "out_channels": params["project_1"]["bias"].size,
        "projection": hidden / width,
        "activation": "gelu_exact",
        "residual": False,
        "boundary": "padded" if padding else "periodic",
        "padding": padding / grid[0],
    }
    return arguments, params
