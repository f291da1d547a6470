"""The stages of an experiment: data, anchor, endpoint experts, calibration, evaluation.

Each is a function from its inputs to a finished :class:`~experiments.pipeline.store.Stage`; it depends on exactly
the settings and inputs that it names, so an override redoes only what it touches.
"""

from __future__ import annotations

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
from experiments.pipeline.evaluation import Calibrated, evaluate
from experiments.pipeline.methods import METHODS
from experiments.pipeline.networks import load_family, load_normalization, load_params, model_of, physical_model
from experiments.pipeline.plans import plan
from experiments.pipeline.readouts import load_readout
from experiments.pipeline.store import RECORD, Stage, provenance, reserve, run_stage, write_json
from experiments.pipeline.systems import stored_shape
from experiments.pipeline.training import Batches, fit, loss_of
from experiments.runner.progress import bar, finished
from experiments.runner.runtime import is_writer

Params = Any

# Raise one when its code changes what it computes: kept stages of the old code are then not used.
VERSIONS = {"data": 1, "train": 2, "calibration": 5, "evaluation": 5}

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
    anchor_stage = anchor(run, support)
    more = anchor_more(run, support, anchor_stage)
    experts = endpoints(run, ends, anchor_stage)
    calibrated = calibration(run, validation, anchor_stage, experts)
    trained = (anchor_stage, more, experts)
    evaluated = evaluation(run, test, trained, calibrated)
    return Stages(support, ends, validation, test, *trained, calibrated, evaluated)


def settings_of(config: ConfigDict, *fields: str) -> dict[str, Any]:
    """The named parts of a configuration, JSON-able."""
    values = {name: config[name] for name in fields}
    return {name: value.to_dict() if isinstance(value, ConfigDict) else value for name, value in values.items()}


def support_data(run: Run) -> Stage:
    """Trajectories of the support regimes, for the anchor."""
    return trajectories(run, "data_support")


def endpoint_data(run: Run) -> Stage:
    """Trajectories at either end of the axis, for the experts; paired ones start from the same states."""
    return trajectories(run, "data_endpoints")


def validation_data(run: Run) -> Stage:
    """Trajectories for every choice that is not fixed beforehand."""
    return trajectories(run, "data_validation")


def test_data(run: Run) -> Stage:
    """Trajectories that nothing is chosen on."""
    return trajectories(run, "data_test")


def trajectories(run: Run, name: str) -> Stage:
    """A data stage, simulated or from files, as its plan says: ``trajectories.npy [regimes, N, T, *space, C]``."""

    config = run.config
    rows = plan(config, name)
    shape = (len(rows), rows[0].number, config.solver.frames + 1, *stored_shape(config))

    def build(work: Path) -> dict[str, float]:
        # Written as it comes: data may be larger than memory.
        path, file = work / "trajectories.npy", None
        if is_writer():
            file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
            reserve(path)
        reached = 0.0
        with bar(name, len(rows)) as advance:
            for i, row in enumerate(rows):
                # Samples of one purpose are numbered through its regimes; a pair has the same ones twice.
                first, done = 0 if row.purpose == "pair" else i * row.number, 0
                if config.data.path:
                    batches = recorded.read_batches(config, name, row)
                else:
                    batches = data.simulate_batches(config, *row, first)
                for batch, courant in batches:
                    if file is not None:
                        file[i, done : done + len(batch)] = batch
                    done, reached = done + len(batch), max(reached, courant)
                advance(1, "")
        if file is not None:
            file.flush()
        return {"courant": reached}

    settings = data.specification(config) | {"seed": config.seed, "plan": [list(row) for row in rows]}
    if config.data.path:
        settings |= {
            "recorded": recorded.identity(config),
            "sections": [recorded.sections(config, name, row.value) for row in rows],
        }
    stage = run_stage(run.root, name, settings, (), build, version=VERSIONS["data"])
    courant = read_json(stage.path / RECORD)["facts"]["courant"]
    note = f", Courant number {courant:.2f}" if courant else ""
    finished(stage, f"{len(rows)} regimes, {rows[0].number} trajectories each{note}")
    return stage


def load_trajectories(stage: Stage) -> np.ndarray:
    """The arrays of a data stage, ``[regimes, N, T, *space, C]``, mapped from disk."""
    return np.load(stage.path / "trajectories.npy", mmap_mode="r")


def anchor(run: Run, support: Stage, *more: Stage) -> Stage:
    """The family anchor, trained on the mixture of the support regimes, with the normalisation of its data.

    Args:
        run: the experiment.
        support: data of the support regimes.
        more: data that are mixed in.
    """
    config = run.config

    def build(work: Path) -> dict[str, float]:
        x = load_trajectories(support)
        if more:
            parts = [load_trajectories(stage) for stage in (support, *more)]
            x = np.concatenate([part.reshape(1, -1, *part.shape[2:]) for part in parts], axis=1)
        normalization = fit_normalization(jnp.asarray(x))
        window = jnp.zeros((1, config.model.history, *x.shape[3:]))
        start = model_of(config).init(jax.random.fold_in(jax.random.key(config.seed), 0), window)
        batches = Batches(x, config.model.history, config.train.steps, _seed(config, ANCHOR))
        return _fit(config, "anchor", start, normalization, batches, config.train, work)

    stage = run_stage(
        run.root,
        "anchor",
        settings_of(config, "model", "train", "seed"),
        (support, *more),
        build,
        version=VERSIONS["train"],
    )
    return _trained(stage, config.train.steps, "anchor")


