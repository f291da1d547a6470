"""Makes ``neuraloperator.npz.xz``: FNOs of neuraloperator with each value of each argument, as its own code has them.

    pip install torch neuraloperator==2.0.0
    python -m tests.references.make_neuraloperator

For each value, the bytes of the file that ``torch.save`` writes; where the same numbers must come out here, also an
input and what the module makes of it; where the value is to be refused, zeros as weights. Compressed as one, because
the files are much alike.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import io
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from neuralop.layers.embeddings import GridEmbeddingND
from neuralop.layers.spectral_convolution import SpectralConv
from neuralop.models import FNO


class OtherConv(SpectralConv):  # type: ignore[misc]
    """A convolution of one's own."""


def grid_to_two() -> Any:
    """Coordinates that end at 2."""
    return GridEmbeddingND(in_channels=2, dim=2, grid_boundaries=[[0.0, 2.0], [0.0, 2.0]])


PLAIN: dict[str, Any] = {"n_modes": (4, 4), "in_channels": 2, "out_channels": 2, "hidden_channels": 4, "n_layers": 2}
# What is tried of each argument: values that must give the same numbers, and values that must be refused by name.
SAME: dict[str, list[Any]] = {
    "n_modes": [(5, 7)],
    "in_channels": [3],
    "out_channels": [1],
    "hidden_channels": [6],
    "n_layers": [1],
    "lifting_channel_ratio": [0],
    "projection_channel_ratio": [1],
    "positional_embedding": [None],
    "use_channel_mlp": [False],
    "channel_mlp_dropout": [0.3],
    "channel_mlp_expansion": [0.3],
    "rank": [0.5],
    "fixed_rank_modes": [True],
    "implementation": ["reconstructed"],
    "decomposition_kwargs": [{}],
    "resolution_scaling_factor": [1],
}
OTHERS: dict[str, list[Any]] = {
    "lifting_channel_ratio": [1.3],
    "projection_channel_ratio": [1.3],
    "positional_embedding": [grid_to_two()],
    "non_linearity": [torch.nn.functional.relu, torch.tanh],
    "norm": ["group_norm", "instance_norm"],
    "complex_data": [True],
    "channel_mlp_skip": ["linear", "identity", None],
    "fno_skip": ["soft-gating", "identity", None],
    "resolution_scaling_factor": [2, [1, 2]],
    "domain_padding": [0.25, [0.0, 0.25]],
    "fno_block_precision": ["mixed", "half"],
    "stabilizer": ["tanh"],
    "max_n_modes": [(8, 8)],
    "factorization": ["Tucker", "CP", "TT"],
    "separable": [True],
    "preactivation": [True],
    "conv_module": [OtherConv],
}
# Two past frames as channels and no coordinates: as many inputs as one frame and the axes of a plane would have.
FRAMES = {"positional_embedding": None, "in_channels": 2, "out_channels": 1}


class Case(NamedTuple):
    """A file, and what the module makes of an input; nothing where the file is to be refused."""

    name: str
    file: bytes
    x: np.ndarray | None = None
    y: np.ndarray | None = None


def arguments() -> list[str]:
    """Those of the constructor."""
    return sorted(set(inspect.signature(FNO.__init__).parameters) - {"self"})


def cases() -> Iterator[tuple[str, Case]]:
    """The argument that varies, and its case."""
    tried = [(k, {k: v}, True) for k in SAME for v in SAME[k]] + [("positional_embedding", FRAMES, True)]
    tried += [(k, {k: v}, False) for k in OTHERS for v in OTHERS[k]]
    for name, given, same in tried:
        torch.manual_seed(0)
        module = FNO(**PLAIN | given).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter)) if same else parameter.zero_()
        stream = io.BytesIO()
        torch.save(module.state_dict(), stream)
        case = Case(", ".join(f"{key}={_shown(value)}" for key, value in given.items()), stream.getvalue())
        if same:
            x = torch.randn(2, module.in_channels, 12, 10)
            with torch.no_grad():
                case = case._replace(x=x.numpy(), y=module(x).numpy())
        yield name, case


def _shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, torch.nn.Module) else str(getattr(value, "__name__", value))


def main() -> None:
    """Writes the file beside this one."""
    arrays: dict[str, Any] = {"arguments": arguments(), "version": importlib.metadata.version("neuraloperator")}
    for _, case in cases():
        arrays[f"{case.name}/file"] = np.frombuffer(case.file, np.uint8)
        if case.x is not None:
            arrays |= {f"{case.name}/x": case.x, f"{case.name}/y": case.y}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    Path(__file__).with_name("neuraloperator.npz.xz").write_bytes(lzma.compress(stream.getvalue(), preset=9))


if __name__ == "__main__":
    main()
