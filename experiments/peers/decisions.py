"""The decision chart: what to use, by what is known of a regime and by what may be trained, read off the errors."""

from __future__ import annotations

from typing import Any

import numpy as np

KNOWN = {"nothing": "nothing", "frames": "its first five frames", "value": "its value"}
# From little to much: who may train more may also use what needs less.
MAY = {
    "nothing more": "nothing",
    "two fine-tunings": "two short fine-tunings from one anchor",
    "from scratch": "a network from scratch",
}
ALLOWED = {
    "nothing more": ("nothing more",),
    "two fine-tunings": ("nothing more", "one fine-tuning", "two fine-tunings"),
    "from scratch": ("nothing more", "one fine-tuning", "two fine-tunings", "from scratch"),
}
ALSO = {"nothing": ("nothing",), "frames": ("nothing", "frames"), "value": ("nothing", "frames", "value")}


def decide(systems: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """For each system, and for what is known and may be trained: the method with the smallest error outside.

    Methods that know less or train less are always allowed; a bound never is.

    Returns:
        Rows of ``system``, ``knows``, ``trains``, ``method``, ``error``, ``ours``, and the ``second`` best.
    """
    found = []
    for system, methods in systems.items():
        most = max((m["number_of_seeds"] for m in methods), default=0)
        for knows in KNOWN:
            for trains in MAY:
                open_to = [
                    m
                    for m in methods
                    if m["knows"] in ALSO[knows] and m["trains"] in ALLOWED[trains] and not m["bound"]
                ]
                # A single seed does not decide where three are there.
                open_to = [m for m in open_to if m["number_of_seeds"] == most and m["row"] != "solver"]
                ranked = sorted(open_to, key=lambda m: _error(m))
                if ranked:
                    first, *rest = ranked
                    second = rest[0] if rest else None
                    found.append(
                        {
                            "system": system,
                            "knows": knows,
                            "trains": trains,
                            "method": first["label"],
                            "error": _error(first),
                            "ours": first["ours"],
                            "second": None if second is None else second["label"],
                            "second_error": None if second is None else _error(second),
                        }
                    )
    return found


def _error(method: dict[str, Any]) -> float:
    mean = method["outside"]["mean"]
    return float("inf") if mean is None or not np.isfinite(mean) else float(mean)
