"""Whether the anchors are trained enough: what twice their steps change, in the worst regime, inside and outside."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.peers.summary import Gathered

TENTH = 0.1  # the rule: in no regime do twice the steps lower the error by more


def trained_of(gathered: Gathered, system: str) -> dict[str, Any] | None:
    """Relative fall of the anchor's validation error from twice its steps, means over seeds.

    Returns:
        Seeds, steps, the mean over regimes inside and outside, the largest fall in any regime of any seed and where,
        and whether that is at most a tenth. None where nothing is measured.
    """
    rows = [one for one in gathered.get(f"{system} convergence", []) if "found" in one]
    if not rows:
        return None
    gains = np.array([one["found"]["gain"] for one in rows], float)
    outside = np.array(rows[0]["found"]["validation_outside"], bool)
    seed, regime = np.unravel_index(np.argmax(gains), gains.shape)
    return {
        "seeds": [one["seed"] for one in rows],
        "steps": rows[0]["found"]["steps"],
        "inside": float(gains[:, ~outside].mean()),
        "outside": float(gains[:, outside].mean()),
        "largest": float(gains[seed, regime]),
        "largest_at": rows[0]["found"]["validation_coordinates"][int(regime)],
        "largest_seed": rows[int(seed)]["seed"],
        "enough": bool(gains.max() <= TENTH),
    }
