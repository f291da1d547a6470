"""What a machine can do to a run and to ``ccm merge``, done on purpose: each answered by one line, and nothing lost.

    python -m tests.faults                                          every fault that this machine lets us make
    python -m tests.faults --output results/reliability/faults.json

A fault is answered well if the program ends with code 2 and one line (no traceback), what was there is unchanged, and
the same command has the numbers of an undisturbed run once the fault is mended; or if the fault changes nothing. Full
disks are small file systems in memory, which only root can make; without root these are left out, and named.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.faulty import (
    EXPECTED,
    FAULTS,
    Impossible,
    checksum_speed,
    result,
    train,
)
from tests.kill import summary_of


def main() -> None:
    """Makes every fault, and writes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of the names of faults")
    parser.add_argument("--output", type=Path, help="JSON to write")
    options = parser.parse_args()
    start, found = time.perf_counter(), {}
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(root / "compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        import tests.machine
        import tests.victims  # noqa: F401  imports everything, before anything is forked

        code, lines = result(train, root / "undisturbed")
        if code != 0:
            sys.exit(f"a run fails undisturbed: {lines[-3:]}")
        EXPECTED.update(summary_of(root / "undisturbed"))
        for name, make in FAULTS.items():
            if options.only in name:
                folder = root / name.replace(" ", "-").replace("'", "")
                folder.mkdir()
                try:
                    complaints = make(folder)
                    found[name] = {"answered": not complaints, "complaints": complaints}
                except Impossible as why:
                    found[name] = {"answered": None, "complaints": [str(why)]}
                print(f"{name}: {found[name]['complaints'] or 'one line or none, nothing lost'}", flush=True)
        speed = checksum_speed(root / "speed")
    minutes = round((time.perf_counter() - start) / 60, 2)
    if options.output:
        from experiments.pipeline.store import write_result

        write_result(options.output, {"faults": found, "checksums_gigabytes_per_second": speed, "minutes": minutes})
    sys.exit(int(any(one["answered"] is False for one in found.values())))


if __name__ == "__main__":
    main()
