"""Is the anchor trained enough? Doubles its steps and compares the error inside the support.

    python -m experiments.convergence --config=rd_ood

A weak anchor would flatter every method. The rule: twice the steps lower the anchor's error on the validation
regimes inside the support by less than 10 %. Shares the folder of the run, and writes convergence.json there.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from ccm_jax.evaluate import future_error
from ccm_jax.normalize import normalized
from ccm_jax.rollout import make_rollout
from experiments import command, data, stages
from experiments.evaluation import mean_error
from experiments.progress import console
from experiments.stages import Run
from experiments.store import provenance, write_json


def anchor_errors(run: Run) -> dict[str, float]:
    """The anchor's error on each validation regime inside the support, by value."""
    config = run.config
    support = stages.support_data(run)
    validation = stages.validation_data(run)
    first = stages.anchor(run, support)
    apply = normalized(stages.model_of(config).apply, stages.load_normalization(first))
    rollout_fn, params = make_rollout(apply), stages.load_params(first, "anchor")
    shape = {"history": config.model.history, "prefix": config.calibration.frames}
    return {
        f"{value:g}": mean_error(future_error(params, rollout_fn, jnp.asarray(x), **shape))
        for value, x in zip(config.regimes.validation, stages.load_trajectories(validation), strict=True)
        if abs(data.coordinate_of(config, value)) <= 1
    }


def main(config: ConfigDict, run: Run) -> None:
    """Trains both anchors, and writes ``convergence.json``."""
    doubled = config.copy_and_resolve_references()
    doubled.train.steps = 2 * config.train.steps
    once, twice = anchor_errors(run), anchor_errors(Run(doubled, run.root))
    gain = 1 - float(np.mean(list(twice.values())) / np.mean(list(once.values())))
    result = {"steps": config.train.steps, "error": once, "error_doubled": twice, "gain": gain, **provenance()}
    write_json(run.root.parent / "convergence.json", result)
    console.print(f"Twice the steps lower the anchor's error inside the support by {gain:.1%}.")


flags.adopt_module_key_flags(command)

if __name__ == "__main__":
    command.run(main, __doc__)