def anchor_more(run: Run, support: Stage, anchor_stage: Stage) -> Stage:
    """The anchor, trained on for as many steps as both experts together: what the same effort buys without them."""
    config, steps = run.config, 2 * run.config.finetune.steps

    def build(work: Path) -> dict[str, float]:
        start, normalization = load_params(anchor_stage, "anchor"), load_normalization(anchor_stage)
        batches = Batches(load_trajectories(support), config.model.history, steps, _seed(config, MORE))
        return _fit(config, "anchor_more", start, normalization, batches, config.finetune, work)

    settings = settings_of(run.config, "finetune", "seed")
    stage = run_stage(run.root, "anchor_more", settings, (support, anchor_stage), build, version=VERSIONS["train"])
    return _trained(stage, steps, "anchor_more")


def endpoints(run: Run, ends: Stage, anchor_stage: Stage) -> Stage:
    """The two experts, fine-tuned from the anchor at either end of the axis."""
    low, high = (PAIR, PAIR) if run.config.finetune.paired else (LOW, HIGH)
    return experts(run, "endpoints", ends, anchor_stage, {"low": low, "high": high})


def experts(run: Run, stage_name: str, regimes: Stage, anchor_stage: Stage, orders: dict[str, int]) -> Stage:
    """Experts fine-tuned from the anchor, one for each regime of a data stage: names, and orders of their batches."""
    config, steps = run.config, run.config.finetune.steps

    def build(work: Path) -> dict[str, float]:
        x, start = load_trajectories(regimes), load_params(anchor_stage, "anchor")
        normalization, facts = load_normalization(anchor_stage), []
        for i, (name, order) in enumerate(orders.items()):
            batches = Batches(x, config.model.history, steps, _seed(config, order), part=i)
            facts.append(_fit(config, name, start, normalization, batches, config.finetune, work))
        return {key: sum(f[key] for f in facts) for key in facts[0]}

    settings = settings_of(run.config, "finetune", "seed")
    stage = run_stage(run.root, stage_name, settings, (regimes, anchor_stage), build, version=VERSIONS["train"])
    return _trained(stage, steps, *orders)


def _seed(config: ConfigDict, order: int) -> int:
    """The seed of a batch order; fine-tuning has one of its own beside the experiment's."""
    return 10 * config.seed + order + (0 if order == ANCHOR else 1000 * config.finetune.seed)


def _fit(
    config: ConfigDict,
    name: str,
    start: Params,
    normalization: Normalization,
    batches: Batches,
    settings: ConfigDict,
    work: Path,
) -> dict[str, float]:
    apply = physical_model(config, normalization)
    loss_fn = loss_of(apply, history=config.model.history, unroll=settings.unroll)
    return fit(name, loss_fn, start, batches, settings, work=work, metadata=metadata_of(config, normalization))


def metadata_of(config: ConfigDict, normalization: Normalization) -> dict[str, Any]:
    """What goes beside trained weights."""
    return {
        "config": config.to_dict(),
        "seed": config.seed,
        "normalization": {key: value.tolist() for key, value in normalization._asdict().items()},
        **provenance(),
    }


def _trained(stage: Stage, steps: int, *names: str) -> Stage:
    losses = [np.load(stage.path / f"{name}-losses.npy")[-100:].mean() for name in names]
    finished(stage, f"{steps} steps, loss {' and '.join(f'{loss:.4f}' for loss in losses)}")
    return stage


def calibration(run: Run, validation: Stage, anchor_stage: Stage, experts: Stage) -> Stage:
    """What validation regimes decide, the map from metadata and the margin of the prefix: ``calibration.json``."""

    def build(work: Path) -> None:
        family = load_family(run.config, anchor_stage, experts)
        write_json(work / "calibration.json", calibrate(run.config, family, load_trajectories(validation)))

    settings = settings_of(run.config, "calibration", "axis", "model")
    inputs = (validation, anchor_stage, experts)
    stage = run_stage(run.root, "calibration", settings, inputs, build, version=VERSIONS["calibration"])
    facts = read_json(stage.path / "calibration.json")
    prefix = facts["prefix"]
    where = "line and gate" if prefix["free_gate"] else "line"
    first = run.config.model.history + prefix["begin"] + 1  # counted from 1, as in the report
    note = f"{facts['kind']} map; prefix: {where}, pull {prefix['pull']:.2g}, scored from frame {first}"
    finished(stage, f"{note}, from {len(facts['coordinates'])} validation regimes")
    return stage


def evaluation(run: Run, test: Stage, trained: tuple[Stage, Stage, Stage], calibrated: Stage) -> Stage:
    """Every method on every test regime, future frames only: ``evaluation.json`` and ``evaluation.npz``.

    Args:
        run: the experiment.
        test: test data.
        trained: the anchor, the anchor trained on, and the experts.
        calibrated: what :func:`calibration` chose.
    """
    anchor_stage, more, experts = trained

    def build(work: Path) -> None:
        family = load_family(run.config, anchor_stage, experts)
        choices = read_json(calibrated.path / "calibration.json")
        prefix = load_readout(run.config, family, choices["prefix"])
        fixed = Calibrated(load_params(more, "anchor_more"), load_map(choices), prefix)
        tables, arrays = evaluate(run.config, family, fixed, load_trajectories(test))
        if is_writer():
            np.savez(work / "evaluation.npz", allow_pickle=False, **arrays)
        write_json(work / "evaluation.json", tables)

    settings = settings_of(run.config, "calibration", "axis", "model") | {"methods": list(METHODS)}
    inputs = (test, *trained, calibrated)
    stage = run_stage(run.root, "evaluation", settings, inputs, build, version=VERSIONS["evaluation"])
    finished(stage, f"{len(run.config.regimes.test)} test regimes")
    return stage
