"""The strongest alternatives of the study of peers, for a report of a configuration that the study has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import read_json
from ccm_jax.metrics import over

PEERS = Path(__file__).parents[2] / "results" / "peers.json"
CONDITIONED = {"conditioned, fine-tuned": "finetune_ratio", "conditioned, from scratch": "scratch_ratio"}
SHORT = (
    (r"^conditioned.* value inferred .*", "conditioned, value inferred"),
    (r"^conditioned.*", "conditioned, value known"),
    (r"^DPOT, window of (\d+),.*", r"DPOT (a transformer), \1 frames"),
    (r"^(.*), window of 1,.*", r"\1, 1 frame"),
    (r"^(.*), window of (\d+),.*", r"\1, \2 frames"),
    (r"^window of 1,.*", "network that sees 1 frame"),
    (r"^window of (\d+),.*", r"network that sees \1 frames"),
)


def _study(config: dict[str, Any]) -> dict[str, Any]:
    return {} if config["size"] or not PEERS.exists() else dict(read_json(PEERS))


def curves_of(config: dict[str, Any], outside: list[float]) -> list[dict[str, Any]]:
    """Errors by value of the strongest alternatives; of the conditioned networks that know the value, the best one.

    Args:
        config: of a run; one at another size has none.
        outside: values outside the training range.
    """
    found = list(_study(config).get("curves", {}).get(config["name"], []))
    known = sorted((c for c in found if c["group"] in CONDITIONED), key=lambda curve: _mean(curve, outside))
    return [curve | {"short": short(curve["label"])} for curve in found if curve not in known[1:]]


def _mean(curve: dict[str, Any], values: list[float]) -> float:
    errors = [e for v, e in zip(curve["values"], curve["errors"], strict=True) if v in values]
    return float("inf") if None in errors or not errors else float(np.mean(errors))


def short(label: str) -> str:
    """The name of an alternative in a figure.

    Example:
        >>> short("DPOT, window of 4, continued on all data"), short("conditioned, from scratch, Scale map")
        ('DPOT (a transformer), 4 frames', 'conditioned, value known')
    """
    for pattern, name in SHORT:
        if re.match(pattern, label):
            return re.sub(pattern, name, label)
    return label


def conditioned(config: dict[str, Any], curves: list[dict[str, Any]], outside: list[float]) -> dict[str, Any] | None:
    """The best conditioned network that knows the value: its error outside, and CCM-Scale's over it, with an interval.

    Returns:
        None where the study has none, or where one of the two diverges. ``inside`` has the ratio inside the training
        range, of the same seeds, or None.
    """
    for curve in curves:
        if curve["group"] in CONDITIONED:
            ratio = _study(config).get("ratios", {}).get(config["name"], {}).get(CONDITIONED[curve["group"]]) or {}
            error = _mean(curve, outside)
            if np.isfinite(error) and None not in (ratio.get("mean"), ratio.get("low"), ratio.get("high")):
                ends = {key: ratio[key] for key in ("mean", "low", "high")}
                return (
                    ends
                    | {"error": error, "label": curve["label"], "seeds": len(curve["seeds"])}
                    | {"inside": _inside(config, curve["label"], ratio)}
                )
    return None


def _inside(config: dict[str, Any], label: str, outside: dict[str, Any]) -> dict[str, float] | None:
    """CCM's error over that of an alternative inside the training range, seed by seed, with an interval."""
    from experiments.report.statistics import interval  # scipy is slow to import

    found = {one["label"]: one for one in _study(config).get("systems", {}).get(config["name"], [])}
    if outside["ours"] not in found or label not in found:
        return None
    ratios = {}
    for split in ("outside", "inside"):
        ours, theirs = (found[name][split]["seeds"] for name in (outside["ours"], label))
        ratios[split] = [over(a, b) for a, b in zip(ours, theirs, strict=False)]
    # The study stores errors without their seeds: pairs that give its ratios outside are of equal seeds.
    if len(ratios["outside"]) != len(outside["seeds"]) or not np.allclose(ratios["outside"], outside["seeds"]):
        return None
    known = interval(ratios["inside"], "log")
    return None if known["low"] is None else {key: known[key] for key in ("mean", "low", "high")}


def seeds(curves: list[dict[str, Any]]) -> str:
    """How many seeds curves are of, in words."""
    counts = sorted({len(curve["seeds"]) for curve in curves} or {0})
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
