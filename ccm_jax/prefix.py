"""Coordinates from observed frames: roll every candidate over the prefix, and take the one that fits, on evidence."""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ccm_jax._checks import as_count, check_real, counted
from ccm_jax._given import check_model, check_single
from ccm_jax.chart import Chart, as_coordinate
from ccm_jax.coordinate import Estimate
from ccm_jax.metrics import relative_l2
from ccm_jax.minimize import score_of
from ccm_jax.observed import Frames, check_prefix, split_prefix
from ccm_jax.parallel import candidates_at_once, map_candidates, over_mesh
from ccm_jax.rollout import RolloutFn, call_rollout

Array = jax.Array


def paper_bank() -> Array:
    """The paper's candidates: -1.5, -1.25, ..., 1.5, as ``[13, 1]``."""
    return jnp.linspace(-1.5, 1.5, 13)[:, None]


def plane_bank(bank: Any, gates: Any) -> Array:
    """Candidates ``(coordinate, gate)`` for a chart with :class:`~ccm_jax.Gated` features: the anchor, and a plane.

    Args:
        bank: coordinates ``[n]`` on the line, sorted.
        gates: scales ``[m]`` of the shared update.

    Returns:
        ``[1 + m n, 2]``: first the anchor, (0, 0), then the bank at each gate.
    """
    alpha, gate = jnp.meshgrid(jnp.asarray(bank), jnp.asarray(gates))
    return jnp.concatenate([jnp.zeros((1, 2)), jnp.stack([alpha.ravel(), gate.ravel()], axis=-1)])


@functools.partial(jax.jit, static_argnames=("rollout_fn", "history", "frames", "begin", "chunk", "mesh"))
def prefix_errors(
    chart: Chart,
    rollout_fn: RolloutFn,
    prefix: Frames,
    candidates: Array,
    *,
    history: int = 1,
    frames: int = 4,
    begin: int = 0,
    context: Any = None,
    chunk: int | None = None,
    mesh: Mesh | None = None,
) -> Array:
    """Rolls every candidate over the observed frames of every trajectory, in one compiled call.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: ``(params, window [N, history, ...], steps) -> [N, steps, ...]``; compiled once per object,
            so make it once and keep it.
        prefix: observed frames ``[N, T, *space, C]`` with ``T >= history + frames``: the first ``history``
            start the model, the next ``frames`` are scored; or :class:`~ccm_jax.observed.Observed` ones, which are
            scored where they were observed.
        candidates: coordinates ``[n, d]``.
        history: frames in the model's window.
        frames: the K scored frames.
        begin: frames skipped before the window.
        context: the model's inputs besides the window, a tree of arrays ``[N, ...]``; see
            :func:`~ccm_jax.rollout.call_rollout`.
        chunk: candidates that run side by side, each with weights of its own; by default one on a CPU, which is
            fastest there, and as many as fit on an accelerator, see :func:`~ccm_jax.parallel.candidates_at_once`.
        mesh: devices over which candidates and trajectories are spread, of :func:`~ccm_jax.parallel.make_mesh`.

    Returns:
        Relative L2 error ``[n, N, frames]``; NaN or infinite where a rollout diverged.
    """
    length = jax.tree.leaves(prefix)[0].shape[1]
    if length < begin + history + frames:
        raise ValueError(
            f"prefix_errors: prefix has {counted(length, 'frame')}, expected at least {begin + history + frames}: "
            f"{begin + history} for the model's window and {frames} to score; observe more frames, or score fewer."
        )

    def errors(chart: Chart, given: tuple[Frames, Any], candidates: Array) -> Array:
        prefix, context = given
        start = begin + history
        window, truth, mask = split_prefix(prefix, begin, history, frames)
        whole = jax.tree.leaves(prefix)[0]
        size = candidates_at_once(chart.origin, whole, len(candidates)) if chunk is None else chunk

        def error(c: Array) -> Array:
            return relative_l2(call_rollout(rollout_fn, chart(c), window, frames, context, start), truth, mask)

        return map_candidates(error, candidates, min(size, len(candidates)))

    return over_mesh(errors, mesh)(chart, (prefix, context), candidates)


