"""The stages of an experiment: data, anchor, endpoint experts, calibration, evaluation.

Each is a function from its inputs to a finished :class:`~experiments.pipeline.store.Stage`; it depends on exactly
the settings and inputs that it names, so an override redoes only what it touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io.atomic import read_json
from ccm_jax.normalize import Normalization, fit_normalization
from experiments.pipeline import data, recorded
from experiments.pipeline.calibration import calibrate, load_map
from experiments.pipeline.evaluation import evaluate
from experiments.pipeline.networks import load_family, load_params, model_of, normalized_model, physical_model
from experiments.pipeline.readouts import Evidence, growth_of
from experiments.pipeline.store import RECORD, Stage, provenance, run_stage, write_json
from experiments.pipeline.systems import stored_channels
from experiments.pipeline.training import fit
from experiments.runner.progress import bar, finished
from experiments.runner.runtime import is_writer

Params = Any

# Raise one when its code changes what it computes: kept stages of the old code are then not used.
VERSIONS = {"data": 1, "train": 2, "calibration": 3, "evaluation": 3}

# Batch orders of one seed. Both experts of a pair share theirs.
ANCHOR, MORE, PAIR, LOW, HIGH = range(5)


class Run(NamedTuple):
    """An experiment and the folder of its stages."""

    config: ConfigDict
    root: Path


class Stages(NamedTuple):
    """The finished stages of an experiment."""

    support: Stage
    endpoint_data: Stage
    validation: Stage
    test: Stage
    anchor: Stage
    anchor_more: Stage
    endpoints: Stage
    calibration: Stage
    evaluation: Stage


def run_all(run: Run) -> Stages:
    """Makes what is not there yet, in order."""
    support, ends, validation, test = (make(run) for make in (support_data, endpoint_data, validation_data, test_data))
    first = anchor(run, support)
    more = anchor_more(run, support, first)
    experts = endpoints(run, ends, first)
    chosen = calibration(run, validation, first, experts)
    judged = evaluation(run, test, validation, first, more, experts, chosen)
    return Stages(support, ends, validation, test, first, more, experts, chosen, judged)


def settings_of(config: ConfigDict, *fields: str) -> dict[str, Any]:
    """The named parts of a configuration, JSON-able."""
    values = {name: config[name] for name in fields}
    return {name: value.to_dict() if isinstance(value, ConfigDict) else value for name, value in values.items()}


def support_data(run: Run) -> Stage:
    """Trajectories of the support regimes, for the anchor."""
    plan = [(value, run.config.data.support, "support") for value in run.config.regimes.support]
    return simulated(run, "data_support", plan)


def endpoint_data(run: Run) -> Stage:
    """Trajectories at either end of the axis, for the experts; paired ones start from the same states."""
    config = run.config
    low, high = ("pair", "pair") if config.finetune.paired else ("low", "high")
    plan = [(config.axis.low, config.data.endpoint, low), (config.axis.high, config.data.endpoint, high)]
    return simulated(run, "data_endpoints", plan)


def validation_data(run: Run) -> Stage:
    """Trajectories for every choice that is not fixed beforehand."""
    plan = [(value, run.config.data.validation, "validation") for value in run.config.regimes.validation]
    return simulated(run, "data_validation", plan)


def test_data(run: Run) -> Stage:
    """Trajectories that nothing is chosen on."""
    plan = [(value, run.config.data.test, "test") for value in run.config.regimes.test]
    return simulated(run, "data_test", plan)


def simulated(run: Run, name: str, plan: Sequence[tuple[float, int, str]]) -> Stage:
    """Regimes as a list of (value, count, purpose): ``trajectories.npy [regimes, N, T, H, W, C]``."""

    config = run.config
    frame = (config.data.grid, config.data.grid, len(stored_channels(config)))
    shape = (len(plan), plan[0][1], config.solver.frames + 1, *frame)

    def build(work: Path) -> dict[str, float]:
        # Written as it comes: data may be larger than memory.
        path, file = work / "trajectories.npy", None
        if is_writer():
            file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        reached = 0.0
        with bar(name, len(plan)) as advance:
            for i, (value, count, purpose) in enumerate(plan):
                # Samples of one purpose are numbered through its regimes; a pair has the same ones twice.
                first, done = 0 if purpose == "pair" else i * count, 0
                if config.data.path:
                    batches = recorded.read_batches(config, value, count, purpose)
                else:
                    batches = data.simulate_batches(config, value, count, purpose, first)
                for batch, courant in batches:
                    if file is not None:
                        file[i, done : done + len(batch)] = batch
                    done, reached = done + len(batch), max(reached, courant)
                advance(1, "")
        if file is not None:
            file.flush()
        return {"courant": reached}

    settings = data.specification(config) | {"seed": config.seed, "plan": [list(row) for row in plan]}
    if config.data.path:
        settings |= {
            "recorded": recorded.identity(config),
            "sections": [recorded.sections(config, v) for v, *_ in plan],
        }
    stage = run_stage(run.root, name, settings, (), build, version=VERSIONS["data"])
    courant = read_json(stage.path / RECORD)["facts"]["courant"]
    note = f", Courant number {courant:.2f}" if courant else ""
    finished(stage, f"{len(plan)} regimes, {plan[0][1]} trajectories each{note}")
    return stage


def load_trajectories(stage: Stage) -> np.ndarray:
    """The arrays of a data stage, ``[regimes, N, T, H, W, C]``, mapped from disk."""
    return np.load(stage.path / "trajectories.npy", mmap_mode="r")


def anchor(run: Run, support: Stage) -> Stage:
    """The family anchor, trained on the mixture of the support regimes, with the normalisation of its data."""
    config = run.config

    def build(work: Path) -> dict[str, float]:
        x = load_trajectories(support)
        normalization = fit_normalization(jnp.asarray(x))
        window = jnp.zeros((1, config.model.history, *x.shape[-3:]))
        start = model_of(config).init(jax.random.fold_in(jax.random.key(config.seed), 0), window)
        return _fit(run, "anchor", physical_model(config, normalization), start, x, ANCHOR, work, normalization)

    stage = run_stage(
        run.root, "anchor", settings_of(config, "model", "train", "seed"), (support,), build, version=VERSIONS["train"]
    )
    return _trained(stage, config.train.steps, "anchor")


def anchor_more(run: Run, support: Stage, first: Stage) -> Stage:
    """The anchor, trained on for as many steps as both experts together: what the same effort buys without them."""
    steps = 2 * run.config.finetune.steps

    def build(work: Path) -> dict[str, float]:
        normalization, apply = normalized_model(run.config, first)
        x, start = load_trajectories(support), load_params(first, "anchor")
        return _fit(run, "anchor_more", apply, start, x, MORE, work, normalization, steps)

    settings = settings_of(run.config, "finetune", "seed")
    stage = run_stage(run.root, "anchor_more", settings, (support, first), build, version=VERSIONS["train"])
    return _trained(stage, steps, "anchor_more")


def endpoints(run: Run, ends: Stage, first: Stage) -> Stage:
    """The two experts, fine-tuned from the anchor at either end of the axis."""
    low, high = (PAIR, PAIR) if run.config.finetune.paired else (LOW, HIGH)
    return experts(run, "endpoints", ends, first, {"low": low, "high": high})


def experts(run: Run, stage_name: str, regimes: Stage, first: Stage, orders: dict[str, int]) -> Stage:
    """Experts fine-tuned from the anchor, one for each regime of a data stage: names, and orders of their batches."""
    steps = run.config.finetune.steps

    def build(work: Path) -> dict[str, float]:
        x, start = load_trajectories(regimes), load_params(first, "anchor")
        normalization, apply = normalized_model(run.config, first)
        facts = [
            _fit(run, name, apply, start, x, order, work, normalization, steps, part=i)
            for i, (name, order) in enumerate(orders.items())
        ]
        return {key: sum(f[key] for f in facts) for key in facts[0]}

    settings = settings_of(run.config, "finetune", "seed")
    stage = run_stage(run.root, stage_name, settings, (regimes, first), build, version=VERSIONS["train"])
    return _trained(stage, steps, *orders)


def _fit(
    run: Run,
    name: str,
    apply: Any,
    start: Params,
    x: np.ndarray,
    order: int,
    work: Path,
    normalization: Normalization,
    steps: int | None = None,
    part: int | None = None,
) -> dict[str, float]:
    config = run.config
    settings = config.train if steps is None else config.finetune
    metadata = {
        "config": config.to_dict(),
        "seed": config.seed,
        "normalization": {key: value.tolist() for key, value in normalization._asdict().items()},
        **provenance(),
    }
    return fit(
        name,
        apply,
        start,
        x,
        settings,
        history=config.model.history,
        steps=steps or settings.steps,
        seed=10 * config.seed + order + (0 if steps is None else 1000 * config.finetune.seed),
        work=work,
        metadata=metadata,
        part=part,
    )


def _trained(stage: Stage, steps: int, *names: str) -> Stage:
    losses = [np.load(stage.path / f"{name}-losses.npy")[-100:].mean() for name in names]
    finished(stage, f"{steps} steps, loss {' and '.join(f'{loss:.4f}' for loss in losses)}")
    return stage


def calibration(run: Run, validation: Stage, first: Stage, experts: Stage) -> Stage:
    """What validation regimes decide, the map from metadata and the margin of the prefix: ``calibration.json``."""

    def build(work: Path) -> None:
        family = load_family(run.config, first, experts)
        write_json(work / "calibration.json", calibrate(run.config, family, load_trajectories(validation)))

    settings = settings_of(run.config, "calibration", "axis", "model")
    inputs = (validation, first, experts)
    stage = run_stage(run.root, "calibration", settings, inputs, build, version=VERSIONS["calibration"])
    facts = read_json(stage.path / "calibration.json")
    evidence = facts["evidence"]
    note = f"{facts['kind']} map; prefix: pull {evidence['pull']:g}, first {evidence['skip']} frames not scored"
    finished(stage, f"{note}, from {len(facts['coordinates'])} validation regimes")
    return stage


def evaluation(
    run: Run, test: Stage, validation: Stage, first: Stage, more: Stage, experts: Stage, chosen: Stage
) -> Stage:
    """Every method on every test regime, future frames only: ``evaluation.json`` and ``evaluation.npz``."""

    def build(work: Path) -> None:
        family = load_family(run.config, first, experts)
        choices = read_json(chosen.path / "calibration.json")
        fitted, evidence = load_map(choices), Evidence(**choices["evidence"])
        more_params = load_params(more, "anchor_more")
        growth = growth_of(run.config, family, load_trajectories(validation))
        tables, arrays = evaluate(run.config, family, more_params, fitted, evidence, growth, load_trajectories(test))
        if is_writer():
            np.savez(work / "evaluation.npz", allow_pickle=False, **arrays)
        write_json(work / "evaluation.json", tables)

    settings = settings_of(run.config, "calibration", "axis", "model")
    inputs = (test, validation, first, more, experts, chosen)
    stage = run_stage(run.root, "evaluation", settings, inputs, build, version=VERSIONS["evaluation"])
    finished(stage, f"{len(run.config.regimes.test)} test regimes")
    return stage
