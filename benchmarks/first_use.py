"""The README's snippet and its ``ccm calibrate`` in fresh processes: what they take, compilation included.

    python -m benchmarks.first_use --output docs/performance/first_use.json

Each round is a new process: as the snippet stands, and with ``ccm_jax.processor.keep_compiled(shortest=0)`` before it,
which finds the programs that an earlier process has compiled. The command keeps them by itself: its first call is one
with an empty folder of programs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks._measure import machine, options, spread

CALIBRATE = (
    "calibrate --family . --prefix test-0.00075.npz --sample 0 --validation validation.npz -o merged.safetensors"
)
SNIPPET = """
import json, time
times, begin = {}, time.perf_counter()
def lap(name):
    global begin
    now = time.perf_counter()
    times[name], begin = now - begin, now
import ccm_jax
from ccm_jax import example
if KEEP:
    from ccm_jax.processor import keep_compiled
    keep_compiled(shortest=0)
family = example.load()
lap("import and load")
anchor, experts = family.anchor, [family.low, family.high]
flow = family.test[1][0]
known = ccm_jax.coordinate_from_metadata(0.00075, 0.001, 0.002)
merged = ccm_jax.merge_pytree(anchor, *experts, known)
lap("merge at the known value")
chart = ccm_jax.fit_chart(anchor, experts, [-1.0, 1.0], features=ccm_jax.Gated())
lap("fit_chart")
readout = ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation)
lap("fit_prefix_readout")
found = readout(flow[:5])
lap("first readout")
weights = chart(found)
lap("merged weights")
for params in (anchor, family.low, merged, weights):
    float(ccm_jax.evaluate.future_error(params, family.rollout_fn, flow[None]).mean())
lap("errors of four networks")
readout(family.test[1][1][:5])
lap("second readout")
print(json.dumps(times))
"""


def laps(cache: str, keep: bool) -> dict[str, float]:
    """Seconds of each part of the snippet in a new process, whose programs are kept in the folder ``cache`` or not."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_"))}
    environment["XDG_CACHE_HOME"] = cache
    code = f"KEEP = {keep}\n{SNIPPET}"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"total": sum(found.values())}


def terminal(cache: str) -> float:
    """Seconds of the README's calibration in a new process, whose programs are kept in the folder ``cache``."""
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    ccm = [sys.executable, "-m", "ccm_jax.cli"]
    how: dict[str, Any] = {"env": environment, "capture_output": True, "check": True}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*ccm, "example"], cwd=folder, **how)
        begin = time.perf_counter()
        subprocess.run([*ccm, *CALIBRATE.split()], cwd=f"{folder}/example", **how)
        return time.perf_counter() - begin


def main() -> None:
    """Measures, and writes the file."""
    chosen = options(__doc__, plain=True).parse_args()
    measured: dict[str, list[dict[str, float]]] = {"fresh": [], "kept": []}
    command: dict[str, list[float]] = {"fresh": [], "kept": []}
    with tempfile.TemporaryDirectory() as cache:
        laps(cache, True)
        for _ in range(1 if chosen.quick else 5):
            measured["fresh"].append(laps(cache, False))
            measured["kept"].append(laps(cache, True))
    for _ in range(1 if chosen.quick else 3):
        with tempfile.TemporaryDirectory() as cache:
            for how in command:  # the second call finds what the first has kept
                command[how].append(terminal(cache))
    rows: dict[str, Any] = {
        part: {how: spread([one[part] for one in times]) for how, times in measured.items()}
        for part in measured["fresh"][0]
    }
    in_terminal = {how: spread(times) for how, times in command.items()}
    from experiments.pipeline.store import write_result

    write_result(chosen.output, {"rows": rows, "terminal": in_terminal, "machine": machine("jax", "jaxlib")})


if __name__ == "__main__":
    main()