def coordinate_from_prefix(
    chart: Chart,
    rollout_fn: RolloutFn,
    prefix: Array,
    candidates: Array | None = None,
    *,
    history: int = 1,
    frames: int = 4,
    batch: Literal["each", "pooled"] | None = None,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    home: Any = None,
    pull: float = 0.0,
) -> Estimate:
    """CCM-Prefix: the candidate whose rollout best fits the first K observed frames.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: ``(params, window [N, history, ...], steps) -> [N, steps, ...]``, for instance
            ``make_rollout(apply)``.
        prefix: observed frames of one trajectory, ``[T, *space, C]``, or of a batch, ``[N, T, *space, C]``, with
            ``T >= history + frames``.
        candidates: coordinates ``[n, d]``; the default is the paper's bank.
        history: frames in the model's window.
        frames: the K frames scored after the window.
        batch: None for one trajectory; ``"each"`` for one coordinate per trajectory of a batch (the fields of
            the estimate get a leading axis ``N``); ``"pooled"`` for one coordinate of a batch that is known
            to come from one regime.
        chunk: candidates that run side by side; see :func:`prefix_errors`.
        mesh: devices to spread over; see :func:`prefix_errors`.
        home: the reference coordinate ``[d]``, for instance the anchor's on a gated chart; see :func:`select`.
        pull: strength of the regularization toward it, in units of log loss per unit of distance.

    Returns:
        A :class:`Estimate` with the mean relative L2 error over the K frames as losses. A candidate whose
        rollout is not finite is never chosen.

    Raises:
        ValueError: for a prefix that is too short or contains NaN, or misshapen candidates.
    """
    name = "coordinate_from_prefix"
    check_model(name, chart, rollout_fn)
    check_real(f"{name}: prefix is", prefix)
    history, frames = as_count(f"{name}: history", history), as_count(f"{name}: frames", frames)
    if batch not in (None, "each", "pooled"):
        raise ValueError(f"{name}: batch is {batch!r}, expected None, 'each' or 'pooled'.")
    candidates = paper_bank() if candidates is None else jnp.asarray(candidates)
    candidates = candidates[:, None] if candidates.ndim == 1 else candidates
    if candidates.ndim != 2 or not len(candidates) or candidates.shape[1] != chart.features.dim:
        raise ValueError(
            f"{name}: candidates have shape {candidates.shape}, expected [n, {chart.features.dim}] with n >= 1."
        )
    prefix = jnp.asarray(prefix)
    if batch is None:
        check_single(name, prefix.shape, history + frames)
        prefix = prefix[None]
    check_prefix(name, prefix, history, frames)
    errors = prefix_errors(
        chart, rollout_fn, prefix, candidates, history=history, frames=frames, chunk=chunk, mesh=mesh
    )
    losses = errors.mean(axis=-1).T  # [N, n]

    def chosen(losses: Array) -> Estimate:
        return select(candidates, losses, home=home, pull=pull)

    return jax.vmap(chosen)(losses) if batch == "each" else chosen(losses.mean(axis=0))


def select(candidates: Array, losses: Array, *, home: Any = None, pull: float | Array = 0.0) -> Estimate:
    """Chooses the finite candidate with the smallest loss, with an optional penalty on the distance from ``home``.

        coordinate = argmin_c  log loss(c) + pull * |c - home|

    ``home`` is the reference coordinate; ``pull`` is the strength of the regularization toward it. The first frames are
    not typical of later ones, so a small prefix error alone is weak evidence. Each unit of distance has to lower the
    error by a factor of ``exp(-pull)``. With a large ``pull``, the estimate leaves ``home`` only if the rollout there
    diverges. Choose ``pull`` on validation regimes.

    Args:
        candidates: ``[n, d]``.
        losses: ``[n]``, errors, so none is negative; one that is not finite is never chosen.
        home: the reference coordinate ``[d]``, such as the anchor's on a gated chart; None for no penalty.
        pull: strength of the regularization toward it, at least 0, in units of log loss per unit of distance; with
            infinity, the estimate is ``home`` unless the rollout there diverges.
    """
    place = None if home is None else as_coordinate("select", home, candidates.shape[-1])
    return _select(jnp.asarray(candidates), jnp.asarray(losses), place, pull)


