"""Trajectories per second at equal error: these solvers, exponax, PDEBench's approach (SciPy's RK45) and PyClaw.

    pip install -e '.[bench]'       # and clawpack, which needs a Fortran compiler: pip install clawpack
    python -m benchmarks.solvers --output docs/solvers.json

Every solver runs with several steps, grids or tolerances. Its error is the relative L2 distance of the last state to a
fine reference on a common grid; its speed is the median of interleaved runs, without compilation. JAX programs run a
batch of 16 on all cores; SciPy and PyClaw, which use one, run one process a core. ``ratio`` is our best speed at no
larger error over each of theirs; the summary takes the smallest that any setting of theirs reaches.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import solver_page, solver_peers
from benchmarks._measure import machine
from experiments.configs import rd_ood
from experiments.pipeline import data
from experiments.pipeline.store import write_result
from experiments.runner.runtime import share_processor
from solvers import burgers, initial, kuramoto_sivashinsky, navier_stokes, reaction_diffusion, shallow_water
from solvers.spectral import resample_cosine, resample_fourier

BATCH = 16
EQUAL = 1.02  # errors within two per cent are equal: the same scheme with the same step differs in its last digits
FEW = max(2, os.cpu_count() or 1)  # trajectories whose error is measured, the same for all
ROUNDS = 5


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """For the references; the entries run in single precision."""
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


class Entry(NamedTuple):
    """One solver with one setting: ``run() -> states [n, *space, C]`` on the common grid."""

    who: str
    setting: str
    run: Callable[[], np.ndarray]


class Problem(NamedTuple):
    """A problem, its fine reference, and who solves it how."""

    name: str
    reference: np.ndarray
    entries: list[Entry]


def batched(step: Callable[[jax.Array], jax.Array], starts: jax.Array) -> Callable[[], np.ndarray]:
    """A compiled run of a batch."""
    run = jax.jit(jax.vmap(step))
    return lambda: np.asarray(run(starts))


def in_processes(pool: Any, solve: Callable[..., np.ndarray], starts: np.ndarray, *args: Any) -> Callable[[], Any]:
    """A run of a few trajectories, one process a core."""
    few = starts[:FEW]
    return lambda: np.stack(list(pool.map(solve, few, *([arg] * len(few) for arg in args))))


def periodic(name: str, ours: Callable[..., Any], theirs: Callable[..., Any], how: dict[str, Any]) -> Problem:
    """A periodic equation against exponax, on the same grid."""
    t, length, scale = how["time"], how["length"], how["scale"]

    def starts(n: int) -> jax.Array:
        shape = (n,) * how["dim"]
        make = jax.vmap(
            lambda key: initial.smooth_periodic(key, shape, 1, length=length, scale=scale * length, modes=8)
        )
        return how["amplitude"] * make(jax.random.split(jax.random.key(0), BATCH))

    def coarse(step: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        return lambda u: resample_fourier(step(u), (how["stored"],) * how["dim"])

    with double_precision():
        fine = coarse(ours(dt=t, substeps=16 * max(how["steps"]), length=length, **how["parameters"]))
        reference = np.asarray(jax.jit(jax.vmap(fine))(starts(2 * max(how["grids"]))[:FEW].astype(float)))
    entries = []
    for n in how["grids"]:
        for steps in how["steps"]:
            for order in (2, 4):
                step = coarse(ours(dt=t, substeps=steps, length=length, order=order, **how["parameters"]))
                entries.append(Entry("ccm_jax", f"{n}, {steps} steps, order {order}", batched(step, starts(n))))
                step = coarse(theirs(how["dim"], length, n, t / steps, steps, order))
                entries.append(Entry("exponax", f"{n}, {steps} steps, order {order}", batched(step, starts(n))))
    return Problem(name, reference, entries)


def reaction_diffusion_problem(pool: Any) -> Problem:
    """PDEBench's equation with a smooth start, against its five-point stencil and SciPy's RK45."""
    t, stored, parameters = 5.0, 32, {"diffusivity_u": 1e-3, "diffusivity_v": 5e-3, "threshold": 5e-3}

    def starts(n: int) -> jax.Array:
        make = jax.vmap(lambda key: initial.smooth_zero_flux(key, (n, n), 2, length=2.0, scale=0.3))
        return make(jax.random.split(jax.random.key(0), BATCH))

    def coarse(step: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        return lambda u: resample_cosine(step(u), (stored, stored))

    with double_precision():
        fine = coarse(reaction_diffusion.make_step(dt=t, substeps=1600, **parameters))
        reference = np.asarray(jax.jit(jax.vmap(fine))(starts(128)[:FEW].astype(float)))
    entries = []
    for n in (24, 26, 28, 32, 40, 48, 64):
        for steps in (38, 40, 50, 60, 70, 100, 200):
            for order in (2, 4):
                step = coarse(reaction_diffusion.make_step(dt=t, substeps=steps, order=order, **parameters))
                entries.append(Entry("ccm_jax", f"{n}, {steps} steps, order {order}", batched(step, starts(n))))
    for n, rtol in ((32, 1e-3), (64, 1e-3), (128, 1e-3), (128, 1e-5)):
        solve = in_processes(pool, solver_peers.scipy_rd, np.asarray(starts(n)), t, rtol, stored)
        entries.append(Entry("scipy", f"{n}, rtol {rtol:g}", solve))
    return Problem("reaction-diffusion", reference, entries)


def dam_problem(pool: Any) -> Problem:
    """PDEBench's radial dam break against PyClaw, both against a fine solution of PyClaw's."""
    t, stored, finest = 1.0, 32, 512
    radii = jnp.linspace(0.3, 0.7, BATCH)

    def starts(n: int) -> jax.Array:
        return jax.vmap(lambda radius: shallow_water.dam((n, n), height=2.0, radius=radius))(radii)

    def averages(step: Callable[[jax.Array], jax.Array], n: int) -> Callable[[jax.Array], jax.Array]:
        return lambda q: step(q).reshape(stored, n // stored, stored, n // stored, 3).mean(axis=(1, 3))

    def ours(n: int, cfl: float, scheme: str) -> Callable[[jax.Array], jax.Array]:
        speed = shallow_water.speed_bound(2.0, 1.0)
        steps = shallow_water.substeps_needed(t, 5.0 / n, speed, cfl=cfl, scheme=scheme)
        return averages(shallow_water.make_step(dt=t, substeps=steps, scheme=scheme), n)

    if solver_peers.has_pyclaw():  # theirs, so that the errors do not flatter us
        reference = in_processes(pool, solver_peers.pyclaw_dam, np.asarray(starts(finest)), t, stored)()
    else:
        reference = np.concatenate(
            [batched(ours(finest, 0.45, "runge-kutta"), starts(finest)[i : i + 1])() for i in range(FEW)]
        )
    entries = [
        Entry("ccm_jax", f"{n}, {scheme}, Courant number at most {cfl}", batched(ours(n, cfl, scheme), starts(n)))
        for n in (32, 64, 96, 128, 192)
        # Of the bound on the speed, which a round dam stays a seventh below: 1.1 is less than one.
        for scheme, cfl in (("runge-kutta", 0.5), ("splitting", 0.8), ("splitting", 1.0), ("splitting", 1.1))
    ]
    if solver_peers.has_pyclaw():
        entries += [
            Entry("pyclaw", f"{n}", in_processes(pool, solver_peers.pyclaw_dam, np.asarray(starts(n)), t, stored))
            for n in (32, 64, 96, 128, 192)
        ]
    return Problem("dam break", reference, entries)


def measure(problem: Problem) -> list[dict[str, Any]]:
    """Error and speed of every entry; the runs are interleaved, so that all see the same machine."""
    rows = []
    for entry in problem.entries:
        out = entry.run()  # compiles
        distance, size = out[:FEW] - problem.reference, problem.reference
        axes = tuple(range(1, out.ndim))
        error = float(np.mean(np.sqrt(np.sum(distance**2, axes) / np.sum(size**2, axes))))
        rows.append({"who": entry.who, "setting": entry.setting, "error": error, "count": len(out), "seconds": []})
    for _ in range(ROUNDS):
        for row, entry in zip(rows, problem.entries, strict=True):
            begin = time.perf_counter()
            entry.run()
            row["seconds"].append(time.perf_counter() - begin)
    for row in rows:
        row["per_second"] = row["count"] / float(np.median(row["seconds"]))
        row["seconds"] = [min(row["seconds"]), float(np.median(row["seconds"])), max(row["seconds"])]
    compare(rows)
    return rows


def compare(rows: list[dict[str, Any]]) -> None:
    """Adds ``ratio`` to each row of a peer: our best speed at an equal or smaller error over its own."""

    def error(row: dict[str, Any]) -> float:
        # What blew up competes with nobody; errors below 1e-5 are rounding, and count as equal.
        known = row["error"] is not None and np.isfinite(row["error"])
        return max(row["error"], 1e-5) if known else float("inf")

    for row in rows:
        rivals = [r["per_second"] for r in rows if r["who"] == "ccm_jax" and error(r) <= EQUAL * error(row)]
        usable = row["who"] != "ccm_jax" and error(row) < 0.5
        row["ratio"] = max(rivals, default=0.0) / row["per_second"] if usable else None


def seconds_as_run(count: int = 64) -> float:
    """Median seconds that `rd_ood`'s trajectories of one regime take, at its own grid, steps and batches."""
    config, spent = rd_ood.get_config(), []
    for _ in range(1 + ROUNDS):  # the first compiles
        begin = time.perf_counter()
        data.simulate(config, config.axis.low, count, "support")
        spent.append(time.perf_counter() - begin)
    return float(np.median(spent[1:]))


