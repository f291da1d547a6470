"""Networks of others, as they install from PyPI, through the command line: inspect, merge, calibrate, evaluate.

Weights are random, experts lie near them, and the frames are those of the network merged at ``PLANTED``: what is found
must be that, and the merged file must load back into the network.

    python -m benchmarks.tried_networks --output tried.json --only tfno
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from benchmarks._measure import machine, options

PLANTED, FRAMES = 0.7, 4


def tfno() -> Any:
    """Tucker-factorised FNO."""
    from neuralop.models import TFNO

    return TFNO(n_modes=(6, 6), in_channels=2, out_channels=2, hidden_channels=12, n_layers=2, rank=0.3)


def uno() -> Any:
    """U-shaped neural operator."""
    from neuralop.models import UNO

    shape: dict[str, Any] = {"uno_out_channels": [8, 12, 8], "uno_n_modes": [[6, 6], [4, 4], [6, 6]]}
    shape |= {"uno_scalings": [[1.0, 1.0], [0.5, 0.5], [2.0, 2.0]], "horizontal_skips_map": {2: 0}}
    shape |= {"n_layers": 3, "channel_mlp_skip": "linear"}  # a soft gate takes as many channels as it gives
    return UNO(2, 2, hidden_channels=8, lifting_channels=8, projection_channels=8, **shape)


def sfno() -> Any:
    """Spherical FNO; needs torch-harmonics."""
    from neuralop.models import SFNO

    return SFNO(n_modes=(6, 6), in_channels=2, out_channels=2, hidden_channels=8, n_layers=2)


def codano() -> Any:
    """Codomain attention."""
    from neuralop.models import CODANO

    shape: dict[str, Any] = {"n_modes": [[6, 6], [6, 6]], "n_heads": [2, 2], "attention_scaling_factors": [0.5, 0.5]}
    shape |= {"per_layer_scaling_factors": [[1, 1], [1, 1]]}
    return CODANO(n_layers=2, hidden_variable_codimension=2, lifting_channels=4, output_variable_codimension=1, **shape)


class _Field(torch.nn.Module):
    """What a network calls its output, as a tensor."""

    def __init__(self, network: Any, call: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Any) -> Any:
        return self.call(self.network, x)


def pde_transformer() -> Any:
    """PDE-Transformer, mixed channels; the time is its own argument, and stands still."""
    package = importlib.import_module("pdetransformer.core.mixed_channels")
    network = package.PDETransformer(sample_size=32, in_channels=2, out_channels=2, type="PDE-S", patch_size=4)
    with torch.no_grad():  # its last layer and its modulations begin at 0, and so would all frames
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    return _Field(network, lambda network, x: network(x).sample)


class Tried(NamedTuple):
    """A network, its package, and the side of the grid that it takes."""

    build: Callable[[], Any]
    package: str
    grid: int = 16


NETWORKS = {
    "tfno": Tried(tfno, "neuraloperator"),
    "uno": Tried(uno, "neuraloperator"),
    "sfno": Tried(sfno, "neuraloperator"),
    "codano": Tried(codano, "neuraloperator"),
    "pde_transformer": Tried(pde_transformer, "pdetransformer", 32),
}


def try_network(name: str, folder: Path) -> dict[str, Any]:
    """Writes a family of one network, and takes it through the command line."""
    from click.testing import CliRunner

    from ccm_jax.cli import main as ccm
    from ccm_jax.interop.torch import torch_params, torch_rollout
    from ccm_jax.io.safetensors import open_safetensors, save_safetensors

    torch.manual_seed(0)
    network, grid, rng = NETWORKS[name].build().eval(), NETWORKS[name].grid, np.random.default_rng(0)
    anchor = torch_params(network)

    def moved(leaf: np.ndarray) -> np.ndarray:
        if leaf.dtype.kind not in "fc":
            return leaf
        return (leaf + 0.05 * np.abs(leaf).mean() * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    family = {"anchor": anchor} | {end: {k: moved(v) for k, v in anchor.items()} for end in ("low", "high")}
    for end, tree in family.items():
        save_safetensors(folder / f"{end}.safetensors", tree)
    low, high = family["low"], family["high"]
    a, b = 0.5 * (1 - PLANTED), 0.5 * (1 + PLANTED)
    planted = {k: (v + a * (low[k] - v) + b * (high[k] - v)).astype(v.dtype) for k, v in anchor.items()}
    start = rng.standard_normal((2, 1, grid, grid, 2)).astype(np.float32)
    frames = np.concatenate([start, torch_rollout(network)(planted, start, FRAMES + 2)], axis=1)
    np.save(folder / "seen.npy", frames)
    said = {"model": f"benchmarks.tried_networks:{name}"}
    (folder / "model.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")

    def run(*words: Any) -> str:
        done = CliRunner().invoke(ccm, [str(word) for word in words])
        if done.exit_code:
            raise RuntimeError(f"{words[0]}: {done.output}") from done.exception
        return done.output

    three = [word for end in family for word in (f"--{end}", folder / f"{end}.safetensors")]
    run("inspect", *three[1::2])
    run("merge", *three, "-c", PLANTED, "-o", folder / "planted.safetensors")
    known = ["--model", folder / "model.yaml", "--accept-persistence"]
    run("calibrate", *three, *known, "--prefix", folder / "seen.npy", "-o", folder / "m.safetensors")
    judged = ["--merged", folder / "m.safetensors", "--trajectories", folder / "seen.npy"]
    table = run("evaluate", *three, *known, *judged, "--frames", 2)
    merged = open_safetensors(folder / "planted.safetensors").arrays
    network.load_state_dict({k: torch.tensor(np.array(v)) for k, v in merged.items()}, strict=True)
    with torch.no_grad():
        here = network(torch.tensor(np.moveaxis(start[:, 0], -1, 1).copy())).numpy()
    found = json.loads((folder / "m.json").read_text(encoding="utf-8"))
    return {
        "package": f"{NETWORKS[name].package} {importlib.metadata.version(NETWORKS[name].package)}",
        "weights": sum(v.size for v in anchor.values()),
        "coordinate": found["best_merge"],
        "loss": found["loss"],
        "outputs_apart": float(np.abs(np.moveaxis(here, 1, -1) - frames[:, 1]).max() / np.abs(here).max()),
        "evaluate": table,
    }


def main() -> None:
    """Tries every network that is installed, or those that are asked for."""
    parser = options(__doc__)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    chosen, rows = parser.parse_args(), {}
    for name in chosen.only:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                rows[name] = try_network(name, Path(folder))
            except ImportError as error:
                rows[name] = {"missing": str(error)}
        print(name, json.dumps({k: v for k, v in rows[name].items() if k != "evaluate"}), flush=True)
    from experiments.pipeline.store import write_result

    write_result(chosen.output, {"rows": rows, "machine": machine("jax", "jaxlib", "torch")})


if __name__ == "__main__":
    main()
