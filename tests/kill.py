"""Kills programs at random moments, runs them again until they finish, and compares with what nobody killed.

    python -m tests.kill --kills 100                              every program, so many kills each
    python -m tests.kill --kills 100 --what merge                 one of them
    python -m tests.kill --kills 15 --what run --seed 1 --output results/reliability/kill.json

One in four is SIGTERM, as before a preemption; the others are SIGKILL. After each, what stands under its own name must
be whole. When a program has finished, its numbers must be those of an undisturbed run, bit by bit, and nothing may be
left behind. Programs are forked from a process that has imported everything and computed nothing, and share compiled
programs, so that a start costs little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

TERMINATED = 75  # exit code of a run that saved at SIGTERM
IDLE = ("start", "between stages", "between outputs")
FEW = 300.0  # seconds until a program counts as hanging


class Program(NamedTuple):
    """What is killed.

    Attributes:
        name: in the report.
        prepare: ``(folder, attempt)`` puts there what the program starts from.
        run: ``(folder)`` in a process of its own, whose current folder it is.
        broken: ``(folder) -> complaints``, at any moment.
        where: ``(folder) -> place``, what it was at.
    """

    name: str
    prepare: Callable[[Path, int], None]
    run: Callable[[Path], None]
    broken: Callable[[Path], list[str]]
    where: Callable[[Path], str]


def begin(run: Callable[[Path], None], folder: Path, log: Path | None = None) -> int:
    """Starts a program in a process and a group of its own; what it says goes to ``folder.log``, or elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing of JAX has begun yet, and its warning of forks does not hold
        process = os.fork()
    if process:
        with contextlib.suppress(OSError):  # it has done so, or ended
            os.setpgid(process, process)
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        said = os.open(log or folder.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(folder)
        run(folder)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int, seconds: float, until: Callable[[], bool] = lambda: False) -> int | None:
    """The exit code, negative for a signal; None if it goes on for longer, or until something happens."""
    last = time.monotonic() + seconds
    while time.monotonic() < last and not until():
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def alone(group: int) -> None:
    """Waits until no process of a group is left."""
    for _ in range(int(FEW * 10)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise RuntimeError(f"processes of group {group} go on after the one that started them")


def summary_of(folder: Path) -> dict[str, str]:
    """:func:`tests.contents.contents`, by a process of its own: reading checkpoints makes devices."""
    target = folder.with_suffix(".contents")

    def write(folder: Path) -> None:
        from tests.contents import contents

        target.write_text(json.dumps(contents(folder)))

    if ended(begin(write, folder), FEW) != 0:
        raise RuntimeError(f"{folder} cannot be read; see {folder.with_suffix('.log')}")
    return json.loads(target.read_text())


class Tally(NamedTuple):
    """What came of it."""

    kills: Counter[str]
    places: Counter[str]
    codes: Counter[str]
    complaints: list[str]


def survive(program: Program, kills: int, seed: int, root: Path) -> dict[str, Any]:
    """Kills a program so many times, in as many folders as it takes, and says what came of it."""
    from tests.contents import left_behind

    dice, tally = random.Random(f"{program.name} {seed}"), Tally(Counter(), Counter(), Counter(), [])
    begin_all = time.perf_counter()

    def prepared(name: str, attempt: int) -> Path:
        folder = root / program.name / name
        folder.mkdir(parents=True)
        program.prepare(folder, attempt)
        return folder

    undisturbed, seconds = [], []
    for kind in (0, 1):  # from nothing, and in place of what was made earlier
        folder, start = prepared(f"undisturbed-{kind}", kind), time.perf_counter()
        if (code := ended(begin(program.run, folder), FEW)) != 0:
            raise RuntimeError(f"{program.name} fails undisturbed, with code {code}; see {folder.with_suffix('.log')}")
        seconds.append(time.perf_counter() - start)
        undisturbed.append(summary_of(folder))
    attempt = 0
    while not attempt or sum(tally.kills.values()) < kills:
        folder = prepared(f"attempt-{attempt}", attempt % 2)
        while True:
            code = _once(program, folder, dice, seconds[attempt % 2], tally, sum(tally.kills.values()) < kills)
            if code == 0:
                break
        tally.complaints.extend(f"left behind: {name}" for name in left_behind(folder))
        found, expected = summary_of(folder), undisturbed[attempt % 2]
        differing = [name for name in {*found, *expected} if found.get(name) != expected.get(name)]
        tally.complaints.extend(f"attempt {attempt}: {name} differs" for name in sorted(differing))
        if not tally.complaints:
            shutil.rmtree(folder)
        attempt += 1
        print(f"  {program.name}: {sum(tally.kills.values())} kills, {attempt} finished, {tally.complaints or 'whole'}")
    return {
        "kills": dict(tally.kills),
        "while": dict(tally.places.most_common()),
        "codes": dict(tally.codes),
        "finished": attempt,
        "files_compared": len(undisturbed[0]),
        "undisturbed_seconds": [round(s, 2) for s in seconds],
        "complaints": tally.complaints,
        "minutes": round((time.perf_counter() - begin_all) / 60, 2),
    }


def _once(program: Program, folder: Path, dice: random.Random, longest: float, tally: Tally, kill: bool) -> int:
    """Runs a program, kills it at a random moment unless it ends before; 0 once it has finished."""
    process = begin(program.run, folder)
    code = None
    if kill and dice.random() < 0.5:  # while something is being made
        code = ended(process, longest, until=lambda: program.where(folder) not in IDLE)
        longest /= 20
    if code is None:
        code = ended(process, dice.uniform(0, longest) if kill else FEW)
    if code is None and not kill:
        os.killpg(process, signal.SIGKILL)
        raise RuntimeError(f"{program.name} hangs; see {folder.with_suffix('.log')}")
    if code is None:
        place, soft, group = program.where(folder), dice.random() < 0.25, dice.random() < 0.5
        (os.killpg if group and not soft else os.kill)(process, signal.SIGTERM if soft else signal.SIGKILL)
        code = ended(process, FEW)
        tally.kills["SIGTERM" if soft else "SIGKILL"] += 1
        tally.places[place] += 1
        tally.codes[str(code)] += 1
        if code not in (0, -signal.SIGKILL, *([TERMINATED, -signal.SIGTERM] if soft else [])):
            tally.complaints.append(f"exit code {code} at {place}; see {folder.with_suffix('.log')}")
    elif code:
        raise RuntimeError(f"{program.name} ended with code {code}; see {folder.with_suffix('.log')}")
    alone(process)
    tally.complaints.extend(program.broken(folder))
    return code if code is not None else 1


def main() -> None:
    """Runs what the command line names, and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each program")
    parser.add_argument(
        "--what", default="run,study,merge,calibrate", help="programs, separated by commas; also: train"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=Path, help="JSON to write; programs that it holds already stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(root / "compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        from tests.victims import PROGRAMS

        found = {
            name: survive(PROGRAMS(root)[name], options.kills, options.seed, root) for name in options.what.split(",")
        }
    for name, result in found.items():
        print(f"{name}: {sum(result['kills'].values())} kills, {result['finished']} finished, {result['minutes']} min")
        for complaint in result["complaints"]:
            print(f"  {complaint}")
    if options.output:
        from ccm_jax.io.atomic import read_json
        from experiments.pipeline.store import write_result

        before = read_json(options.output)["programs"] if options.output.exists() else {}
        write_result(options.output, {"programs": before | found})
    sys.exit(int(any(result["complaints"] for result in found.values())))


if __name__ == "__main__":
    main()
