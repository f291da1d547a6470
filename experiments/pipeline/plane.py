"""An experiment on a plane of two parameters: one anchor, four experts at corners, and four at the ends of the axes.

Both charts are made and judged; validation regimes say which is used. Beside them stands a network with a window of all
observed frames, which sees the parameters by itself: as many steps and trajectories as one chart takes, and no experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.fit_readout import choose
from ccm_jax.hindsight import best_in_hindsight, coarse_grid
from ccm_jax.io.atomic import read_json
from ccm_jax.scale import choose_map
from experiments.pipeline import stages
from experiments.pipeline.axes import EXPERTS, LAYOUTS
from experiments.pipeline.calibration import load_map, stored_map
from experiments.pipeline.data import coordinate_of, outside
from experiments.pipeline.family import Family, mean_error
from experiments.pipeline.networks import load_params, load_plane, normalized_model, rollout_of
from experiments.pipeline.readouts import choices_of, load_readout, starts_of, stored
from experiments.pipeline.stages import Run, load_trajectories
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.runner.progress import bar, finished
from experiments.runner.runtime import mesh

VERSIONS = {"calibration": 1, "evaluation": 1}


class Networks(NamedTuple):
    """The finished stages of all trainings; data and experts by layout.

    Attributes:
        support: data of the anchor.
        anchor: the family anchor.
        data: of the experts.
        experts: fine-tuned from the anchor.
        window: the network that sees all observed frames.
    """

    support: Stage
    anchor: Stage
    data: dict[str, Stage]
    experts: dict[str, Stage]
    window: Stage


class PlaneStages(NamedTuple):
    """The finished stages of an experiment on a plane; calibrations and evaluations by layout."""

    networks: Networks
    validation: Stage
    test: Stage
    calibrations: dict[str, Stage]
    evaluations: dict[str, Stage]
    window_evaluation: Stage

    def listed(self) -> list[Stage]:
        """Every stage, in order."""
        trained = self.networks
        made = [trained.support, trained.anchor, *trained.data.values(), *trained.experts.values(), trained.window]
        made += [self.validation, self.test, *self.calibrations.values(), *self.evaluations.values()]
        return [*made, self.window_evaluation]


def train_networks(run: Run) -> Networks:
    """Trains what is not there yet: the anchor, both sets of experts, and the network that sees all observed frames."""
    support = stages.support_data(run)
    anchor_stage, regimes, experts = stages.anchor(run, support), {}, {}
    for layout in LAYOUTS:
        regimes[layout] = stages.trajectories(run, f"data_{layout}")
        orders = dict.fromkeys(EXPERTS, stages.PAIR)
        experts[layout] = stages.experts(run, f"experts_{layout}", regimes[layout], anchor_stage, orders)
    window = stages.anchor(window_run(run), support, regimes["corners"])
    return Networks(support, anchor_stage, regimes, experts, window)


def run_plane(run: Run) -> PlaneStages:
    """Makes what is not there yet, in order."""
    networks = train_networks(run)
    validation, test = stages.validation_data(run), stages.test_data(run)
    calibrations, evaluations = {}, {}
    for layout, experts in networks.experts.items():
        trained = (networks.anchor, experts)
        calibrations[layout] = calibration(run, layout, validation, trained)
        evaluations[layout] = evaluation(run, layout, test, trained, calibrations[layout])
    seen = window_evaluation(run, test, networks.window)
    return PlaneStages(networks, validation, test, calibrations, evaluations, seen)


def window_run(run: Run) -> Run:
    """The experiment of the network that sees all observed frames, for the steps of an anchor and four experts."""
    config = run.config.copy_and_resolve_references()
    config.model.history = config.model.history + config.calibration.frames
    config.train.steps = config.train.steps + len(EXPERTS) * config.finetune.steps
    return Run(config, run.root)


def _settings(config: ConfigDict, layout: str) -> dict[str, Any]:
    return stages.settings_of(config, "calibration", "axis", "axis2", "model") | {"layout": layout}


def calibration(run: Run, layout: str, validation: Stage, trained: tuple[Stage, Stage]) -> Stage:
    """What validation regimes decide for a chart: a map from metadata for each axis, and how the prefix is read."""

    def build(work: Path) -> None:
        family = load_plane(run.config, layout, *trained)
        write_json(work / "calibration.json", calibrate(run.config, family, load_trajectories(validation)))

    inputs, version = (validation, *trained), VERSIONS["calibration"]
    name = f"calibration_{layout}"
    stage = run_stage(run.root, name, _settings(run.config, layout), inputs, build, version=version)
    facts = read_json(stage.path / "calibration.json")
    kinds = " and ".join(row["kind"] for row in facts["maps"])
    finished(stage, f"{kinds} map; prefix: {facts['score']:.3f} of the anchor's error on validation regimes")
    return stage


def calibrate(config: ConfigDict, family: Family, validation: np.ndarray) -> dict[str, Any]:
    """Fits both readouts that need validation regimes.

    Args:
        config: the experiment.
        family: its weights, of one layout.
        validation: trajectories ``[R, N, T, *space, C]`` of the validation regimes.

    Returns:
        JSON-able: ``coordinates`` and ``best`` of each regime, ``[R, 2]``, the ``maps`` of both axes, the settings of
        the ``prefix`` readout and all that were tried, and its ``score``, the error over the anchor's (geometric mean).
    """
    coordinates = np.array([coordinate_of(config, v) for v in config.regimes.validation])
    chart, best = family.plane, []
    with bar("best on validation", len(validation)) as advance:
        for x in validation:
            how: dict[str, Any] = {"history": family.history, "frames": family.frames, "mesh": family.mesh}
            best.append(best_in_hindsight(chart, family.rollout_fn, x, **how))
            advance(1, "")
    known = np.isfinite([found.error for found in best])
    there = np.stack([found.coordinate for found in best])
    maps = [choose_map(coordinates[known, i], there[known, i]) for i in range(coordinates.shape[1])]
    fitted = choose(starts_of(config, family), list(validation), choices=choices_of(config), mesh=family.mesh)
    settings = stored(fitted.readout)
    tried = [row._asdict() for row in fitted.tried]
    ratios = _of_chosen(tried, settings)
    return {
        "coordinates": coordinates.tolist(),
        "best": there.tolist(),
        "best_error": [found.error for found in best],
        "maps": [{"kind": m.kind, "leave_one_out": dict(m.leave_one_out), "map": stored_map(m.map)} for m in maps],
        "prefix": settings,
        "prefix_tried": tried,
        "score": float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-12))))),
    }


def _of_chosen(tried: Sequence[dict[str, Any]], settings: dict[str, Any]) -> Any:
    """The errors over the anchor's of the settings that were chosen."""
    skip = sum(weight == 0 for weight in settings["weights"])
    for row in tried:
        same = all(row[name] == settings[name] for name in ("free_gate", "begin")) and row["skip"] == skip
        if same and np.isclose(row["pull"], settings["pull"]):
            return row["error_over_anchor"]
    raise ValueError(f"calibrate: {settings} is none of the settings that were tried.")