@jax.jit
def _select(candidates: Array, losses: Array, home: Array | None, pull: float | Array) -> Estimate:
    losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
    score = losses
    if home is not None:
        distance = jnp.linalg.norm(candidates - home[None], axis=-1)
        score = score_of(losses, distance, pull)
        # Of candidates that fit equally well, the one nearest home.
        score = jnp.where(score == jnp.min(score), distance - jnp.max(distance) - 1e9, score)
    coordinate = jnp.where(jnp.any(jnp.isfinite(losses)), candidates[jnp.argmin(score)], jnp.nan)
    return Estimate(coordinate, candidates, losses)


@jax.jit
def refine_readout(readout: Estimate) -> Estimate:
    """Moves an estimate from a sorted bank to the vertex of the parabola around it, along the first coordinate.

    The losses resolve more than the bank's step: the chosen candidate and its two neighbours define a parabola, whose
    vertex lies within half a step. Neighbours in the list are neighbours in the bank if they are evenly spaced and
    differ in nothing but the first coordinate. The estimate is unchanged at the edge of the bank, and beside a
    candidate that diverged or has a smaller loss.
    """
    c, losses = readout.candidates, readout.losses
    if len(c) < 3:  # no two neighbours, or an estimate that tried nothing
        return readout
    same = jnp.all(c == readout.coordinate[None], axis=-1)
    i = jnp.clip(jnp.argmax(same), 1, len(c) - 2)
    left, mid, right = losses[i - 1], losses[i], losses[i + 1]
    curvature = left - 2 * mid + right
    step = c[i, 0] - c[i - 1, 0]
    row = jnp.all(c[i - 1, 1:] == c[i, 1:]) & jnp.all(c[i + 1, 1:] == c[i, 1:])
    even = row & jnp.isclose(c[i + 1, 0] - c[i, 0], step, rtol=1e-3)
    lowest = (mid <= left) & (mid <= right)
    usable = same[i] & even & lowest & jnp.isfinite(curvature) & (curvature > 0)
    shift = jnp.where(usable, 0.5 * (left - right) / jnp.where(usable, curvature, 1.0), 0.0)
    return readout._replace(coordinate=readout.coordinate.at[0].add(shift * step))


@functools.partial(jax.jit, static_argnames=("rollout_fn", "steps", "start", "parts"))
def keep_bounded(
    chart: Chart,
    rollout_fn: RolloutFn,
    windows: Array,
    coordinates: Array,
    home: Any,
    bounds: Array,
    *,
    steps: int,
    start: int = 0,
    context: Any = None,
    parts: int = 5,
) -> Array:
    """Moves coordinates toward a reference until the rollout stays bounded; needs no ground truth.

    A few observed frames do not reveal whether a rollout will blow up later, so the rollout is run before it is
    trusted. Each coordinate moves toward ``home`` in equal steps, until the rollout is finite and its fields stay
    within their bounds. If no point is bounded, the coordinate is returned unchanged.

    Args:
        chart: weights as a function of coordinates.
        rollout_fn: ``(params, window [N, history, ...], steps) -> [N, steps, ...]``.
        windows: last observed frames of each trajectory, ``[N, history, *space, C]``.
        coordinates: ``[N, d]``.
        home: the reference coordinate ``[d]``, such as the anchor's.
        bounds: ``[N, C]``, the largest root mean square over space that each field may reach.
        steps: length of the rollout.
        start: index of its first frame within the trajectory, for models that take the time.
        context: the model's inputs besides the window, ``[N, ...]``.
        parts: number of steps to ``home``.

    Returns:
        Coordinates ``[N, d]``.
    """
    home = as_coordinate("keep_bounded", home, chart.features.dim)

    def one(given: tuple[Array, Array, Array, Any]) -> Array:
        window, coordinate, bound, context = given
        context = jax.tree.map(lambda x: x[None], context)

        def at(part: Array) -> Array:
            # Home itself in the end, also from a coordinate that is NaN.
            return jnp.where(part < parts, home + (coordinate - home) * ((parts - part) / parts), home)

        def unbounded(part: Array) -> Array:
            frames = call_rollout(rollout_fn, chart(at(part)), window[None], steps, context, start)[0]
            size = jnp.sqrt(jnp.mean(frames**2, axis=tuple(range(1, frames.ndim - 1))))
            return ~jnp.all(size <= bound[None])  # NaN is not bounded

        last = jax.lax.while_loop(lambda part: (part <= parts) & unbounded(part), lambda part: part + 1, jnp.int32(0))
        return jnp.where(last <= parts, at(last), coordinate)

    return jax.lax.map(one, (windows, coordinates, bounds, context))
