"""Measures kept rows again, from the data on, and records whether changed modules give the same numbers.

A kept row names the modules that it was measured by. A change of one of them that should change no number, such as a
better message for an input that is refused, would make all of them stale. This measures a few of the rows again, in an
empty folder, and compares all that they found. If it is the same, to the last bit or within a stated relative
difference, ``results/equal_sources.json`` records the change, with these rows, and other rows by the same modules
stand.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.atomic import read_json
from experiments.pipeline.store import write_json
from experiments.runner.progress import console
from experiments.runner.sources import EQUAL, changed
from experiments.study.jobs import KILLED, Job, Place, run_jobs
from experiments.study.kept import REPEATED
from experiments.study.rows import Row

TIMED = ("seconds", "sources")  # what differs between two measurements of the same


def named_jobs(rows: Sequence[Row], names: str) -> list[Job]:
    """The jobs of a list ``ROW:SEED,ROW:SEED``.

    Raises:
        ValueError: for a row or seed that is not there.
    """
    known = {f"{row.name}:{seed}": (row, seed) for row in rows for seed in row.seeds}
    for name in names.split(","):
        if name not in known:
            raise ValueError(f"--repeat: no seed of a row is called {name!r}; expected ROW:SEED.")
    return [known[name] for name in names.split(",")]


def repeat(place: Place, jobs: Sequence[Job], cores: Sequence[int | None], why: str, within: float = 0.0) -> int:
    """Measures kept seeds of rows again and records what they show; returns the number of those that differ.

    Args:
        place: of the rows.
        jobs: seeds of rows to measure.
        cores: one for each process at a time.
        why: the reason for the record.
        within: see :func:`differing`; 0 for the same bits.
    """
    shown: list[str] = []
    steps: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(dir=place.workdir) as empty:
        again = place._replace(workdir=Path(empty) / REPEATED)
        for folder in ("rows", "logs", "stages"):
            (again.workdir / folder).mkdir(parents=True)
        run_jobs(again, jobs, cores)
        for job in jobs:
            old, new = place.result(*job), again.result(*job)
            if not new.exists():
                failed = new.with_suffix(".error")  # the folder with the log goes in a moment
                why_not = read_json(failed)["error"] if failed.exists() else KILLED
                console.print(f"  {old.stem}: failed: {why_not}", markup=False)
                continue
            kept, measured = read_json(old), read_json(new)
            before, now = kept.get("cores", 1), measured.get("cores", 1)  # kept rows that do not say had one core each
            if before != now:
                console.print(f"  {old.stem}: kept with {before} cores, measured with {now}: other bits; see --jobs")
                continue
            was, is_ = kept["found"], measured["found"]
            needed = changed(was["sources"])
            different = differing(was, is_, within) + [
                f"{name} was not loaded, and" for name in needed if name not in is_["sources"]
            ]
            console.print(f"  {old.stem}: {_same(within) if not different else f'{different[0]} differs'}")
            if not different:
                shown.append(old.stem)
                for name in needed:
                    steps.setdefault(name, {})[was["sources"][name]] = is_["sources"][name]
    if len(shown) == len(jobs):
        record(steps, shown, f"{why} ({_same(within)})")
    return len(jobs) - len(shown)


def _same(within: float) -> str:
    return f"the same within {within:g} of the largest number of each list" if within else "the same bits"


def record(steps: dict[str, dict[str, str]], shown: list[str], why: str) -> None:
    """Adds a change to those that give the same numbers: one entry for each version of the modules that there was."""
    entries: list[dict[str, Any]] = read_json(EQUAL) if EQUAL.exists() else []
    while any(steps.values()):
        modules = {name: list(found.popitem()) for name, found in sorted(steps.items()) if found}
        entries.append({"why": why, "shown_by": shown, "modules": modules})
    write_json(EQUAL, entries)


def differing(was: Any, is_: Any, within: float = 0.0, place: str = "found") -> list[str]:
    """Where two measurements differ in anything but time.

    Args:
        was: the first one.
        is_: the second one.
        within: a difference that still counts as the same, relative to the largest number of the same list.
        place: its name in the result.
    """
    if isinstance(was, dict) and isinstance(is_, dict):
        names = [name for name in {**was, **is_} if name not in TIMED]
        return [at for name in names for at in differing(was.get(name), is_.get(name), within, f"{place}.{name}")]
    if isinstance(was, list) and isinstance(is_, list) and len(was) == len(is_):
        if all(isinstance(x, float) for x in was + is_) and np.allclose(was, is_, 0.0, within * _size(was), True):
            return []
        pairs = enumerate(zip(was, is_, strict=True))
        return [at for i, (a, b) in pairs for at in differing(a, b, within, f"{place}[{i}]")]
    if isinstance(was, float) and isinstance(is_, float) and math.isclose(was, is_, rel_tol=within):
        return []
    return [] if was == is_ or (was != was and is_ != is_) else [f"{place} ({was!r}, {is_!r})"]  # NaN is NaN


def _size(numbers: list[float]) -> float:
    finite = [abs(x) for x in numbers if math.isfinite(x)]
    return max(finite, default=0.0)
