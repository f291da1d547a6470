"""Gauss-Newton over a coordinate of few dimensions, in a trust region, with forward-mode derivatives of a rollout.

Minimises the mean norm of residual vectors (not their squares), with a penalty on the distance from home:

    F(c) = log sum_k w_k |r_k(c)| + pull * |c - home|

Each step solves the linearised problem with the residuals weighted by w_k / |r_k| (iteratively reweighted least
squares), so that one badly fitting frame does not dominate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

TINY = 1e-18  # a loss of zero has a finite logarithm; the square, in derivatives of a quotient, is not 0 in float32
CLOSE = 1e-3  # a step shorter than this, in units of the coordinate, is not taken
STEPS = 6


class Linearized(NamedTuple):
    """Loss and derivatives from one evaluation of the residuals at a coordinate.

    Attributes:
        loss: ``sum_k w_k |r_k|``; infinite where a residual is not finite.
        gradient: of the loss along the free axes, ``[f]``.
        hessian: Gauss-Newton's, of the loss, ``[f, f]``.
    """

    loss: Array
    gradient: Array
    hessian: Array


class Problem(NamedTuple):
    """The objective and its bounds.

    Attributes:
        residuals: ``[d] -> [m, p]``, m vectors of p numbers.
        weights: of the vectors, ``[m]``.
        free: axes of the coordinate that move; the others keep the start's values.
        low: lowest coordinate, ``[d]``.
        high: highest coordinate, ``[d]``.
        home: coordinate from which the distance is measured, ``[d]``.
        pull: weight of the distance.
    """

    residuals: Callable[[Array], Array]
    weights: Array
    free: tuple[int, ...]
    low: Array
    high: Array
    home: Array
    pull: Array | float = 0.0


class Minimum(NamedTuple):
    """Where a search ended.

    Attributes:
        coordinate: ``[d]``, the best that was evaluated.
        loss: there.
        score: ``F`` there; infinite for a search that did not begin.
        evaluations: of the residuals, each with its derivatives.
    """

    coordinate: Array
    loss: Array
    score: Array
    evaluations: Array


def score_of(loss: Array, distance: Array, pull: Array | float) -> Array:
    """``log loss + pull * distance``; infinite where the loss is not finite, however large the pull."""
    # An infinite pull must not make home's neighbours as bad as what diverged, nor as bad as each other.
    score = jnp.log(jnp.maximum(loss, TINY)) + jnp.minimum(pull, 1e6) * distance
    return jnp.where(jnp.isfinite(loss), score, jnp.inf)


def length_of(step: Array) -> Array:
    """The norm of vectors ``[..., p]``; at 0 its derivative is 0, and not NaN."""
    square = jnp.sum(step**2, axis=-1)
    zero = square == 0  # and NaN stays NaN
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))


def slopes_along(residuals: Callable[[Array], Array], coordinate: Array, free: tuple[int, ...]) -> tuple[Array, Array]:
    """Residuals at a coordinate ``[d]``, and their forward-mode derivatives along the free axes, ``[f, ...]``."""
    directions = jnp.eye(len(coordinate), dtype=coordinate.dtype)[jnp.array(free)]

    def along(direction: Array) -> tuple[Array, Array]:
        return jax.jvp(residuals, (coordinate,), (direction,))

    return jax.vmap(along, out_axes=(None, 0))(directions)


def linearize(problem: Problem, coordinate: Array) -> Linearized:
    """The loss at a coordinate ``[d]``, with its gradient and Gauss-Newton Hessian along the free axes."""
    r, slopes = slopes_along(problem.residuals, coordinate, problem.free)  # [m, p], [f, m, p]
    norms = length_of(r)
    weights = problem.weights / jnp.maximum(norms, TINY)
    gradient = jnp.einsum("fmp,mp,m->f", slopes, r, weights)
    hessian = jnp.einsum("fmp,gmp,m->fg", slopes, slopes, weights)
    loss = jnp.sum(jnp.where(problem.weights > 0, problem.weights * norms, 0.0))
    usable = jnp.isfinite(gradient).all() & jnp.isfinite(hessian).all()
    gradient, hessian = (jnp.where(usable, x, 0.0) for x in (gradient, hessian))
    local = Linearized(jnp.where(jnp.isfinite(loss), loss, jnp.inf), gradient, hessian)
    return jax.tree.map(lambda x: x.astype(coordinate.dtype), local)  # frames of other precision change no shapes


def minimize(
    problem: Problem, start: Array, radius: Array | float, *, active: Any = True, steps: int = STEPS
) -> Minimum:
    """Minimises ``F`` from a start, in one loop of fixed shapes for ``jit``, ``vmap`` and ``lax.map``.

    A step that does not lower ``F`` is rejected, and the trust region shrinks to a quarter of it. A coordinate with
    non-finite residuals is therefore never the result, unless it is the start.

    Args:
        problem: what is minimised.
        start: ``[d]``.
        radius: of the trust region at first.
        active: False ends the search before it begins, with a score of infinity.
        steps: maximum number of evaluations after the first.

    Returns:
        The :class:`Minimum`.
    """
    axes = jnp.array(problem.free)
    low, high = problem.low[axes], problem.high[axes]

    def step_from(c: Array, local: Linearized, radius: Array) -> Array:
        away = c - problem.home
        unit = away[axes] / jnp.maximum(length_of(away), TINY)
        loss = jnp.maximum(local.loss, TINY)
        slope = local.gradient / loss + jnp.minimum(problem.pull, 1e6) * unit
        curvature = local.hessian / loss
        damping = 1e-6 * jnp.maximum(jnp.trace(curvature), TINY)
        step = -jnp.linalg.solve(curvature + damping * jnp.eye(len(axes), dtype=c.dtype), slope)
        step = jnp.nan_to_num(step * jnp.minimum(1.0, radius / jnp.maximum(length_of(step), TINY)))
        return jnp.clip(c[axes] + step, low, high) - c[axes]

    def going(state: Any) -> Array:
        *_, moved, count = state
        return (moved > CLOSE) & (count <= steps)

    def body(state: Any) -> Any:
        c, local, score, radius, there, _, count = state
        length = length_of(there - c)
        new = linearize(problem, there)
        new_score = score_of(new.loss, length_of(there - problem.home), problem.pull)
        better = new_score < score
        kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), (there, new, new_score), (c, local, score))
        # A step that is taken back is tried again in a quarter of the region, as long as that is worth a look.
        radius = jnp.where(count == 0, radius, jnp.where(better, jnp.maximum(radius, 2 * length), length / 4))
        step = step_from(kept[0], kept[1], radius)
        worth = jnp.where(jnp.isfinite(kept[2]), length_of(step), 0.0)
        return (*kept, radius, kept[0].at[axes].add(step), worth, count + 1)

    # The start is the first that is looked at: the residuals are traced, and compiled, once.
    start = jnp.asarray(start)
    local = jax.tree.map(
        lambda x: jnp.full(x.shape, jnp.inf, x.dtype), jax.eval_shape(lambda c: linearize(problem, c), start)
    )
    moved = jnp.where(active, jnp.asarray(jnp.inf, start.dtype), 0.0)
    radius = jnp.asarray(radius, start.dtype)
    state = (start, local, jnp.full_like(local.loss, jnp.inf), radius, start, moved, jnp.int32(0))
    c, local, score, *_, count = jax.lax.while_loop(going, body, state)
    return Minimum(c, local.loss, score, count)
