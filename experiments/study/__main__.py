"""The paper's evidence, and what could refute it, by one command: study.html, study.json and study.csv.

    python -m experiments.study --config=paper            all of it; about two hours on a laptop with two cores
    python -m experiments.study --config=paper:smoke      the same path in minutes; its numbers mean nothing
    python -m experiments.study --config=paper:paper      the scales of the FNO at their published widths

A study is a list of rows, each a configuration with a few changes and seeds. Rows share stages, so an anchor is trained
once however many rows use it; what is done is kept, so a study that was killed goes on; and a row that fails is marked
with its error while the others go on (the exit code then is 1). Each seed of a row is a process of its own, one
on each core.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from experiments.study.rows import Row, rows_of
from experiments.study.tables import NOT_RUN

KILLED = "the process was killed"
ROOT = Path(__file__).parent.parent.parent


def key_of(row: Row, size: str, seed: int) -> str:
    """The name of the file of a seed of a row: another one as soon as its definition, or that of a stage, differs."""
    from experiments.pipeline import stages
    from experiments.study import ablations, controls, paths
    from experiments.study import measures as study_measures

    modules = (study_measures, controls, ablations, paths)
    versions = [stages.VERSIONS, *(module.VERSION for module in modules)]
    content = json.dumps([*row, size, configured(row, size, seed).to_dict(), versions], sort_keys=True, default=list)
    return f"{row.name}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def configured(row: Row, size: str, seed: int) -> ConfigDict:
    """The configuration of a seed of a row; the study's published size is the laptop's but for the networks."""
    of_row = "smoke" if size == "smoke" else ""
    config = importlib.import_module(f"experiments.configs.{row.config}").get_config(of_row)
    for field, value in row.overrides:
        owner, name = field.split(".")
        if isinstance(value, dict):
            config[owner][name].update(value)
        else:
            config[owner][name] = value
    if row.kind == "tuned":
        config.finetune.seed = seed
    else:
        config.seed = seed
    return config


def measure(row: Row, size: str, seed: int, workdir: Path) -> dict[str, Any]:
    """Runs one seed of a row in this process, and returns what it measured."""
    from experiments.pipeline.stages import Run
    from experiments.runner.runtime import keep_compiled, keep_memory, set_compiler, share_processor
    from experiments.study import measures as study_measures

    keep_compiled()
    keep_memory()
    set_compiler()
    share_processor()
    return study_measures.MEASURES[row.kind](Run(configured(row, size, seed), workdir / "stages"))


def one(row: Row, size: str, seed: int, workdir: Path, core: int | None) -> int:
    """The whole of a process: a result or an error in ``<workdir>/rows``."""
    from experiments.pipeline.store import provenance, write_json

    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # before jax makes its threads
    target = workdir / "rows" / f"{key_of(row, size, seed)}.json"
    begin = time.perf_counter()
    try:
        found = {"found": measure(row, size, seed, workdir)}
    except Exception as error:  # any failure is a result of the study, and must not stop it
        traceback.print_exc()
        write_json(target.with_suffix(".error"), {"error": f"{type(error).__name__}: {error}"})
        return 1
    write_json(target, found | {"seconds": time.perf_counter() - begin, **provenance()})
    target.with_suffix(".error").unlink(missing_ok=True)
    return 0


def run_jobs(jobs: Sequence[tuple[Row, int]], size: str, workdir: Path, cores: Sequence[int | None]) -> None:
    """Every seed of every row that has no result yet, one process on each core at a time, in order."""
    from experiments.runner.progress import console

    waiting = [job for job in jobs if not (workdir / "rows" / f"{key_of(job[0], size, job[1])}.json").exists()]
    done, free = len(jobs) - len(waiting), list(cores)
    running: dict[subprocess.Popen[bytes], Any] = {}
    if done:
        console.print(f"  {done} of {len(jobs)} are kept")
    try:
        while waiting or running:
            while waiting and free:
                (row, seed), core = waiting.pop(0), free.pop(0)
                key = key_of(row, size, seed)
                arguments = [f"--config=paper:{size}" if size else "--config=paper", f"--workdir={workdir}"]
                arguments += [f"--one={row.name}", f"--seed={seed}"] + ([] if core is None else [f"--core={core}"])
                log = (workdir / "logs" / f"{key}.log").open("w")
                command = [sys.executable, "-m", "experiments.study", *arguments]
                process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
                running[process] = (row, seed, core, log, time.perf_counter())
            time.sleep(0.2)
            for process in [p for p in running if p.poll() is not None]:
                row, seed, core, log, begin = running.pop(process)
                log.close()
                free.append(core)
                done += 1
                said = "" if process.returncode == 0 else f"   FAILED, see {log.name}"
                seconds = time.perf_counter() - begin
                console.print(f"  [{done}/{len(jobs)}] {row.name}, seed {seed}   {seconds:.0f} s{said}", markup=False)
    finally:
        for process in running:
            process.terminate()


def gather(rows: Sequence[Row], size: str, workdir: Path) -> dict[str, Any]:
    """All results by row: a list of ``{"seed", "found", "seconds"}`` or ``{"seed", "error"}``."""
    gathered: dict[str, Any] = {}
    for row in rows:
        listed = gathered.setdefault(row.name, [])
        for seed in row.seeds:
            path = workdir / "rows" / f"{key_of(row, size, seed)}.json"
            failed = path.with_suffix(".error")
            if path.exists():
                stored = json.loads(path.read_text())
                kept = ("found", "seconds", "git")
                listed.append({"seed": seed} | {name: stored[name] for name in kept if name in stored})
            else:
                begun = (workdir / "logs" / f"{path.stem}.log").exists()
                why = json.loads(failed.read_text())["error"] if failed.exists() else KILLED if begun else NOT_RUN
                listed.append({"seed": seed, "error": why})
    return gathered


def main() -> None:
    """Runs what is not there yet, and writes the page and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="paper", choices=("paper", "paper:smoke", "paper:paper"))
    parser.add_argument("--workdir", type=Path, help="folder of the study; default runs/paper or runs/paper-smoke")
    parser.add_argument(
        "--output", type=Path, help="also write FILE.json and FILE.csv, for instance results/paper.json"
    )
    parser.add_argument("--jobs", type=int, default=0, help="processes at a time; default: one for each core")
    parser.add_argument("--only", default="", help="rows, separated by commas; the page shows the others as missing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = options.config.partition(":")[2]
    rows = rows_of(size)
    workdir = (options.workdir or Path("runs", f"paper-{size}" if size else "paper")).resolve()
    for folder in ("rows", "logs", "stages"):
        (workdir / folder).mkdir(parents=True, exist_ok=True)
    if options.one:
        row = next(row for row in rows if row.name == options.one)
        sys.exit(one(row, size, options.seed, workdir, options.core))
    chosen = [name for name in options.only.split(",") if name]
    unknown = sorted(set(chosen) - {row.name for row in rows})
    if unknown:
        parser.error(f"--only: no rows {', '.join(unknown)}; there are: {', '.join(row.name for row in rows)}")

    from experiments.study.page import publish

    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    count = options.jobs or len(available) or 1
    pinned = 1 < count <= len(available)
    cores: list[int | None] = list(available[:count]) if pinned else [None] * count
    jobs = [(row, seed) for row in rows for seed in row.seeds if not chosen or row.name in chosen]
    run_jobs(jobs, size, workdir, cores)
    found = gather(rows, size, workdir)
    publish(rows, found, workdir, options.output, jobs=count)
    sys.exit(int(any("error" in one for name in found if not chosen or name in chosen for one in found[name])))


if __name__ == "__main__":
    main()
