"""The prefix readout: from the first observed frames of a trajectory to a coordinate of a chart.

    coordinate = argmin_c  log sum_k w_k |rollout_k(weights(c)) - frame_k| / |frame_k|  +  pull * |c - home|

Home is the anchor, if the chart contains it. :func:`ccm_jax.fit_prefix_readout` creates a readout, which is then called
with frames.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ccm_jax._checks import is_traced, kind_of
from ccm_jax._forward import forward_only
from ccm_jax._frames import DOUBTFUL, as_frames, warn_of_unit
from ccm_jax._given import check_axes, check_single, explained, warn_of_estimate
from ccm_jax._plain import plain
from ccm_jax._shown import shown, shown_readout
from ccm_jax.chart import Chart
from ccm_jax.coordinate import Estimate
from ccm_jax.fill import Fill
from ccm_jax.membership import statistic_of
from ccm_jax.metrics import relative_l2
from ccm_jax.minimize import score_of
from ccm_jax.observed import Frames, Missing, complete_of, observations
from ccm_jax.parallel import candidates_at_once, over_trajectories, place
from ccm_jax.posterior import Prior
from ccm_jax.prefix import keep_bounded, prefix_errors, refine_readout, select
from ccm_jax.rollout import RolloutFn, call_rollout
from ccm_jax.search import add_axis, free_axes, has_anchor, local_at, search, split, weights_of
from ccm_jax.uncertainty import Uncertainty

Array = jax.Array
Batch = Literal["each", "pooled"]
Search = Literal["continuous", "parabola", "bank"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class PrefixReadout:
    """A function from observed frames to an :class:`~ccm_jax.Estimate`; a pytree, so it can be jitted and saved.

    Attributes:
        chart: weights as a function of coordinates.
        candidates: coordinates ``[n, d]`` evaluated first; a bank search considers only these.
        low: lowest coordinate of a continuous search, ``[d]``.
        high: highest coordinate of a continuous search, ``[d]``.
        weights: weights of the predicted frames, ``[K - begin]``, with sum 1; 0 leaves a frame out.
        pull: strength of the regularization toward the anchor, in units of log loss per unit of distance.
        growth: factor by which fields may grow beyond their prefix; None accepts every rollout.
        rollout_fn: ``(params, window [N, history, *space, C], steps) -> [N, steps, *space, C]``, or with a context
            ``(params, window, steps, context, start)``; see :func:`~ccm_jax.rollout.call_rollout`.
        history: frames in the model's window.
        begin: observed frames skipped before the rollout begins; later frames may be more informative.
        horizon: steps of the rollout that ``growth`` looks at.
        free_gate: whether the gate of a :class:`~ccm_jax.Gated` chart is searched too, or is 1.
        search: ``"continuous"``, between candidates by Gauss-Newton; ``"bank"``, the best candidate; or ``"parabola"``,
            the vertex of the parabola around that.
        fill: how partially observed frames are completed; see :mod:`ccm_jax.fill`.
        uncertainty: fitted by :func:`ccm_jax.fit_uncertainty`, for posteriors; None for none.
        known: shape ``[*space, C]`` of the validation frames that decided on the settings; None without validation.
        worst: the largest loss on a validation trajectory, to compare that of observed frames with.
        error_over_anchor: future error divided by the anchor's, by validation regime, ``[R]``; None without validation.
        sizes: lowest and highest root mean square of observed frames of validation, ``[2]``; None without validation.
    """

    chart: Chart
    candidates: Array
    low: Array
    high: Array
    weights: Array
    pull: Array
    growth: Array | None
    rollout_fn: RolloutFn = field(metadata={"static": True})
    history: int = field(default=1, metadata={"static": True})
    begin: int = field(default=0, metadata={"static": True})
    horizon: int = field(default=0, metadata={"static": True})
    free_gate: bool = field(default=False, metadata={"static": True})
    search: Search = field(default="continuous", metadata={"static": True})
    fill: Fill = field(default=Fill(), metadata={"static": True})
    uncertainty: Uncertainty | None = None
    known: tuple[int, ...] | None = field(default=None, metadata={"static": True})
    worst: Array | None = None
    error_over_anchor: Array | None = None
    sizes: Array | None = None

    def __repr__(self) -> str:
        return shown(self) if is_traced(self) else shown_readout(self)

    @property
    def frames(self) -> int:
        """The K observed frames after the first window."""
        return self.begin + self.weights.shape[-1]

    def __call__(
        self,
        frames: Any,
        *,
        batch: Batch | None = None,
        context: Any = None,
        prior: Prior | None = None,
        mesh: Mesh | None = None,
        mask: Any = None,
        missing: Missing = "refuse",
    ) -> Estimate:
        """Finds the coordinate of observed frames; works under ``jit``, with derivatives in forward mode only.

        Args:
            frames: of one trajectory ``[T, *space, C]``, or of a batch ``[N, T, *space, C]``, with
                ``T >= history + K``, of which the first ``history + K`` are read, in the model's units.
            batch: None for one trajectory; for a batch, ``"each"``, one coordinate per trajectory, or ``"pooled"``, one
                for all.
            context: the model's inputs besides the window, a tree of arrays (``[N, ...]`` for a batch).
            prior: what is known of the physical value besides the frames; it shapes the posterior and leaves the
                coordinate as it is. Needs ``uncertainty``.
            mesh: devices to spread over, from :func:`~ccm_jax.parallel.make_mesh`.
            mask: True where a point was observed: ``[*space]``, ``[T, *space]`` or ``[N, T, *space]``. Losses are then
                ``|mask (predicted - true)| / |mask true|``, a frame of which nothing was observed has no weight, and
                rollouts start from frames that ``fill`` completes.
            missing: ``"nan"`` takes NaN for points that were not observed; ``"refuse"`` refuses it.

        Returns:
            An :class:`~ccm_jax.Estimate`. A coordinate whose rollout is not finite is never chosen.

        Raises:
            ValueError: for frames that are too few, NaN, infinite, all zeros or of another shape than the model's; for
                a batch without ``batch``; if a mask leaves nothing to start from or score. Under ``jit``, for shapes
                only.

        Warns:
            UserWarning: if the frames are 30 times larger or smaller than any of validation (then this is the
                only warning); if no network beats the last frame repeated or a forecast of zeros (swapped channels?
                other units?); if every rollout diverges; if a coordinate is at the edge of the search range; if the
                frames have another grid than validation's, or a much larger error; or if no point of the chart explains
                them; or if another time step fits clearly better, and the p-value is below 0.05.
        """
        if batch not in (None, "each", "pooled"):
            raise ValueError(f"PrefixReadout: batch is {batch!r}, expected None, 'each' or 'pooled'.")
        x = as_frames(self.chart, frames, "PrefixReadout: frames")
        if batch is None:
            check_single("PrefixReadout", x.shape, self.history + self.frames)
            x, context = x[None], jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], context)
        check_axes("PrefixReadout", self.known, np.shape(frames), x.ndim)
        if prior is not None and self.uncertainty is None:
            raise ValueError("PrefixReadout: a prior needs a posterior; make one with fit_uncertainty(readout, ...).")
        if prior is not None and not isinstance(prior, tuple):
            raise ValueError(f"PrefixReadout: prior is {kind_of(prior)}, expected Prior(value, deviation).")
        seen = observations("PrefixReadout", self, x, mask, missing)
        # One program, however frames were completed, and whether a posterior follows or not.
        bare = plain(self, fill=Fill())
        placed = (bare, seen, context) if is_traced(seen) or mesh is None else place((bare, seen, context), mesh)
        try:
            coarse = coarse_errors(*placed, mesh=mesh)
        except ValueError as error:
            raise explained(self, x, batch is None, error) from error
        estimate = read(*placed, coarse, pooled=batch == "pooled", mesh=mesh)
        if self.uncertainty is not None:
            local = local_at(*placed, estimate.coordinate, mesh=mesh)
            posterior = self.uncertainty(estimate.coordinate, local, prior, len(x) if batch == "pooled" else 1)
            estimate = estimate._replace(posterior=posterior, p_value=self._p_value(seen, context, estimate.coordinate))
        whole = isinstance(seen, Array)
        judge = self if whole else dataclasses.replace(self, worst=None)  # filled gaps err, too
        if not warn_of_unit("PrefixReadout", self.sizes, seen):
            known = x if whole and context is None else None
            if warn_of_estimate("PrefixReadout", judge, x.shape, estimate, known, gaps=not whole):
                warn_of_unit("PrefixReadout", self.sizes, seen, far=DOUBTFUL)
        return estimate if batch == "each" else jax.tree.map(lambda leaf: leaf[0], estimate)

    def _p_value(self, x: Frames, context: Any, coordinate: Array) -> Array | None:
        """Of each trajectory, or of all together at one coordinate, ``[1]``."""
        assert self.uncertainty is not None
        if self.uncertainty.membership is None:
            return None
        shape = {"history": self.history, "frames": self.frames}
        statistic = statistic_of(self.chart, self.rollout_fn, x, coordinate, context=context, **shape)
        pooled = statistic.mean(keepdims=True) if len(coordinate) < len(statistic) else statistic
        axes = self.chart.features.dim - has_anchor(self)
        return self.uncertainty.membership(pooled, coordinate[:, :axes])


def check_readout(function: str, readout: Any) -> None:
    """Raises ValueError for what is no readout of frames."""
    if not isinstance(readout, PrefixReadout):
        raise ValueError(f"{function}: readout is {kind_of(readout)}, expected a PrefixReadout of fit_prefix_readout.")


class Coarse(NamedTuple):
    """Relative L2 errors of each predicted frame of the prefix: of the candidates, and of what is not on the chart.

    Attributes:
        candidates: ``[n, N, K - begin]``.
        anchor: ``[N, K - begin]``.
        persistence: of the last frame of the window repeated, ``[N, K - begin]``.
    """

    candidates: Array
    anchor: Array
    persistence: Array


@functools.partial(jax.jit, static_argnames=("mesh",))
def coarse_errors(readout: PrefixReadout, x: Frames, context: Any, *, mesh: Mesh | None = None) -> Coarse:
    """Errors of a readout's candidates, of the anchor and of persistence on trajectories ``[N, T, *space, C]``."""
    window, truth, mask = split(readout, x)
    shape: dict[str, Any] = {"history": readout.history, "frames": truth.shape[1], "begin": readout.begin}
    tried = prefix_errors(readout.chart, readout.rollout_fn, x, readout.candidates, context=context, mesh=mesh, **shape)
    start = readout.begin + readout.history
    anchor = call_rollout(readout.rollout_fn, readout.chart.origin, window, truth.shape[1], context, start)
    repeated = jnp.broadcast_to(window[:, -1:], truth.shape)
    return Coarse(tried, relative_l2(anchor, truth, mask), relative_l2(repeated, truth, mask))


