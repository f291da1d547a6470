"""What to use, from errors on the same trajectories; a difference that chance explains is called a tie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

KINDS = ("anchor", "expert", "merged")  # the simpler first: of what is tied, the first is kept
FEW = 6  # below, even a gain on every trajectory is no evidence at 5 % (two-sided sign test: 2 / 2^5 = 6 %)
DRAWS = 2000


class Method(NamedTuple):
    """A network, and its error on each trajectory, ``[N]``, infinite where it diverged."""

    name: str
    kind: str
    path: str
    errors: np.ndarray


class Comparison(NamedTuple):
    """The mean error of one method over another's, on the same trajectories.

    Attributes:
        ratio: of the means.
        low: lower end of its 95 % interval, by a bootstrap over trajectories.
        high: upper end.
        wins: trajectories on which the first has the smaller error.
        total: trajectories.
    """

    ratio: float
    low: float
    high: float
    wins: int
    total: int

    @property
    def better(self) -> bool:
        """Whether the interval lies below 1; of few trajectories it is narrower than chance, see FEW."""
        return self.high < 1


def compare(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares errors ``[N]`` on the same trajectories; those of ``first`` are finite.

    Draws trajectories with replacement, the same for both, and takes the ratio of mean errors of each draw.
    """
    count = len(first)
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    ratios = _over(first[drawn].mean(axis=1), second[drawn].mean(axis=1))
    low, high = np.quantile(ratios, [0.025, 0.975], method="nearest")
    whole = float(_over(first.mean()[None], second.mean()[None])[0])
    return Comparison(whole, float(low), float(high), int((first < second).sum()), count)


def _over(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``, 1 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(a == b, 1.0, a / b)


def judge(methods: list[Method]) -> str:
    """The verdict in words: the smallest mean error wins, and what is tied with it but simpler is kept instead."""
    best = {
        kind: min((m for m in methods if m.kind == kind), key=lambda m: m.errors.mean(), default=None) for kind in KINDS
    }
    there = [m for m in best.values() if m is not None]
    winner = min(there, key=lambda m: m.errors.mean())
    if not np.isfinite(winner.errors.mean()):
        return "Verdict: none. Every network diverges on some trajectory."
    rivals = [m for m in there if m is not winner]
    against = {m.kind: compare(winner.errors, m.errors) for m in rivals}
    simpler = [m for m in rivals if KINDS.index(m.kind) < KINDS.index(winner.kind)]
    tied = next((m for m in simpler if not against[m.kind].better), None)
    lines = [f"Verdict: {_advice(tied or winner)}" + (f" It is tied with {winner.name}." if tied else "")]
    for m in rivals:
        diverged = int((~np.isfinite(m.errors)).sum())
        if diverged:  # an infinite mean has no share that could be won from it
            lines.append(f"{m.name} diverges on {diverged} of {len(m.errors)} trajectories.")
        else:
            lines.append(_against(winner.name, m.name, against[m.kind]))
    if len(methods[0].errors) < FEW:
        lines.append(f"Fewer than {FEW} trajectories cannot distinguish a gain from chance; evaluate on more.")
    return "\n".join(lines)


def _advice(m: Method) -> str:
    return {
        "anchor": "keep the anchor.",
        "expert": f"an expert is better ({m.name}).",
        "merged": f"use CCM ({m.path}).",
    }[m.kind]


def _against(name: str, other: str, c: Comparison) -> str:
    said = f"{name} has {c.ratio:.3f} of the error of {other}, and is better on {c.wins} of {c.total} trajectories"
    if c.total == 1:
        return f"{said}."
    tie = "" if c.better else "; a tie" if c.low <= 1 <= c.high else ""
    return f"{said}; 95 % interval {c.low:.3f} to {c.high:.3f}, paired bootstrap{tie}."