def evaluation(run: Run, layout: str, test: Stage, trained: tuple[Stage, Stage], calibrated: Stage) -> Stage:
    """The readouts of a chart on every test regime, future frames only: ``evaluation.json``."""

    def build(work: Path) -> None:
        family = load_plane(run.config, layout, *trained)
        facts, rows = read_json(calibrated.path / "calibration.json"), []
        with bar(f"evaluation of {layout}", len(run.config.regimes.test)) as advance:
            for value, x in zip(run.config.regimes.test, load_trajectories(test), strict=True):
                rows.append(evaluate_regime(run.config, family, facts, value, jnp.asarray(x)))
                advance(1, "")
        write_json(work / "evaluation.json", rows)

    inputs = (test, *trained, calibrated)
    name, version = f"evaluation_{layout}", VERSIONS["evaluation"]
    stage = run_stage(run.root, name, _settings(run.config, layout), inputs, build, version=version)
    finished(stage, f"{len(run.config.regimes.test)} test regimes")
    return stage


def evaluate_regime(config: ConfigDict, family: Family, facts: dict[str, Any], value: Any, x: Any) -> dict[str, Any]:
    """All readouts of a chart on the trajectories ``x [N, T, *space, C]`` of one regime.

    Returns:
        ``errors`` by method, each the mean over trajectories and frames; and the coordinates that were ``chosen``:
        one of the regime from metadata and in hindsight, ``[2]``, and one of each trajectory from its prefix with its
        gate, ``[N, 3]``.
    """
    chart, s = family.plane, coordinate_of(config, value)
    scaled = [float(load_map(row)(c)) for row, c in zip(facts["maps"], s, strict=True)]
    read = load_readout(config, family, facts["prefix"])(x, batch="each", mesh=family.mesh).coordinate
    candidates = np.concatenate([coarse_grid(len(s)), [s], [scaled]])
    how: dict[str, Any] = {"history": family.history, "frames": family.frames, "mesh": family.mesh}
    best = best_in_hindsight(chart, family.rollout_fn, x, candidates=candidates, **how)
    errors = {
        "anchor": mean_error(family.errors_of(family.anchor, x)),
        "ccm_coord": mean_error(family.errors_of(chart(s), x)),
        "ccm_scale": mean_error(family.errors_of(chart(scaled), x)),
        "ccm_prefix": mean_error(family.errors_each(chart, read, x)),
        "best": best.error,
    }
    chosen = {"ccm_coord": list(s), "ccm_scale": scaled, "best": best.coordinate.tolist()}
    split = "ood" if outside(s) else "id"
    row = {"value": list(value), "coordinate": list(s), "split": split, "errors": errors}
    return row | {"chosen": chosen | {"ccm_prefix": np.asarray(read).tolist()}}


def window_evaluation(run: Run, test: Stage, window: Stage) -> Stage:
    """Errors of the network that sees all observed frames on every test regime: ``evaluation.json``."""

    def build(work: Path) -> None:
        config = window_run(run).config
        _, apply = normalized_model(config, window)
        weights = load_params(window, "anchor")
        # Its window is all that is observed: no frames of a prefix are left.
        family = Family(weights, (), rollout_of(apply), config.model.history, 0, np.zeros(0), mesh())
        errors = [mean_error(family.errors_of(weights, jnp.asarray(x))) for x in load_trajectories(test)]
        write_json(work / "evaluation.json", errors)

    settings = {"frames": run.config.calibration.frames}
    version = VERSIONS["evaluation"]
    stage = run_stage(run.root, "evaluation_window", settings, (test, window), build, version=version)
    finished(stage, "errors of the network that sees all observed frames")
    return stage
