"""How long the main job takes: cold, again, and in its smoke size, each as a process of its own.

python -m benchmarks.end_to_end --output results/rd_ood_time.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from experiments.store import provenance, write_json

ROOT = Path(__file__).parent.parent


def seconds(*arguments: str) -> float:
    """Wall-clock seconds of one run."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "experiments.run", *arguments], check=True, cwd=ROOT)
    return time.perf_counter() - begin


def main() -> None:
    """Runs everything in a folder that is thrown away, and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rd_ood")
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small = [f"--config={options.config}:smoke", f"--workdir={folder}/smoke"]
        full = [f"--config={options.config}", f"--workdir={folder}/full"]
        result = {
            "smoke_seconds": seconds(*small),
            "cold_seconds": seconds(*full),
            "again_seconds": seconds(*full),
            "stage_seconds": json.loads(Path(folder, "full", "results.json").read_text())["wall_seconds"],
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            **provenance(),
        }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.output, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
