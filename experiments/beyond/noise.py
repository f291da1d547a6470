"""The physical value, and the forecast, from five frames with noise, with gaps, or seen by fixed sensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ccm_jax import CoordinateMap, Fill, PrefixReadout, choose_fill, mean_over_starts, starting_at
from ccm_jax.evaluate import future_error, future_error_each
from ccm_jax.fill import Boundary, complete_frames, fills_with_noise
from ccm_jax.fit_readout import prefix_readout
from ccm_jax.scale import KINDS, leave_one_out
from ccm_jax.starts import mean_of_known
from experiments.pipeline import data, stages
from experiments.pipeline.family import Family
from experiments.pipeline.networks import load_family
from experiments.pipeline.stages import Run

Found = dict[str, Any]

NOISES = (0.0, 0.05, 0.1, 0.2)  # standard deviation over the root mean square of each field of a frame
SHARES = (0.25, 0.5, 0.75, 0.9)  # of the points missing
BOTH = (0.1, 0.5)
TAKEN = 8  # trajectories of each validation regime
FEW = 2  # and so many of them for the fill


class Condition(NamedTuple):
    """How frames are observed.

    Attributes:
        noise: standard deviation over the root mean square of each field of a frame.
        missing: share of the points that are not observed.
        fixed: whether the same points are missing in all frames of a trajectory.
    """

    noise: float = 0.0
    missing: float = 0.0
    fixed: bool = False


class Seen(NamedTuple):
    """What is observed of the trajectories of one regime: frames and mask, with the clean ones."""

    frames: np.ndarray
    mask: np.ndarray | None
    clean: np.ndarray


class Reader(NamedTuple):
    """From frames to the normalised physical value: the mean of readouts on the line, and a map of its coordinates."""

    readouts: tuple[PrefixReadout, ...]
    to_value: CoordinateMap

    def errors(self, coordinates: np.ndarray, s: float) -> np.ndarray:
        """``|s_found - s| / 2`` of coordinates ``[N]``, in distances of the experts; infinite where none was found."""
        known = np.isfinite(coordinates)
        values = np.asarray(self.to_value(jnp.where(known, coordinates, 0.0)))
        return np.where(known, np.abs(values - s) / 2, np.inf)


def conditions_of(size: str) -> list[Condition]:
    """All conditions; in the smoke size three."""
    gaps = [Condition(0.0, share, fixed) for fixed in (False, True) for share in SHARES]
    both = [Condition(*BOTH, fixed) for fixed in (False, True)]
    every = [*(Condition(level) for level in NOISES), *gaps, *both]
    return [every[0], *both] if size == "smoke" else every


def noise(run: Run, known: Found) -> Found:
    """Errors of value and forecast, by condition and test regime.

    ``clean`` reads with what was fitted on clean validation frames and completes without smoothing. ``matched`` knows
    the condition: fill, first frame and map are chosen on validation frames that are observed in the same way.
    """
    config = run.config
    anchor = stages.anchor(run, stages.support_data(run))
    experts = stages.endpoints(run, stages.endpoint_data(run), anchor)
    family = load_family(config, anchor, experts)
    validation, test = (
        [np.asarray(x) for x in stages.load_trajectories(make(run))]
        for make in (stages.validation_data, stages.test_data)
    )
    validation = [x[:TAKEN] for x in validation]
    places = {
        split: [data.coordinate_of(config, float(v)) for v in config.regimes[split]] for split in ("validation", "test")
    }
    boundary: Boundary = "periodic" if config.model.args.get("boundary") == "periodic" else "walls"
    plain = Fill("spectral", boundary)
    begins = readouts_of(family)
    clean = fit_reader(with_fill(begins, plain), as_is(validation), places["validation"])
    rows = []
    for i, condition in enumerate(conditions_of(config.size)):
        rng = np.random.default_rng([config.seed, i])
        observed = family.history + family.frames
        others, tests = ([spoil(x, condition, observed, rng) for x in xs] for xs in (validation, test))
        fill = fill_for(others, condition, boundary)
        matched = clean
        if condition != Condition():
            matched = fit_reader(with_fill(begins, fill), others, places["validation"])
        found: Found = {"clean": judge(family, clean, tests, places["test"])}
        found["matched"] = found["clean"] if matched is clean else judge(family, matched, tests, places["test"])
        chosen = {"cutoff": fill.cutoff, "begins": [one.begin for one in matched.readouts]}
        rows.append(condition._asdict() | found | {"chosen": chosen})
    outside = [data.outside(s) for s in places["test"]]
    summary = {
        name: [
            {side: median(row[name]["value"], outside, side == "outside") for side in ("inside", "outside")}
            for row in rows
        ]
        for name in ("clean", "matched")
    }
    regimes = {"values": [float(v) for v in config.regimes.test], "coordinates": places["test"], "outside": outside}
    return {"conditions": rows, "median": summary, "begins": [one.begin for one in clean.readouts]} | regimes


def readouts_of(family: Family) -> tuple[PrefixReadout, ...]:
    """Searches along the line that begin at each frame but the last; the anchor has no value."""
    one = prefix_readout(family.line, family.rollout_fn, history=family.history, frames=family.frames)
    return starting_at(one, range(family.frames))


def with_fill(readouts: Sequence[PrefixReadout], fill: Fill) -> tuple[PrefixReadout, ...]:
    """The readouts, which complete the frame that they start from by this rule."""
    return tuple(dataclasses.replace(one, fill=fill) for one in readouts)


def spoil(x: np.ndarray, condition: Condition, observed: int, rng: np.random.Generator) -> Seen:
    """The first frames of trajectories ``[N, T, *space, C]`` under a condition."""
    seen = x[:, :observed]
    size = np.sqrt(np.mean(seen**2, axis=tuple(range(2, x.ndim - 1)), keepdims=True))
    frames = (seen + condition.noise * size * rng.standard_normal(seen.shape)).astype(x.dtype)
    if condition.missing == 0:
        return Seen(frames, None, x)
    shape = (len(x), 1 if condition.fixed else observed, *x.shape[2:-1])
    mask = np.broadcast_to(rng.random(shape) >= condition.missing, seen.shape[:-1])
    return Seen(frames, mask, x)


def as_is(regimes: Sequence[np.ndarray]) -> list[Seen]:
    """Clean and whole frames."""
    return [Seen(x, None, x) for x in regimes]


def fill_for(others: Sequence[Seen], condition: Condition, boundary: Boundary) -> Fill:
    """The fill that restores validation frames best."""
    if condition.noise == 0:
        return Fill("spectral", boundary)
    mask = np.array(True)
    if condition.missing:
        mask = np.concatenate([np.asarray(seen.mask)[:FEW] for seen in others])
    whole = [seen.clean[:FEW, : seen.frames.shape[1]] for seen in others]
    return choose_fill([np.concatenate(whole)], mask, noise=condition.noise, fills=fills_with_noise(boundary))


def read(readouts: Sequence[PrefixReadout], seen: Seen) -> np.ndarray:
    """The mean coordinate of each trajectory, ``[N]``."""
    return np.asarray(mean_over_starts(readouts, seen.frames, mask=seen.mask))[:, 0]


def fit_reader(readouts: Sequence[PrefixReadout], regimes: Sequence[Seen], places: Sequence[float]) -> Reader:
    """The readouts with the smallest median error of the value on validation regimes, and their map.

    Alone, or the mean of the first few.
    """
    alone = [[read([readout], seen) for seen in regimes] for readout in readouts]
    sets = [(i,) for i in range(len(readouts))] + [tuple(range(n)) for n in range(2, len(readouts) + 1)]
    readers, scores = [], []
    for which in sets:
        found = [mean_of_known(np.stack([alone[i][r] for i in which])) for r in range(len(regimes))]
        reader = Reader(tuple(readouts[i] for i in which), fit_value_map(found, places))
        readers.append(reader)
        scores.append(
            float(np.median(np.concatenate([reader.errors(c, s) for c, s in zip(found, places, strict=True)])))
        )
    return readers[int(np.argmin(scores))]


def fit_value_map(found: Sequence[np.ndarray], places: Sequence[float]) -> CoordinateMap:
    """From coordinates to values: through the medians of regimes, of the kind that predicts left-out ones best."""
    medians, s = (
        np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in found]),
        np.array(places),
    )
    known = np.isfinite(medians)
    medians, s = medians[known], s[known]
    if len(np.unique(medians)) < 2:  # coordinates that do not depend on the value are taken at their word
        medians = s = np.array(places)
    kind = min(KINDS, key=lambda name: leave_one_out(medians, s, KINDS[name]))
    return CoordinateMap.fit(medians, s, reach=float("inf"), **KINDS[kind])


def judge(family: Family, reader: Reader, regimes: Sequence[Seen], places: Sequence[float]) -> Found:
    """Errors of each regime: of the value by trajectory, and the median of those of forecasts."""
    value, future, anchors, line = [], [], [], family.line
    for seen, s in zip(regimes, places, strict=True):
        found = read(reader.readouts, seen)
        value.append(reader.errors(found, s).tolist())
        whole = np.array(seen.clean)
        mask = np.ones(seen.frames.shape[:-1], bool) if seen.mask is None else seen.mask
        whole[:, : seen.frames.shape[1]] = complete_frames(reader.readouts[0].fill, seen.frames, mask)
        x, each = jnp.asarray(whole), jnp.asarray(found)[:, None]
        future.append(_middle(future_error_each(line, family.rollout_fn, x, each, **family.protocol)))
        anchors.append(_middle(future_error(family.anchor, family.rollout_fn, x, **family.protocol)))
    return {"value": value, "future": future, "future_anchor": anchors}


def _middle(errors: Any) -> float:
    """The median over trajectories of the mean over frames, ``[N, T]``; divergence is infinite."""
    means = np.asarray(errors).mean(axis=1)
    return float(np.median(np.where(np.isfinite(means), means, np.inf)))


def median(errors: Sequence[Sequence[float]], outside: Sequence[bool], side: bool) -> float:
    """The median over all trajectories of the regimes on one side."""
    return float(np.median(np.concatenate([e for e, out in zip(errors, outside, strict=True) if out == side])))
