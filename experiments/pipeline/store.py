"""The stage store: each piece of work is done once, kept under the hash of all it depends on, and never half kept.

A stage lives in ``<root>/<name>-<hash>``. It is built in ``.<name>-<hash>.partial`` and moved when finished, so a
kill leaves the finished stages and a partial folder in which a training stage finds its last checkpoint. A finished
stage holds checksums of its files, which are compared whenever it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ccm_jax.io import atomic
from ccm_jax.io.checksums import FILE, check_checksums, write_checksums
from experiments.runner.conditions import check_precision, conditions, differences
from experiments.runner.locks import hold
from experiments.runner.notes import of_stage
from experiments.runner.runtime import agree, barrier, is_writer

RECORD = "stage.json"
NAME = "experiments/pipeline/store.py"  # of this file, in a clone
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


HALF = f"**/{atomic.MARK}*"  # what was being written
STEPS = "*-steps"  # folders of a training's checkpoints: no use once it is finished


class StageError(ValueError):
    """A finished stage that cannot be used."""


class Stage(NamedTuple):
    """A finished stage: its folder, its hash, the seconds it took, and whether this run made it."""

    name: str
    key: str
    path: Path
    seconds: float
    fresh: bool


def stage_key(name: str, settings: dict[str, Any], inputs: Sequence[Stage], version: int) -> str:
    """The hash of all that a stage depends on: its settings, its inputs and the version of its code."""
    content = json.dumps([name, version, settings, [stage.key for stage in inputs]], sort_keys=True, default=list)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def run_stage(
    root: Path,
    name: str,
    settings: dict[str, Any],
    inputs: Sequence[Stage],
    build: Callable[[Path], dict[str, Any] | None],
    *,
    version: int = 1,
) -> Stage:
    """Returns the finished stage, building it if this root does not have it.

    Args:
        root: folder of all stages; several configurations may share one.
        name: name of the stage.
        settings: JSON-able; everything beside the inputs that the result depends on.
        inputs: the stages it reads.
        build: writes the result into the folder it is given, which still holds what a killed run left there. It
            runs on every process, and only the writer writes plain files.
            It may return facts for the record; ``seconds_before`` among them counts work done before a kill.
        version: of the code of ``build``.

    Raises:
        StageError: if the finished stage has no record, a file of it is not what was written, or it was made in another
            precision. Nothing is overwritten.
    """
    key = stage_key(name, settings, inputs, version)
    final, work = root / f"{name}-{key}", root / f".{name}-{key}.partial"
    lock = root / f".{name}-{key}.lock"
    with contextlib.ExitStack() as stack:
        if is_writer() and not final.exists():
            root.mkdir(parents=True, exist_ok=True)
            # Rows of a study share stages: who comes second waits, and finds it made.
            stack.enter_context(hold(lock))
        if agree(is_writer() and final.exists()):
            if is_writer() and lock.exists():  # a run was killed between moving its stage and letting go
                with contextlib.suppress(BlockingIOError), hold(lock, wait=False):
                    pass
            return Stage(name, key, final, _checked(final)["seconds"], False)
        if is_writer():
            work.mkdir(parents=True, exist_ok=True)
            _sweep(work, HALF)
        barrier(f"begin {name}")
        begin = time.perf_counter()
        with of_stage(name):
            facts = build(work) or {}
        seconds = time.perf_counter() - begin + facts.pop("seconds_before", 0.0)
        record = {"name": name, "key": key, "version": version, "seconds": seconds, "settings": settings}
        record |= {"inputs": [stage.path.name for stage in inputs], "facts": facts, **provenance(), **conditions()}
        if is_writer():
            _sweep(work, HALF, STEPS)
            (work / RECORD).write_text(json.dumps(record, indent=1, default=list), encoding="utf-8")
            write_checksums(work)
            os.replace(work, final)
        barrier(f"end {name}")
    return Stage(name, key, final, seconds, True)


def _sweep(work: Path, *patterns: str) -> None:
    """Removes what killed runs left in the folder of a stage; its lock is held, so nobody is at work on it."""
    for pattern in patterns:
        for path in list(work.glob(pattern)):
            atomic.remove(path)


def _checked(folder: Path) -> dict[str, Any]:
    """The record of a finished stage, whose files are what they were; every process of a run gets it, or none does."""
    error, record = None, {}
    try:
        record = _read_record(folder)
    except StageError as found:
        error = found
    if agree(error is not None):
        raise error or StageError(f"run_stage: {folder} cannot be used; process 0 says why.")
    return record


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        versions = {"ccm_jax": record["package"]} | record.get("versions", {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageError(
            f"run_stage: {folder} has no readable {RECORD}: it was not finished by this program. Move it away, and run "
            "again."
        ) from error
    remedy = f"restore it from a copy, or move {folder} away and run again: this stage alone is made anew"
    try:
        if "sources" in record and not (folder / FILE).exists():
            raise ValueError(f"run_stage: {folder / FILE} is missing; {remedy}.")
        if is_writer():  # one reads for all
            check_checksums("run_stage", folder, remedy)
        check_precision(record, folder.name)
    except (OSError, ValueError) as error:
        raise StageError(str(error)) from error
    found = differences(record | {"versions": versions}, {"ccm_jax": package_version()} | _versions())
    if found:
        made = f"{folder.name} was made {', '.join(found)}"
        warnings.warn(f"{made}; delete {folder} to make it again.", stacklevel=4)
    return record


def package_version() -> str:
    """The version of this package."""
    import ccm_jax

    return ccm_jax.__version__


def commit_of(file: Path, name: str = NAME) -> str | None:
    """The commit of the clone that tracks a file under ``name``, with ``-dirty`` for local changes.

    None where another repository surrounds the file, such as a user's own with this package in a virtual environment
    or as a copy: its commit says nothing about our code.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()

    try:
        if git("ls-files", "--full-name", "--", file.name) != name:
            return None
        return git("describe", "--always", "--dirty") or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def provenance() -> dict[str, Any]:
    """Package versions, git commit (with ``-dirty`` for local changes) and time, to stand beside a result."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"package": package_version(), "versions": _versions(), "git": commit_of(Path(__file__)), "created": created}


def reserve(path: Path) -> None:
    """Has the file system set aside the bytes of a file that is written through mapped memory.

    Such a file has holes at first. Where a disk is full, filling one ends the process by SIGBUS; this raises OSError.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def write_json(path: Path, content: Any) -> None:
    """:func:`ccm_jax.io.atomic.write_json`; of several processes, the writer does."""
    if is_writer():
        atomic.write_json(path, content)


def write_result(path: Path, content: dict[str, Any]) -> None:
    """Writes numbers with the :func:`provenance` beside them; the folder is made if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content | provenance())
