"""Is the anchor trained enough? Twice its steps, and the error on every validation regime, inside and outside.

A weak anchor would flatter every method that starts from it. The rule: in no regime do twice the steps, at the rate
that was chosen for the anchor, lower its error by more than a tenth.
"""

from __future__ import annotations

from ccm_jax.metrics import gain
from experiments.peers import judge as judging
from experiments.peers.judge import judge_of
from experiments.peers.trials import Found, regimes_of
from experiments.pipeline import data, networks, stages
from experiments.pipeline.stages import Run


def convergence(run: Run, known: Found) -> Found:
    """Errors of the anchor and of one with twice its steps on each validation regime, and what that gains."""
    doubled = run.config.copy_and_resolve_references()
    doubled.train.steps = 2 * run.config.train.steps
    errors = {}
    for name, one in (("once", run), ("twice", Run(doubled, run.root))):
        stage = stages.anchor(one, stages.support_data(one))
        errors[name] = judging.fixed(judge_of(one, stage), networks.load_params(stage, "anchor"), "validation")
    coordinates = [data.coordinate_of(run.config, float(v)) for v in run.config.regimes.validation]
    gains = [gain(twice, once) for once, twice in zip(errors["once"], errors["twice"], strict=True)]
    return {
        "errors": {},
        "validation": errors,
        "steps": int(run.config.train.steps),
        "gain": gains,
        "validation_coordinates": coordinates,
        "validation_outside": [data.outside(s) for s in coordinates],
    } | regimes_of(run)
