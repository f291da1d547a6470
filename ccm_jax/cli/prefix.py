"""CCM-Prefix on files: what the readout of a recipe's chart finds on observed frames, and how sure it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax._given import RIM, gate_at_end
from ccm_jax._plain import plain
from ccm_jax._stride import stride_clue
from ccm_jax._trivial import BADLY
from ccm_jax.chart import Gated, complete
from ccm_jax.cli.fitting import Fitted, with_gate
from ccm_jax.cli.losses import errors_by_frame, loss_at, losses_at
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.sure import Sure, sure_of
from ccm_jax.cli.waiting import Progress
from ccm_jax.observed import Frames, Observed, observations
from ccm_jax.posterior import Prior
from ccm_jax.readout import Coarse, PrefixReadout, coarse_errors, read

Array = jax.Array
MOVED = 1e-3  # relative: a coordinate whose loss differs by more from that of the minimum is not at the minimum
CLEARLY = 0.5  # of the anchor's error: below it, a merge is kept even where the p-value is small, or at the rim
NEXT_TO_NONE = 1e-3  # a p-value below it, at the rim: no merge is meant, however bad the anchor is
PARTS = 5  # of a search: candidates, the point between them, that of each trajectory, yardsticks, the interval
ANCHOR_KEPT = 3  # exit code where an output was asked for, and not written because the anchor is the answer


class Found(NamedTuple):
    """What observed frames say of a coordinate.

    Attributes:
        coordinate: of the best merge, with the gate last if that is not 1; that of all trajectories together.
        keeps_anchor: whether the anchor is the answer: it fits the frames at least as well; or no merge is clearly
            better, and the best is at the edge of the search range, or no point of the chart explains the frames;
            or that is refuted twice.
        loss: error of the best merge on the observed frames.
        anchor_loss: of the anchor.
        persistence_loss: of the last frame of the window repeated.
        choices: of each trajectory by itself; all zeros are the anchor.
        candidates: coordinates evaluated first, before any refinement, ``[n, d]``.
        losses: theirs, ``[n]``; infinite where a rollout diverged.
        at_end_of_search: whether the coordinate lies at the edge of the search range.
        moved_toward_anchor: whether it lies nearer to the anchor than the minimum, whose rollout outgrows the frames.
        frames: that are observed after the first window.
        history: frames in the window.
        readout: its settings.
        residuals: errors of each frame after the window, ``[K]``: ``"merged"``, ``"anchor"`` and ``"persistence"``.
        sure: intervals and p-value; None where they are not known.
        unsure: why not, with the remedy.
        expert_losses: of the low and the high expert, where both are points of the chart.
        clue: what the time step of frames that do not fit seems to be; empty where nothing points to it.
        gate_at_end: whether the gate is the highest that is searched.
    """

    coordinate: tuple[float, ...]
    keeps_anchor: bool
    loss: float
    anchor_loss: float
    persistence_loss: float
    choices: list[list[float]]
    candidates: list[list[float]]
    losses: list[float]
    at_end_of_search: bool
    moved_toward_anchor: bool
    frames: int
    history: int
    readout: Mapping[str, Any]
    residuals: Mapping[str, list[float]]
    sure: Sure | None = None
    unsure: str = ""
    expert_losses: tuple[float, ...] = ()
    clue: str = ""
    gate_at_end: bool = False

    @property
    def refuted(self) -> bool:
        """Whether the chart hardly explains the frames, and the rim or another time step speaks against it, too."""
        if self.sure is None or not self.sure.unlike:
            return False
        return bool(self.clue) or (self.at_end_of_search and self.sure.p_value < NEXT_TO_NONE)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the trajectories' own coordinates along the first axis; None for one trajectory."""
        return float(np.std([c[0] for c in self.choices], ddof=1)) if len(self.choices) > 1 else None

    def place_in(self, recipe: Recipe) -> Recipe:
        """The recipe at the coordinate; a gate that is not 1 needs gated features."""
        if len(self.coordinate) > len(recipe.coordinates[0]) and not isinstance(recipe.features, Gated):
            recipe = recipe._replace(features=with_gate(recipe.features))
        return recipe._replace(coordinate=self.coordinate, value=None)

    def as_json(self) -> dict[str, Any]:
        """All of it; one axis in plain numbers."""

        def short(c: Any) -> Any:
            return c[0] if len(c) == 1 else list(c)

        return self._asdict() | {
            "coordinate": "anchor" if self.keeps_anchor else short(self.coordinate),
            "best_merge": short(self.coordinate) if np.isfinite(self.loss) else None,
            "candidates": [short(c) for c in self.candidates],
            "choices": [short(c) if any(c) else "anchor" for c in self.choices],
            "spread": self.spread,
            "readout": dict(self.readout),
            "residuals": dict(self.residuals),
            "sure": None if self.sure is None else self.sure.as_json(),
        }


