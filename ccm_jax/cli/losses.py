"""Errors of single coordinates on observed frames."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.observed import Frames
from ccm_jax.readout import PrefixReadout, coarse_errors, read

Array = jax.Array


def loss_at(readout: PrefixReadout, x: Frames, coordinate: Array) -> float:
    """The loss of one coordinate, pooled over trajectories."""
    return losses_at(readout, x, jnp.asarray(coordinate)[None])[0]


def losses_at(readout: PrefixReadout, x: Frames, coordinates: Array) -> list[float]:
    """The losses of coordinates ``[n, d]``, pooled over trajectories."""
    those = dataclasses.replace(readout, candidates=coordinates, search="bank", growth=None)
    errors = coarse_errors(those, x, None)
    return np.asarray(read(those, x, None, errors, pooled=True).losses[0], float).tolist()


def errors_by_frame(readout: PrefixReadout, x: Frames, coordinate: Array) -> dict[str, list[float]]:
    """Relative L2 errors of each frame after the first window, mean over trajectories, of one rollout from there."""
    alike = jnp.full(readout.frames, 1 / readout.frames)
    one = dataclasses.replace(readout, candidates=coordinate[None], begin=0, weights=alike, search="bank", growth=None)
    errors = coarse_errors(one, x, None)
    rows = {"merged": errors.candidates[0], "anchor": errors.anchor, "persistence": errors.persistence}
    return {name: np.asarray(row, float).mean(axis=0).tolist() for name, row in rows.items()}
