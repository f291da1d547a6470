"""The decision chart: what to use, by what is known of a regime and by what may be trained, read off the errors."""

from __future__ import annotations

from typing import Any

from experiments.peers.rows import SINGLE
from experiments.peers.summary import over_seeds

# From little to much: who may train more may also use what needs less.
ALLOWED = {
    "nothing more": ("nothing more",),
    "two fine-tunings": ("nothing more", "two fine-tunings"),
    "one fine-tuning": ("nothing more", "two fine-tunings", "one fine-tuning"),
    "without labels": ("nothing more", "one fine-tuning", "two fine-tunings", "from scratch"),  # but conditioned ones
    "from scratch": ("nothing more", "one fine-tuning", "two fine-tunings", "from scratch"),
}
ALSO = {"nothing": ("nothing",), "frames": ("nothing", "frames"), "value": ("nothing", "frames", "value")}


def decide(systems: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """For each system, and for what is known and may be trained: the method with the smallest error outside.

    Methods that know less or train less are always allowed; a bound never is, nor what has one seed by design. Only the
    solver, which needs the equation, has rows of its own with its one seed.

    Returns:
        Rows of ``system``, ``knows``, ``trains``, ``method``, ``error``, ``ours``, and the ``second`` best.
    """
    found = []
    for system, methods in systems.items():
        measured = [m for m in methods if m["row"] not in SINGLE and not m["bound"]]
        # Rows are done one by one: methods are compared over the seeds that all of them have.
        common = min((m["number_of_seeds"] for m in measured), default=0)
        for knows in ALSO:
            for trains in ALLOWED:
                open_to = [m for m in measured if m["knows"] in ALSO[knows] and m["trains"] in ALLOWED[trains]]
                if trains == "without labels":
                    open_to = [m for m in open_to if not m["row"].startswith("conditioned")]
                ranked = sorted(open_to, key=lambda m: _error(m, common))
                if ranked:
                    first, *rest = ranked
                    second = rest[0] if rest else None
                    found.append(
                        {
                            "system": system,
                            "knows": knows,
                            "trains": trains,
                            "method": first["label"],
                            "error": _error(first, common),
                            "ours": first["ours"],
                            "second": None if second is None else second["label"],
                            "second_error": None if second is None else _error(second, common),
                        }
                    )
        for method in (m for m in methods if m["row"] == "solver"):
            solved = {"system": system, "knows": method["knows"], "trains": "equation", "method": method["label"]}
            found.append(solved | {"error": _error(method, 1), "ours": False, "second": None, "second_error": None})
    return found


def led(decisions: list[dict[str, Any]], knows: str) -> str:
    """What the table for someone who knows this shows, in words: on how many systems CCM is best, and the solver."""

    def rows(trains: str) -> list[dict[str, Any]]:
        return [d for d in decisions if (d["knows"], d["trains"]) == (knows, trains)]

    def share(trains: str) -> str:
        best = sum(d["ours"] for d in rows(trains))
        return f"{best or 'none'} of {len(rows(trains))}"

    words = (
        f"CCM has the smallest error on {share('two fine-tunings')} systems if you can only train two experts, on "
        f"{share('without labels')} if you can also train a new anchor on unlabelled data, and on "
        f"{share('from scratch')} if you have labelled data of all regimes"
    )
    if not any(d["ours"] for d in rows("from scratch")):
        words += ", as a conditioned network is then better"
    least = {d["system"]: d["error"] for d in rows("from scratch")}
    solved = [d for d in rows("equation") if d["system"] in least]
    better = sum(d["error"] < least[d["system"]] for d in solved)
    return words + (f". A coarse solver is better than all of these on {better} of {len(solved)}." if solved else ".")


def _error(method: dict[str, Any], seeds: int) -> float:
    """Over the first seeds."""
    return over_seeds(method["outside"]["seeds"][:seeds])