def find(
    fitted: Fitted,
    frames: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    prior: Prior | None = None,
    always: bool = False,
    experts: Sequence[Sequence[float]] = (),
    progress: Progress = lambda done, total: None,
) -> Found:
    """Reads the coordinate of a chart off observed frames.

    Args:
        fitted: its readout.
        frames: trajectories ``[N, T, *space, C]`` of one regime, in the model's units.
        mask: where the frames were observed, ``[N, T, *space]``; None is everywhere.
        prior: of the physical values; the coordinate is then the mean of the posterior.
        always: whether the best merge is searched for, too, where the anchor is better.
        experts: their coordinates without the gate, lowest first; their errors are found, too.
        progress: called when a part of the search is done.

    Raises:
        ValueError: for frames that the model does not take, or on which nothing is finite.
    """
    readout = plain(fitted.readout)
    x = observations("calibrate", readout, jnp.asarray(frames), mask)
    ratios = fitted.readout.error_over_anchor
    settings = described(readout) | {"validation": fitted.regimes}
    settings["error_over_anchor"] = None if ratios is None else np.asarray(ratios, float).tolist()
    if isinstance(x, Observed):
        seen = np.asarray(x.mask, bool)
        settings |= {"observed": float(seen.mean()), "points": seen.size, "missing": int((~seen).sum())}
        settings["fill"] = readout.fill.method
    parts = iter(range(1, PARTS + 1))

    def done() -> None:
        progress(next(parts), PARTS)

    found = found_by(readout, x, always, done)._replace(readout=settings, unsure=fitted.unsure)
    if len(experts):
        at = complete(readout.chart.features, jnp.asarray(experts, jnp.float32))
        found = found._replace(expert_losses=tuple(losses_at(readout, x, at)))
    done()
    if fitted.unsure:
        return _unless_doubtful(_with_clue(found, readout, frames, mask))
    sure = sure_of(fitted.readout, fitted.known, frames, mask, prior)
    done()
    if prior is not None and not found.keeps_anchor:
        at = jnp.asarray(sure.coordinate, jnp.float32)
        loss = loss_at(readout, x, at)
        found = found._replace(
            coordinate=_without_gate(np.asarray(at, float), readout),
            loss=loss,
            keeps_anchor=not loss < found.anchor_loss,
            at_end_of_search=_at_end_of_search(np.asarray(at, float), readout),
            residuals=errors_by_frame(readout, x, at),
            gate_at_end=bool(len(gate_at_end(readout, at[None]))),
        )
    return _unless_doubtful(_with_clue(found._replace(sure=sure), readout, frames, mask))


def _unless_doubtful(found: Found) -> Found:
    """The same; the anchor is kept where a merge is doubtful, unless it is clearly better."""
    doubtful = found.at_end_of_search or (found.sure is not None and found.sure.stranger)
    # Without a p-value, nothing else speaks against a time step that another one clearly beats.
    other_step = bool(found.clue) and found.sure is None
    kept = found.refuted or other_step or (doubtful and not clearly_better(found))
    return found._replace(keeps_anchor=found.keeps_anchor or kept)


def _with_clue(found: Found, readout: PrefixReadout, frames: np.ndarray, mask: np.ndarray | None) -> Found:
    """The same, with what the time step seems to be where the fit is doubtful and all points are observed."""
    # Where the last frame repeated is better still, states hardly change, and it is no measure.
    badly = BADLY * found.persistence_loss < found.loss < found.persistence_loss
    unlike = (badly or not clearly_better(found)) if found.sure is None else found.sure.unlike
    doubtful = found.at_end_of_search or unlike
    return found._replace(clue=stride_clue(readout, frames)) if doubtful and mask is None else found


def clearly_better(found: Found) -> bool:
    """Whether a merge fits the frames so much better than the anchor that what is doubtful does not outweigh it."""
    return bool(found.loss < CLEARLY * found.anchor_loss)


