"""What a checkpoint that ``ccm`` wrote tells of its making."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ccm_jax.io.weights import Weights


def provenance_of(weights: Weights) -> Mapping[str, Any]:
    """What a checkpoint was merged from; empty for one that ``ccm`` did not write."""
    told = weights.metadata.get("provenance", {})
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError:
            return {}
    return told if isinstance(told, Mapping) else {}


def calibration_of(weights: Weights) -> Mapping[str, Any]:
    """How the coordinate of a checkpoint was found; empty for one that ``ccm calibrate`` did not write."""
    found = provenance_of(weights).get("found")
    return found if isinstance(found, Mapping) else {}


def merged_from(weights: Weights) -> str:
    """A line on the coordinate and the files of merged weights; empty for other checkpoints."""
    told = provenance_of(weights)
    try:
        files = [told["anchor"]["path"], *(expert["path"] for expert in told["experts"])]
        coordinate = [float(c) for c in told["coordinate"]]
        axes = np.size(told["experts"][0]["coordinate"])
    except (KeyError, IndexError, TypeError, ValueError):
        return ""
    from ccm_jax.cli.showing import typed  # with jax, which other checkpoints need not wait for

    return f"merged at {typed(coordinate, axes)} from {', '.join(map(str, files))}"
