"""The faults of :mod:`tests.faults`, by name: each a function from an empty folder to complaints."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.faulty import (
    as_nobody,
    family,
    fault,
    files,
    flip,
    goes_well,
    limited,
    merge,
    refused,
    result,
    small_disk,
    train,
)
from tests.kill import FEW, begin, ended, summary_of


@fault("full disk, run")
def _(folder: Path) -> list[str]:
    found = []
    for kilobytes in (120, 200, 280):  # in a checkpoint of the anchor, later in its stage, in that of the experts
        with small_disk(folder / f"{kilobytes}", kilobytes) as again:
            one = refused(train, folder / f"{kilobytes}", "No space left")
            again("size=64m")
            found += [f"at {kilobytes} kB: {line}" for line in one + goes_well(folder / f"{kilobytes}")]
    return found


@fault("full disk, data")
def _(folder: Path) -> list[str]:
    with small_disk(folder / "disk", 48) as again:  # the data are written through mapped memory
        found = refused(train, folder / "disk", "No space left")
        again("size=64m")
        return found + goes_well(folder / "disk")


@fault("full disk, merge")
def _(folder: Path) -> list[str]:
    with small_disk(folder / "disk", 8500):
        shutil.copytree(family(folder), folder / "disk" / "family")
        before = summary_of(folder / "disk" / "family")
        (folder / "disk" / "earlier.safetensors").write_bytes(b"earlier")
        found = refused(merge, folder / "disk", "No space left")
        left = sorted(path.name for path in (folder / "disk").iterdir() if path.suffix not in (".log", ".contents"))
        found += [] if left == ["earlier.safetensors", "family"] else [f"left behind: {left}"]
        return found + ([] if summary_of(folder / "disk" / "family") == before else ["inputs changed"])


@fault("limit of the size of files, run")
def _(folder: Path) -> list[str]:
    return refused(limited(train, 20_000), folder, "File too large") + goes_well(folder)


@fault("limit of the size of files, merge")
def _(folder: Path) -> list[str]:
    family(folder)
    found = refused(limited(merge, 100_000), folder, "File too large")
    return found + ([] if not list(folder.glob("*out*")) else ["something was written"])


@fault("read-only folder")
def _(folder: Path) -> list[str]:
    with small_disk(folder / "disk", 65536) as again:
        family(folder / "disk")
        found = goes_well(folder / "disk" / "made")
        before = files(folder / "disk")
        again("ro")
        for program in (train, merge):
            found += refused(program, folder / "disk" / "made" if program is train else folder / "disk", "Read-only")
        return found + ([] if files(folder / "disk") == before else ["something has changed"])


@fault("no permission")
def _(folder: Path) -> list[str]:
    family(folder)
    found = goes_well(folder / "made")
    before = files(folder)
    for place in (folder / "made", folder / "new"):  # a finished run of root's, and none
        found += refused(as_nobody(train), place, "Permission denied")
    found += refused(as_nobody(merge), folder, "Permission denied")
    return found + ([] if files(folder) == before else ["something has changed"])


@fault("no home folder, no user name")
def _(folder: Path) -> list[str]:
    def run(folder: Path) -> None:
        for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR", "MPLCONFIGDIR", "USER", "LOGNAME"):
            os.environ.pop(name, None)
        as_nobody(train, 54321)(folder)

    folder.chmod(0o777)
    return goes_well(folder, run)


@fault("no git")
def _(folder: Path) -> list[str]:
    def run(folder: Path) -> None:
        os.environ["PATH"] = "/nowhere"
        train(folder)

    return goes_well(folder, run)


@fault("clock jumps")
def _(folder: Path) -> list[str]:
    def run(folder: Path) -> None:
        plain = time.time

        def jumping() -> float:
            return plain() + random.uniform(-1e8, 1e8)

        time.time = jumping
        train(folder)

    # At every look at the clock, as no clock does: Orbax gives up, which loses nothing.
    code, _ = result(run, folder)
    found = [] if code in (0, 2) else [f"exit code {code} where the clock jumps all the time"]
    found += goes_well(folder)
    for path in folder.rglob("*"):  # of a machine whose clock is years away
        os.utime(path, (2e9, 2e9))
    return found + goes_well(folder, run)


@fault("two runs in one folder")
def _(folder: Path) -> list[str]:
    first = begin(train, folder, folder / "first.log")
    while not (folder / "run" / ".lock").exists():
        time.sleep(0.01)
    found = refused(train, folder, f"process {first} is working in")
    code = ended(first, FEW)
    (folder / "first.log").unlink()
    return found + ([] if code == 0 else [f"the first ends with code {code}"]) + goes_well(folder)


@fault("a run's folder moved")
def _(folder: Path) -> list[str]:
    found = goes_well(folder / "here")
    before = files(folder / "here" / "run" / "stages")
    (folder / "there").mkdir()
    os.replace(folder / "here" / "run", folder / "there" / "run")
    found += goes_well(folder / "there")
    return found + ([] if files(folder / "there" / "run" / "stages") == before else ["stages were made again"])


@fault("another number of devices")
def _(folder: Path) -> list[str]:
    import numpy as np

    def by(count: int) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            os.environ["JAX_NUM_CPU_DEVICES"] = str(count)
            train(folder)

        return run

    found = []
    for count in (1, 4):
        found += [f"{count} devices: exit code {code}" for code, _ in [result(by(count), folder / f"{count}")] if code]
    data = sorted((folder / "1").rglob("*.npy"))
    for path in data:
        a, b = np.load(path), np.load(folder / "4" / path.relative_to(folder / "1"))
        off = float(np.abs(a - b).max() / np.abs(a).max())
        found += [] if off <= 1e-6 else [f"{path.name} is off by {off:.1e} with 4 devices"]
    return found + ([] if len(data) > 3 else ["nothing was compared"])


@fault("damaged compilation cache")
def _(folder: Path) -> list[str]:
    cache = folder / "cache"

    def run(folder: Path) -> None:
        import jax

        jax.config.update("jax_compilation_cache_dir", str(cache))
        train(folder)

    found, dice = goes_well(folder / "first", run), random.Random(0)
    entries = sorted(path for path in cache.rglob("*") if path.is_file())
    for i, path in enumerate(entries):
        content = path.read_bytes()
        if i % 3 == 0:
            path.write_bytes(content[: len(content) // 2])  # as a kill or a full disk leaves it
        elif i % 3 == 1:
            path.write_bytes(b"")
        else:
            flip(path, dice)
    return found + goes_well(folder / "second", run) + ([] if entries else ["nothing was cached"])


@fault("a bit flipped, or a file missing, in a run")
def _(folder: Path) -> list[str]:
    found = goes_well(folder)

    def every(folder: Path) -> None:
        from experiments.pipeline import stages
        from experiments.pipeline.store import StageError
        from experiments.runner import runtime
        from tests import tiny

        runtime.share_processor()
        run, dice, tried = stages.Run(tiny.tiny_config(), folder / "run" / "stages"), random.Random(0), 0
        for path in sorted(path for path in run.root.rglob("*") if path.is_file()):
            content = path.read_bytes()
            for how in (lambda path: flip(path, dice), Path.unlink) if content else (Path.unlink,):
                how(path)
                damaged = files(run.root)
                try:
                    anchor = stages.anchor(run, stages.support_data(run))
                    stages.endpoints(run, stages.endpoint_data(run), anchor)
                    print(f"NOT SEEN: {path}")
                except StageError as error:
                    if str(path) not in str(error) and "SHA256SUMS" not in str(error) and path.name != "stage.json":
                        print(f"NOT NAMED: {path}: {error}")
                    if "\n" in str(error) or "run again" not in str(error):
                        print(f"NO REMEDY: {path}: {error}")
                if files(run.root) != damaged:
                    print(f"CHANGED: {path}")
                path.write_bytes(content)
                tried += 1
        print(f"TRIED {tried}")

    code, lines = result(every, folder)
    found += [f"exit code {code}"] if code else []
    found += [line for line in lines if line.startswith("NO")] + [line for line in lines if line.startswith("CHANGED")]
    flip(next((folder / "run" / "stages").glob("anchor-*/anchor-losses.npy")), random.Random(1))
    return found + refused(train, folder, "anchor-losses.npy does not match its")


@fault("a bit flipped in a family")
def _(folder: Path) -> list[str]:
    found, dice = [], random.Random(0)
    family(folder)
    merges = lambda folder: merge(folder, "family/merged.safetensors")  # noqa: E731
    if result(merges, folder)[0] != 0:
        return ["the merge fails undisturbed"]

    def again(folder: Path) -> None:
        from ccm_jax.cli import main

        given = [f"--{name}={folder / 'family' / name}.safetensors" for name in ("anchor", "low")]
        given.append(f"--high={folder / 'family' / 'merged.safetensors'}")
        main(["merge", *given, "--coordinate=1.4", "-o", str(folder / "out.safetensors")])

    for _ in range(3):
        kept = (folder / "family" / "merged.safetensors").read_bytes()
        flip(folder / "family" / "merged.safetensors", dice)
        found += refused(again, folder, "merged.safetensors does not match", "merged.safetensors has no valid header")
        (folder / "family" / "merged.safetensors").write_bytes(kept)
    return found + ([] if not list(folder.glob("*out*")) else ["something was written"])
