"""CCM-Prefix on files: a recipe's chart, its readout, and what that finds on observed frames."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.chart import Features, Gated, Polynomial, complete, fit_chart
from ccm_jax.cli.merge import open_family
from ccm_jax.cli.recipe import Recipe, weights_by_name
from ccm_jax.cli.surrogates import surrogate_for
from ccm_jax.fit_readout import fit_prefix_readout, prefix_readout
from ccm_jax.io.recordings import Recording
from ccm_jax.io.stream import merge_block
from ccm_jax.io.weights import Weights
from ccm_jax.observed import Frames, Observed, observations
from ccm_jax.parallel import mesh_of_all
from ccm_jax.readout import Coarse, PrefixReadout, coarse_errors, read

Array = jax.Array
RIM = 1e-3  # nearer than this to an end of what is searched, a coordinate lies at it


class Found(NamedTuple):
    """What observed frames say of a coordinate.

    Attributes:
        coordinate: of the best merge, with the gate last if that is not 1; that of all trajectories together.
        keeps_anchor: whether the anchor fits the frames at least as well.
        loss: error of the best merge on the observed frames.
        anchor_loss: of the anchor.
        persistence_loss: of the last frame of the window repeated.
        choices: of each trajectory by itself; all zeros are the anchor.
        candidates: coordinates that were tried first, ``[n, d]``.
        losses: theirs, ``[n]``; infinite where a rollout diverged.
        at_rim: whether the coordinate lies at an end of what is searched.
        frames: that are observed after the first window.
        history: frames in the window.
        readout: its settings.
    """

    coordinate: tuple[float, ...]
    keeps_anchor: bool
    loss: float
    anchor_loss: float
    persistence_loss: float
    choices: list[list[float]]
    candidates: list[list[float]]
    losses: list[float]
    at_rim: bool
    frames: int
    history: int
    readout: Mapping[str, Any]

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

        def plain(c: Any) -> Any:
            return c[0] if len(c) == 1 else list(c)

        return self._asdict() | {
            "coordinate": "anchor" if self.keeps_anchor else plain(self.coordinate),
            "best_merge": plain(self.coordinate),
            "candidates": [plain(c) for c in self.candidates],
            "choices": [plain(c) if any(c) else "anchor" for c in self.choices],
            "spread": self.spread,
            "readout": dict(self.readout),
        }


def find(
    recipe: Recipe,
    recording: Recording,
    observe: Callable[[int], tuple[np.ndarray, np.ndarray | None]],
    *,
    model: str | None,
    count: int,
    validation: Mapping[str, np.ndarray] | None = None,
    bank: np.ndarray | None = None,
    always: bool = False,
) -> Found:
    """Reads the coordinate of a recipe's chart off observed frames.

    Args:
        recipe: anchor, experts, features, filters.
        recording: file of trajectories of one regime, in the model's units.
        observe: reads so many first frames of it, ``[N, T, *space, C]``, and where they were observed,
            ``[N, T, *space]``; None is everywhere.
        model: what the weights are of.
        count: the K observed frames after the model's window.
        validation: trajectories of other regimes, by name, on which the readout is fitted; None takes stated settings.
        bank: coordinates ``[n]`` to choose among; None searches in between.
        always: whether the best merge is searched for, too, where the anchor is better.

    Raises:
        ValueError: for files that do not fit each other, or frames on which nothing is finite.
    """
    family = open_family(recipe, cast=True)
    surrogate = surrogate_for(family[0], model, recording)
    frames, mask = observe(surrogate.history + count)
    trees = [surrogate.to_params(arrays) for arrays in filtered(recipe, family)]
    features = with_gate(recipe.features)
    chart = fit_chart(trees[0], trees[1:], recipe.coordinates, features=features, ridge=recipe.ridge)
    shape: dict[str, Any] = {"history": surrogate.history, "frames": count}
    readout = fit_prefix_readout(chart, surrogate.rollout_fn, **shape)
    if bank is not None:
        readout = in_bank(readout, bank)
    if validation is not None:
        check_grids(validation, frames)
        regimes, mesh = list(validation.values()), mesh_of_all() if surrogate.spreads else None
        try:
            readout = fit_prefix_readout(chart, surrogate.rollout_fn, regimes, mesh=mesh, **shape)
        except ValueError as error:
            raise ValueError(f"--validation, regimes {'; '.join(validation)}: {error}") from error
        readout = jax.tree.map(np.asarray, readout)  # from all devices to one, which a few frames do not fill
    x = observations("calibrate", readout, jnp.asarray(frames), mask)
    settings = described(readout) | {"validation": None if validation is None else list(validation)}
    if isinstance(x, Observed):
        settings |= {"observed": float(x.mask.mean()), "fill": readout.fill.method}
    return found_by(readout, x, always)._replace(readout=settings)


def check_grids(validation: Mapping[str, np.ndarray], frames: np.ndarray) -> None:
    """Raises ValueError for validation trajectories of another grid or other channels than the observed frames."""
    for name, x in validation.items():
        if x.shape[2:] != frames.shape[2:]:
            raise ValueError(
                f"--validation: trajectories of the regime {name} have frames {list(x.shape[2:])}, and --prefix has "
                f"{list(frames.shape[2:])}; give both the grid and the channels that the model was trained on."
            )


def found_by(readout: PrefixReadout, x: Frames, always: bool) -> Found:
    """What a readout finds on trajectories ``[N, T, *space, C]``; see :func:`find`."""
    coarse = coarse_errors(readout, x, None)
    pooled = read(readout, x, None, coarse, pooled=True)
    each = pooled if len(coarse.anchor) == 1 else read(readout, x, None, coarse)
    losses, anchor_loss = np.asarray(pooled.losses[0], float), _number(pooled.anchor_loss)
    best, loss = np.asarray(pooled.coordinate[0], float), _number(pooled.loss)
    if readout.growth is not None and np.isfinite(best).all():
        loss = loss_at(readout, x, pooled.coordinate[0])  # of the coordinate that may have been drawn back
    keeps = not np.isfinite(best).all() or not np.any(best) or loss >= anchor_loss
    if keeps:
        best, loss = best_merge(readout, x, coarse, losses, always)
    if not np.isfinite(min(loss, anchor_loss)):
        raise ValueError(
            "calibrate: neither the anchor nor a merge has a finite rollout on these frames; are they in the "
            "model's units, and does --model give the network's mean and std?"
        )
    tried = np.asarray(readout.candidates, float)
    searched = tried if readout.search == "bank" else np.stack([readout.low, readout.high])
    axes = slice(0, readout.chart.features.dim - isinstance(readout.chart.features, Gated))
    to_ends = np.abs(best[axes] - np.stack([searched.min(axis=0), searched.max(axis=0)])[:, axes])
    return Found(
        coordinate=_without_gate(best, readout),
        keeps_anchor=bool(keeps),
        loss=loss,
        anchor_loss=anchor_loss,
        persistence_loss=_number(pooled.persistence_loss),
        choices=[list(_without_gate(c, readout)) for c in np.asarray(each.coordinate, float)],
        candidates=[list(c if readout.free_gate else _without_gate(c, readout)) for c in tried],
        losses=losses.tolist(),
        at_rim=bool((to_ends < RIM).any()),
        frames=readout.frames,
        history=readout.history,
        readout={},
    )


def loss_at(readout: PrefixReadout, x: Frames, coordinate: Array) -> float:
    """The loss of one coordinate, pooled over trajectories."""
    one = dataclasses.replace(readout, candidates=jnp.asarray(coordinate)[None], search="bank", growth=None)
    errors = coarse_errors(one, x, None)
    return _number(read(one, x, None, errors, pooled=True).losses[:, 0])


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


def with_gate(features: Features) -> Features:
    """Features with a gate, so that the anchor is a choice; those without a constant pass through it anyway."""
    return Gated(features) if isinstance(features, Polynomial) and features.constant else features


def in_bank(readout: PrefixReadout, bank: np.ndarray) -> PrefixReadout:
    """The readout that chooses among coordinates ``[n]`` only, on one axis, by all observed frames, as the paper does.

    Raises:
        ValueError: for a chart of several axes.
    """
    features = readout.chart.features
    if features.dim - isinstance(features, Gated) != 1:
        raise ValueError(f"--bank is for charts of one axis, and this one has {features}; leave it out.")
    candidates = complete(features, jnp.asarray(bank, jnp.float32)[:, None])
    how: dict[str, Any] = {"history": readout.history, "frames": readout.frames, "begin": 0, "search": "bank"}
    return prefix_readout(readout.chart, readout.rollout_fn, candidates=candidates, **how)


def filtered(recipe: Recipe, family: list[Weights]) -> list[Mapping[str, np.ndarray]]:
    """Arrays of anchor and experts; experts have the fixed weights of the tensors that a filter of the recipe fits."""
    anchor, *experts = (weights.arrays for weights in family)
    if not recipe.filters:
        return [anchor, *experts]
    weights = weights_by_name(recipe._replace(coordinate=recipe.coordinates[0]), list(anchor))
    fixed = {}
    for name, leaf in anchor.items():
        if any(fnmatch.fnmatchcase(name, f.pattern) for f in recipe.filters):
            fixed[name] = np.empty(leaf.size, leaf.dtype)
            merge_block([np.reshape(tree[name], -1) for tree in (anchor, *experts)], weights(name), fixed[name], name)
            fixed[name] = fixed[name].reshape(leaf.shape)
    return [anchor, *(dict(expert) | fixed for expert in experts)]


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
