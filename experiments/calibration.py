"""What validation regimes decide: the map from metadata to coordinates, and how much evidence leaves the anchor."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.coordinate_map import CoordinateMap
from ccm_jax.evaluate import future_error
from experiments import data
from experiments.evaluation import (
    Evidence,
    Family,
    bank_of,
    best_coordinate,
    chart_of,
    errors_each,
    in_groups,
    mean_error,
    plane_of,
    prefix_readout,
    sweep_errors,
)
from experiments.progress import bar

# The paper's one number, and monotone curves, in order of freedom.
KINDS: dict[str, dict[str, Any]] = {
    "gamma": {"degree": 1, "intercept": False},
    "line": {"degree": 1, "intercept": True},
    "monotone quadratic": {"degree": 2, "intercept": True},
}
SKIPS = (0, 2, 3)  # observed frames that the prefix leaves out of its score
HARM = 0.005  # by how much a validation regime may end above the anchor
REACH = 2.0  # widths beyond the validation regimes
MARGINS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # 1 never leaves the anchor


def calibrate(config: ConfigDict, family: Family, validation: np.ndarray) -> dict[str, Any]:
    """Finds the best coordinate of each validation regime, and the map that predicts left-out ones best.

    Args:
        config: the experiment.
        family: its weights.
        validation: trajectories ``[R, N, T, H, W, C]`` of the validation regimes.

    Returns:
        JSON-able: ``coordinates`` s and ``best`` alpha of each regime, the error ``sweep [R, n]``, the leave-one-out
        error of each kind of map, the ``kind`` chosen, and the fitted ``map``; the ``evidence`` on which the prefix
        readout leaves the anchor, and for each that was tried the error by regime over the anchor's, ``[R]``.
    """
    chart, bank = chart_of(family), bank_of(config)
    s, best, sweeps = [], [], []
    with bar("calibration", len(validation)) as advance:
        for value, x in zip(config.regimes.validation, validation, strict=True):
            x = jnp.asarray(x)
            sweep = [mean_error(e) for e in sweep_errors(config, family, chart, x)]
            s.append(data.coordinate_of(config, value))
            best.append(best_coordinate(bank, sweep))
            sweeps.append(sweep)
            advance(1, f"at {value:g}")
    scores = {kind: leave_one_out(np.array(s), np.array(best), how) for kind, how in KINDS.items()}
    kind = min(scores, key=lambda k: scores[k])
    fitted = CoordinateMap.fit(s, best, reach=REACH, **KINDS[kind])
    gamma = CoordinateMap.fit(s, best, reach=REACH)
    ratios = evidence_errors(config, family, validation)
    evidence = choose_evidence(ratios)
    return {
        "coordinates": s,
        "best": best,
        "sweep": sweeps,
        "leave_one_out": scores,
        "kind": kind,
        "gamma": float(gamma(1.0)),
        "evidence": evidence._asdict(),
        "evidence_tried": [choice._asdict() | {"error_over_anchor": r} for choice, r in ratios.items()],
        "map": {name: np.asarray(getattr(fitted, name)).tolist() for name in ("coefficients", "low", "high", "reach")},
    }


def evidence_errors(config: ConfigDict, family: Family, validation: np.ndarray) -> dict[Evidence, list[float]]:
    """Error of the prefix readout over the anchor's in each validation regime, for every skip and margin."""
    plane = plane_of(family)
    shape = {"history": family.history, "prefix": config.calibration.frames}

    def at_anchor(group: jax.Array) -> jax.Array:
        return future_error(family.anchor, family.rollout_fn, group, **shape)[None]

    skips, margins = choices_of(config)
    ratios: dict[Evidence, list[float]] = {Evidence(skip, margin): [] for skip in skips for margin in margins}
    for trajectories in validation:
        x = jnp.asarray(trajectories)
        home = in_groups(at_anchor, x)[0].mean(axis=-1)
        for skip in skips:
            free = prefix_readout(config, family, plane, x, Evidence(skip, 0.0))
            coordinate = jnp.broadcast_to(free.coordinate, (len(x), 2))
            away = errors_each(config, family, plane, x, coordinate).mean(axis=-1)
            losses = np.asarray(free.losses)
            gain = 1 - losses.min(axis=1) / losses[:, 0]  # the first candidate is the anchor
            for margin in margins:
                kept, stayed = mean_error(np.where(gain > margin, away, home)), mean_error(home)
                # An anchor that diverges is beaten by whatever does not; what diverges beats nothing.
                ratio = float("inf") if not np.isfinite(kept) else kept / stayed if np.isfinite(stayed) else 0.0
                ratios[Evidence(skip, margin)].append(ratio)
    return ratios


def choices_of(config: ConfigDict) -> tuple[list[int], list[float]]:
    """The skips and margins that validation chooses among: one each where the configuration says which."""
    c = config.calibration
    skips = [skip for skip in SKIPS if skip < c.frames] if c.skip is None else [c.skip]
    return skips, list(MARGINS) if c.margin is None else [c.margin]


def choose_evidence(ratios: dict[Evidence, list[float]]) -> Evidence:
    """The choice with the smallest mean ratio among those that harm no regime; without any, the largest margin.

    Ties go to the larger margin, which asks for more evidence, then to more scored frames.
    """
    harmless = {choice: float(np.mean(r)) for choice, r in ratios.items() if max(r) <= 1 + HARM}
    if not harmless:
        return max(ratios, key=lambda choice: (choice.margin, -choice.skip))
    return min(harmless, key=lambda choice: (round(harmless[choice], 6), -choice.margin, choice.skip))


def leave_one_out(s: np.ndarray, best: np.ndarray, how: dict[str, Any]) -> float:
    """Root mean square error of a kind of map on the regime it did not see; infinite if too few are left."""
    errors = []
    for i in range(len(s)):
        rest = np.arange(len(s)) != i
        if len(np.unique(s[rest])) < how["degree"] + 1:
            return float("inf")
        fitted = CoordinateMap.fit(s[rest], best[rest], reach=float("inf"), **how)
        errors.append(float(fitted(s[i])) - best[i])
    return float(np.sqrt(np.mean(np.square(errors))))


def load_map(stored: dict[str, Any]) -> CoordinateMap:
    """The map that :func:`calibrate` fitted."""
    numbers = {name: jnp.asarray(stored["map"][name]) for name in ("coefficients", "low", "high")}
    return CoordinateMap(**numbers, reach=stored["map"]["reach"])
