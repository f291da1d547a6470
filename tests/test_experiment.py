"""Configurations and stages of the runner, and what it does when things go wrong."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.io import atomic, checkpoint
from ccm_jax.io.checksums import write_checksums
from experiments import configs
from experiments.configs import rd_ood
from experiments.pipeline import store, training
from experiments.pipeline.checks import check_config

ROOT = Path(__file__).parent.parent


def program(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, **options)  # type: ignore[call-overload]


def test_names_and_fields_that_are_wrong_suggest_the_right_ones(tmp_path: Path) -> None:
    for arguments, message in (
        (["--config=rd_odd"], "Did you mean rd_ood?"),
        (["--config=rd_ood:tiny"], "there are: smoke, paper, or none"),
        (["--config=rd_ood", "--config.train.stepz=3"], "did you mean --config.train.steps?"),
        (["--config=rd_ood", "--config.data.grid=128"], "config.data.grid is 128, expected at most solver.grid, 64"),
    ):
        done = program(*arguments, f"--workdir={tmp_path / 'never'}")
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "never").exists()
    assert "--config=rd_ood:smoke" in program("--help").stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis.low": 3e-3}, "config.axis.low is 0.003, expected below axis.high"),
        ({"regimes.validation": (5e-4, 1e-3)}, r"validation is \[0.0005\], expected within \|s\| <= 1.25"),
        ({"regimes.validation": (2e-3, 1.1e-3)}, "expected apart from regimes.test"),
        ({"regimes.test": ()}, "config.regimes.test is .*, expected at least one value"),
        ({"regimes.test": (0.02,)}, r"config.regimes.test is \[0.02\], expected .* above 0 to 0.00825 \("),
        ({"regimes.test": (-1e-3,)}, "make_step: diffusivity_u is -0.001, expected a number >= 0"),
        ({"regimes.test": (-1e-3,), "axis.scale": "log"}, "expected positive values on a log axis"),
        ({"axis.label": ""}, "config.axis.label is '', expected a name of the axis"),
        ({"data.grid": (16, 16, 16)}, r"data.grid is \(16, 16, 16\), expected a number of points, or 2 of them"),
        ({"solver.grid": (64, 24)}, r"config.data.grid is 32, expected at most solver.grid, \(64, 24\)"),
        ({"solver.frames": 4}, "config.solver.frames is 4, expected more than history"),
        ({"system": "heat"}, "config.system: find_system: no equation 'heat', expected one of burgers"),
        ({"initial.kind": "smoth"}, r"config.initial.kind is 'smoth', expected one of \('smooth', 'white'\)"),
        ({"axis.parameters": ()}, "config.axis.parameters is empty, expected at least one of"),
        ({"solver.burn_in": -1}, "config.solver.burn_in is -1, expected at least 0"),
        ({"data.grid": 128}, "config.data.grid is 128, expected at most solver.grid, 64"),
        ({"model.args.modes": (20, 20)}, "20 modes on axis 0 need at least 40 grid points, got 32; use fewer modes"),
        ({"train.steps": 0}, "config.train.steps is 0, expected at least 1"),
    ],
)
def test_configurations_that_cannot_work_are_refused_at_once(change: dict[str, object], message: str) -> None:
    config = rd_ood.get_config()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        check_config(config)


@pytest.mark.parametrize("name", configs.names())
@pytest.mark.parametrize("size", configs.SIZES)
def test_every_configuration_holds_together(name: str, size: str) -> None:

    module = importlib.import_module(f"experiments.configs.{name}")
    config = module.get_config(size)
    check_config(config)
    assert (config.name, config.size) == (name, size)
    assert f"python -m experiments.run --config={name}" in (module.__doc__ or "")


@pytest.mark.slow
@pytest.mark.parametrize("name", configs.names())
def test_every_smoke_run_ends_in_a_report(name: str, tmp_path: Path) -> None:
    done = program(f"--config={name}:smoke", f"--workdir={tmp_path / name}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name / "report.html").exists()


def test_a_stage_is_built_once_moved_when_done_and_named_by_what_it_depends_on(tmp_path: Path) -> None:
    calls = []

    def build(work: Path) -> None:
        calls.append(work)
        (work / "x").write_text("1")

    one = store.run_stage(tmp_path, "a", {"k": 1}, (), build)
    again = store.run_stage(tmp_path, "a", {"k": 1}, (), build)
    other = store.run_stage(tmp_path, "a", {"k": 2}, (one,), build)
    assert len(calls) == 2 and one.fresh and not again.fresh and one.key == again.key != other.key
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([one.path.name, other.path.name])

    (one.path / store.RECORD).unlink()
    with pytest.raises(ValueError, match=r"has no readable stage.json: it was not finished by this program"):
        store.run_stage(tmp_path, "a", {"k": 1}, (), build)


def test_results_of_another_version_are_a_warning(tmp_path: Path) -> None:
    stage = store.run_stage(tmp_path, "a", {}, (), lambda work: None)
    record = json.loads((stage.path / store.RECORD).read_text()) | {"package": "0.0.1"}
    (stage.path / store.RECORD).write_text(json.dumps(record))
    write_checksums(stage.path)
    with pytest.warns(UserWarning, match=r"was made by ccm_jax 0.0.1 \(this is .*\); delete .* to make it again"):
        store.run_stage(tmp_path, "a", {}, (), lambda work: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.run_stage(tmp_path, "b", {}, (), lambda work: None)


def test_divergence_is_written_as_null() -> None:
    assert atomic.finite({"a": [1.0, float("inf"), float("nan")], "b": "x"}) == {"a": [1.0, None, None], "b": "x"}


def test_an_expert_on_a_part_of_the_data_is_one_on_that_part_alone(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 4, 4, 1)).astype(np.float32)
    settings = rd_ood.get_config("smoke").finetune
    settings.batch_size = 4
    batches = training.Batches(x, history=1, steps=6, seed=5)
    how = {"work": tmp_path, "metadata": {}}
    start = {"gain": jnp.ones(1), "shift": jnp.zeros(1)}

    def model(params: dict[str, jax.Array], window: jax.Array) -> jax.Array:
        return window[:, -1] * params["gain"][None, None, None] + params["shift"][None, None, None]

    loss_fn = training.loss_of(model, history=1, unroll=1)
    training.fit("part", loss_fn, start, batches._replace(part=1), settings, **how)
    training.fit("alone", loss_fn, start, batches._replace(trajectories=x[1:]), settings, **how)
    part, alone = (checkpoint.load(tmp_path / name) for name in ("part", "alone"))
    np.testing.assert_allclose(part["gain"], alone["gain"], rtol=1e-6)
    assert part["gain"] != start["gain"]
