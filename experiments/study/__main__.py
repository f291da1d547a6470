"""Runs a study: the paper's claims, the alternatives to CCM, or what goes beyond the paper. Writes a page and tables.

    python -m experiments.study --config=paper            the paper's claims; about two hours on two cores
    python -m experiments.study --config=paper:smoke      a test of the same pipeline in minutes
    python -m experiments.study --config=paper:paper      the FNO at its published widths
    python -m experiments.study --config=peers            the alternatives; days on two cores, in rows of minutes each
    python -m experiments.study --config=peers:smoke      a test of the same pipeline in minutes
    python -m experiments.study --config=beyond           uncertainty, several parameters, drift and more
    python -m experiments.study --config=beyond:smoke     a test of the same pipeline in minutes

A study is a list of rows, each a configuration with a few changes and seeds. Rows share stages, so an anchor is trained
only once. Finished rows are kept, so an interrupted study continues where it stopped. A failed row is marked with its
error while the others continue; the exit code is then 1. SIGTERM ends a study and its rows with exit code 75; the same
command continues it. Each seed of a row is a separate process, one per core.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

from experiments.runner.preemption import end_with, on_request
from experiments.study.jobs import Place, gather, one, run_jobs
from experiments.study.repeat import named_jobs, repeat

STUDIES = {"paper": "experiments.study.paper", "peers": "experiments.peers.study", "beyond": "experiments.beyond.study"}
CONFIGS = ("paper", "paper:smoke", "paper:paper", "peers", "peers:smoke", "beyond", "beyond:smoke")


class _Parser(argparse.ArgumentParser):
    """One that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> None:
    """Runs the missing rows, and writes the page and the tables."""
    parser = _Parser(
        prog="experiments.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="paper", help=f"{', '.join(CONFIGS)}, or a module of yours with a STUDY")
    parser.add_argument("--workdir", type=Path, help="folder of the study; default: runs/NAME or runs/NAME-smoke")
    parser.add_argument(
        "--output", type=Path, help="also write FILE.json and FILE.csv, for instance results/paper.json"
    )
    parser.add_argument("--jobs", type=int, default=0, help="number of parallel processes; default: one per core")
    parser.add_argument("--only", default="", help="comma-separated rows to run; the page shows the others as missing")
    parser.add_argument("--stale", action="store_true", help="also repeat rows whose sources have changed since")
    parser.add_argument(
        "--repeat", metavar="ROW:SEED,…", help="measure kept rows again and compare; see study/repeat.py"
    )
    parser.add_argument(
        "--within", metavar="X", type=float, default=0.0, help="with --repeat: relative difference that is the same"
    )
    parser.add_argument("--why", metavar="TEXT", help="with --repeat: what was changed, and why it changes no number")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    name, _, size = options.config.partition(":")
    if options.config not in CONFIGS and "." not in name:
        parser.error(f"--config={options.config}: no such study; there are: {', '.join(CONFIGS)}")
    study = importlib.import_module(STUDIES.get(name, name)).STUDY
    rows = study.rows_of(size)
    workdir = (options.workdir or Path("runs", f"{name}-{size}" if size else name)).resolve()
    place = Place(study, options.config, workdir)
    for folder in (study.folder(workdir), workdir / "logs", workdir / "stages"):
        folder.mkdir(parents=True, exist_ok=True)
    if options.one:
        if options.parent:
            end_with(options.parent)
        sys.exit(one(place, next(row for row in rows if row.name == options.one), options.seed, options.core))
    chosen = [name for name in options.only.split(",") if name]
    unknown = sorted(set(chosen) - {row.name for row in rows})
    if unknown:
        parser.error(f"--only: no rows {', '.join(unknown)}; there are: {', '.join(row.name for row in rows)}")

    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    count = options.jobs or len(available) or 1
    pinned = 1 < count <= len(available)
    cores: list[int | None] = list(available[:count]) if pinned else [None] * count
    if options.repeat:
        if not options.why:
            parser.error("--repeat needs --why TEXT, one line that is recorded.")
        try:
            named = named_jobs(rows, options.repeat)
        except ValueError as error:
            parser.error(str(error))
        with on_request():
            sys.exit(int(repeat(place, named, cores, options.why, options.within) > 0))
    jobs = [job for job in study.jobs(rows) if not chosen or job[0].name in chosen]
    with on_request():
        run_jobs(place, jobs, cores, stale=options.stale)
    found = gather(place, rows)
    study.publish(rows, found, workdir, options.output, jobs=count)
    sys.exit(int(any("error" in one for name in found if not chosen or name in chosen for one in found[name])))


if __name__ == "__main__":
    main()
