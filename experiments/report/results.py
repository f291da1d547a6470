"""From stages to numbers: ``results.json``, ``results.csv`` and the table in the terminal."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.table import Table

from ccm_jax.io.atomic import read_json
from ccm_jax.metrics import gain, over
from experiments.pipeline.family import mean_error
from experiments.pipeline.methods import ANCHORS, METHODS, columns, headlines, reduced
from experiments.pipeline.stages import Stages
from experiments.pipeline.store import provenance
from experiments.report.numbers import digits

# What the paper reports for a configuration of the same axis (arXiv 2605.14546): out-of-support means.
PUBLISHED: dict[str, dict[str, float]] = {
    "rd_f2": {"anchor": 0.188, "average": 0.183, "ccm_coord": 0.086},
    "ns_ood": {"anchor": 0.591, "average": 0.586, "ccm_scale": 0.338},
    "rdb_ood": {"anchor": 0.471, "average": 0.450, "ccm_prefix": 0.406},
}

RESAMPLES = 2000
AVERAGE = "average"  # the merge that looks at neither value nor frames
SUBSCRIPTS = {"u": "ᵤ", "v": "ᵥ"}


def collect(config: ConfigDict, stages: Stages) -> dict[str, Any]:
    """All numbers of a run, JSON-able; infinite errors stay infinite until they are written as null."""
    tables = read_json(stages.evaluation.path / "evaluation.json")
    arrays = np.load(stages.evaluation.path / "evaluation.npz")
    calibration = read_json(stages.calibration.path / "calibration.json")
    per_trajectory = {name: arrays[f"errors/{name}"].mean(axis=-1) for name in METHODS}
    return {
        "config": config.to_dict(),
        "seed": config.seed,
        "wall_seconds": {stage.name: round(stage.seconds, 2) for stage in stages},
        "regimes": tables["regimes"],
        "summary": summarise(tables["regimes"], per_trajectory),
        "published": PUBLISHED.get(config.name),
        "calibration": calibration,
        "geometry": tables["geometry"],
        "bank": tables["bank"],
        "provenance": provenance(),
    }


def summarise(regimes: list[dict[str, Any]], per_trajectory: dict[str, np.ndarray]) -> dict[str, Any]:
    """The headline numbers.

    Args:
        regimes: rows of the evaluation.
        per_trajectory: error of each method, ``[R, N]``.

    Returns:
        Out-of-support means, reductions against the better anchor with 95 % bootstrap intervals over trajectories,
        the factor of the wrong sign, the correlation of the best coordinate with the physical one, and the regime
        where the prefix readout does worst against the anchor.
    """
    ood = np.array([row["split"] == "ood" for row in regimes])
    s = np.array([row["coordinate"] for row in regimes])
    best = np.array([row["chosen"]["best"] for row in regimes])
    summary: dict[str, Any] = {"ood_regimes": int(ood.sum()), "trajectories": int(per_trajectory["anchor"].shape[1])}
    ratios = {row["value"]: over(row["errors"]["ccm_prefix"], row["errors"]["anchor"]) for row in regimes}
    worst = max(ratios, key=lambda value: ratios[value])
    summary["harm"] = {"value": worst, "above_anchor": ratios[worst] - 1}
    known = np.array([found_best(row) for row in regimes])
    varies = known.any() and np.ptp(s[known]) > 0 and np.ptp(best[known]) > 0
    summary["best_correlation"] = float(np.corrcoef(s[known], best[known])[0, 1]) if varies else float("nan")
    for split, chosen in (("ood", ood), ("id", ~ood)):
        means = {name: mean_error(errors[chosen]) for name, errors in per_trajectory.items()} if chosen.any() else {}
        summary[f"{split}_error"] = means
    if not ood.any():
        return summary
    means = summary["ood_error"]
    reference = min(ANCHORS, key=lambda name: means[name])
    summary["better_anchor"] = reference
    summary["wrong_sign_factor"] = over(means["wrong_sign"], means["ccm_coord"])
    summary["reduction"] = {name: gain(means[name], means[reference]) for name in reduced()}
    summary["reduction_interval"] = {
        name: bootstrap_gain(per_trajectory[name][ood], per_trajectory[reference][ood]) for name in reduced()
    }
    return summary


def found_best(row: dict[str, Any]) -> bool:
    """Whether a regime has a best coordinate: where every candidate diverges, the one that is named means nothing."""
    error = row["errors"]["best"]
    return error is not None and bool(np.isfinite(error))


def bootstrap_gain(method: np.ndarray, reference: np.ndarray) -> list[float]:
    """95 % interval of ``1 - mean(method) / mean(reference)``, resampling trajectories: ``[R, N]`` each.

    Method and reference are scored on the same trajectories, so they share each draw. Regimes do not: their test
    trajectories start from states of their own, so each regime is drawn for itself.

    Returns:
        Both ends; NaN where a trajectory diverged, of which no interval holds.
    """
    if not (np.isfinite(method).all() and np.isfinite(reference).all()):
        return [float("nan"), float("nan")]
    regimes, count = method.shape
    draw = np.random.default_rng(0).integers(0, count, (RESAMPLES, regimes, count))
    rows = np.arange(regimes)[None, :, None]
    gains = 1 - method[rows, draw].mean(axis=(1, 2)) / reference[rows, draw].mean(axis=(1, 2))
    return [float(q) for q in np.percentile(gains, [2.5, 97.5])]


def to_csv(results: dict[str, Any]) -> str:
    """One line per regime and method."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["value", "coordinate", "split", "method", "relative_l2", "chosen_coordinate"])
    for row in results["regimes"]:
        for name, error in row["errors"].items():
            chosen = row["chosen"].get(name)
            chosen = float(np.mean(chosen)) if chosen is not None else ""
            shown = "" if error is None or not np.isfinite(error) else repr(error)
            writer.writerow([row["value"], row["coordinate"], row["split"], name, shown, chosen])
    return text.getvalue()


