"""The continuous search of a prefix readout: what it minimises, from where, and how sharp the minimum is."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ccm_jax.chart import Gated
from ccm_jax.metrics import masked_difference
from ccm_jax.minimize import Problem, linearize, minimize, score_of
from ccm_jax.observed import Frames, Observed, complete_of, split_prefix
from ccm_jax.parallel import over_trajectories
from ccm_jax.rollout import call_rollout
from ccm_jax.uncertainty import Local

if TYPE_CHECKING:
    from ccm_jax.readout import PrefixReadout

Array = jax.Array

RIVAL = 1.25  # a second start is searched from if its loss is at most so many times the best one's


def split(readout: PrefixReadout, x: Frames) -> tuple[Array, Array, Array | None]:
    """The window that a rollout of the prefix begins from, the frames that it predicts, and their mask, if any."""
    return split_prefix(x, readout.begin, readout.history, readout.weights.shape[-1])


def weights_of(readout: PrefixReadout, x: Frames) -> Array:
    """Weights of the predicted frames, ``[K - begin]``; with a mask those of each trajectory, ``[N, K - begin]``."""
    if not isinstance(x, Observed):
        return readout.weights
    start = readout.begin + readout.history
    mask = x.mask[:, start : start + readout.weights.shape[-1]]
    weights = jnp.broadcast_to(readout.weights, mask.shape[:2])
    seen = jnp.where(mask.any(axis=tuple(range(2, mask.ndim))), weights, 0.0)
    total = seen.sum(axis=-1, keepdims=True)
    # Where nothing is left, the errors are NaN, and the loss has to be infinite.
    return jnp.where(total > 0, seen / jnp.where(total > 0, total, 1.0), weights)


def add_axis(tree: Any) -> Any:
    """The tree with a leading axis of 1."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)


def free_axes(readout: PrefixReadout) -> tuple[int, ...]:
    """The axes of the coordinate that are searched."""
    features = readout.chart.features
    fixed = isinstance(features, Gated) and not readout.free_gate
    return tuple(range(features.dim - fixed))


def has_anchor(readout: PrefixReadout) -> bool:
    """Whether the anchor is a choice."""
    return isinstance(readout.chart.features, Gated)


def problem_of(readout: PrefixReadout, x: Frames, context: Any, home: Array) -> Problem:
    """What a continuous search minimises on trajectories ``[N, T, *space, C]`` of one regime."""
    window, truth, mask = split(readout, x)
    (count, frames), start = truth.shape[:2], readout.begin + readout.history
    axes = tuple(range(2, truth.ndim))
    size = jnp.sqrt(jnp.sum(truth**2, axes, keepdims=True))  # truth is 0 where nothing was observed
    size = size if mask is None else jnp.where(size > 0, size, 1.0)

    def residuals(c: Array) -> Array:
        predicted = call_rollout(readout.rollout_fn, readout.chart(c), window, frames, context, start)
        away = predicted - truth if mask is None else masked_difference(predicted, truth, mask)
        return (away / size).reshape(count * frames, -1)

    weights = jnp.tile(readout.weights / count, count)
    if mask is not None:
        weights = (weights_of(readout, x) / count).reshape(-1)
    return Problem(residuals, weights, free_axes(readout), readout.low, readout.high, home, readout.pull)


@functools.partial(jax.jit, static_argnames=("mesh",))
def local_at(readout: PrefixReadout, x: Frames, context: Any, coordinate: Array, *, mesh: Mesh | None = None) -> Local:
    """How sharp the minimum at each coordinate ``[N, d]`` is, or at one for all trajectories, ``[1, d]``."""
    gated = has_anchor(readout)
    axes = readout.chart.features.dim - gated

    def at(readout: PrefixReadout, x: Frames, context: Any, c: Array) -> Local:
        local = linearize(problem_of(readout, x, context, jnp.zeros_like(c)), c)
        ridge = 1e-6 * jnp.trace(local.hessian) + 1e-20
        inverse = jnp.linalg.inv(local.hessian + ridge * jnp.eye(len(local.hessian), dtype=c.dtype))
        variance = local.loss * jnp.diag(inverse)[:axes]
        newton = jnp.abs(inverse @ local.gradient)[:axes]
        known = jnp.isfinite(variance) & jnp.isfinite(newton)
        kept = gated & (c[-1] == 0)  # the anchor: its place says nothing of the value
        blank = jnp.where(known & ~kept, 0.0, jnp.inf)
        return Local(jnp.where(known, variance, 0.0) + blank, jnp.where(known, newton, 0.0))

    if len(coordinate) != len(complete_of(x)):
        return add_axis(at(readout, x, context, coordinate[0]))

    def each(readout: PrefixReadout, given: Any, coordinates: Array) -> Local:
        def one(of: Any) -> Local:
            (x, context), c = of
            return at(readout, add_axis(x), add_axis(context), c)

        return jax.lax.map(one, (given, coordinates))

    return over_trajectories(each, mesh)(readout, (x, context), coordinate)


def search(readout: PrefixReadout, x: Frames, context: Any, losses: Array, home: Array) -> tuple[Array, Array, Array]:
    """The continuous minimum, from the best candidate and from a rival that is not its neighbour."""
    problem, candidates = problem_of(readout, x, context, home), readout.candidates
    between = jnp.linalg.norm(candidates[:, None] - candidates[None], axis=-1)
    spacing = jnp.max(jnp.min(jnp.where(between > 0, between, jnp.inf), axis=1))
    spacing = jnp.where(jnp.isfinite(spacing), spacing, 1.0)
    scores = score_of(losses, jnp.linalg.norm(candidates - home[None], axis=-1), readout.pull)
    first = jnp.argmin(scores)
    apart = jnp.where(between[first] > 1.5 * spacing, scores, jnp.inf)
    second = jnp.argmin(apart)
    rival = apart[second] <= scores[first] + jnp.log(RIVAL)
    starts = candidates[jnp.stack([first, second])]
    begin = jnp.stack([jnp.isfinite(scores[first]), rival & jnp.isfinite(apart[second])])
    found = jax.lax.map(lambda s: minimize(problem, s[0], spacing, active=s[1]), (starts, begin))
    best = jnp.argmin(found.score)
    coordinate = jnp.where(jnp.isfinite(found.score[best]), found.coordinate[best], jnp.nan)
    return coordinate, found.loss[best], found.evaluations.sum()