def summarise(results: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The smallest ratio of each peer on each problem."""
    ratios: dict[str, list[float]] = {}
    for name, rows in results.items():
        for row in rows:
            if row["ratio"] is not None:
                ratios.setdefault(f"{row['who']}: {name}", []).append(row["ratio"])
    return {key: min(values) for key, values in ratios.items()}


def main() -> None:
    """Measures all problems and writes the numbers, the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path)
    options = parser.parse_args()
    share_processor()  # as the experiments do; what runs on one device still has all cores
    spawn = multiprocessing.get_context("spawn")  # a forked child of a threaded JAX program may hang
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
        vorticity = {"dim": 2, "length": 2 * np.pi, "scale": 1 / 6, "amplitude": 2.0, "time": 2.0, "stored": 32}
        vorticity |= {"grids": (64,), "steps": (25, 50, 100, 200)}
        vorticity |= {"parameters": {"viscosity": 2e-2, "forcing": "none"}}
        shock = {"dim": 1, "length": 1.0, "scale": 1 / 6, "amplitude": 1.0, "time": 0.5, "stored": 64}
        shock |= {"grids": (192,), "steps": (50, 100, 200, 400), "parameters": {"viscosity": 1e-2}}
        chaos = {"dim": 1, "length": 64.0, "scale": 1 / 12, "amplitude": 1.0, "time": 20.0, "stored": 64}
        chaos |= {"grids": (128,), "steps": (50, 100, 200, 400), "parameters": {}}
        problems = [
            periodic("Navier-Stokes", navier_stokes.make_step, solver_peers.exponax_vorticity, vorticity),
            periodic("Burgers", burgers.make_step, solver_peers.exponax_burgers, shock),
            periodic("Kuramoto-Sivashinsky", kuramoto_sivashinsky.make_step, solver_peers.exponax_ks, chaos),
            reaction_diffusion_problem(pool),
            dam_problem(pool),
        ]
        results = {problem.name: measure(problem) for problem in problems}
    summary, as_run = summarise(results), seconds_as_run()
    found = {"summary": summary, "rd_ood_64_trajectories": as_run, "results": results}
    write_result(options.output, found | {"machine": machine()})
    solver_page.write(options.output)
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