def terminal_table(results: dict[str, Any]) -> Table:
    """The errors by regime, and the reductions, for the terminal."""
    title = "relative L2 error after the observed frames (* outside the training range)"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    shown = columns(METHODS)
    for heading in ("value", "s", *shown.values(), "at"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(results["regimes"], key=lambda r: r["coordinate"]):
        errors = [row["errors"][name] for name in shown]
        cells = ["inf" if e is None or not np.isfinite(e) else f"{e:.3f}" for e in errors]
        s = f"{row['coordinate']:+.2f}{'*' if row['split'] == 'ood' else ' '}"
        table.add_row(f"{row['value']:g}", s, *cells, f"{row['chosen']['best']:+.2f}" if found_best(row) else "–")
    return table


def legend(results: dict[str, Any]) -> list[str]:
    """What the columns of :func:`terminal_table` are, a line each."""
    said = {
        "s": "coordinate of the value; the experts are at -1 and +1",
        "anchor": "one network, trained on all values of the training range",
        "anchor+": "that network, trained on for as many steps as both experts took together",
        "average": "average of both experts' weights",
        "wrong": "a control: the merge at -s",
        "Coord": "the merge at s",
        "Scale": "the merge at the coordinate that a map, fitted on validation values, gives to the value",
        "Prefix": f"the merge at the coordinate that the first {observed(results['config'])} frames give",
        "best": "the merge at the coordinate with the smallest error, known only in hindsight",
        "at": "that coordinate",
    }
    shown = ("s", *columns(METHODS).values(), "at")
    labels = {method.heading: method.label for method in METHODS.values()}
    return [f"  {heading:<8} {said.get(heading) or labels[heading]}" for heading in shown]


def observed(config: dict[str, Any]) -> int:
    """Frames that CCM-Prefix sees: the model's window, and those that are scored."""
    return int(config["model"]["history"]) + int(config["calibration"]["frames"])


def typeset(results: dict[str, Any]) -> dict[str, Any]:
    """The results with subscripts in the names of their parameters, ``D_u`` as ``Dᵤ``, for pages and pictures."""

    def named(axis: dict[str, Any]) -> dict[str, Any]:
        return axis | {"label": re.sub(r"\b(\w)_([uv])\b", lambda m: m[1] + SUBSCRIPTS[m[2]], axis["label"])}

    config = results["config"]
    return results | {"config": config | {name: named(config[name]) for name in ("axis", "axis2") if name in config}}


def verdict(results: dict[str, Any]) -> str:
    """What to use, in words: outside the training range by intervals of the reductions, inside by counting regimes."""
    summary = results["summary"]
    if "reduction" not in summary:
        return "No test regime lies outside the training range."
    ways, means = list(headlines(observed(results["config"]))), summary["ood_error"]
    lows = {name: summary["reduction_interval"][name][0] for name in (*ways, AVERAGE)}
    better = [name for name, low in lows.items() if low is not None and low > 0]
    other = [name for name in ways if name not in better]
    longer = summary["better_anchor"] == "anchor_more"
    if not np.isfinite(or_infinite(means[summary["better_anchor"]])):
        finite = [name for name in lows if np.isfinite(or_infinite(means[name]))]
        finite = [name for name in finite if name != AVERAGE] or finite
        said = "the anchor, trained longer or not, and all merges diverge on some trajectory."
        if finite:
            does = "does" if len(finite) == 1 else "do"
            said = f"the anchor diverges on some trajectory, trained longer or not; {named(finite)} {does} not."
    elif not better:
        said = f"keep the anchor{' that was trained longer' * longer}: no merge clearly beats it."
    else:
        said = f"use {_best_of(summary, better)}"
        if other:
            does = "does" if len(other) == 1 else "do"
            said += f" {named(other)} {does} not clearly beat {'that' if longer else 'the'} anchor."
    inside = [row["errors"] for row in results["regimes"] if row["split"] == "id"]
    if not inside:
        return f"Outside the training range, {said}"
    ahead = sum(or_infinite(e["ccm_prefix"]) < min(or_infinite(e[name]) for name in ANCHORS) for e in inside)
    share = "all" if ahead == len(inside) > 1 else f"{ahead} of"
    regimes = "test regime" if len(inside) == 1 else "test regimes"
    where = f"{share} {len(inside)} {regimes}"
    within = f"CCM-Prefix beats the anchor, trained longer or not, in {where}."
    return f"Outside the training range, {said} Inside the training range, {within}"


def _best_of(summary: dict[str, Any], better: list[str]) -> str:
    """Which of the ways that are better than both anchors to use, with the value and without, and how much better."""
    means = {name: or_infinite(error) for name, error in summary["ood_error"].items()}
    ranked = sorted(better, key=lambda name: means[name])
    known = [name for name in ranked if name in ("ccm_coord", "ccm_scale")][:1]
    use = known + [name for name in ranked if name == "ccm_prefix"] or ranked[:1]
    if ranked[0] == AVERAGE:
        known, use = [], [AVERAGE]
    factors = [f"{digits(means[summary['better_anchor']] / means[name])} times" for name in use]
    labels = [named([name]) for name in use]
    # The better anchor in the mean: in single regimes it may be the other one.
    anchor = "that of the anchor trained longer" if summary["better_anchor"] == "anchor_more" else "the anchor's"
    first = f"its error is {factors[0]} smaller than {anchor}."
    if len(use) == 2:
        return f"{labels[0]} if you know the value: {first} If not, use {labels[1]}: {factors[1]} smaller."
    return f"{labels[0]}{' if you know the value' * bool(known)}: {first}"


def named(methods: list[str]) -> str:
    """Methods within a sentence."""
    return listed(["the " * (name == AVERAGE) + METHODS[name].label for name in methods], "and")


def or_infinite(stored: float | None) -> float:
    """An error as it was before it was stored: null is one that diverged."""
    return float("inf") if stored is None else stored


def listed(words: list[str], last: str) -> str:
    """``"a"``, ``"a or b"`` or ``"a, b or c"``, with the word before the last."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def headline(results: dict[str, Any]) -> list[str]:
    """What the run says, in sentences."""
    summary = results["summary"]
    if "reduction" not in summary:
        return ["No test regime lies outside the training range, so there is no error to reduce there."]
    lines = [
        verdict(results),
        f"Outside the training range, against the better anchor ({METHODS[summary['better_anchor']].label}):",
    ]
    for name, label in headlines(observed(results["config"])).items():
        lines.append(f"  {label:<25}  {_said(summary['reduction'][name], summary['reduction_interval'][name])}")
    factor = summary["wrong_sign_factor"]
    lines.append(f"  wrong sign {'diverges' if factor is None else f'{factor:.1f} x the error of the right one'}")
    harm = summary["harm"]
    if harm["above_anchor"] is None:
        lines.append(f"  CCM-Prefix diverges at {harm['value']:g}")
    else:
        more = f"{abs(harm['above_anchor']):.1%} {'more' if harm['above_anchor'] > 0 else 'less'} error than the anchor"
        lines.append(f"  CCM-Prefix has {more} at {harm['value']:g}, its worst regime")
    r = summary["best_correlation"]
    told = f"{r:.4f}" if r is not None else "is not defined: too few regimes have one, or it is the same everywhere"
    lines.append(f"  correlation of the best coordinate with the physical one {told}")
    return lines


def factor(gain: float, larger: bool) -> float:
    """A gain, ``1 - error / reference``, as a factor by which the error is smaller, or ``larger``."""
    if larger:
        return 1 - gain
    return 1 / (1 - gain) if gain < 1 else np.inf


def _said(gain: float | None, ends: list[float | None]) -> str:
    """A gain in words; null where the method or both anchors diverged."""
    if gain is None:
        return "not defined: a rollout diverged"
    larger = gain < 0
    known = sorted(factor(end, larger) for end in ends if end is not None)
    interval = f"   [{digits(known[0])}, {digits(known[1])}]" if len(known) == 2 else ""
    return f"{digits(factor(gain, larger))} x {'larger' if larger else 'smaller'} error{interval}"
