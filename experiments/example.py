"""Makes the example family of ``ccm_jax``: weights and frames, small enough for a wheel.

    python -m experiments.example

Forced Navier-Stokes at 32 x 32, viscosity: ``ns_ood`` with a narrow network. Stages are kept in --workdir (default
runs/example). The files go to the folder --output (default: the one that ``ccm_jax.example`` reads), in place of those
there. ``--config.train.steps=100`` and other overrides work as in ``experiments.run``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from experiments import command, options
from experiments.configs import ns_ood
from experiments.options import OUTPUT

if TYPE_CHECKING:
    from experiments.pipeline.stages import Run

VALIDATION_FRAMES = 15  # kept of each validation trajectory; test trajectories are kept whole


def get_config() -> ConfigDict:
    """``ns_ood`` with a narrow network, few trajectories, and test regimes outside the support."""
    c = ns_ood.get_config()
    c.name = "example"
    c.regimes.test = (0.5e-3, 0.75e-3, 2.5e-3)
    c.data.update(validation=2, test=4)
    c.model.args.update(modes=(6, 6), width=12, depth=3)
    c.train.steps = 4000
    return c


def main(config: ConfigDict, run: Run) -> None:
    """Makes the stages that are not there yet, and writes the files."""
    from ccm_jax import example
    from experiments.pipeline import stages
    from experiments.runner.progress import console

    support, ends, validation, test = (
        make(run) for make in (stages.support_data, stages.endpoint_data, stages.validation_data, stages.test_data)
    )
    anchor = stages.anchor(run, support)
    experts = stages.endpoints(run, ends, anchor)
    folder = Path(OUTPUT.value) if OUTPUT.value else example.path()
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        write_weights(folder / f"{name}.safetensors", stage.path / name)
        for name, stage in zip(example.WEIGHTS, (anchor, experts, experts), strict=True)
    ]
    x = stages.load_trajectories(validation)[:, :, :VALIDATION_FRAMES]
    files.append(write_frames(folder / example.VALIDATION, config, config.regimes.validation, x))
    for value, x in zip(config.regimes.test, stages.load_trajectories(test), strict=True):
        files.append(write_frames(folder / example.TEST.format(value), config, [value], x[None]))
    size = sum(file.stat().st_size for file in files)
    console.print(f"{folder}: {len(files)} files, {size / 1e6:.2f} MB.", markup=False, soft_wrap=True)


def write_weights(file: Path, checkpoint: Path) -> Path:
    """Writes the weights of a stage as safetensors, with the metadata that ``ccm`` needs to run them."""
    weights = open_weights(checkpoint)
    metadata = {key: json.dumps(weights.metadata[key]) for key in ("config", "normalization", "package", "versions")}
    file.unlink(missing_ok=True)
    return save_safetensors(file, weights.tree, metadata)


def write_frames(file: Path, config: ConfigDict, values: Sequence[float], x: np.ndarray) -> Path:
    """Writes trajectories ``[R, N, T, *space, C]`` in half precision: its rounding is far below the network's error."""
    from experiments.pipeline import archive

    return archive.write_frames(file, config, values, x.astype(np.float16), np.savez_compressed)


flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(options)

if __name__ == "__main__":
    sys.argv.insert(1, f"--config={__file__}")
    command.run(main, __doc__)