def found_by(readout: PrefixReadout, x: Frames, always: bool, done: Callable[[], None] = lambda: None) -> Found:
    """What a readout finds on trajectories ``[N, T, *space, C]``; see :func:`find`, of which these are three parts."""
    coarse = jax.block_until_ready(coarse_errors(readout, x, None))
    done()
    pooled = jax.block_until_ready(read(readout, x, None, coarse, pooled=True))
    done()
    each = pooled if len(coarse.anchor) == 1 else jax.block_until_ready(read(readout, x, None, coarse))
    done()
    losses, anchor_loss = np.asarray(pooled.losses[0], float), _number(pooled.anchor_loss)
    best, loss = np.asarray(pooled.coordinate[0], float), _number(pooled.loss)
    moved_toward_anchor = False
    if readout.growth is not None and np.isfinite(best).all():
        least, loss = loss, loss_at(readout, x, pooled.coordinate[0])  # of the coordinate that may have been moved
        moved_toward_anchor = not loss <= (1 + MOVED) * least
    keeps = not np.isfinite(best).all() or not np.any(best) or loss >= anchor_loss
    if keeps:
        best, loss = best_merge(readout, x, coarse, losses, always)
    if not np.isfinite(min(loss, anchor_loss)):
        raise ValueError(
            "calibrate: neither the anchor nor a merge has a finite rollout on these frames; are they in the "
            "model's units, and does --model set the network's mean and std?"
        )
    tried = np.asarray(readout.candidates, float)
    return Found(
        coordinate=_without_gate(best, readout),
        keeps_anchor=bool(keeps),
        loss=loss,
        anchor_loss=anchor_loss,
        persistence_loss=_number(pooled.persistence_loss),
        choices=[list(_without_gate(c, readout)) for c in np.asarray(each.coordinate, float)],
        candidates=[list(c if readout.free_gate else _without_gate(c, readout)) for c in tried],
        losses=losses.tolist(),
        at_end_of_search=_at_end_of_search(best, readout),
        moved_toward_anchor=moved_toward_anchor,
        frames=readout.frames,
        history=readout.history,
        readout={},
        residuals=errors_by_frame(readout, x, jnp.asarray(best, jnp.float32)),
        gate_at_end=bool(len(gate_at_end(readout, best[None]))),
    )


def _at_end_of_search(best: np.ndarray, readout: PrefixReadout) -> bool:
    """Whether a coordinate lies at the edge of the search range along one of the axes."""
    tried = np.asarray(readout.candidates, float)
    searched = tried if readout.search == "bank" else np.stack([readout.low, readout.high])
    axes = slice(0, readout.chart.features.dim - isinstance(readout.chart.features, Gated))
    to_ends = np.abs(best[axes] - np.stack([searched.min(axis=0), searched.max(axis=0)])[:, axes])
    return bool((to_ends < RIM).any())


def best_merge(
    readout: PrefixReadout, x: Frames, coarse: Coarse, losses: np.ndarray, always: bool
) -> tuple[np.ndarray, float]:
    """Coordinate and loss of the best merge where the readout prefers the anchor: of those tried, or searched for."""
    tried = np.asarray(readout.candidates, float)
    best = int(np.argmin(losses))
    if not always or not np.isfinite(losses[best]) or not isinstance(readout.chart.features, Gated):
        return tried[best], float(losses[best])
    # At gate 1 the chart has the same basis without a gate, and then the anchor is no choice.
    chart = dataclasses.replace(readout.chart, features=readout.chart.features.inner)
    at_one = np.flatnonzero(tried[:, -1] == 1)
    line = dataclasses.replace(
        readout,
        chart=chart,
        candidates=readout.candidates[at_one, :-1],
        low=readout.low[:-1],
        high=readout.high[:-1],
        pull=jnp.zeros(()),
        growth=None,
        free_gate=False,
    )
    errors = coarse._replace(candidates=coarse.candidates[at_one])
    found = read(line, x, None, errors, pooled=True)
    return np.append(np.asarray(found.coordinate[0], float), 1.0), _number(found.loss)


def described(readout: PrefixReadout) -> dict[str, Any]:
    """The settings of a readout, JSON-able."""
    return {
        "search": readout.search,
        "free_gate": readout.free_gate,
        "begin": readout.begin,
        "frame_weights": np.asarray(readout.weights, float).round(6).tolist(),
        "pull": float(readout.pull),
        "growth": None if readout.growth is None else float(readout.growth),
    }


def _without_gate(c: np.ndarray, readout: PrefixReadout) -> tuple[float, ...]:
    """A coordinate without its gate if that is 1."""
    gated = isinstance(readout.chart.features, Gated) and abs(c[-1] - 1) < 1e-6
    return tuple(float(v) for v in (c[:-1] if gated else c))


def _number(of_one: Array | None) -> float:
    assert of_one is not None
    return float(of_one[0])