@functools.partial(jax.jit, static_argnames=("pooled", "mesh"))
def read(
    readout: PrefixReadout, x: Frames, context: Any, coarse: Coarse, *, pooled: bool = False, mesh: Mesh | None = None
) -> Estimate:
    """A readout from its coarse errors on; the fields of the estimate have a leading axis ``N``, or 1 if pooled."""
    weights = weights_of(readout, x)
    losses, anchor, persistence = (_loss(weights, errors) for errors in coarse)
    losses = losses.T  # [N, n]
    if pooled:
        losses, anchor, persistence = (value.mean(axis=0, keepdims=True) for value in (losses, anchor, persistence))
        found = add_axis(_choose(readout, x, context, losses[0], anchor[0]))
    else:

        def each(readout: PrefixReadout, given: Any, losses: Array) -> Any:
            def one(of: Any) -> Any:
                (x, context, anchor), losses = of
                return _choose(readout, add_axis(x), add_axis(context), losses, anchor)

            size = candidates_at_once(readout.chart.origin, jax.tree.leaves(given[0])[0][:1], len(losses))
            return jax.lax.map(one, (given, losses), batch_size=size if size > 1 else None)

        found = over_trajectories(each, mesh)(readout, (x, context, anchor), losses)
    coordinate, loss, evaluations = forward_only(found) if readout.search == "continuous" else found
    if readout.growth is not None:
        coordinate = _bounded(readout, readout.growth, complete_of(x), context, coordinate)
    return Estimate(
        coordinate=coordinate,
        candidates=jnp.broadcast_to(readout.candidates, (len(losses), *readout.candidates.shape)),
        losses=losses,
        loss=loss,
        anchor_loss=anchor,
        persistence_loss=persistence,
        rollouts=losses.shape[-1] + 1 + evaluations * (1 + len(free_axes(readout))),
    )


