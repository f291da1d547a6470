"""Our FNO beside neuraloperator's on PyTorch: training step, forward pass, compilation, memory.

    pip install -e '.[bench]'
    python -m benchmarks.fno --output docs/performance/fno.json

Both hold the same weights, and are timed only after their outputs agree. A training step is forward, relative L2
loss, gradient, Adam and the choice of a batch, as an epoch is really run: ours in one compiled scan, PyTorch's in a
loop, eager and by ``torch.compile``, of which the faster counts. Ours cuts the batch over a device for each core where
the experiments do. A forward pass is timed on one device, and once more with the batch spread over a device for each
core, as the experiments' rollouts are. Rounds are interleaved; figures are medians, ratios their time over ours.
Compilation and peak memory are those of a process of its own for each. So is *as a library user gets it*: one device,
without the compiler's flags and the memory settings that the experiments run with, for both sides.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks._measure import interleaved, machine, options, ratio, spread
from benchmarks.fno_figure import draw
from experiments.runner.runtime import mesh, share_processor, training_mesh

STEPS = 20  # training steps in one timed call; an epoch here has more
CHANNELS = 2


class Size(NamedTuple):
    """One row: grid points a side, width, modes a side, batch."""

    grid: int
    width: int
    modes: int
    batch: int


# The first three are what the goals are stated for.
SIZES = [Size(32, 32, 12, 16), Size(64, 32, 12, 16), Size(64, 64, 16, 4)]
MORE = [Size(32, 16, 8, 16), Size(32, 64, 12, 4), Size(64, 32, 16, 1), Size(128, 32, 16, 4), Size(256, 32, 16, 1)]


def torch_model(size: Size) -> Any:
    """neuraloperator's FNO without channel MLP, four layers."""
    import torch
    from neuralop.models import FNO

    torch.manual_seed(0)
    return FNO((2 * size.modes,) * 2, CHANNELS, CHANNELS, size.width, use_channel_mlp=False)


def pairs(size: Size) -> np.ndarray:
    """Samples of two frames, ``[64, 2, H, W, C]``."""
    return np.random.default_rng(0).standard_normal((64, 2, size.grid, size.grid, CHANNELS), np.float32)


def imported(model: Any) -> tuple[Any, Any]:
    """Our network with the weights of a PyTorch model: ``apply`` and parameters."""
    from ccm_jax.interop import fno_from_neuraloperator
    from ccm_jax.models import make_model

    weights = {key: value.detach().numpy() for key, value in model.state_dict().items() if hasattr(value, "detach")}
    arguments, params = fno_from_neuraloperator(weights)
    return make_model("fno", **arguments).apply, params


def ours(size: Size, model: Any) -> tuple[Callable[[], Any], Callable[[], Any], np.ndarray]:
    """Training of ``STEPS`` steps, a forward pass, and its output, from the weights of a PyTorch model."""
    import jax
    import jax.numpy as jnp

    from ccm_jax.parallel import place
    from ccm_jax.train import batch_order, init_state, make_loss, make_optimizer, train_chunk

    apply, params = imported(model)
    x = jnp.asarray(pairs(size))
    optimizer, loss_fn = make_optimizer(1e-3, 10_000), make_loss(apply)
    cores = training_mesh(sum(leaf.size for leaf in jax.tree.leaves(params)))
    held = [place(init_state(jax.tree.map(jnp.asarray, params), optimizer), cores)]
    data, order = place((pairs(size), batch_order(0, 0, STEPS, len(x), size.batch)), cores)
    run, window = jax.jit(apply), x[: size.batch, :1]

    def train() -> None:
        held[0], losses = train_chunk(held[0], data, order, loss_fn=loss_fn, optimizer=optimizer, mesh=cores)
        losses.block_until_ready()

    fixed = jax.tree.map(jnp.asarray, params)
    return train, lambda: run(fixed, window).block_until_ready(), np.asarray(run(fixed, window))


def by_core(size: Size, model: Any) -> Callable[[], Any] | None:
    """A forward pass with the batch spread over a device for each core; None where it does not divide."""
    import jax
    from jax.sharding import PartitionSpec

    from ccm_jax.parallel import batch_axes, place

    cores = mesh()
    axes = batch_axes(cores, size.batch)
    if cores is None or axes is None:
        return None
    (apply, params), cut, whole = imported(model), PartitionSpec(axes), PartitionSpec()
    run = jax.jit(jax.shard_map(apply, mesh=cores, in_specs=(whole, cut), out_specs=cut))
    params, window = place(params, cores), place(pairs(size)[: size.batch, :1], cores, axes)
    return lambda: run(params, window).block_until_ready()


def theirs(size: Size, model: Any, compiled: bool) -> tuple[Callable[[], Any], Callable[[], Any], np.ndarray]:
    """The same by PyTorch."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pairs(size), -1, 2)))
    order = torch.from_numpy(np.random.default_rng(0).integers(0, len(x), (STEPS, size.batch)))
    if compiled:
        torch._dynamo.reset()  # or it gives up after a few sizes and runs eagerly
        model = torch.compile(model, dynamic=False)
    optimizer = torch.optim.Adam(
        [  # the fused kernel is the faster one, and takes no complex weights
            {"params": [p for p in model.parameters() if not p.is_complex()], "fused": True},
            {"params": [p for p in model.parameters() if p.is_complex()], "fused": False},
        ],
        1e-3,
    )

    def train() -> None:
        for rows in order:
            start, truth = x[rows].unbind(1)
            optimizer.zero_grad()
            error, norm = ((model(start) - truth) ** 2).sum((1, 2, 3)), (truth**2).sum((1, 2, 3))
            (error / norm).sqrt().mean().backward()
            optimizer.step()

    def forward() -> Any:
        with torch.no_grad():
            return model(x[: size.batch, 0])

    return train, forward, np.moveaxis(forward().numpy(), 1, -1)


def one(who: str, size: Size) -> dict[str, float]:
    """Seconds until forward pass and first training call are built and done, and the memory that they add; alone."""
    import jax.numpy as jnp
    import torch

    model = torch_model(size)
    float(jnp.zeros(1)[0]), torch.zeros(1)  # both runtimes are up before either is measured
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text(
        "5", encoding="utf-8"
    )  # the peak begins anew: importing has one of its own
    begin = time.perf_counter()
    train, _, _ = ours(size, model) if who == "ours" else theirs(size, model, who == "torch.compile")
    train()
    first = time.perf_counter() - begin
    train()
    return {"first_call": first, "peak_mib": (resident("VmHWM") - before) / 1024}


def resident(field: str) -> int:
    """Memory of this process in KiB: ``VmRSS`` now, ``VmHWM`` at its peak (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if x.startswith(field))
    return int(line.split()[1])


