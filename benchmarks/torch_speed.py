"""Candidates of a PyTorch network on observed frames: through our charts and callbacks, and by a loop in PyTorch alone.

Both merge, load and roll out one candidate after the other. Ours may take 1.2 times as long.

    python -m benchmarks.torch_speed --output torch.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks._measure import interleaved, machine, options, ratio, spread
from benchmarks.torch_networks import UNet

FRAMES = 4


class Case(NamedTuple):
    """A size of network, and what it is tried on."""

    width: int
    grid: int
    batch: int
    candidates: int


# 1 M and 50 M weights; few states, so that handing over weights counts.
CASES = (Case(52, 32, 2, 5), Case(364, 8, 1, 3))
QUICK = (Case(8, 16, 2, 3),)


def ours(module: Any, trees: list[dict[str, np.ndarray]], x: np.ndarray, bank: np.ndarray) -> Callable[[], np.ndarray]:
    """Losses of all candidates by :func:`ccm_jax.prefix.prefix_errors`."""
    import jax.numpy as jnp

    from ccm_jax import fit_chart
    from ccm_jax.interop.torch import torch_rollout
    from ccm_jax.prefix import prefix_errors

    chart, rollout_fn = fit_chart(trees[0], trees[1:], [-1.0, 1.0]), torch_rollout(module)
    frames, candidates = jnp.asarray(x), jnp.asarray(bank[:, None])
    return lambda: np.asarray(prefix_errors(chart, rollout_fn, frames, candidates, frames=FRAMES).mean(axis=-1))


def theirs(
    module: Any, trees: list[dict[str, np.ndarray]], x: np.ndarray, bank: np.ndarray
) -> Callable[[], np.ndarray]:
    """The same by ``load_state_dict`` and a loop."""
    anchor, low, high = ({name: torch.tensor(leaf) for name, leaf in tree.items()} for tree in trees)
    frames = torch.tensor(np.moveaxis(x, -1, 2).copy())

    def run() -> np.ndarray:
        losses = []
        with torch.no_grad():
            for c in bank.tolist():
                a, b = (1 - c) / 2, (1 + c) / 2
                module.load_state_dict({k: v + a * (low[k] - v) + b * (high[k] - v) for k, v in anchor.items()})
                state, errors = frames[:, 0], []
                for k in range(1, FRAMES + 1):
                    state, truth = module(state), frames[:, k]
                    errors.append((((state - truth) ** 2).sum((1, 2, 3)) / (truth**2).sum((1, 2, 3))).sqrt())
                losses.append(torch.stack(errors).mean(0).numpy())
        return np.stack(losses)

    return run


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Both sides of one case."""
    from ccm_jax.interop.torch import torch_params

    torch.manual_seed(0)
    module, rng = UNet(width=case.width).eval(), np.random.default_rng(0)
    anchor = torch_params(module)
    trees = [anchor] + [
        {k: v + np.float32(0.01) * rng.standard_normal(v.shape, np.float32) for k, v in anchor.items()} for _ in "lh"
    ]
    x = rng.standard_normal((case.batch, FRAMES + 1, case.grid, case.grid, 1), np.float32)
    bank = np.linspace(-1.5, 1.5, case.candidates, dtype=np.float32)
    runs = {"ours": ours(module, trees, x, bank), "torch": theirs(module, trees, x, bank)}
    a, b = runs["ours"](), runs["torch"]()
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    if difference > 1e-3:
        raise RuntimeError(f"losses differ by {difference:g}; nothing is timed.")
    times = interleaved(runs, repeats=repeats)
    row = {"weights": sum(v.size for v in anchor.values()), "difference": difference} | case._asdict()
    row |= {"seconds": {name: spread(ts) for name, ts in times.items()}}
    return row | {"ours_over_torch": ratio(times["ours"], times["torch"])}


def main() -> None:
    """Measures and writes the rows."""
    parser = options(__doc__)
    parser.add_argument("--only", type=int, help="number of the case to run alone, 0 for 1 M weights, 1 for 50 M")
    chosen = parser.parse_args()
    cases = QUICK if chosen.quick else CASES if chosen.only is None else CASES[chosen.only : chosen.only + 1]
    rows = []
    for case in cases:
        rows.append(measure(case, 3 if chosen.quick else 5))
        print(rows[-1]["weights"], json.dumps(rows[-1]["ours_over_torch"]), flush=True)
    from experiments.pipeline.store import write_result

    write_result(chosen.output, {"rows": rows, "machine": machine("jax", "jaxlib", "torch")})


if __name__ == "__main__":
    main()
