"""What a run warns of: a line each on standard error, with the stage that it comes from and the regimes.

Warnings of a stage are told when it ends, each once, because a loop over regimes meets the same one many times, perhaps
with other measured numbers: of those, the smallest and the largest are told. Kept
stages that were made by other code or versions are told together, at the end of the run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import jax


class _Note(NamedTuple):
    """What is said of several regimes: where, and each time with which measured numbers."""

    places: list[str]
    numbers: list[list[str]]


class _Stage(NamedTuple):
    """Notes of a running stage: those whose regime is not known yet, and the others by their text without numbers."""

    waiting: list[str]
    notes: dict[str, _Note]


_STAGE: ContextVar[_Stage | None] = ContextVar("stage", default=None)
_KEPT: ContextVar[dict[str, list[str]] | None] = ContextVar("kept", default=None)
_MADE = re.compile(r"(\S+) was made (by .*); delete (.+) to make it again\.")  # as pipeline/store.py says it
_WHICH = re.compile(r" of (\d+ of \d+ trajectories|trajectory \d+)")
_NUMBER = re.compile(r"(?<![\w.\[-])\d+(?:\.\d+|\.?\d*%)(?![\w.\]])")  # measured: a decimal, or a percentage
# The library speaks to those who call it; a command's settings are fields.
_WORDS = (
    (re.compile(r"^([A-Z]\w+(\.\w+)?|[a-z]+_\w+): "), ""),
    (re.compile(r"\[(-?[\d.]+)\] to \[(-?[\d.]+)\]"), r"\1 to \2"),
    (
        re.compile(r" \(reach=\.\.\. searches further\)"),
        " (--config.calibration.low and --config.calibration.high search further)",
    ),
    (re.compile(r" With validation trajectories, the readout compares with theirs\."), ""),  # as others of the run do
)


def show(message: Warning | str, *_: object, **__: object) -> None:
    """Takes the place of ``warnings.showwarning``."""
    told = str(message)
    if told.startswith("Error reading persistent compilation cache"):  # JAX compiles, and keeps the damaged file
        told = f"{told.splitlines()[0]}; if that comes again, remove {jax.config.values['jax_compilation_cache_dir']}."
    made, kept = _MADE.fullmatch(told), _KEPT.get()
    if made and kept is not None:
        kept.setdefault(made[2], []).append(told)
        return
    for pattern, words in _WORDS:
        told = pattern.sub(words, told)
    stage = _STAGE.get()
    if stage is None:
        print(f"note: {told}", file=sys.stderr)
    else:
        stage.waiting.append(told)


@contextmanager
def together() -> Iterator[None]:
    """Tells of the kept stages that other code or versions made when the block ends, in a line for each reason."""
    kept: dict[str, list[str]] = {}
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        for made, lines in kept.items():
            first = _MADE.fullmatch(lines[0])
            told = lines[0]
            if first and len(lines) > 1:
                root = Path(first[3]).parent
                told = f"{len(lines)} kept stages were made {made}; to make one again, delete its folder in {root}."
            print(f"note: {told}", file=sys.stderr)


@contextmanager
def of_stage(name: str) -> Iterator[None]:
    """Tells what is warned of inside when the block ends."""
    stage = _Stage([], {})
    token = _STAGE.set(stage)
    try:
        yield
    finally:
        _STAGE.reset(token)
        _place(stage, "")
        for text, (places, numbers) in stage.notes.items():
            places[1:] = [place.replace(" trajectories)", ")") for place in places[1:]]
            where = " and ".join([", ".join(places[:-1]), places[-1]] if len(places) > 1 else places)
            where = f"at {where}" if where and not where.startswith("(") else where
            spans = [_span(column) for column in zip(*numbers, strict=True)]
            told = "".join(word + span for word, span in zip(_NUMBER.split(text), [*spans, ""], strict=True))
            print(f"note: {name}{f' {where}' if where else ''}: {told}", file=sys.stderr)


def _span(numbers: Sequence[str]) -> str:
    """One of several numbers if they are the same, and otherwise the smallest and the largest."""
    low, high = (of(numbers, key=lambda number: float(number.rstrip("%"))) for of in (min, max))
    return low if low == high else f"{low} to {high}"


def _without_numbers(text: str) -> str:
    return _NUMBER.sub("#", text)


def passed(regime: str) -> None:
    """Says that what was warned of since the last regime belongs to this one."""
    stage = _STAGE.get()
    if stage is not None:
        _place(stage, regime)


def _place(stage: _Stage, regime: str) -> None:
    for told in stage.waiting:
        which = _WHICH.search(told)
        text = told.replace(which[0], "", 1) if which else told
        place = " ".join(part for part in (regime, f"({which[1]})" if which else "") if part)
        alike = (
            k for k, other in stage.notes.items() if _without_numbers(k) == _without_numbers(text) and other.places
        )
        noted = stage.notes.setdefault(next(alike, text) if place else text, _Note([], []))
        noted.numbers.append(_NUMBER.findall(text))
        if place and place not in noted.places:
            noted.places.append(place)
    stage.waiting.clear()
