"""How cost grows: with candidates, grid, width and horizon; and what 1, 2, 4 and 8 devices do with the same work.

    python -m benchmarks.scaling --output docs/performance/scaling.json

Calibration seconds are fitted by a power of each size, the others held. The devices are made of one CPU, so they cannot
be faster than its cores: what counts is that the same work on more of them does not get slower.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._measure import interleaved, machine, options, spread

BASE = {"candidates": 13, "grid": 32, "width": 32, "horizon": 4}
SWEEPS = {
    "candidates": [4, 8, 16, 32, 64],
    "grid": [16, 32, 64, 128],
    "width": [8, 16, 32, 64],
    "horizon": [2, 4, 8, 16],
}
TRAJECTORIES, MODES = 8, 8


def calibration(candidates: int, grid: int, width: int, horizon: int, spread_out: bool = False) -> Callable[[], Any]:
    """A calibration of this size; over all devices if ``spread_out``."""
    import jax

    from ccm_jax import fit_chart, make_rollout
    from ccm_jax.models import make_model
    from ccm_jax.parallel import make_mesh, place
    from ccm_jax.prefix import prefix_errors

    mesh = make_mesh(2 if jax.device_count() % 4 == 0 else 1) if spread_out and jax.device_count() > 1 else None
    model = make_model("fno", modes=(MODES, MODES), width=width)
    x = np.random.default_rng(0).standard_normal((TRAJECTORIES, horizon + 1, grid, grid, 1), np.float32)
    trees = [model.init(jax.random.key(seed), x[:1, :1]) for seed in range(3)]
    chart, rollout_fn = fit_chart(trees[0], trees[1:], [-1.0, 1.0]), make_rollout(model.apply)
    chart, frames, bank = place((chart, x, np.linspace(-1.5, 1.5, candidates, dtype=np.float32)[:, None]), mesh)
    return lambda: prefix_errors(chart, rollout_fn, frames, bank, frames=horizon, mesh=mesh).block_until_ready()


def training() -> Callable[[], Any]:
    """Ten training steps, data-parallel over all devices."""
    import jax

    from ccm_jax.models import make_model
    from ccm_jax.parallel import make_mesh, place
    from ccm_jax.train import batch_order, init_state, make_loss, make_optimizer, train_chunk

    mesh = make_mesh() if jax.device_count() > 1 else None
    model = make_model("fno", modes=(MODES, MODES), width=BASE["width"])
    x = np.random.default_rng(0).standard_normal((64, 2, BASE["grid"], BASE["grid"], 1), np.float32)
    optimizer, loss_fn = make_optimizer(1e-3, 1000), make_loss(model.apply)
    held = [place(init_state(model.init(jax.random.key(0), x[:1, :1]), optimizer), mesh)]
    order, data = place(batch_order(0, 0, 10, 64, 16), mesh), place(x, mesh)

    def run() -> None:
        held[0], losses = train_chunk(held[0], data, order, loss_fn=loss_fn, optimizer=optimizer, mesh=mesh)
        losses.block_until_ready()

    return run


def exponents(repeats: int, quick: bool) -> dict[str, Any]:
    """Seconds along each size, and the power that fits the larger half."""
    result = {}
    for name, values in SWEEPS.items():
        values = values[:3] if quick else values
        runs = {str(value): calibration(**(BASE | {name: value})) for value in values}
        times = interleaved(runs, repeats=repeats)
        medians = [float(np.median(times[str(value)])) for value in values]
        slope = float(np.polyfit(np.log(values[-3:]), np.log(medians[-3:]), 1)[0])
        result[name] = {"values": values, "seconds": [spread(times[str(v)]) for v in values], "exponent": slope}
        print(name, [round(1e3 * m, 1) for m in medians], "exponent", round(slope, 2), flush=True)
    return result


def on_devices(count: int, repeats: int) -> dict[str, Any]:
    """Both tasks in a process of its own that has ``count`` devices."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--output=-", f"--devices={count}", f"--repeats={repeats}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures, and writes the tables."""
    parser = options(__doc__)
    parser.add_argument("--devices", type=int, help="measure on this many forced devices, print, and stop")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.devices:
        import jax

        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", chosen.devices)
        runs = {"calibration": calibration(**(BASE | {"candidates": 16}), spread_out=True), "training": training()}
        print(json.dumps({name: spread(ts) for name, ts in interleaved(runs, repeats=chosen.repeats).items()}))
        return
    from experiments.pipeline.store import write_result

    counts = (1, 2) if chosen.quick else (1, 2, 4, 8)
    devices = {str(count): on_devices(count, chosen.repeats) for count in counts}
    for count, row in devices.items():
        print(count, "devices", {name: round(1e3 * value["median"], 1) for name, value in row.items()}, flush=True)
    sizes = exponents(chosen.repeats, chosen.quick)
    summary = {f"exponent_{name}": row["exponent"] for name, row in sizes.items()}
    about = machine("jax", "jaxlib")
    write_result(chosen.output, {"summary": summary, "sizes": sizes, "devices": devices, "machine": about})
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
