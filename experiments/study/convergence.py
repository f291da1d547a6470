"""Is the anchor trained enough? Doubles its steps and compares the error inside the support.

    python -m experiments.study.convergence --config=rd_ood --output=results/rd_ood_convergence.json

A weak anchor would flatter every method. The rule: twice the steps lower the anchor's error on the validation
regimes inside the support by less than 10 %. Shares the folder of the run.
"""

from __future__ import annotations

import jax.numpy as jnp
from absl import flags
from ml_collections import ConfigDict

from ccm_jax.evaluate import future_error
from ccm_jax.metrics import gain
from ccm_jax.rollout import make_rollout
from experiments import command, options
from experiments.options import output_path
from experiments.pipeline import data, networks, stages
from experiments.pipeline.family import mean_error
from experiments.pipeline.stages import Run
from experiments.pipeline.store import write_result
from experiments.runner.progress import console


def anchor_errors(run: Run) -> tuple[dict[str, float], float]:
    """The anchor's error on each validation regime inside the support, by value; and its seconds of training."""
    config = run.config
    support = stages.support_data(run)
    validation = stages.validation_data(run)
    anchor_stage = stages.anchor(run, support)
    _, apply = networks.normalized_model(run.config, anchor_stage)
    rollout_fn, params = make_rollout(apply), networks.load_params(anchor_stage, "anchor")
    shape = {"history": config.model.history, "frames": config.calibration.frames}
    errors = {
        f"{value:g}": mean_error(future_error(params, rollout_fn, jnp.asarray(x), **shape))
        for value, x in zip(config.regimes.validation, stages.load_trajectories(validation), strict=True)
        if not data.outside(data.coordinate_of(config, value))
    }
    return errors, anchor_stage.seconds


def main(config: ConfigDict, run: Run) -> None:
    """Trains both anchors, and writes ``convergence.json``."""
    doubled = config.copy_and_resolve_references()
    doubled.train.steps = 2 * config.train.steps
    (once, seconds), (twice, more) = anchor_errors(run), anchor_errors(Run(doubled, run.root))
    share = gain(list(twice.values()), list(once.values()))
    result = {"steps": config.train.steps, "seed": config.seed, "error": once, "error_doubled": twice, "gain": share}
    write_result(output_path(run.root, "convergence.json"), result | {"seconds": seconds + more})
    console.print(f"Twice the steps lower the anchor's error inside the support by {share:.1%}.")


flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(options)

if __name__ == "__main__":
    command.run(main, __doc__)
