"""The whole pipeline on files: the same samples give the same data; no sample serves two purposes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from ml_collections import ConfigDict

from ccm_jax.io.recordings import open_recording, write_recording
from experiments.configs import rd_ood
from experiments.pipeline import data, recorded, stages
from experiments.pipeline.plans import Row, plan
from experiments.pipeline.stages import Run, run_all

ROOT = Path(__file__).parent.parent


def family(folder: Path, config: ConfigDict, count: int) -> Path:
    """Every regime of a configuration, as one file each."""
    values = {config.axis.low, config.axis.high, 2e-3, *config.regimes.support, *config.regimes.validation}
    for value in sorted(values | set(config.regimes.test)):
        x = data.simulate(config, value, count, "test")
        points = (np.arange(config.data.grid) + 0.5) / config.data.grid
        times = config.solver.dt * np.arange(x.shape[1])
        how = {"fields": ("u", "v"), "times": times, "axes": (points, points)}
        write_recording(folder / f"{value:g}.h5", x, [{"diffusivity_u": value}] * count, **how)  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ConfigDict:
    c = rd_ood.get_config("smoke")
    c.regimes.update(support=(1e-3, 3e-3), validation=(1.5e-3, 2.5e-3), test=(1e-3, 4e-3))
    c.data.update(support=3, endpoint=4, validation=2, test=2, grid=8)
    c.train.steps = c.finetune.steps = 20
    c.model.args.update(modes=(2, 2), width=4, depth=1)
    c.data.path = str(family(tmp_path_factory.mktemp("files"), c, 9))
    return c


def test_every_purpose_has_samples_of_its_own(config: ConfigDict) -> None:
    assert recorded.sections(config, "data_test", 1e-3) == [("test", 2), ("endpoint", 4), ("support", 3)]
    taken = [
        (str(recording.path), i)
        for stage in ("data_test", "data_endpoints", "data_support")
        for row in plan(config, stage)
        if row.value == 1e-3
        for recording, i in recorded.samples_of(config, stage, row)
    ]
    assert len(taken) == len(set(taken)) == 9


def test_what_the_study_trains_is_never_tested(config: ConfigDict) -> None:
    """Controls train a pair in the middle of the axis, paths an expert there and beyond: regimes that are tested."""
    studied = config.copy_and_resolve_references()
    studied.regimes.update(test=(2e-3,), support=(2e-3,), validation=(1.5e-3, 2.5e-3))
    studied.data.update(support=1, endpoint=2, test=2)
    (tested,) = plan(studied, "data_test")
    taken = [recorded.samples_of(studied, "data_test", tested)]
    for stage in ("data_support", "data_same_regime", "data_path"):
        taken += [recorded.samples_of(studied, stage, row) for row in plan(studied, stage) if row.value == 2e-3]
    numbers = [i for samples in taken for _, i in samples]
    assert numbers == list(range(9))  # tested, support, the control's pair, and the expert of the path
    assert recorded.sections(studied, "data_test", 2e-3) == [("test", 2), ("support", 1)]
    low, high = plan(studied, "data_same_regime")
    assert (low.value, high.value, low.purpose, high.purpose) == (2e-3, 2e-3, "low", "high")


def test_samples_that_nobody_planned_are_refused(config: ConfigDict) -> None:
    with pytest.raises(ValueError, match="is no row of data_test, so its samples could be those of another"):
        recorded.samples_of(config, "data_test", Row(2e-3, 2, "pair"))
    with pytest.raises(ValueError, match="no data stage 'data_extra', expected one of data_test"):
        stages.trajectories(Run(config, Path("never")), "data_extra")


@pytest.mark.filterwarnings("ignore:fit_scale_readout. at 2 of 2 values")  # the networks have a few steps
@pytest.mark.long
def test_the_files_numbers_come_through_and_the_pipeline_ends(config: ConfigDict, tmp_path: Path) -> None:
    run = Run(config, tmp_path / "stages")
    read = stages.load_trajectories(stages.test_data(run))
    simulated = rd_ood.get_config("smoke")
    simulated.data.update(grid=8)
    np.testing.assert_allclose(read[1], data.simulate(simulated, 4e-3, 2, "test"), atol=1e-5)
    done = run_all(run)
    assert (done.evaluation.path / "evaluation.json").exists()


def test_too_few_samples_are_said_with_the_remedy(config: ConfigDict) -> None:
    more = config.copy_and_resolve_references()
    more.data.support = 100
    with pytest.raises(ValueError, match=r"has 9 samples with diffusivity_u = 0.001, expected 106 .*lower config.data"):
        list(recorded.read_batches(more, "data_support", plan(more, "data_support")[0]))
    more = config.copy_and_resolve_references()
    more.solver.frames = 50
    with pytest.raises(ValueError, match=r"has 11 frames on a grid \(8, 8\), expected at least 51"):
        list(recorded.read_batches(more, "data_test", plan(more, "data_test")[0]))


def test_files_of_another_time_step_are_said_with_the_remedy(config: ConfigDict) -> None:
    other = config.copy_and_resolve_references()
    other.solver.dt = 2 * config.solver.dt
    with pytest.raises(recorded.DataError, match=r"frames 0.25 apart, expected 0.5; set config.solver.dt=0.25"):
        recorded.check_files(other)
    recorded.check_files(config)


def test_fields_are_found_by_name(config: ConfigDict) -> None:
    (recording, sample), *_ = recorded.samples_of(config, "data_test", plan(config, "data_test")[0])
    assert recorded.channels_of(config, recording, sample) == [0, 1]
    assert recorded.channels_of(config, recording._replace(fields=("v", "w", "u")), sample) == [2, 0]
    assert recorded.channels_of(config, recording._replace(fields=("first", "second")), sample) == [0, 1]
    for other in (("u", "w", "x"), ("v", "w")):  # a name that is ours must not stand for another
        with pytest.raises(recorded.DataError, match="has fields .*'w'.*, expected .*'u', 'v'"):
            recorded.channels_of(config, recording._replace(fields=other), sample)


@pytest.mark.parametrize("broken", ["too few", "not a number"])
def test_a_run_on_bad_files_is_one_line(config: ConfigDict, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "files"
    shutil.copytree(config.data.path, folder)
    if broken == "not a number":
        with h5py.File(folder / "0.001.h5", "r+") as file:
            for group in file.values():
                group["data"][2, 0, 0, 0] = np.nan
    overrides = [f"--config.data.path={folder}", "--config.solver.frames=10", "--config.data.grid=8"]
    for name in ("regimes.support", "regimes.validation", "regimes.test"):
        section, field = name.split(".")
        overrides.append(f"--config.{name}={tuple(config[section][field])}")
    sizes = {"support": 3, "endpoint": 4, "validation": 2, "test": 2} | ({"test": 90} if broken == "too few" else {})
    overrides += [f"--config.data.{name}={count}" for name, count in sizes.items()]
    overrides += ["--config.model.args.modes=(2, 2)", f"--workdir={tmp_path / 'run'}"]
    command = [sys.executable, "-m", "experiments.run", "--config=rd_ood:smoke", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    said = {"too few": "lower config.data", "not a number": "NaN or infinite values"}[broken]
    assert said in done.stderr
    assert (tmp_path / "run").exists() == (broken == "not a number")  # nothing is left where nothing had begun


def test_lists_in_an_npz_are_parameters_of_each_trajectory(tmp_path: Path) -> None:
    x, times = np.zeros((2, 5, 4, 4, 1), np.float16), np.arange(5.0)
    np.savez(tmp_path / "seen.npz", frames=x, times=times, viscosity=[1e-3, 2e-3], dt=1.0)
    recording = open_recording(tmp_path / "seen.npz")
    assert recording.parameters == [{"viscosity": 1e-3}, {"viscosity": 2e-3}]  # `dt` is the time step, no parameter
    assert any(line.startswith("dt: a time step") for line in recording.left_out)
    assert recording.time_step == 1.0 and recording.trajectory(1).dtype == np.float32


def test_the_identity_of_a_zarr_store_is_that_of_the_files_in_it(config: ConfigDict, tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    (store / "u").mkdir(parents=True)
    (store / "zarr.json").write_text("{}")
    (store / "u" / "0").write_text("one")
    there = config.copy_and_resolve_references()
    there.data.path = str(store)
    before = recorded.identity(there)
    assert [name for name, *_ in before["files"]] == ["a.zarr/u/0", "a.zarr/zarr.json"]
    (store / "u" / "0").write_text("another")
    assert recorded.identity(there) != before
    there.data.path = str(tmp_path)
    assert [name for name, *_ in recorded.identity(there)["files"]] == ["a.zarr/u/0", "a.zarr/zarr.json"]
