"""Over time and size: ``python -m tests.endurance FILE.json`` measures what docs/reliability.md says of both.

calibrations    300 calibrations and rollouts with changing batch sizes in one process: memory, and compilations
merge           a merge of sparse files, 20 GB in all, in a process of its own: its peak of memory
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import Gated, fit_chart, fit_prefix_readout, make_rollout
from ccm_jax.models import make_model

COMPILED = "/jax/core/compile/backend_compile_duration"
SIZES = (1, 2, 3, 5)  # of batches; each is a program of its own


def resident() -> int:
    """Bytes of memory that this process holds for itself now."""
    line = next(
        x for x in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if x.startswith("RssAnon")
    )
    return 1024 * int(line.split()[1])


def calibrate(rounds: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """Calibrates and rolls out again and again, as a service does; a warm-up has met every batch size twice."""
    compiled = [0]
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.__setitem__(0, compiled[0] + (event == COMPILED))
    )
    model = make_model("fno", modes=(2, 2), width=4, depth=1, out_channels=1)
    anchor, *experts = (model.init(jax.random.key(i), jnp.zeros((1, 1, 6, 6, 1))) for i in range(3))
    chart = fit_chart(anchor, experts, [-1.0, 1.0], features=Gated())
    rollout_fn = make_rollout(model.apply)
    readout = fit_prefix_readout(chart, rollout_fn)
    run = jax.jit(rollout_fn, static_argnums=2)
    x = np.random.default_rng(0).normal(size=(max(sizes), 5, 6, 6, 1)).astype(np.float32)
    draw = np.random.default_rng(1)

    def once(size: int) -> None:
        given = x[:size] * np.float32(draw.uniform(0.5, 2))
        found = readout(given, batch="each")
        for coordinate, trajectory in zip(np.asarray(found.coordinate), given, strict=True):
            run(chart(coordinate), trajectory[None, -1:], 3)
        readout(given, batch="pooled")
        run(chart(np.asarray(found.coordinate)[0]), given[:, -1:], 3).block_until_ready()

    for size in sizes * 2:
        once(size)
    warm, before, memory, begin = compiled[0], resident(), [], time.monotonic()
    for i in range(rounds):
        once(int(draw.choice(sizes)))
        if i % max(1, rounds // 20) == 0:
            memory.append(resident())
    memory.append(resident())
    half = memory[len(memory) // 2 :]
    return {
        "rounds": rounds,
        "batch_sizes": list(sizes),
        "compilations_warming_up": warm,
        "compilations_after": compiled[0] - warm,
        "mib_after_warm_up": round(before / 2**20, 1),
        "mib_added_by_all_rounds": round((memory[-1] - before) / 2**20, 2),
        "mib_added_by_the_second_half": round((max(half) - half[0]) / 2**20, 2),
        "seconds": round(time.monotonic() - begin, 1),
    }


CHILD = """
import sys, threading, time
from pathlib import Path
peak, done = [0], threading.Event()
def kib(name):
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], kib("RssAnon"))
watcher = threading.Thread(target=watch)
watcher.start()
from ccm_jax.cli import main
try:
    main(sys.argv[1:])
finally:
    done.set()
    watcher.join()
    print(kib("VmHWM"), peak[0])  # ru_maxrss would begin with the memory of the process that started this one
"""


def merge_sparse(folder: Path, gigabytes: float, tensors: int = 20) -> dict[str, Any]:
    """Merges an anchor and two experts that are holes but for their headers, so that their disk costs nothing.

    Args:
        folder: where they are made, and the merged file.
        gigabytes: of the three files and the merged one together.
        tensors: in each.
    """
    size = int(gigabytes * 1e9 / 4 / tensors / 4) * 4
    header = {
        f"layer{i}.weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [i * size, (i + 1) * size]}
        for i in range(tensors)
    }
    text = json.dumps(header).encode()
    for name in ("anchor", "low", "high"):
        with open(folder / f"{name}.safetensors", "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + size * tensors)
    files = [part for name in ("anchor", "low", "high") for part in (f"--{name}", str(folder / f"{name}.safetensors"))]
    command = [sys.executable, "-c", CHILD, "merge", *files, "-c", "1.4", "-o", str(folder / "merged.safetensors")]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    whole, own = map(int, done.stdout.split()[-2:])
    merged = (folder / "merged.safetensors").stat().st_size
    (folder / "merged.safetensors").unlink()
    return {
        "gigabytes_in_all": round((3 * (8 + len(text) + size * tensors) + merged) / 1e9, 2),
        "peak_mib_with_mapped_pages": whole >> 10,
        "peak_mib_of_its_own": own >> 10,
        "seconds": round(time.monotonic() - begin, 1),
    }


def main(target: Path) -> None:
    """Measures both, and writes what came out."""
    from experiments.pipeline.store import write_result

    with tempfile.TemporaryDirectory() as folder:
        merged = merge_sparse(Path(folder), 20.0)
    print(merged, flush=True)
    found: dict[str, Any] = {"merge": merged, "calibrations": calibrate(300)}
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    write_result(target, found)
    print(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