def alone(who: str, size: Size) -> dict[str, Any] | None:
    """:func:`one` or :func:`plain` in a process of its own; None if it fails."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.fno",
        "--output=-",
        f"--one={who}",
        f"--size={','.join(map(str, size))}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def plain(size: Size, repeats: int) -> dict[str, Any]:
    """Training steps and forward passes beside PyTorch's, in a process that sets neither flags nor devices."""
    model = torch_model(size)
    runs = dict(zip(("ours", "eager"), (ours(size, model), theirs(size, torch_model(size), False)), strict=True))
    found: dict[str, Any] = {}
    for i, what in enumerate(("training_step", "forward")):
        times = interleaved({name: run[i] for name, run in runs.items()}, repeats=repeats, seconds=0.3)
        if what == "training_step":
            times = {name: [t / STEPS for t in ts] for name, ts in times.items()}
        found[what] = {name: spread(ts) for name, ts in times.items()}
        found[f"{what}_ratio"] = ratio(times["eager"], times["ours"])
    return found


def measure(size: Size, repeats: int, compiled: bool) -> dict[str, Any]:
    """One row of the table."""

    model, frozen = torch_model(size), torch_model(size)
    train, forward, out = ours(size, frozen)
    spread_out = by_core(size, frozen)
    peers = {"eager": theirs(size, model, False)}
    difference = float(np.abs(out - peers["eager"][2]).max() / np.abs(out).max())
    if difference > 1e-4:
        raise RuntimeError(f"outputs differ by {difference:g} at {size}; nothing is timed.")
    failed = None
    if compiled:
        try:
            peers["compile"] = theirs(size, torch_model(size), True)
            peers["compile"][0]()
        except Exception as error:  # torch.compile may not know what the model does, which is a result too
            peers.pop("compile", None)
            failed = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    row: dict[str, Any] = {**size._asdict(), "difference": difference, "torch_compile_failed": failed}
    for i, what in enumerate(("training_step", "forward")):
        runs = {"ours": (train, forward)[i]} | {name: peer[i] for name, peer in peers.items()}
        if what == "forward" and spread_out is not None:
            runs["by core"] = spread_out
        times = interleaved(runs, repeats=repeats, seconds=0.3)
        if what == "training_step":
            times = {name: [t / STEPS for t in ts] for name, ts in times.items()}
        best = min((name for name in peers), key=lambda name: float(np.median(times[name])))
        if what == "forward":
            cores = times.pop("by core", None)
            row |= {"forward_by_core": spread(cores) if cores else None}
            row |= {"forward_by_core_ratio": ratio(times[best], cores) if cores else None}
        row[what] = {name: spread(ts) for name, ts in times.items()}
        row[f"{what}_ratio"] = ratio(times[best], times["ours"]) | {"against": best}
    row["alone"] = {who: alone(who, size) for who in ("ours", "torch")}
    row["plain"] = alone("plain", size)
    return row


def main() -> None:
    """Measures every size, and writes the table and the picture."""
    library = "--one=plain" in sys.argv
    parser = options(__doc__, plain=library)
    parser.add_argument("--one", help="measure one of ours, torch, torch.compile, alone, or plain")
    parser.add_argument("--size", help="GRID,WIDTH,MODES,BATCH")
    parser.add_argument("--no_compile", action="store_true", help="leave torch.compile out")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    if not library:
        share_processor()
    sizes = [Size(*map(int, chosen.size.split(",")))] if chosen.size else SIZES[:1] if chosen.quick else SIZES + MORE
    if chosen.one:
        print(json.dumps(plain(sizes[0], 5) if library else one(chosen.one, sizes[0])))
        return
    from experiments.pipeline.store import write_result

    about = machine("jax", "jaxlib", "flax", "torch", "neuraloperator")
    rows: list[dict[str, Any]] = []
    for size in sizes:
        rows.append(measure(size, 3 if chosen.quick else 9, not chosen.no_compile))
        ratios = {what: round(rows[-1][f"{what}_ratio"]["median"], 2) for what in ("training_step", "forward")}
        print(size, ratios, rows[-1]["torch_compile_failed"] or "", flush=True)
        summary = {
            f"{what}_ratio_{row['grid']}_w{row['width']}": row[f"{what}_ratio"]["median"]
            for row in rows
            for what in ("training_step", "forward", "forward_by_core")
            if Size(**{key: row[key] for key in Size._fields}) in SIZES
        }
        summary["smallest_ratio"] = min(
            row[f"{w}_ratio"]["median"] for row in rows for w in ("training_step", "forward")
        )
        # Written row by row: a run that is stopped has measured something.
        write_result(chosen.output, {"summary": summary, "rows": rows, "machine": about})
        draw(rows, chosen.output.parent)
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
