"""What to use, from errors on the same trajectories: a verdict rests on intervals, and names what they do not tell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ccm_jax._checks import counted

KINDS = ("anchor", "expert", "merged")  # the simpler first: where no difference is told, the first is kept
FEWEST = 3  # trajectories; the scatter of two says next to nothing of that of others
CHANCE = 0.05  # what is as probable as this can happen
MOST = 1000  # trajectories that anybody would be asked for


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
        low: lower end of its 95 % interval.
        high: upper end.
        wins: trajectories on which the first has the smaller error.
        total: trajectories.
        enough: trajectories, scattered like these, that would tell a ratio like this from 1; above MOST, infinite.
    """

    ratio: float
    low: float
    high: float
    wins: int
    total: int
    enough: float

    @property
    def better(self) -> bool:
        """Whether the interval lies below 1."""
        return self.high < 1


def compare(first: np.ndarray, second: np.ndarray) -> Comparison:
    """Compares errors ``[N]``, at least 2, on the same trajectories; those of ``first`` are finite.

        log ratio = log mean(a) - log mean(b) ± t * std(a / mean(a) - b / mean(b)) / sqrt(N)

    The interval is Student's, with N - 1 degrees of freedom, for the ratio linearized around the means; so the fewer
    the trajectories, the wider it is. Where the second is infinite, the ratio is 0; if so rarely that as many other
    trajectories could well be without, the interval reaches up to that of the finite ones.
    """
    count, wins = len(first), int((first < second).sum())
    means, finite = (first.mean(), second.mean()), np.isfinite(second)
    if not finite.all():
        rare = finite.mean() ** count > CHANCE and finite.sum() > 1
        high = compare(first[finite], second[finite]).high if rare else 0.0
        return Comparison(0.0, 0.0, high, wins, count, np.inf)
    if min(means) <= 0:  # an error of 0 is that of the truth itself, and has no logarithm
        ratio = 1.0 if means[0] == means[1] else np.inf if means[0] > 0 else 0.0
        return Comparison(ratio, ratio, ratio, wins, count, FEWEST)
    log, scatter = float(np.log(means[0] / means[1])), float(np.std(first / means[0] - second / means[1], ddof=1))
    numbers = np.arange(FEWEST, MOST + 1)
    enough = numbers[student(numbers - 1) * scatter / np.sqrt(numbers) < abs(log)]
    half = float(student(count - 1)) * scatter / count**0.5
    ratio, low, high = (float(x) for x in np.exp([log, log - half, log + half]))
    return Comparison(ratio, low, high, wins, count, float(enough[0]) if len(enough) else np.inf)


class Verdict(NamedTuple):
    """What to use.

    Attributes:
        text: in words.
        use: the method that is meant; None if no network can be recommended.
        best: name of the method with the smallest mean error; None if every one diverges.
        comparisons: of that with others, by their names.
    """

    text: str
    use: Method | None
    best: str | None = None
    comparisons: Mapping[str, Comparison] = MappingProxyType({})


def student(freedom: Any) -> Any:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit  # the other verbs start without it

    return stdtrit(freedom, 0.975)


def judge(methods: list[Method]) -> Verdict:
    """The verdict: the smallest mean error wins; where no interval tells it from something simpler, it is open."""
    best = {
        kind: min((m for m in methods if m.kind == kind), key=lambda m: m.errors.mean(), default=None) for kind in KINDS
    }
    there = [m for m in best.values() if m is not None]
    winner, count = min(there, key=lambda m: m.errors.mean()), len(methods[0].errors)
    if not np.isfinite(winner.errors.mean()):
        return Verdict("Verdict: none. Every network diverges on some trajectory.", None)
    if count < FEWEST:
        text = (
            f"Verdict: none from {counted(count, 'trajectory')}. {winner.name} has the smallest error, "
            f"{winner.errors.mean():.4f}, but an interval needs {FEWEST} trajectories or more; evaluate on "
            "others of the same regime as well."
        )
        return Verdict(text, None, winner.name)
    rivals = [m for m in there if m is not winner]
    alike = [m for m in methods if m.kind == winner.kind == KINDS[2] and m is not winner]
    against = {m.name: compare(winner.errors, m.errors) for m in (*rivals, *alike)}
    simpler = [m for m in rivals if KINDS.index(m.kind) < KINDS.index(winner.kind)]
    alike_to_it = [m for m in simpler if not against[m.name].better]
    tied = next((m for m in alike_to_it if not _beaten(m, alike_to_it)), None)
    verdict = f"Verdict: {_advice(tied or winner)}"
    if tied is not None:
        verdict = (
            f"Verdict: undecided. {winner.name} has the smallest error, {winner.errors.mean():.4f}, but {count} "
            f"trajectories are too few to tell it from {tied.name}, which is simpler; evaluate more."
        )
    lines = [verdict, *(f"  {_against(winner.name, m, against[m.name])}" for m in (*rivals, *alike))]
    if tied is not None:
        beaten = [m for m in alike_to_it if _beaten(m, [tied])]
        lines += [f"  {_against(tied.name, m, compare(tied.errors, m.errors))}" for m in beaten]
    if alike:
        lines.append(
            f"  {winner.name} is the best of {len(alike) + 1} merged checkpoints on these trajectories, which favours "
            "it: compare it with the anchor on others."
        )
    return Verdict("\n".join(lines), tied or winner, winner.name, against)


def _beaten(m: Method, others: list[Method]) -> bool:
    """Whether the interval of another one's error over this one's lies below 1."""
    finite = [other for other in others if other is not m and np.isfinite(other.errors.mean())]
    return any(compare(other.errors, m.errors).better for other in finite)


def _advice(m: Method) -> str:
    return {
        "anchor": "keep the anchor.",
        "expert": f"use an expert ({m.name}).",
        "merged": f"use CCM ({m.path}).",
    }[m.kind]


def _against(name: str, rival: Method, c: Comparison) -> str:
    said = f"{name} against {rival.name}: "
    diverged = int((~np.isfinite(rival.errors)).sum())
    if diverged:  # an infinite mean has no share that could be won from it
        return f"{said}{rival.name} diverges on {diverged} of {c.total} trajectories."
    said += f"{c.ratio:.3g} of its error, 95 % interval {c.low:.3g} to {c.high:.3g}; better on {c.wins} of {c.total}."
    if c.low == c.high == 1:
        return f"{name} against {rival.name}: the same error on each of {c.total} trajectories."
    if not c.low <= 1 <= c.high:
        return said
    if not np.isfinite(c.enough):
        return f"{said} No significant difference, and {MOST:,} such trajectories would not resolve it."
    return f"{said} No significant difference: about {c.enough:.0f} such trajectories would be needed to resolve it."
