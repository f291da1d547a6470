"""Prefix calibration: all candidates in one compiled call, beside the PyTorch way, a loop over merged state dicts.

    pip install -e '.[bench]'
    python -m benchmarks.calibration --output docs/performance/calibration.json

13 candidates, K = 4 frames, 16 trajectories, 64², neuraloperator's FNO of width 32 with the same weights on both sides;
timed only after the losses agree. Then 39 candidates on a plane (three gates), and what 13 cost at other batch sizes.
The continuous readout stands beside a bank of 65 on the same frames, which are a rollout at a planted coordinate with
noise: its time, its rollouts (one for each value and for each derivative), and how far either is from the minimum. The
readout as fitted by default begins half way through the prefix, and takes half the time.

Ours spreads trajectories over a device for each core, as the experiments do; what one device takes stands beside it.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._measure import interleaved, machine, options, ratio, spread
from benchmarks.fno import CHANNELS, Size, torch_model
from experiments.runner.runtime import mesh, share_processor

FRAMES = 4
SIZE = Size(64, 32, 12, 16)
BANK, PLANTED, NOISE = 65, 0.37, 0.01


def family(size: Size) -> list[dict[str, Any]]:
    """State dicts of an anchor and two experts near it."""
    import torch

    anchor = {key: value.detach() for key, value in torch_model(size).state_dict().items() if hasattr(value, "detach")}
    torch.manual_seed(1)
    experts = [{key: value + 0.01 * torch.randn_like(value) for key, value in anchor.items()} for _ in range(2)]
    return [anchor, *experts]


def chart_of(trees: list[dict[str, Any]], features: Any = None) -> tuple[Any, Any]:
    """The chart of the family, and its model."""
    from ccm_jax import fit_chart, make_rollout
    from ccm_jax.interop import fno_from_neuraloperator
    from ccm_jax.models import make_model

    both = [fno_from_neuraloperator({key: value.numpy() for key, value in tree.items()}) for tree in trees]
    anchor, *experts = (params for _, params in both)
    chart = fit_chart(anchor, experts, [-1.0, 1.0], features=features)
    return chart, make_rollout(make_model("fno", **both[0][0]).apply)


def ours(trees: list[dict[str, Any]], x: np.ndarray, candidates: np.ndarray, mesh: Any) -> Callable[[], np.ndarray]:
    """All candidates ``[n, 2]`` on the plane of coordinate and gate, in one call."""
    from ccm_jax import Gated
    from ccm_jax.parallel import place
    from ccm_jax.prefix import prefix_errors

    chart, rollout_fn = chart_of(trees, Gated())
    chart, frames, bank = place((chart, x, candidates.astype(np.float32)), mesh)
    return lambda: np.asarray(prefix_errors(chart, rollout_fn, frames, bank, frames=FRAMES, mesh=mesh).mean(axis=-1))


def observed(trees: list[dict[str, Any]], size: Size, batch: int) -> np.ndarray:
    """Frames ``[batch, K + 1, n, n, C]`` of a rollout at the planted coordinate, with noise."""
    chart, rollout_fn = chart_of(trees)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((batch, 1, size.grid, size.grid, CHANNELS), np.float32)
    frames = np.asarray(rollout_fn(chart(PLANTED), start, FRAMES))
    noise = NOISE * frames.std() * rng.standard_normal(frames.shape, np.float32)
    return np.concatenate([start, frames + noise], axis=1)


def continuous(trees: list[dict[str, Any]], size: Size, mesh: Any, repeats: int) -> dict[str, Any]:
    """The continuous readout beside a bank of 65, one coordinate for each of 16 trajectories."""
    from ccm_jax.fit_readout import prefix_readout

    chart, rollout_fn = chart_of(trees)
    x = observed(trees, size, size.batch)
    bank = np.linspace(-2.5, 2.5, BANK, dtype=np.float32)[:, None]
    readouts = {
        "continuous": prefix_readout(chart, rollout_fn, begin=0),
        "bank of 65": prefix_readout(chart, rollout_fn, begin=0, search="bank", candidates=bank),
        "continuous, by default": prefix_readout(chart, rollout_fn),
    }
    found = {name: readout(x, batch="each", mesh=mesh) for name, readout in readouts.items()}
    runs = {
        name: lambda r=readout: np.asarray(r(x, batch="each", mesh=mesh).coordinate)
        for name, readout in readouts.items()
    }
    times = interleaved(runs, repeats=repeats)
    return {
        "seconds": {name: spread(ts) for name, ts in times.items()},
        "rollouts": {name: float(np.mean(np.asarray(f.rollouts))) for name, f in found.items()},
        "loss": {name: float(np.mean(np.asarray(f.loss))) for name, f in found.items()},
        "off_planted": {name: float(np.abs(np.asarray(f.coordinate) - PLANTED).mean()) for name, f in found.items()},
        "bank_over_continuous": ratio(times["bank of 65"], times["continuous"]),
    }


def theirs(size: Size, trees: list[dict[str, Any]], x: np.ndarray, candidates: np.ndarray) -> Callable[[], np.ndarray]:
    """One candidate after the other: merge the state dicts, load, roll out."""
    import torch

    model, (anchor, low, high) = torch_model(size), trees
    frames = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 2)))

    def run() -> np.ndarray:
        losses = []
        with torch.no_grad():
            for alpha, gate in candidates.tolist():
                a, b = (gate - alpha) / 2, (gate + alpha) / 2
                merged = {k: v + a * (low[k] - v) + b * (high[k] - v) for k, v in anchor.items()}
                model.load_state_dict(merged, strict=False)
                state, errors = frames[:, 0], []
                for k in range(1, FRAMES + 1):
                    state, truth = model(state), frames[:, k]
                    errors.append((((state - truth) ** 2).sum((1, 2, 3)) / (truth**2).sum((1, 2, 3))).sqrt())
                losses.append(torch.stack(errors).mean(0).numpy())
        return np.stack(losses)

    return run


def main() -> None:
    """Measures, and writes the table and the picture."""
    parser = options(__doc__)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    share_processor()
    size, repeats = (SIZE._replace(grid=32), 3) if chosen.quick else (SIZE, 7)
    trees = family(size)
    bank = np.linspace(-1.5, 1.5, 13)
    line = np.stack([bank, np.ones(13)], axis=1)
    plane = np.concatenate([np.stack([bank, np.full(13, gate)], axis=1) for gate in (0.0, 0.5, 1.0)])
    rows = []
    for batch in (16,) if chosen.quick else (16, 4, 1):
        x = observed(trees, size, batch)
        runs = {"ours": ours(trees, x, line, mesh()), "torch": theirs(size, trees, x, line)}
        runs |= {"ours, one device": ours(trees, x, line, None), "ours, 39": ours(trees, x, plane, mesh())}
        a, b = runs["ours"](), runs["torch"]()
        difference = float(np.abs(a - b).max() / np.abs(b).max())
        if difference > 1e-3:
            raise RuntimeError(f"losses differ by {difference:g}; nothing is timed.")
        times = interleaved(runs, repeats=repeats)
        row: dict[str, Any] = {"trajectories": batch, "grid": size.grid, "width": size.width, "difference": difference}
        row |= {"seconds": {name: spread(ts) for name, ts in times.items()}}
        row |= {"ratio": ratio(times["torch"], times["ours"])}
        row |= {"ratio_one_device": ratio(times["torch"], times["ours, one device"])}
        row |= {"39_over_13": ratio(times["ours, 39"], times["ours"])}
        rows.append(row)
        print(batch, round(row["ratio"]["median"], 2), round(row["39_over_13"]["median"], 2), flush=True)
    search = continuous(trees, size, mesh(), repeats)
    summary = {name: rows[0][name]["median"] for name in ("ratio", "ratio_one_device", "39_over_13")}
    summary["bank_over_continuous"] = search["bank_over_continuous"]["median"]
    summary["rollouts_over_bank"] = search["rollouts"]["continuous"] / search["rollouts"]["bank of 65"]
    from experiments.pipeline.store import write_result

    about = machine("jax", "jaxlib", "torch", "neuraloperator")
    write_result(chosen.output, {"summary": summary, "rows": rows, "continuous": search, "machine": about})
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
