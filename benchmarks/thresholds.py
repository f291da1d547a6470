"""The thresholds that were set before the benchmarks ran, beside what was measured."""

from __future__ import annotations

from typing import Any


def thresholds(found: dict[str, Any], run: dict[str, Any]) -> str:
    """The last section of the page of speeds.

    Args:
        found: contents of the files in ``docs/performance``, by name.
        run: content of ``results/rd_ood_time.json``.

    Returns:
        Markdown; what misses its threshold is marked.
    """
    fno, many = found["fno"]["rows"], found["calibration"]["rows"][0]
    networks, family = found["torch_speed"]["rows"], found["torch_family"]["rows"].values()
    both: dict[Any, list[float]] = {row["grid"]: [] for row in fno} | {"first": [], "all": []}
    for i, row in enumerate(fno):
        ratios = [row[f"{what}_ratio"]["median"] for what in ("training_step", "forward")]
        for group in (row["grid"], "all", *(["first"] if i < 3 else [])):
            both[group] += ratios
    rows = [
        (
            "FNO, training step and forward pass: times faster than neuraloperator, first three rows",
            min(both["first"]),
            2,
        ),
        ("… on 32²", min(both[32]), 2.5),
        ("… on all grids", min(both["all"]), 1),
        (
            f"calibration, {many['trajectories']} trajectories: times faster than a loop in PyTorch",
            many["ratio"]["median"],
            2.5,
        ),
        ("… time of 39 candidates relative to that of 13", many["39_over_13"]["median"], -3.3),
        (
            "network in PyTorch: time relative to a loop in PyTorch",
            max(r["ours_over_torch"]["median"] for r in networks),
            -1.2,
        ),
        ("trained in PyTorch: difference from PyTorch's own merge", max(row["outputs_apart"] for row in family), -1e-6),
        (
            "merging in memory: bandwidth relative to a copy",
            found["merging"]["memory"]["of_copy"]["merge"]["median"],
            0.6,
        ),
        ("merging files: times faster than mergekit", found["merging"]["files"]["ratio"]["median"], 2),
        ("`rd_ood`, cold: seconds", run["cold_seconds"], -240),
        ("… of which XLA compiles", run["compile_seconds"], -25),
    ]
    table = ["| measure (of several, the worst) | measured | threshold |", "|---|---|---|"]
    for words, value, bound in rows:
        reached = value <= -bound if bound < 0 else value >= bound
        shown = f"{value:.0f}" if abs(bound) >= 10 else f"{value:.0e}" if abs(bound) < 1e-3 else f"{value:.2f}"
        goal = f"{'at most' if bound < 0 else 'at least'} {abs(bound):g}"
        table.append(f"| {words} | {shown}{'' if reached else ' ✗ missed'} | {goal} |")
    text = "Our own, set before the measurements, for medians; ✗ marks what missed its threshold."
    return "\n\n".join(["## Thresholds", text, "\n".join(table)])
