"""How the prefix decides where a family is merged: candidates, evidence, a look at the rollout before it is trusted."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Chart, Estimate, keep_bounded, paper_bank, plane_bank, prefix_errors, refine_readout, select
from ccm_jax.evaluate import split_future
from ccm_jax.parallel import place
from experiments.pipeline.family import Family, bank_of, by_candidates, in_groups

Array = jax.Array


class Evidence(NamedTuple):
    """How the prefix decides, from validation regimes.

    Attributes:
        skip: observed frames, from the first, that are not scored: a start is not typical of what follows.
        pull: toward the anchor, in units of log loss per unit of distance.
    """

    skip: int
    pull: float


def candidates_of(config: ConfigDict) -> np.ndarray:
    """What the prefix chooses among, ``[n, 2]``: the anchor, the line, and in double steps the other gates."""
    bank, gates = bank_of(config), [gate for gate in config.calibration.gates if gate != 1]
    coarse = plane_bank(bank[::2], np.array(gates)) if gates else np.zeros((1, 2))
    rows = (np.asarray(part, np.float64) for part in (coarse, plane_bank(bank, np.ones(1))[1:]))
    return np.round(np.concatenate(list(rows)), 5)


def both_readouts(
    config: ConfigDict, family: Family, plane: Chart, x: Array, evidence: Evidence
) -> tuple[Estimate, Estimate]:
    """What the prefix of trajectories ``x`` chooses, for each or, if ``config.calibration.pooled``, for all at once.

    Returns:
        The readout that we recommend: on the plane, refined along the line, leaving the anchor on evidence. And the
        paper's: the best of its bank of 13 on the line, over all K frames, without refinement.
    """
    ours, paper = candidates_of(config), np.asarray(plane_bank(paper_bank()[:, 0], [1.0]), np.float64)[1:]
    new = [row for row in paper if not np.isclose(ours, row, atol=1e-4).all(axis=1).any()]
    tried = np.concatenate([ours, *(row[None] for row in new)])
    errors = errors_of_prefix(config, family, plane, tried, x)
    line = [int(np.isclose(tried, row, atol=1e-4).all(axis=1).argmax()) for row in paper]
    first = jax.vmap(refine_readout)(chosen(config, ours, errors[: len(ours)], evidence))
    return first, chosen(config, paper, errors[line], Evidence(0, 0.0))


def growth_of(config: ConfigDict, family: Family, trajectories: np.ndarray) -> float:
    """Twice the largest growth of a field beyond its prefix among trajectories ``[..., T, H, W, C]``."""
    size = np.sqrt(np.mean(np.square(np.asarray(trajectories, np.float64)), axis=(-3, -2)))
    observed = size[..., : family.history + config.calibration.frames, :].max(axis=-2)
    return 2 * float((size.max(axis=-2) / np.maximum(observed, 1e-12)).max())


def bounded(config: ConfigDict, family: Family, plane: Chart, x: Array, readout: Estimate, growth: float) -> Estimate:
    """The readout, drawn back toward the anchor where the rollout that it is for outgrows its prefix."""
    observed, windows, future = split_future(x, history=family.history, prefix=config.calibration.frames)
    size = jnp.sqrt(jnp.mean(observed**2, axis=(2, 3))).max(axis=1)  # [N, C]
    coordinates = jnp.broadcast_to(readout.coordinate, (len(x), readout.coordinate.shape[-1]))
    home, steps = jnp.zeros(coordinates.shape[-1]), future.shape[1]
    kept = keep_bounded(plane, family.rollout_fn, windows, coordinates, home, growth * size, steps=steps)
    if config.calibration.pooled:  # one for all: the most cautious
        kept = kept[jnp.argmin(jnp.linalg.norm(kept, axis=-1))][None]
    return readout._replace(coordinate=kept)


def chosen(config: ConfigDict, candidates: np.ndarray, errors: np.ndarray, evidence: Evidence) -> Estimate:
    """What evidence makes of prefix errors ``[n, N, K]``, before refinement; the anchor is home."""
    losses = errors[..., evidence.skip :].mean(axis=-1)
    losses = losses.mean(axis=1)[None] if config.calibration.pooled else losses.T
    c, home = jnp.asarray(candidates, jnp.float32), jnp.zeros(candidates.shape[-1])
    return jax.vmap(lambda one: select(c, one, home=home, pull=evidence.pull))(jnp.asarray(losses))


def errors_of_prefix(config: ConfigDict, family: Family, plane: Chart, candidates: np.ndarray, x: Array) -> np.ndarray:
    """Errors ``[n, N, K]`` of candidates over the prefix of trajectories ``[N, T, ...]``."""
    mesh, frames = family.mesh, config.calibration.frames
    observed, _, _ = split_future(x, history=family.history, prefix=frames)
    how: dict[str, Any] = {"history": family.history, "frames": frames, "mesh": mesh}

    spread = place(plane, mesh)

    def errors(bank: Any) -> np.ndarray:
        there = place(bank, mesh)
        return in_groups(
            lambda g: prefix_errors(spread, family.rollout_fn, place(g, mesh), there, **how), observed, mesh
        )

    return by_candidates(errors, candidates)
