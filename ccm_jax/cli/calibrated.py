"""What merged weights tell of their calibration: written by ``ccm calibrate``, read by the commands after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax._frames import UNLIKE, other_unit
from ccm_jax.cli.card import digest
from ccm_jax.cli.merge import merge
from ccm_jax.cli.prefix import Found
from ccm_jax.cli.provenance import calibration_of
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.wanted import Options
from ccm_jax.io.weights import Weights


def write(recipe: Recipe, found: Found, options: Options, output: Path, sizes: Sequence[float]) -> None:
    """The merged checkpoint, which says how its coordinate was found.

    Args:
        recipe: of the merge.
        found: its coordinate, by the readout.
        options: of the command.
        output: file of the weights.
        sizes: of the frames that decided, of :func:`~ccm_jax.cli.apart.sizes_in`.
    """
    facts: dict[str, Any] = {"prefix": str(options.prefix), "prefix_sha256": digest(options.prefix)}
    facts |= options.layout.facts()
    if options.mask is not None:
        facts |= {"mask": str(options.mask), "mask_sha256": digest(options.mask)}
    facts |= {"samples": options.sample or "all", "model": options.model, "frames": found.frames}
    facts |= {"frame_sizes": list(sizes)} if len(sizes) else {}
    facts |= {} if options.noise is None else {"noise": options.noise}
    facts |= {"loss": found.loss, "anchor_loss": found.anchor_loss, "persistence_loss": found.persistence_loss}
    facts |= {"spread": found.spread, "readout": dict(found.readout)}
    if found.sure is not None:
        facts |= {"intervals": {axis.name: axis.interval for axis in found.sure.axes}, "p_value": found.sure.p_value}
        cut = {axis.name: axis.ends_not_known for axis in found.sure.axes if any(axis.cut)}
        facts |= {"ends_not_known": cut or None}
    merge(found.place_in(recipe), output, found=facts, model=options.model)


def unit_unlike_calibrated(weights: Weights, frames: np.ndarray) -> str:
    """What is said of frames ``[N, T, *space, C]`` in another unit than a checkpoint was calibrated on; or nothing.

    Other initial states of the same unit are of many sizes, so only what no flow of that unit has is told.
    """
    sizes = calibration_of(weights).get("frame_sizes")
    known = isinstance(sizes, list) and len(sizes) == 2 and all(isinstance(size, (int, float)) for size in sizes)
    return other_unit(sizes, frames, far=UNLIKE, of=f"those {weights.path} was calibrated on") if known else ""
