"""How long the main job takes: cold, again, and in its smoke size, each as a process of its own.

    python -m benchmarks.end_to_end --output results/rd_ood_time.json

With ``--keep FOLDER`` the full run stays there, and with ``--finished FOLDER`` it is not repeated: its time is the sum
of the stages that the folder keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measure import machine
from experiments.pipeline.store import write_result

ROOT = Path(__file__).parent.parent


def seconds(cache: Path, *arguments: str) -> float:
    """Wall-clock seconds of one run that keeps its compiled programs in ``cache``."""
    begin, empty = time.perf_counter(), os.environ | {"XDG_CACHE_HOME": str(cache)}
    subprocess.run([sys.executable, "-m", "experiments.run", *arguments], check=True, cwd=ROOT, env=empty)
    return time.perf_counter() - begin


def main() -> None:
    """Runs everything in a folder that is thrown away, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rd_ood")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--finished", type=Path, help="folder of a finished run of this configuration")
    parser.add_argument("--keep", type=Path, help="new folder for the full run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workdir = options.finished or options.keep or Path(folder, "full")
        small = [f"--config={options.config}:smoke", f"--workdir={folder}/smoke"]
        full = [f"--config={options.config}", f"--workdir={workdir}"]
        cache = Path(folder, "cache")  # empty: nobody compiled for a cold run before
        cold = seconds(cache, *full)
        lines = [json.loads(line) for line in (workdir / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        compiled = [line["compile_seconds"] for line in lines if line["event"] == "end"]
        small_seconds, again = seconds(cache, *small), seconds(cache, *full)
        stages = json.loads((workdir / "results.json").read_text(encoding="utf-8"))["wall_seconds"]
        result = {
            "smoke_seconds": small_seconds,
            "cold_seconds": sum(stages.values()) if options.finished else cold,
            "compile_seconds": compiled[0],
            "again_seconds": again,
            "stage_seconds": stages,
            "machine": machine(),
        }
    write_result(options.output, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
