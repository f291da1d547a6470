"""Interleaved timings, and what the machine is."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.runner.runtime import keep_memory, set_compiler


def interleaved(
    runs: dict[str, Callable[[], Any]], *, repeats: int = 7, seconds: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of each function, round after round: what disturbs the machine disturbs all of them.

    Args:
        runs: functions that return when their work is done; each runs once before it is timed.
        repeats: rounds.
        seconds: repeat a function within its round until it has run this long, and take the mean.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin, count = time.perf_counter(), 0
            while count == 0 or time.perf_counter() - begin < seconds:
                run()
                count += 1
            times[name].append((time.perf_counter() - begin) / count)
    return times


def spread(times: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(times), "low": min(times), "high": max(times), "rounds": len(times)}


def ratio(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Median and range over rounds of one time over the other."""
    return spread([a / b for a, b in zip(slower, faster, strict=True)])


def machine(*packages: str) -> dict[str, Any]:
    """Processor, cores and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {"processor": model or platform.machine(), "cores": os.cpu_count(), "versions": versions}


def options(doc: str | None, *, plain: bool = False) -> argparse.ArgumentParser:
    """A parser with ``--output`` and ``--quick``.

    From here on memory is kept and the compiler set, for all sides alike, as in a run; with ``plain`` they are left as
    a program that imports the library finds them.
    """
    if not plain:
        keep_memory()
        set_compiler()
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write; a picture goes beside it")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds, to see that it works")
    return parser
