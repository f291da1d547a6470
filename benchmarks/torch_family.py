"""A U-Net and a ViT, trained and fine-tuned in PyTorch on our Navier-Stokes, then calibrated and merged by ``ccm``.

What must hold: the merged file loads back with ``strict=True``, its outputs are those of PyTorch's own merge to 1e-6,
and the coordinate is the one that a loop in PyTorch chooses.

    python -m benchmarks.torch_family --output docs/performance/torch_family.json      (some minutes on one core)
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from benchmarks import torch_networks
from benchmarks._measure import machine, options

LOW, HIGH, TARGET = 1e-3, 3e-3, 4e-3  # viscosities: of the experts, and the one that is calibrated
SUPPORT = (1e-3, 1.5e-3, 2e-3, 2.5e-3, 3e-3)
SOLVED = 48  # points a side of the solver
FRAMES, BANK = 4, "-1.5:2.5:0.25"


class Size(NamedTuple):
    """How large all of it is; the networks have a million weights, and the rest is such that a core needs minutes."""

    grid: int = 16
    steps: int = 2000
    fine: int = 500
    samples: int = 48
    length: int = 20
    batch: int = 8


# Their arguments, and what each is trained with.
NETWORKS: dict[str, tuple[dict[str, int], Size]] = {"unet": ({}, Size()), "vit": ({"grid": 16, "patch": 2}, Size())}


def trajectories(viscosity: float, size: Size, seed: int) -> np.ndarray:
    """``[samples, length, grid, grid, 1]`` by the solver, in units of the standard deviation at the start."""
    import jax

    from ccm_jax.rollout import rollout
    from solvers.system import Settings, find_system

    system = find_system("navier_stokes")
    stored = (size.grid, size.grid)
    settings = Settings((SOLVED, SOLVED), 0.5, 25, stored, {})
    parameters = {"viscosity": viscosity, "forcing": "none", "length": 1.0}
    keys = jax.random.split(jax.random.key(seed), size.samples)
    starts = jax.vmap(lambda key: system.starts["fno"](settings, parameters, key))(keys)
    run = rollout(system.make_step(settings, parameters), size.length - 1, include_init=True)
    kept = jax.jit(jax.vmap(lambda start: jax.vmap(lambda state: system.store(state, stored))(run(start))))
    return np.asarray(kept(starts)) / 0.2


def train(network: Any, data: np.ndarray, steps: int, rate: float, batch: int) -> Any:
    """Trains on pairs of frames ``[N, T, H, W, 1]``, in place; the same order of batches whatever the data."""
    x = torch.tensor(np.moveaxis(data, -1, 2))
    optimizer = torch.optim.AdamW(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(steps):
        i = torch.randint(len(x), (batch,), generator=order)
        t = torch.randint(x.shape[1] - 1, (batch,), generator=order)
        now, after = x[i, t], x[i, t + 1]
        error = ((network(now) - after) ** 2).sum((1, 2, 3)) / (after**2).sum((1, 2, 3))
        optimizer.zero_grad()
        error.sqrt().mean().backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def make_family(name: str, arguments: dict[str, int], size: Size, folder: Path) -> dict[str, Any]:
    """Trains anchor and experts, and writes ``anchor.pt``, ``low.pt``, ``high.pt``, ``seen.npy``, ``model.yaml``."""
    torch.manual_seed(0)
    network = getattr(torch_networks, name)(**arguments)
    train(network, np.concatenate([trajectories(v, size, 1) for v in SUPPORT]), size.steps, 1e-3, size.batch)
    family = {"anchor": network}
    for end, viscosity in (("low", LOW), ("high", HIGH)):
        family[end] = train(copy.deepcopy(network), trajectories(viscosity, size, 2), size.fine, 3e-4, size.batch)
    for end, trained in family.items():
        torch.save(trained.state_dict(), folder / f"{end}.pt")
    seen = trajectories(TARGET, size, 3)
    np.save(folder / "seen.npy", seen[:4, : 1 + FRAMES])
    np.save(folder / "held_out.npy", seen[4:])
    said = {"model": f"benchmarks.torch_networks:{name}", "args": arguments}
    (folder / "model.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    return {"weights": sum(p.numel() for p in network.parameters())} | family


def merged_in_torch(family: dict[str, Any], c: float) -> Any:
    """PyTorch's own merge at a coordinate."""
    anchor, low, high = (family[name].state_dict() for name in ("anchor", "low", "high"))
    network = copy.deepcopy(family["anchor"])
    states = {k: a + 0.5 * (1 - c) * (low[k] - a) + 0.5 * (1 + c) * (high[k] - a) for k, a in anchor.items()}
    network.load_state_dict(states, strict=True)
    return network.eval()


