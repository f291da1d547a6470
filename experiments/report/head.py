"""The head of the report: what was run, on what, and the numbers that decide."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from experiments.pipeline.methods import ANCHORS, METHODS, headlines
from experiments.report.numbers import digits
from experiments.report.results import factor, listed, observed

# Of the solvers of this repository: their names, and what they solve.
EQUATIONS = {
    "reaction_diffusion": ("Reaction–diffusion", "∂u/∂t = Dᵤ∇²u + u − u³ − k − v, ∂v/∂t = Dᵥ∇²v + u − v"),
    "navier_stokes": ("Navier–Stokes", "∂ω/∂t + u·∇ω = ν∇²ω − drag·ω + f, vorticity ω"),
    "shallow_water": ("Shallow water", "∂h/∂t + ∇·(hu) = 0, ∂(hu)/∂t + ∇·(huu) + ∇(gh²/2) = 0"),
    "burgers": ("Burgers", "∂u/∂t + u∂u/∂x = ν∂²u/∂x²"),
    "kuramoto_sivashinsky": (
        "Kuramoto–Sivashinsky",
        "∂u/∂t + u∂u/∂x = −a∂²u/∂x² − b∂⁴u/∂x⁴, a instability, b hyperviscosity",
    ),
}


def title(config: dict[str, Any], values: list[float]) -> str:
    """The system and the range of its test regimes."""
    label = config["axis"]["label"]
    span = f"from {min(values):g} to {max(values):g}" if len(values) > 1 else f"{values[0]:g}"
    system = EQUATIONS.get(config["system"])
    about = f"merged weights for {label} {span}"
    return f"{system[0]}: {about}" if system else about[0].upper() + about[1:]


def setting(config: dict[str, Any], space: tuple[int, ...], weights: int) -> str:
    """Equation, grid, time between frames and size of the network, in a line."""
    parts = [EQUATIONS[config["system"]][1]] if config["system"] in EQUATIONS else []
    grid = f"{space[0]} points" if len(space) == 1 else f"{' × '.join(str(n) for n in space)} grid"
    parts += [grid, f"Δt = {config['solver']['dt']:g}"]
    name = str(config["model"]["name"])
    return "; ".join([*parts, f"{name.upper() if name.isalpha() else name} with {weights:,} weights"])


def count(params: Any) -> int:
    """The numbers in weights; a complex one is two."""
    return sum(int(np.size(leaf)) * (2 if np.iscomplexobj(leaf) else 1) for leaf in jax.tree.leaves(params))


def cards(results: dict[str, Any], peer: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Errors outside the training range, the anchor's first, with how they compare; CCM-Coord stands in the table.

    Args:
        results: of the run.
        peer: of :func:`experiments.report.peers.conditioned`.
    """
    summary, frames = results["summary"], observed(results["config"])
    if "reduction" not in summary:
        return []
    better = summary["better_anchor"]
    found = [
        {"name": METHODS[better].label, "source": "no merge", "text": _other_anchor(better, summary["ood_error"])}
        | {"error": summary["ood_error"][better], "kind": "reference"}
    ]
    for name in headlines(frames):
        if name == "ccm_coord":
            continue
        gain, ends = summary["reduction"][name], summary["reduction_interval"][name]
        worse = gain is not None and gain < 0
        size = None if gain is None else factor(gain, worse)
        interval = None if None in ends else sorted(factor(end, worse) for end in ends)
        unclear = interval is not None and interval[0] <= 1 <= interval[1]
        kind = "worse" if gain is None else "other" if unclear else "worse" if worse else "better"
        source = "from the value" if name == "ccm_scale" else METHODS[name].source.format(frames=frames)
        found.append({"name": METHODS[name].label, "source": source, "text": _than(size, worse, interval)})
        found[-1] |= {"error": summary["ood_error"][name], "kind": kind}
    if peer is not None:
        text = _against(peer) + " than CCM-Scale"
        if peer.get("inside"):
            text += "; inside: " + _against(peer["inside"])
        found.append({"name": "conditioned network", "source": f"from the value, {peer['seeds']} seeds", "text": text})
        found[-1] |= {"error": peer["error"], "kind": "other"}
    return found


def _other_anchor(better: str, errors: dict[str, float | None]) -> str:
    """What the other anchor's error is: the one trained on, or the one before that."""
    (other,) = (name for name in ANCHORS if name != better)
    error = errors[other]
    said = "it diverges" if error is None else f"{error:.3f}"
    return f"trained for as many steps as CCM in total: {said}" if better == "anchor" else f"before that: {said}"


def alternative(peer: dict[str, Any] | None) -> str:
    """What a conditioned network would gain, in a sentence: where the interval says that it beats CCM-Scale.

    Args:
        peer: of :func:`experiments.report.peers.conditioned`.

    Returns:
        Nothing where no interval says so.

    Example:
        >>> outside, inside = {"mean": 1.3, "low": 1.1, "high": 1.6}, {"mean": 2.2, "low": 1.6, "high": 3.1}
        >>> alternative(outside | {"inside": inside}).replace("\N{NO-BREAK SPACE}", " ").partition(": ")[2]
        "its errors are 1.3 times smaller than CCM-Scale's outside the training range and 2.2 times smaller inside it."
    """
    sides = {} if peer is None else {"outside": peer, "inside": peer.get("inside")}
    told = [
        f"{digits(ratio['mean'])}\N{NO-BREAK SPACE}times smaller {where}"
        for where, ratio in sides.items()
        if ratio and ratio["low"] > 1
    ]
    if not told:
        return ""
    told[0] = told[0].replace("smaller", "smaller than CCM-Scale's") + " the training range"
    said = listed([told[0], *(f"{one} it" for one in told[1:])], "and")
    return f"With labelled data of all training regimes, a conditioned network does better: its errors are {said}."


def _against(ratio: dict[str, Any]) -> str:
    """How an alternative compares; the ratio is CCM's error over the alternative's."""
    larger = ratio["mean"] < 1
    size, *ends = (1 / ratio[key] if larger else ratio[key] for key in ("mean", "low", "high"))
    return _than(size, larger, sorted(ends))


def _than(size: float | None, larger: bool, interval: list[float] | None) -> str:
    """A factor in words, such as ``4.7 times smaller [4.5, 4.9]``."""
    if size is None:
        return "diverges"
    ends = "" if interval is None else f" [{digits(interval[0])}, {digits(interval[1])}]"
    return f"{digits(size)} times {'larger' if larger else 'smaller'}{ends}"
