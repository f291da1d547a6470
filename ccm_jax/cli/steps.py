"""Whether the frames of a file are one step of the network apart, where networks fit them badly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import is_merged
from ccm_jax._stride import stride_clue
from ccm_jax._trivial import BADLY
from ccm_jax.chart import Polynomial, fit_chart
from ccm_jax.cli.checkpoints import warn
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.waiting import waiting
from ccm_jax.fit_readout import fit_prefix_readout, prefix_readout
from ccm_jax.readout import coarse_errors

LOOKED = 3  # regimes of validation at most: a file has one time step, and each look compiles a program
FRAMES = 4  # after the first that a look compares, where nobody says how many


def over_all(clue: str) -> str:
    """The clue with the frames of its errors, which are not those that a readout scores."""
    return f"over all observed frames, {clue}"


def check_step(opened: Any, regimes: Regimes, count: int, *, anyway: bool = False) -> None:
    """Refuses validation trajectories of another time step than the network's.

    Args:
        opened: a chart and its model, of :func:`~ccm_jax.cli.fitting.open_chart`.
        regimes: of validation, with more frames than a window.
        count: frames after the window that are compared.
        anyway: warns instead.

    Raises:
        ValueError: if several steps of the network per frame, or one per several frames, clearly fit better in each
            regime that was looked at, by the name of the first. If only in some, a warning names them.
    """
    chart, (rollout_fn, history) = opened.chart, (opened.surrogate.rollout_fn, opened.surrogate.history)
    shortest = min(x.shape[1] for x in regimes.trajectories.values())
    count = min(count, shortest - history)
    if history != 1 or count < 1:  # a window of several frames has a wrong step itself
        return
    readout = fit_prefix_readout(chart, rollout_fn, history=history, frames=count)
    names = list(regimes.trajectories)
    first = np.stack([regimes.trajectories[name][0, : history + count] for name in names])
    with waiting("looking at the time step of validation"):
        errors = coarse_errors(readout, jnp.asarray(first), None)
        best, repeated = np.asarray(errors.candidates).mean(axis=-1).min(axis=0), np.asarray(errors.persistence)
        doubtful = np.flatnonzero(~(best <= BADLY * repeated.mean(axis=-1)))
        spread = np.linspace(0, len(doubtful) - 1, min(LOOKED, len(doubtful))).round().astype(int)
        clues = {names[i]: stride_clue(readout, first[i : i + 1]) for i in doubtful[spread]}
    told = {name: clue for name, clue in clues.items() if clue}
    if not told:
        return
    name, clue = next(iter(told.items()))
    said = f"--validation {regimes.path}: in the regime {name}, {clue}"
    if anyway or len(told) < len(clues):
        also = [other for other in told if other != name]
        more = f" So it is in the regimes {' and '.join(also)}." if also else ""
        warn(f"{said}{more} What is fitted on them may be wrong.")
        return
    raise ValueError(f"{said} Use frames that are one step of the network apart, as in its training data.")


def clue_of_networks(networks: Sequence[Any], rollout_fn: Any, x: np.ndarray) -> str:
    """What the time step of frames seems to be, by networks that fit them badly; see :func:`stride_clue`.

    Args:
        networks: weights of two networks, of which one is the best.
        rollout_fn: of both.
        x: trajectories ``[N, T, *space, C]``.
    """
    count = min(FRAMES, x.shape[1] - 1)
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(networks) if is_merged(leaf))
    if count < 1 or not finite:
        return ""
    # A line from one to the other; a look takes both ends, and no point in between.
    chart = fit_chart(networks[0], [networks[1]], [[1.0]], features=Polynomial(constant=False))
    ends = jnp.ones((1, 1), jnp.float32)
    how: dict[str, Any] = {"history": 1, "frames": count, "begin": 0, "search": "bank"}
    return stride_clue(prefix_readout(chart, rollout_fn, candidates=ends, **how), x)
