"""Whether merged weights are evaluated on the trajectories, or at the values, that they were calibrated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ccm_jax.cli.card import digest
from ccm_jax.cli.frames import choose_samples
from ccm_jax.cli.provenance import calibration_of
from ccm_jax.io.recordings import Recording
from ccm_jax.io.weights import Weights


def remarks(weights: Weights, recording: Recording, chosen: Sequence[int]) -> list[str]:
    """What a merged checkpoint tells of the trajectories that it is evaluated on; empty where nothing is to be said.

    Args:
        weights: of the checkpoint, with what it says of its calibration.
        recording: the file of trajectories.
        chosen: their numbers in it.
    """
    found = calibration_of(weights)
    said = []
    observed = _observed(found, recording)
    if seen := sorted(set(observed) & set(chosen)):
        which = ", ".join(map(str, seen[:5])) + (", ..." if len(seen) > 5 else "")
        said.append(
            f"{weights.path} was calibrated on the first frames of sample {which} of this file; the frames scored come "
            "after them. Other samples (--sample) are a stricter test."
        )
    for name, (low, high) in found.get("intervals", {}).items():
        values = sorted({known[name] for i in chosen if name in (known := _parameters(recording, i))})
        width = high - low  # an interval misses one value in ten by a little: that is no other regime
        others = [value for value in values if not low - width <= value <= high + width]
        if others and len(others) == len(values):
            at = f"{values[0]:.4g}" if len(values) == 1 else f"{values[0]:.4g} to {values[-1]:.4g}"
            said.append(
                f"{weights.path} was calibrated for {name} {low:.4g} to {high:.4g}, and these trajectories have {at}: "
                "the comparison is of another regime."
            )
    return said


def _parameters(recording: Recording, sample: int) -> Mapping[str, float]:
    return recording.parameters[sample] if sample < len(recording.parameters) else {}


def _observed(found: Mapping[str, Any], recording: Recording) -> list[int]:
    """Numbers of the trajectories that a calibration observed in this very file."""
    path = Path(recording.path)
    if Path(str(found.get("prefix", ""))).name != path.name or found.get("prefix_sha256") != digest(path):
        return []
    samples = found.get("samples")
    return choose_samples(recording, None if samples == "all" else samples)
