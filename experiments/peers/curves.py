"""Errors by regime of the strongest alternatives, for pages that show them beside a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.peers.methods import ARMS, KINDS, LABELLED, NO_VALUE, POST_HOC
from experiments.peers.summary import LABELS, Gathered, Place, best_of

GROUPS: dict[str, tuple[Place, ...]] = {
    "another merge": tuple(("post hoc", key) for key in POST_HOC),
    "not conditioned": NO_VALUE,
    "conditioned, fine-tuned": tuple(
        (f"conditioned {kind}", f"{arm}_{key}") for kind in KINDS for arm in ARMS for key in ("coord", "scale")
    ),
    "conditioned, from scratch": tuple(("conditioned scratch", key) for key in ("coord", "scale")),
    "conditioned, value inferred": LABELLED,
}


def curves_of(gathered: Gathered, system: str) -> list[dict[str, Any]]:
    """The method of each group with the smallest error outside: its error at every test regime.

    Returns:
        For each, its group, label, seeds, values of the parameter, and geometric means over seeds; None is infinite.
    """
    found = []
    for group, places in GROUPS.items():
        place = best_of(gathered, system, places)
        if place is None:
            continue
        measure, key = place
        rows = [one for one in gathered[f"{system} {measure}"] if key in one.get("found", {}).get("errors", {})]
        errors = np.array([[np.inf if e is None else e for e in one["found"]["errors"][key]] for one in rows], float)
        means = np.exp(np.mean(np.log(errors), axis=0))
        found.append(
            {
                "group": group,
                "label": LABELS.get(place, " / ".join(place)),
                "seeds": [one["seed"] for one in rows],
                "values": rows[0]["found"]["values"],
                "errors": [float(e) if np.isfinite(e) else None for e in means],
            }
        )
    return found
