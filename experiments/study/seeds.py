"""The claim over seeds: runs an experiment for several seeds, and writes means with 95 % intervals.

    python -m experiments.study.seeds --config=rd_ood --output=results/rd_ood.json

A seed sets everything random: data, initial weights, order of the batches. Shares the folder of the run, so that
seeds that are there already are not repeated.
"""

from __future__ import annotations

from typing import Any

from absl import flags
from ml_collections import ConfigDict

from experiments import command, options
from experiments.options import SEEDS, output_path
from experiments.pipeline.methods import METHODS, reduced
from experiments.pipeline.stages import Run, run_all
from experiments.pipeline.store import write_result
from experiments.report.results import collect
from experiments.report.statistics import interval
from experiments.runner.progress import console


def summarise_seeds(config: ConfigDict, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of all seeds: per regime and method, and the headline."""
    summaries = [r["summary"] for r in results]
    regimes = [
        {key: row[key] for key in ("value", "coordinate", "split")}
        | {"errors": {name: interval([r["regimes"][i]["errors"][name] for r in results]) for name in METHODS}}
        for i, row in enumerate(results[0]["regimes"])
    ]
    summary: dict[str, Any] = {
        "reduction": {name: interval([s["reduction"][name] for s in summaries]) for name in reduced()},
        "better_anchor": [s["better_anchor"] for s in summaries],
        "calibrated_map": [r["calibration"]["kind"] for r in results],
    }
    summary["harm"] = max((s["harm"] for s in summaries), key=lambda h: h["above_anchor"])
    summary["seconds"] = [sum(r["wall_seconds"].values()) for r in results]
    for name in ("wrong_sign_factor", "best_correlation"):
        summary[name] = interval([s[name] for s in summaries])
    return {"config": config.to_dict(), "summary": summary, "regimes": regimes}


def main(config: ConfigDict, run: Run) -> None:
    """Runs every seed, and writes what they say together."""
    results = []
    for seed in (int(s) for s in SEEDS.value):
        console.print(f"{command.label(config)}, seed {seed}", markup=False)
        with_seed = config.copy_and_resolve_references()
        with_seed.seed = seed
        results.append(collect(with_seed, run_all(Run(with_seed, run.root))))
    combined = summarise_seeds(config, results)
    output = output_path(run.root, "seeds.json")
    write_result(output, combined)
    for name, value in combined["summary"]["reduction"].items():
        low, high = (f"{value[k]:.1%}" if value[k] is not None else "?" for k in ("low", "high"))
        words = f"error reduction outside the support {value['mean']:.1%} [{low}, {high}]"
        console.print(f"  {name:<18} {words}", markup=False)
    console.print(f"{output} is written.", markup=False)


flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(options)

if __name__ == "__main__":
    command.run(main, __doc__)
