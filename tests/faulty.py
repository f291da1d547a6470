"""What :mod:`tests.faults` does to a machine, and how it is seen whether that was answered."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kill import FEW, begin, ended, summary_of

NOBODY = 65534
Fault = Callable[[Path], list[str]]
FAULTS: dict[str, Fault] = {}
EXPECTED: dict[str, str] = {}  # of what a run without faults makes


class Impossible(Exception):
    """A fault that this machine does not let us make."""


def fault(name: str) -> Callable[[Fault], Fault]:
    """Adds a function from an empty folder to complaints."""
    return lambda function: FAULTS.setdefault(name, function)


def train(folder: Path) -> None:
    """``experiments.run`` with data, anchor and experts alone: what writes the files that matter."""
    import experiments.run  # noqa: F401
    from experiments import command
    from experiments.pipeline import stages
    from tests import tiny

    def main(config: Any, run: Any) -> None:
        anchor = stages.anchor(run, stages.support_data(run))
        stages.endpoints(run, stages.endpoint_data(run), anchor)

    sys.argv = ["run", f"--workdir={folder / 'run'}", *tiny.arguments()]
    command.run(main, "")


def merge(folder: Path, output: str = "out.safetensors") -> None:
    """``ccm merge`` of files in the folder's ``family``."""
    from ccm_jax.cli import main

    given = [f"--{name}={folder / 'family' / name}.safetensors" for name in ("anchor", "low", "high")]
    main(["merge", *given, "--coordinate=1.4", "-o", str(folder / output)])


def result(program: Callable[[Path], None], folder: Path) -> tuple[int | None, list[str]]:
    """The exit code of a program in a process of its own, and the lines that it said of errors."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, log = tempfile.mkstemp()
    os.close(handle)
    code = ended(begin(program, folder, Path(log)), FEW)
    lines = Path(log).read_text(errors="replace").splitlines()
    Path(log).unlink()
    return code, lines


def refused(program: Callable[[Path], None], folder: Path, *words: str) -> list[str]:
    """Complaints unless a program ends with code 2 and one line that has the words."""
    code, lines = result(program, folder)
    said = [line for line in lines if any(word in line for word in words)]
    found = [] if code == 2 else [f"exit code {code}: {lines[-1:]}"]
    found += ["a traceback"] if any("Traceback" in line for line in lines) else []
    return found + ([] if len(said) == 1 else [f"{len(said)} lines say {' or '.join(words)}: {lines[-2:]}"])


def goes_well(folder: Path, program: Callable[[Path], None] = train) -> list[str]:
    """Complaints unless a run ends with code 0 and the numbers that are expected."""
    from tests.contents import left_behind

    code, lines = result(program, folder)
    if code != 0:
        return [f"exit code {code}: {lines[-2:]}"]
    found = summary_of(folder)
    differing = sorted(name for name in {*found, *EXPECTED} if found.get(name) != EXPECTED.get(name))
    return [f"{name} differs" for name in differing] + [f"left behind: {name}" for name in left_behind(folder)]


def as_nobody(program: Callable[[Path], None], number: int = NOBODY) -> Callable[[Path], None]:
    """The same program by a user who may not write what root's is."""

    def run(folder: Path) -> None:
        os.setgid(number)
        os.setuid(number)
        program(folder)

    if os.getuid() != 0:
        raise Impossible("only root becomes somebody else")
    return run


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[str], None]]:
    """A file system of so many kilobytes; yields what mounts it again with other options."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.system(f"mount -t tmpfs -o size={kilobytes}k ccm '{folder}' 2>/dev/null") != 0:
        raise Impossible("no file system can be mounted here")

    def again(options: str) -> None:
        if os.system(f"mount -o remount,{options} '{folder}'") != 0:
            raise Impossible("no file system can be mounted anew here")

    try:
        yield again
    finally:
        os.system(f"umount -l '{folder}'")


def family(folder: Path) -> Path:
    """Three checkpoints of a megabyte or so."""
    import numpy as np

    from ccm_jax.io.safetensors import save_safetensors

    rng = np.random.default_rng(0)
    (folder / "family").mkdir(parents=True, exist_ok=True)
    for name in ("anchor", "low", "high"):
        save_safetensors(folder / "family" / f"{name}.safetensors", {"w": rng.standard_normal((600, 600))[:, :500]})
    return folder / "family"


def flip(path: Path, dice: random.Random) -> None:
    """Turns one bit of a file."""
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def limited(program: Callable[[Path], None], size: int) -> Callable[[Path], None]:
    """The same program, whose files may not be larger than so many bytes."""

    def run(folder: Path) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        program(folder)

    return run


def checksum_speed(folder: Path) -> float:
    """Gigabytes a second of processor time that comparing checksums takes, of a file that was just written."""
    from ccm_jax.io.checksums import check_checksums, write_checksums

    folder.mkdir()
    (folder / "x").write_bytes(random.Random(0).randbytes(1 << 27))
    write_checksums(folder)
    start = time.process_time()
    check_checksums("speed", folder, "")
    return round((1 << 27) / 1e9 / (time.process_time() - start), 2)
