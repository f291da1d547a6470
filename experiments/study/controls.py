"""What could refute the claim: the same experts merged otherwise, and directions that should carry nothing.

    python -m experiments.study.controls --config=rd_ood --seeds=0,1,2 --output=results/rd_ood_controls.json

Shares the folder of the run, and trains one pair of experts more: two on the *same* regime, the middle of the axis,
with data and batches of their own. What sets them apart is fine-tuning noise alone. Scaled to the length of the
physical direction and put in its place, it should gain nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from ccm_jax import split_residuals
from ccm_jax.baselines import BASELINES, complex_view, pair_view
from ccm_jax.geometry import tree_norm
from ccm_jax.io.atomic import read_json
from ccm_jax.metrics import gain, over
from ccm_jax.models import is_real_pair
from ccm_jax.rollout import make_rollout
from ccm_jax.train import make_loss
from experiments import command, options
from experiments.options import SEEDS, output_path
from experiments.pipeline import data, networks, stages
from experiments.pipeline.family import Family, mean_error
from experiments.pipeline.methods import ANCHORS
from experiments.pipeline.stages import HIGH, LOW, Run, Stages, run_all
from experiments.pipeline.store import Stage, run_stage, write_result
from experiments.report.statistics import interval
from experiments.runner.progress import bar, console, finished
from experiments.runner.runtime import is_writer
from experiments.study.published import error

Params = Any
Weights = Callable[[float], Params]  # coordinate of a regime -> weights


VERSION = 2
FISHER_SAMPLES = 128


def same_regime(run: Run, anchor_stage: Stage) -> tuple[Stage, Stage]:
    """Two experts of the middle of the axis that share neither data nor order of batches, ``low`` and ``high``.

    Returns:
        Their data, and the two.
    """
    regimes = stages.trajectories(run, "data_same_regime")
    return regimes, stages.experts(run, "same_regime", regimes, anchor_stage, {"low": LOW, "high": HIGH})


def combine(base: Params, scale: float, direction: Params) -> Params:
    """``base + scale * direction``."""
    return jax.tree.map(lambda b, d: b + scale * d, base, direction)


def random_like(direction: Params, key: jax.Array) -> Params:
    """A random tree whose every leaf has the norm of that of ``direction``."""
    leaves, structure = jax.tree.flatten(direction)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    scaled = [d * jnp.linalg.norm(x.ravel()) / jnp.linalg.norm(d.ravel()) for d, x in zip(drawn, leaves, strict=True)]
    return jax.tree.unflatten(structure, scaled)


def shuffled_layers(direction: Params) -> Params:
    """Every layer takes the update of the next one of its kind: names that differ only in their number."""
    kinds: dict[str, list[str]] = {}
    for name in direction:
        kinds.setdefault(re.sub(r"\d+", "#", name), []).append(name)
    after = {name: names[(i + 1) % len(names)] for names in kinds.values() for i, name in enumerate(names)}

    def shape(tree: Params) -> Any:
        return jax.tree.map(jnp.shape, tree)

    return {
        name: direction[after[name] if shape(direction[after[name]]) == shape(tree) else name]
        for name, tree in direction.items()
    }


def only(direction: Params, layer: str, *, inverse: bool = False) -> Params:
    """The direction in one layer, or everywhere else."""
    return {
        name: tree if (name == layer) != inverse else jax.tree.map(jnp.zeros_like, tree)
        for name, tree in direction.items()
    }


def fisher(run: Run, params: Params, apply: Any, trajectories: np.ndarray) -> Params:
    """Mean squared gradient of the training loss over single samples, one a trajectory in turn."""
    history = run.config.model.history
    loss = make_loss(apply, history=history)
    starts = trajectories.shape[1] - history
    picks = [(i % len(trajectories), (7 * i) % starts) for i in range(FISHER_SAMPLES)]
    samples = jnp.asarray(np.stack([trajectories[n, t : t + history + 1] for n, t in picks]))

    def add(total: Params, frames: jax.Array) -> tuple[Params, None]:
        gradient = jax.grad(loss)(params, frames[None])
        return jax.tree.map(lambda t, g: t + g**2 / FISHER_SAMPLES, total, gradient), None

    return jax.jit(lambda: jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), samples)[0])()


def merges(family: Family, noise: Params, fishers: list[Params], seed: int) -> dict[str, Weights]:
    """Every way to make weights of a regime from the experts, by name; published methods, untuned."""
    anchor, experts = family.anchor, [family.low, family.high]
    split = split_residuals(anchor, *experts)
    middle = combine(anchor, 1.0, split.shared)
    noise = jax.tree.map(lambda d: d * (tree_norm(split.direction) / tree_norm(noise)), noise)
    chance = random_like(split.direction, jax.random.fold_in(jax.random.key(seed), 11))
    shuffled = shuffled_layers(split.direction)

    made = by_others(family, fishers, seed) | {
        "average": lambda s: middle,
        "ccm_coord": lambda s: combine(middle, s, split.direction),
        "wrong_sign": lambda s: combine(middle, -s, split.direction),
        "direction_alone": lambda s: combine(anchor, s, split.direction),
        "random_direction": lambda s: combine(middle, s, chance),
        "shuffled_layers": lambda s: combine(middle, s, shuffled),
        "same_regime": lambda s: combine(middle, s, noise),
    }
    for layer in anchor:
        here, elsewhere = only(split.direction, layer), only(split.direction, layer, inverse=True)
        made[f"only {layer}"] = lambda s, d=here: combine(middle, s, d)  # type: ignore[misc]
        made[f"without {layer}"] = lambda s, d=elsewhere: combine(middle, s, d)  # type: ignore[misc]
    return made


def by_others(family: Family, fishers: list[Params], seed: int) -> dict[str, Weights]:
    """Every baseline, untuned; complex weights that are stored as pairs of reals are merged as complex ones."""
    anchor, *experts = (complex_view(tree, is_real_pair) for tree in (family.anchor, family.low, family.high))
    given: dict[str, dict[str, Any]] = {
        "dare": {"key": jax.random.fold_in(jax.random.key(seed), 12)},
        "fisher_average": {"fishers": [_per_pair(tree) for tree in fishers]},
    }

    def weights(name: str) -> Weights:
        def at(s: float) -> Params:
            merged = BASELINES[name].merge(anchor, experts, (-1.0, 1.0), s, **given.get(name, {}))
            return pair_view(merged, family.anchor)

        if BASELINES[name].located:
            return at
        everywhere = at(0.0)
        return lambda s: everywhere

    return {name: weights(name) for name in BASELINES}


def _per_pair(information: Params) -> Params:
    """The Fisher information of complex weights, E |g|^2, from that of their real and imaginary parts."""

    def share(path: Any, leaf: jax.Array) -> jax.Array:
        return leaf.sum(axis=0) if is_real_pair(path, leaf) else leaf

    return jax.tree_util.tree_map_with_path(share, information)


def controls(run: Run, done: Stages) -> tuple[tuple[Stage, Stage], Stage]:
    """Errors of every merge on every test regime: ``controls.npz``, arrays ``[R, N]`` by name.

    Returns:
        The data and the experts of one regime, and the stage of the errors.
    """
    regimes, pair = same_regime(run, done.anchor)

    def build(work: Path) -> None:
        config = run.config
        family = networks.load_family(run.config, done.anchor, done.endpoints)
        _, apply = networks.normalized_model(run.config, done.anchor)
        a, b = (networks.load_params(pair, name) for name in ("low", "high"))
        ends = stages.load_trajectories(done.endpoint_data)
        fishers = [fisher(run, p, apply, ends[i]) for i, p in enumerate((family.low, family.high))]
        made = merges(family, combine(b, -1.0, a), fishers, config.seed)
        both = make_rollout(lambda p, window: (apply(p[0], window) + apply(p[1], window)) / 2)
        ensemble, experts = family._replace(rollout_fn=both), (family.low, family.high)
        errors: dict[str, list[np.ndarray]] = {name: [] for name in [*made, "output_ensemble"]}
        tests = stages.load_trajectories(done.test)
        with bar("controls", len(tests)) as advance:
            for value, trajectories in zip(config.regimes.test, tests, strict=True):
                s, x = data.coordinate_of(config, value), jnp.asarray(trajectories)
                for name, weights in made.items():
                    errors[name].append(family.errors_of(weights(s), x).mean(axis=-1))
                errors["output_ensemble"].append(ensemble.errors_of(experts, x).mean(axis=-1))
                advance(1, f"at {value:g}")
        if is_writer():
            np.savez(work / "controls.npz", allow_pickle=False, **{name: np.stack(e) for name, e in errors.items()})

    settings = stages.settings_of(run.config, "calibration", "axis", "model", "regimes")
    inputs = (done.test, done.anchor, done.endpoints, pair)
    stage = run_stage(run.root, "controls", settings, inputs, build, version=VERSION)
    finished(stage, "merges and controls on every test regime")
    return (regimes, pair), stage


def summarise(done: Stages, stage: Stage) -> dict[str, Any]:
    """Out-of-support means of one seed, over the better anchor's; and what same-regime noise gains on the average."""
    rows = read_json(done.evaluation.path / "evaluation.json")["regimes"]
    ood = np.array([row["split"] == "ood" for row in rows])
    means = {name: mean_error(errors[ood]) for name, errors in np.load(stage.path / "controls.npz").items()}
    anchor = min(error({"regimes": rows}, name) for name in ANCHORS)
    return {
        "over_anchor": {name: 1 - gain(mean, anchor) for name, mean in means.items()},
        "same_regime_direction_gain": gain(means["same_regime"], means["average"]),
        "physical_direction_gain": gain(means["ccm_coord"], means["average"]),
        "wrong_sign_factor": over(means["wrong_sign"], means["ccm_coord"]),
    }


def main(config: ConfigDict, run: Run) -> None:
    """Runs every seed, and writes what they say together."""
    found = []
    for seed in (int(s) for s in SEEDS.value):
        console.print(f"{command.label(config)}, seed {seed}", markup=False)
        with_seed = Run(config.copy_and_resolve_references(), run.root)
        with_seed.config.seed = seed
        done = run_all(with_seed)
        found.append(summarise(done, controls(with_seed, done)[1]))
    ratios = {name: interval([f["over_anchor"][name] for f in found], "log") for name in found[0]["over_anchor"]}
    gains = {name: interval([f[name] for f in found]) for name in found[0] if name != "over_anchor"}
    output = output_path(run.root, "controls.json")
    write_result(output, {"config": config.to_dict(), "summary": gains, "over_anchor": ratios})
    for name, value in (ratios | gains).items():
        console.print(f"  {name:<28} {value['mean']:.3f}", markup=False)
    console.print(f"{output} is written.", markup=False)


flags.adopt_module_key_flags(command)
flags.adopt_module_key_flags(options)

if __name__ == "__main__":
    command.run(main, __doc__)
