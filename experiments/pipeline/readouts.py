"""The readouts of an experiment, as its configuration sets them; what they do is in :mod:`ccm_jax`."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Choices, PrefixReadout
from ccm_jax.fit_readout import CHOICES, prefix_readout
from ccm_jax.prefix import paper_bank, plane_bank
from experiments.pipeline.family import Family, bank_of


def starts_of(config: ConfigDict, family: Family) -> list[PrefixReadout]:
    """What validation chooses among: the search along the line, and that over the plane of line and gate.

    With ``config.calibration.search`` a bank or a parabola, the one readout with the bank of the configuration.
    """
    c, plane = config.calibration, family.plane
    how: dict[str, Any] = {"history": family.history, "frames": family.frames}
    if c.search != "continuous":
        candidates = jnp.asarray(candidates_of(config), jnp.float32)
        return [prefix_readout(plane, family.rollout_fn, candidates=candidates, search=c.search, begin=0, **how)]
    how |= {"reach": max(-c.low, c.high), "gates": [gate for gate in c.gates if gate > 0]}
    free = (False, True) if c.free_gate is None else (c.free_gate,)
    return [prefix_readout(plane, family.rollout_fn, free_gate=f, **how) for f in free]


def choices_of(config: ConfigDict) -> Choices:
    """What validation decides beside the gate: one each where the configuration says which."""
    given = {name: config.calibration[name] for name in ("begin", "skip", "pull")}
    if config.calibration.search != "continuous":  # the readout of the first version: it began at the first frame
        given["begin"] = given["begin"] or 0
    return CHOICES._replace(**{name: (value,) for name, value in given.items() if value is not None})


def candidates_of(config: ConfigDict) -> np.ndarray:
    """The bank in the plane, ``[n, 2]``: the anchor, in double steps the other gates, and the line."""
    bank, gates = bank_of(config), [gate for gate in config.calibration.gates if gate != 1]
    coarse = plane_bank(bank[::2], np.array(gates)) if gates else np.zeros((1, 2))
    rows = (np.asarray(part, np.float64) for part in (coarse, plane_bank(bank, np.ones(1))[1:]))
    return np.round(np.concatenate(list(rows)), 5)


def paper_readout(family: Family) -> PrefixReadout:
    """The paper's: the best of its bank of 13 on the line, over all K frames."""
    how: dict[str, Any] = {"history": family.history, "frames": family.frames}
    return prefix_readout(family.line, family.rollout_fn, candidates=paper_bank(), search="bank", begin=0, **how)


def stored(readout: PrefixReadout) -> dict[str, Any]:
    """What validation decided, JSON-able."""
    assert readout.growth is not None
    return {
        "free_gate": readout.free_gate,
        "begin": readout.begin,
        "weights": np.asarray(readout.weights, float).tolist(),
        "pull": float(readout.pull),
        "growth": float(readout.growth),
        "horizon": readout.horizon,
    }


def load_readout(config: ConfigDict, family: Family, chosen: dict[str, Any]) -> PrefixReadout:
    """The readout that validation chose."""
    start = next(r for r in starts_of(config, family) if r.free_gate == chosen["free_gate"])
    numbers: dict[str, Any] = {name: jnp.asarray(chosen[name], jnp.float32) for name in ("weights", "pull", "growth")}
    return dataclasses.replace(start, horizon=chosen["horizon"], begin=chosen["begin"], **numbers)