def _loss(weights: Array, errors: Array) -> Array:
    """Errors ``[..., K]`` as one loss; infinite where a frame that counts is not finite."""
    weights = jnp.broadcast_to(weights, errors.shape)
    counted = jnp.where(weights > 0, weights * errors, 0.0).sum(axis=-1)
    return jnp.where(jnp.isfinite(counted), counted, jnp.inf)


def _choose(
    readout: PrefixReadout, x: Frames, context: Any, losses: Array, anchor: Array
) -> tuple[Array, Array, Array]:
    """Coordinate ``[d]``, loss and evaluations for trajectories of one regime, from the losses of candidates."""
    home = jnp.zeros(readout.candidates.shape[-1], readout.candidates.dtype)
    if readout.search == "continuous":
        coordinate, loss, evaluations = search(readout, x, context, losses, home)
        refined = coordinate
    else:
        best = select(readout.candidates, losses, home=home if has_anchor(readout) else None, pull=readout.pull)
        coordinate, evaluations = best.coordinate, jnp.int32(0)
        loss = jnp.min(jnp.where(jnp.all(readout.candidates == coordinate[None], axis=-1), losses, jnp.inf))
        refined = refine_readout(best).coordinate if readout.search == "parabola" else coordinate
    if not has_anchor(readout):
        return refined, loss, evaluations
    score = score_of(loss, jnp.linalg.norm(coordinate - home), readout.pull)
    stays = jnp.isfinite(anchor) & (score_of(anchor, jnp.zeros(()), readout.pull) <= score)
    return jnp.where(stays, home, refined), jnp.where(stays, anchor, loss), evaluations


def _bounded(readout: PrefixReadout, growth: Array, x: Array, context: Any, coordinate: Array) -> Array:
    """The coordinates, moved toward home where the rollout that they are for outgrows its prefix."""
    observed = readout.history + readout.frames
    fields = tuple(range(2, x.ndim - 1))
    size = jnp.sqrt(jnp.mean(x[:, :observed] ** 2, axis=fields)).max(axis=1)  # [N, C]
    windows, home = x[:, readout.frames : observed], jnp.zeros(coordinate.shape[-1], coordinate.dtype)
    each = jnp.broadcast_to(coordinate, (len(x), coordinate.shape[-1]))
    how = {"steps": readout.horizon, "start": observed, "context": context}
    kept = keep_bounded(readout.chart, readout.rollout_fn, windows, each, home, growth * size, **how)
    if len(coordinate) == len(x):
        return kept
    return kept[jnp.argmin(jnp.linalg.norm(kept, axis=-1))][None]  # one for all: the most cautious
