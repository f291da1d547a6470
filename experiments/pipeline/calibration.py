"""What validation regimes decide: the map from metadata to coordinates, and how much evidence leaves the anchor."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax import Chart, Estimate
from ccm_jax.coordinate_map import CoordinateMap
from experiments.pipeline import data
from experiments.pipeline.family import Family, bank_of, best_coordinate, mean_error, on_one_cpu, plane_of, sweep_errors
from experiments.pipeline.readouts import Evidence, candidates_of, chosen, errors_of_prefix
from experiments.runner.progress import bar

# The paper's one number, and monotone curves, in order of freedom.
KINDS: dict[str, dict[str, Any]] = {
    "gamma": {"degree": 1, "intercept": False},
    "line": {"degree": 1, "intercept": True},
    "monotone quadratic": {"degree": 2, "intercept": True},
}
SKIPS = (0, 1, 2, 3)  # observed frames that the prefix leaves out of its score
HARM = 0.005  # by how much a validation regime may end above the anchor; choices that differ by less are tied
REACH = 2.0  # widths beyond the validation regimes
PULLS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 100.0)  # the last leaves an anchor only if that diverges


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
    plane, candidates, bank = plane_of(family), candidates_of(config), bank_of(config)
    # The line is the row of the plane where the gate is open.
    line = [int(np.flatnonzero(np.isclose(candidates, (c, 1.0), atol=1e-4).all(axis=1))[0]) for c in bank]
    s, best, sweeps = [], [], []
    ratios: dict[Evidence, list[float]] = {choice: [] for choice in choices_of(config)}
    with bar("calibration", len(validation)) as advance:
        for value, trajectories in zip(config.regimes.validation, validation, strict=True):
            x = jnp.asarray(trajectories)
            observed = errors_of_prefix(config, family, plane, candidates, x)
            where = {choice: places(chosen(config, candidates, observed, choice)) for choice in ratios}
            wanted = np.unique(np.concatenate([[0], line, *where.values()]))
            future = some_errors(config, family, plane, candidates, wanted, x)
            sweep = [mean_error(e) for e in future[line]]
            s.append(data.coordinate_of(config, value))
            best.append(best_coordinate(bank, sweep))
            sweeps.append(sweep)
            for choice, listed in ratios.items():
                listed.append(over_anchor(future, where[choice]))
            advance(1, f"at {value:g}")
    scores = {kind: leave_one_out(np.array(s), np.array(best), how) for kind, how in KINDS.items()}
    kind = min(scores, key=lambda k: scores[k])
    fitted = CoordinateMap.fit(s, best, reach=REACH, **KINDS[kind])
    gamma = CoordinateMap.fit(s, best, reach=REACH)
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


def places(readout: Estimate) -> np.ndarray:
    """Which candidate each trajectory has, ``[N]``, or ``[1]`` if they have one together."""
    same = np.asarray(readout.candidates == readout.coordinate[:, None]).all(axis=-1)  # [N, n]
    return same.argmax(axis=1)


def some_errors(
    config: ConfigDict, family: Family, plane: Chart, candidates: np.ndarray, wanted: np.ndarray, x: jax.Array
) -> np.ndarray:
    """Future errors ``[n, N]`` of the candidates at ``wanted``; NaN, on a CPU, for the others, which nobody chose."""
    if not on_one_cpu():  # all at once cost little more than some, and are one program for all regimes
        return sweep_errors(config, family, plane, candidates, x).mean(axis=-1)
    future = np.full((len(candidates), len(x)), np.nan, np.float32)
    future[wanted] = sweep_errors(config, family, plane, candidates[wanted], x).mean(axis=-1)
    return future


def over_anchor(future: np.ndarray, where: np.ndarray) -> float:
    """Error of a choice, not refined, on a regime over the anchor's, from the errors ``[n, N]`` of the candidates.

    An anchor that diverges is beaten by whatever does not; what diverges beats nothing.
    """
    where = np.broadcast_to(where, future.shape[1:])
    kept, stayed = mean_error(future[where, np.arange(future.shape[1])]), mean_error(future[0])
    return float("inf") if not np.isfinite(kept) else kept / stayed if np.isfinite(stayed) else 0.0


def choices_of(config: ConfigDict) -> list[Evidence]:
    """The skips and pulls that validation chooses among: one each where the configuration says which."""
    c = config.calibration
    skips = [skip for skip in SKIPS if skip < c.frames] if c.skip is None else [c.skip]
    return [Evidence(skip, pull) for skip in skips for pull in (PULLS if c.pull is None else [c.pull])]


def choose_evidence(ratios: dict[Evidence, list[float]]) -> Evidence:
    """The choice with the smallest mean ratio among those that harm no regime; without any, the largest pull.

    Choices within ``HARM`` of the smallest cannot be told apart by a few trajectories: among them the largest pull is
    taken, which asks for most evidence, then the smallest ratio, then most scored frames.
    """
    harmless = {choice: float(np.mean(r)) for choice, r in ratios.items() if max(r) <= 1 + HARM}
    if not harmless:
        return max(ratios, key=lambda choice: (choice.pull, -choice.skip))
    tied = [choice for choice in harmless if harmless[choice] <= min(harmless.values()) + HARM]
    return min(tied, key=lambda choice: (-choice.pull, round(harmless[choice], 6), choice.skip))


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
