"""Ratios of errors in words: ``2.9 times smaller``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from experiments.report.results import listed
from experiments.report.systems import SHORT

Ratio = dict[str, Any]  # mean, low and high; None where there is one seed, or nothing

AHEAD, SINGLE, BEHIND, UNCLEAR = "smaller", "in one seed", "larger", "no clear difference"
ORDER = (AHEAD, BEHIND, UNCLEAR, SINGLE)


def in_words(ratios: dict[str, Ratio | None]) -> str:
    """Ratios of several systems in one phrase: the clearly smaller and larger, the unclear, those of one seed.

    An interval that contains 1 is no difference, and one seed is no evidence. What follows "in one seed" has one.

    Example:
        >>> ahead, single = {"mean": 0.5, "low": 0.4, "high": 0.8}, {"mean": 2.0, "low": None, "high": None}
        >>> in_words({"rd_ood": ahead, "rdb_ood": {"mean": 1.1, "low": 0.9, "high": 1.3}})
        '2.0\\xa0times smaller for reaction–diffusion; no clear difference for dam height'
        >>> in_words({"ns_ood": single})
        'in one seed, 2.0\\xa0times larger for Navier–Stokes'
        >>> in_words({"rd_ood": ahead, "ns_ood": ahead | {"mean": 0.25}, "rdb_gravity": ahead, "rdb_ood": single})
        '2.0 to 4.0\\xa0times smaller for all but dam height; in one seed, 2.0\\xa0times larger for dam height'
    """
    phrases = []
    for kind, found in _by_kind(ratios, apart=True).items():
        told = f"{UNCLEAR} for {named(found)}" if kind == UNCLEAR else _together(found, ratios)
        phrases.append(f"{SINGLE}, {told}" if kind == SINGLE else told)
    return "; ".join(phrases) or "not measured yet"


def _by_kind(ratios: dict[str, Ratio | None], *, apart: bool = False) -> dict[str, dict[str, Ratio]]:
    """The systems where CCM's error is smaller, larger, or neither; those of one seed ``apart``, or by their ratio."""
    kinds: dict[str, dict[str, Ratio]] = {}
    for system, ratio in ratios.items():
        if ratio is not None and ratio["mean"] is not None:
            unclear = ratio["low"] is not None and ratio["low"] <= 1 <= ratio["high"]
            kind = UNCLEAR if unclear else AHEAD if ratio["mean"] < 1 else BEHIND
            kind = SINGLE if apart and ratio["low"] is None else kind
            kinds.setdefault(kind, {})[system] = ratio
    return {kind: kinds[kind] for kind in ORDER if kind in kinds}


def _together(found: dict[str, Ratio], ratios: dict[str, Ratio | None]) -> str:
    """Each ratio, or the range of three and more that go one way."""
    told = [times(ratio["mean"]) for ratio in found.values()]
    directions = {direction for _, direction in told}
    if len(told) < 3 or len(directions) > 1 or "" in directions:
        return each(found)
    left = [system for system in ratios if system not in found]
    measured = [system for system in left if (ratios[system] or {"mean": None})["mean"] is not None]
    who = "all systems" if not left else f"all but {named(left)}" if left == measured else named(found)
    sizes = sorted(ratio["mean"] for ratio in found.values())
    low, high = (times(size)[0] for size in (sizes[0], sizes[-1])[:: -1 if sizes[0] < 1 else 1])
    return f"{low.split()[0]} to {high} {directions.pop()} for {who}"


def times(ratio: float) -> tuple[str, str]:
    """A ratio of errors in words, such as ``("2.9 times", "smaller")``."""
    if 0.985 < ratio < 1.015:
        return "equal", ""
    return (
        (f"{_said(1 / ratio)}\N{NO-BREAK SPACE}times", "smaller")
        if 0 < ratio < 1
        else (f"{_said(ratio)}\N{NO-BREAK SPACE}times", "larger")
    )


def _said(size: float) -> str:
    return f"{size:.2f}" if size < 1.1 else f"{size:.1f}" if size < 10 else f"{size:.0f}"


def end_of(end: float, rounded: str) -> str:
    """An end of an interval, rounded, or with as many digits as show on which side of 1 it lies.

    Example:
        >>> end_of(1.0031, "1.00"), end_of(1.94, "1.94"), end_of(1.0, "1.00")
        ('1.003', '1.94', '1.00')
    """
    digits = 3
    while float(rounded) == 1 and end != 1 and digits < 6:
        rounded, digits = f"{end:.{digits}f}", digits + 1
    return rounded


def each(ratios: Mapping[str, Ratio | None]) -> str:
    """Ratios of several systems in one phrase; those that are not measured are left out.

    Example:
        >>> each({"ns_ood": {"mean": 2.0}, "rdb_gravity": {"mean": 3.0}, "rdb_ood": {"mean": 0.5}})
        '2.0\\xa0times larger for Navier–Stokes and 3.0\\xa0times for gravity; 2.0\\xa0times smaller for dam height'
    """
    said: dict[str, list[str]] = {}
    for system, ratio in ratios.items():
        if ratio is not None and ratio["mean"] is not None:
            size, direction = times(ratio["mean"])
            first = not said.get(direction)
            said.setdefault(direction, []).append(f"{size} {direction * first}".strip() + f" for {SHORT[system]}")
    return "; ".join(listed(sizes, "and") for sizes in said.values()) or "not measured yet"


def named(systems: Iterable[str]) -> str:
    """Systems within a sentence."""
    return listed([SHORT[system] for system in systems], "and")


def with_interval(ratio: Ratio) -> str:
    """A ratio and its interval, in bold where the interval does not contain 1.

    Example:
        >>> with_interval({"mean": 0.25, "low": 0.2, "high": 0.5})
        '**4.0\\xa0times smaller** [2.0, 5.0]'
        >>> with_interval({"mean": 0.25, "low": None, "high": None}), with_interval({"mean": None})
        ('4.0\\xa0times smaller', 'diverges')
    """
    if ratio["mean"] is None:
        return "diverges"
    told = " ".join(times(ratio["mean"])).strip()
    ends = [ratio["low"], ratio["high"]]
    if None in ends:
        return told
    told = told if ends[0] <= 1 <= ends[1] else f"**{told}**"
    if ratio["mean"] < 1:
        ends = [1 / end for end in reversed(ends)]
    low, high = (end_of(end, _said(end)) for end in ends)
    return f"{told} [{low}, {high}]"
