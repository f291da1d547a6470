"""The jobs of a study: each seed of a row is a process of its own, one on each core, and what is done is kept."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from experiments.runner.sources import ROOT, changed
from experiments.study.rows import Row
from experiments.study.tables import NOT_RUN

KILLED = "the process was killed"
PATIENCE = 20.0  # seconds that processes have to save when the study is stopped
Job = tuple[Row, int]


def in_order_of_rows(rows: Sequence[Row]) -> list[Job]:
    """Every seed of every row, in the order of the rows."""
    return [(row, seed) for row in rows for seed in row.seeds]


def first_seeds_first(rows: Sequence[Row]) -> list[Job]:
    """The first seed of every row, then the others: an interrupted study says something of everything."""
    return sorted(in_order_of_rows(rows), key=lambda job: job[0].seeds.index(job[1]))


class Study(NamedTuple):
    """A study: its rows, how a seed of one is measured, and what is made of all of them.

    Attributes:
        rows_of: the rows of a size.
        key_of: ``(row, size, seed) -> name`` of the file of a result: another one as soon as its definition differs.
        measure: ``(row, size, seed, workdir) -> found``, in a process of its own.
        publish: ``(rows, gathered, workdir, output, jobs=)`` writes pages and tables.
        folder: ``workdir -> folder`` of the results of rows.
        jobs: ``rows -> jobs``, in the order in which they begin.
        needs: ``(row, seed) -> jobs`` that must be done before.
    """

    rows_of: Callable[[str], list[Row]]
    key_of: Callable[[Row, str, int], str]
    measure: Callable[[Row, str, int, Path], dict[str, Any]]
    publish: Callable[..., None]
    folder: Callable[[Path], Path]
    jobs: Callable[[Sequence[Row]], list[Job]] = in_order_of_rows
    needs: Callable[[Row, int], list[Job]] = lambda row, seed: []


class Place(NamedTuple):
    """Where and how large: the name by which a study is called, its size and its folder."""

    study: Study
    config: str
    workdir: Path

    @property
    def size(self) -> str:
        return self.config.partition(":")[2]

    def result(self, row: Row, seed: int) -> Path:
        """The file of a seed of a row."""
        return self.study.folder(self.workdir) / f"{self.study.key_of(row, self.size, seed)}.json"


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


def prepare() -> None:
    """What a process of a study does before its first computation."""
    from experiments.runner.runtime import keep_compiled, keep_memory, set_compiler, share_processor

    keep_compiled()
    keep_memory()
    set_compiler()
    share_processor()


def one(place: Place, row: Row, seed: int, core: int | None) -> int:
    """The whole of a process: a result or an error in the folder of rows."""
    from experiments.pipeline.store import provenance, write_json
    from experiments.runner.preemption import on_request

    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})  # before jax makes its threads
    target = place.result(row, seed)
    begin = time.perf_counter()
    try:
        with on_request():
            found = {"found": place.study.measure(row, place.size, seed, place.workdir)}
    except Exception as error:  # any failure is a result of the study, and must not stop it
        traceback.print_exc()
        write_json(target.with_suffix(".error"), {"error": f"{type(error).__name__}: {error}"})
        return 1
    used = {"cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}
    write_json(target, found | {"seconds": time.perf_counter() - begin, **used, **provenance()})
    target.with_suffix(".error").unlink(missing_ok=True)
    return 0


def is_stale(result: Path) -> bool:
    """Whether a kept result was measured by sources that have changed since."""
    return bool(changed(json.loads(result.read_text(encoding="utf-8"))["found"].get("sources", {})))


def run_jobs(place: Place, jobs: Sequence[Job], cores: Sequence[int | None], *, stale: bool = False) -> None:
    """Every seed of every row that has no result yet, one process on each core at a time, in order.

    With ``stale`` also what has a result of sources that have changed since; the old one stays until the new one is
    there, and what was trained is not trained again.
    """
    from experiments.runner.progress import console

    results = [(job, place.result(*job)) for job in jobs]
    waiting = [job for job, result in results if not result.exists() or (stale and is_stale(result))]
    done, free = len(jobs) - len(waiting), list(cores)
    running: dict[subprocess.Popen[bytes], Any] = {}
    if done:
        console.print(f"  {done} of {len(jobs)} are kept")
    try:
        while waiting or running:
            under_way = {(row.name, seed) for row, seed in [*waiting, *(job for job, *_ in running.values())]}
            ready = [
                job
                for job in waiting
                if not any((row.name, seed) in under_way for row, seed in place.study.needs(*job))
            ]
            while ready and free:
                job, core = ready.pop(0), free.pop(0)
                waiting.remove(job)
                process, log = _begin(place, job, core)
                running[process] = (job, core, log, time.perf_counter())
            time.sleep(0.2)
            for process in [p for p in running if p.poll() is not None]:
                (row, seed), core, log, begin = running.pop(process)
                log.close()
                free.append(core)
                done += 1
                said = "" if process.returncode == 0 else f"   FAILED, see {log.name}"
                seconds = time.perf_counter() - begin
                console.print(f"  [{done}/{len(jobs)}] {row.name}, seed {seed}   {seconds:.0f} s{said}", markup=False)
    finally:
        for process in running:
            process.terminate()
        for process in running:  # each ends by itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)


def _begin(place: Place, job: Job, core: int | None) -> tuple[subprocess.Popen[bytes], Any]:
    row, seed = job
    arguments = [f"--config={place.config}", f"--workdir={place.workdir}", f"--one={row.name}", f"--seed={seed}"]
    arguments += [f"--parent={os.getpid()}"]
    arguments += [] if core is None else [f"--core={core}"]
    log = (place.workdir / "logs" / f"{place.result(row, seed).stem}.log").open("w", encoding="utf-8")
    command = [sys.executable, "-m", "experiments.study", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT), log


def gather(place: Place, rows: Sequence[Row]) -> dict[str, Any]:
    """All results by row: a list of ``{"seed", "found", "seconds"}`` or ``{"seed", "error"}``."""
    gathered: dict[str, Any] = {}
    for row in rows:
        listed = gathered.setdefault(row.name, [])
        for seed in row.seeds:
            path = place.result(row, seed)
            failed = path.with_suffix(".error")
            if path.exists():
                stored = json.loads(path.read_text(encoding="utf-8"))
                kept = ("found", "seconds", "git")
                listed.append({"seed": seed} | {name: stored[name] for name in kept if name in stored})
            else:
                begun = (place.workdir / "logs" / f"{path.stem}.log").exists()
                why = (
                    json.loads(failed.read_text(encoding="utf-8"))["error"]
                    if failed.exists()
                    else KILLED
                    if begun
                    else NOT_RUN
                )
                listed.append({"seed": seed, "error": why})
    return gathered