def loss_in_torch(network: Any, seen: np.ndarray, begin: int = 0) -> float:
    """Mean relative L2 error over the frames after ``begin``, by a plain loop."""
    x = torch.tensor(np.moveaxis(seen, -1, 2))
    state, errors = x[:, begin], []
    with torch.no_grad():
        for k in range(begin + 1, x.shape[1]):
            state = network(state)
            errors.append((((state - x[:, k]) ** 2).sum((1, 2, 3)) / (x[:, k] ** 2).sum((1, 2, 3))).sqrt())
    return float(torch.stack(errors).mean())


def compare(name: str, arguments: dict[str, int], size: Size, folder: Path) -> dict[str, Any]:
    """One network, from its training to the comparison of both sides."""
    from click.testing import CliRunner

    from ccm_jax.cli import main as ccm

    family, seen = make_family(name, arguments, size, folder), np.load(folder / "seen.npy")

    def run(*words: Any) -> str:
        done = CliRunner().invoke(ccm, [str(word) for word in words])
        if done.exit_code:
            raise RuntimeError(done.output) from done.exception
        return done.output

    three = [word for end in ("anchor", "low", "high") for word in (f"--{end}", folder / f"{end}.pt")]
    known = ["--model", folder / "model.yaml"]
    for out, more in (("bank", [f"--bank={BANK}"]), ("continuous", [])):
        more += ["--write-anyway", "--accept-persistence", "-o", folder / f"{out}.safetensors"]
        run("calibrate", *three, *known, "--prefix", folder / "seen.npy", *more)
    found = {out: json.loads((folder / f"{out}.json").read_text(encoding="utf-8")) for out in ("bank", "continuous")}
    judged = ["--merged", folder / "continuous.safetensors", "--trajectories", folder / "held_out.npy"]
    table = run("evaluate", *three, *judged, *known, "--accept-persistence")
    low, high, step = map(float, BANK.split(":"))
    bank = low + step * np.arange(round((high - low) / step) + 1)
    losses = [loss_in_torch(merged_in_torch(family, float(c)), seen) for c in bank]
    best = found["continuous"]["best_merge"]
    around = [loss_in_torch(merged_in_torch(family, best + shift), seen, FRAMES // 2) for shift in (-0.1, 0.0, 0.1)]
    loaded = copy.deepcopy(family["anchor"])
    loaded.load_state_dict(_load(folder / "bank.safetensors"), strict=True)
    chosen = merged_in_torch(family, float(found["bank"]["best_merge"]))
    x = torch.tensor(np.moveaxis(seen[:, 0], -1, 1))
    with torch.no_grad():
        apart = float((loaded(x) - chosen(x)).abs().max() / chosen(x).abs().max())
    return {
        "weights": family["weights"],
        "outputs_apart": apart,
        "bank": {"ccm": found["bank"]["best_merge"], "torch": float(bank[int(np.argmin(losses))])},
        "bank_losses_apart": float(np.max(np.abs(np.array(losses) / found["bank"]["losses"] - 1))),
        "continuous": {
            "coordinate": best,
            "lowest": found["continuous"]["at_end_of_search"] or around[1] <= min(around),
        },
        "evaluate": table.replace(f"{folder}/", ""),
    }


def _load(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(path)


def main() -> None:
    """Trains, calibrates and compares both networks."""
    from ccm_jax.io.atomic import read_json

    parser = options(__doc__)
    parser.add_argument("--only", choices=NETWORKS, help="one network; the file's rows of others are kept")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_json(chosen.output)["rows"] if chosen.only and chosen.output.exists() else {}
    for name in [chosen.only] if chosen.only else NETWORKS:
        arguments, size = NETWORKS[name]
        size = Size(steps=20, fine=10, samples=4, length=8) if chosen.quick else size
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = compare(name, arguments, size, Path(folder))
        print(name, json.dumps({k: v for k, v in rows[name].items() if k != "evaluate"}), flush=True)
        print(rows[name]["evaluate"], flush=True)
    from experiments.pipeline.store import write_result

    write_result(chosen.output, {"rows": rows, "machine": machine("jax", "jaxlib", "torch")})


if __name__ == "__main__":
    main()
