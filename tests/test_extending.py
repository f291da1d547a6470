"""What the pages on extending show: an equation, a network and a layout from a folder of one's own."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ccm_jax.io import checkpoint
from ccm_jax.io.weights import open_weights
from ccm_jax.models import make_model, register_model
from ccm_jax.surrogate import surrogate_of
from experiments import command
from experiments.configs import base, ns_ood, rd_ood, rdb_gravity
from experiments.pipeline import data, stages
from experiments.pipeline.checks import check_config
from experiments.pipeline.plans import plan
from experiments.pipeline.stages import Run
from experiments.pipeline.store import stage_key
from experiments.pipeline.systems import grid_points, regime_parameters, settings_for, start_of, stored_shape
from experiments.report.panels import panels
from solvers.system import Settings, cell_averages, find_system, system_names

ROOT = Path(__file__).parent.parent


def unpack(page: str, folder: Path) -> Path:
    """Writes the files that a page shows, each under its title."""
    text = (ROOT / "docs" / "how-to" / page).read_text(encoding="utf-8")
    files = re.findall(r'```python title="([\w.]+)"\n(.*?)```', text, re.S)
    assert files
    for name, content in files:
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's path as it was, when the test is over."""
    monkeypatch.setattr(sys, "path", [*sys.path])


def configuration(path: Path, size: str = "smoke") -> ConfigDict:
    """As the command loads it."""
    argument = command.resolve_arguments([f"--config={path}:{size}"])[0]
    file = argument.removeprefix("--config=").removesuffix(f":{size}")
    spec = importlib.util.spec_from_file_location(path.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(size)


def burgers() -> ConfigDict:
    """One space axis, in the smoke size."""
    config = base.smoke(base.get_config())
    config.update({"name": "burgers", "system": "burgers"})
    config.physics.update(viscosity=0.04, length=2.0)
    config.axis.update(label="viscosity", parameters=("viscosity",), low=0.02, high=0.06)
    config.regimes.update(support=(0.02, 0.06), validation=(0.03, 0.05), test=(0.01, 0.08))
    config.solver.update(grid=(64,), dt=0.05)
    config.model.args.update(modes=(4,), width=4, depth=1)
    return config


def trained(config: ConfigDict, root: Path) -> Path:
    """The anchor after a few steps."""
    check_config(config)
    config.train.update(steps=4, chunk=2, save_every=2)
    run = Run(config, root)
    return stages.anchor(run, stages.support_data(run)).path / "anchor"


def test_an_equation_of_one_s_own_is_simulated(tmp_path: Path, own_path: None) -> None:
    config = configuration(unpack("own-equation.md", tmp_path) / "drift_speed.py")
    check_config(config)
    x = stages.load_trajectories(stages.support_data(Run(config, tmp_path / "stages")))
    assert x.shape == (5, config.data.support, config.solver.frames + 1, 16, 1)
    # Four intervals of 0.25 at speed 0.2 carry the start a fifth of the box; at -0.2 the other way.
    wave = np.fft.rfft(x[..., 0], axis=-1)[..., 1]
    moved = np.angle(wave[:, :, 4] / wave[:, :, 0]) / (-2 * np.pi)
    np.testing.assert_allclose(moved[[0, 2, 4]].T, [[-0.2, 0.0, 0.2]] * config.data.support, atol=1e-4)


@pytest.mark.slow
def test_a_run_in_one_dimension_ends_in_a_report(tmp_path: Path) -> None:
    unpack("own-equation.md", tmp_path)
    arguments = [
        "-m",
        "experiments.run",
        f"--config={tmp_path / 'drift_speed.py'}:smoke",
        f"--workdir={tmp_path / 'run'}",
    ]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()


def test_grids_need_not_be_square() -> None:
    for module, grid, stored in (
        (rd_ood, (64, 32), (16, 8)),
        (ns_ood, (48, 64), (8, 16)),
        (rdb_gravity, (64, 32), (16, 8)),
    ):
        config = module.get_config("smoke")
        config.solver.update(grid=grid, substeps=8)
        config.data.grid = stored
        config.model.args.update(modes=(3, 3))
        check_config(config)
        assert tuple(map(len, grid_points(config))) == stored
        system, settings = find_system(config.system), settings_for(config)
        step = system.make_step(settings, regime_parameters(config, config.axis.low))
        after = jax.eval_shape(step, start_of(config, config.axis.low))
        assert after.shape == (*grid, len(system.channels))
    # The cells of the dam are square: half as many along y are half the extent.
    np.testing.assert_allclose([p[-1] - p[0] for p in grid_points(config)], [5 - 5 / 16, 2.5 - 2.5 / 8])
    np.testing.assert_allclose(cell_averages(jnp.arange(8.0).reshape(2, 2, 2, 1), (1, 2, 1))[0, :, 0, 0], [2.5, 4.5])


def test_a_plane_wave_moves_alike_on_a_grid_that_is_not_square() -> None:
    settings = Settings((32, 16), 0.25, 4, (32, 16), {})
    parameters = {"viscosity": 1e-2, "forcing": "none", "length": 1.0}
    step = find_system("navier_stokes").make_step(settings, parameters)
    x = jnp.broadcast_to(jnp.sin(2 * np.pi * jnp.arange(32) / 32)[:, None, None], (32, 16, 1))
    np.testing.assert_allclose(step(x), x * np.exp(-0.25 * 1e-2 * 4 * np.pi**2), atol=1e-6)


def test_a_field_of_any_dimension_is_a_picture() -> None:
    assert panels(np.zeros((5, 8)), [0, 4]).shape == (1, 5, 8)
    assert panels(np.zeros((5, 8, 6)), [0, 4]).shape == (2, 8, 6)
    assert panels(np.zeros((5, 8, 6, 4)), [0, 4]).shape == (2, 8, 6)


def test_equations_are_found_by_name_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"burgers", "kuramoto_sivashinsky", "navier_stokes", "reaction_diffusion", "shallow_water"} == set(
        system_names()
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "notone.py").write_text("SYSTEM = 3")
    with pytest.raises(ValueError, match="is int, expected a solvers.system.System"):
        find_system("notone:SYSTEM")
    with pytest.raises(ValueError, match="No module named 'nowhere'; put its file beside the configuration's"):
        find_system("nowhere:SYSTEM")
    with pytest.raises(ValueError, match="no equation 'heat', expected one of burgers, .* or MODULE:NAME"):
        find_system("heat")


def test_an_equation_that_breaks_its_promise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    true = find_system("reaction_diffusion")
    broken = true._replace(starts={"smooth": lambda settings, parameters, key: jnp.zeros((*settings.grid, 1))})
    monkeypatch.setattr("experiments.pipeline.systems.find_system", lambda name: broken)
    with pytest.raises(ValueError, match=r"reaction_diffusion starts of shape \(32, 32, 1\), expected \(32, 32, 2\)"):
        check_config(rd_ood.get_config("smoke"))


def test_a_network_of_one_s_own_is_trained_and_runs_from_its_checkpoint(tmp_path: Path, own_path: None) -> None:
    check_config(configuration(unpack("own-backbone.md", tmp_path) / "rd_stencil.py"))
    config = burgers()
    check_config(config)  # with an FNO
    assert stored_shape(config) == (16, 1)
    np.testing.assert_allclose(grid_points(config)[0][[0, -1]], [0.0, 2 - 2 / 16])
    config.model.name, config.model.args = "stencil:stencil", ConfigDict({"width": 24})
    path, frame = trained(config, tmp_path / "stages"), (16, 1)
    assert checkpoint.load(path)["hidden"].shape == (3, 24)
    saved = open_weights(path)
    with pytest.raises(
        ValueError, match="says that its network is stencil:stencil; if you trust that, pass it as --model"
    ):
        surrogate_of(saved, None, frame)
    window = jax.random.normal(jax.random.key(0), (1, 1, *frame))
    by_name = surrogate_of(saved, "stencil:stencil", frame)
    out = by_name.apply(by_name.to_params(saved.arrays), window)
    assert out.shape == (1, *frame) and bool(jnp.isfinite(out).all())
    (tmp_path / "model.yaml").write_text("model: stencil:stencil\nargs: {width: 24}\n")
    described = surrogate_of(saved, str(tmp_path / "model.yaml"), frame)
    assert described.apply(described.to_params(saved.arrays), window).shape == (1, *frame)


def test_a_name_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'fno' is ccm_jax.models.fno.FNO already"):
        make_model("fno", modes=(2, 2))
        register_model("fno")(lambda **_: None)
    with pytest.raises(ValueError, match="nowhere cannot be imported: .*; put its folder on PYTHONPATH"):
        make_model("nowhere:net")
    (tmp_path / "nowhere.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="nowhere.py is in this folder: write PYTHONPATH=. before the command"):
        make_model("nowhere:net")
    with pytest.raises(ValueError, match="no model 'json:net'; there are: .*fno"):  # imported, and registers nothing
        make_model("json:net")


def test_a_layout_of_one_s_own_is_read_by_the_command_line(tmp_path: Path) -> None:
    unpack("own-layout.md", tmp_path)
    files = tmp_path / "files"
    files.mkdir()
    for viscosity in (0.01, 0.02):
        table = np.vstack([[np.nan, 0.0, 0.5, 1.0, 1.5], np.column_stack([0.1 * np.arange(3), np.ones((3, 4))])])
        np.savetxt(files / f"viscosity={viscosity}.csv", table, delimiter=",")
    there = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "CCM_EXTENSIONS": "probes", "COLUMNS": "200"}
    call = [sys.executable, "-m", "ccm_jax.cli", "data", "describe", str(files)]
    done = subprocess.run(call, env=there, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "probes" in done.stdout and "viscosity = 0.01" in done.stdout and "viscosity = 0.02" in done.stdout
    gone = subprocess.run(call, env=there | {"CCM_EXTENSIONS": "prubes"}, capture_output=True, text=True, timeout=120)
    assert gone.returncode == 2 and "CCM_EXTENSIONS: prubes cannot be imported" in gone.stderr


@pytest.mark.parametrize(
    ("module", "key"), [(rd_ood, "2679a3952ee5"), (ns_ood, "cffb50ec8abe"), (rdb_gravity, "672e425da7bc")]
)
def test_the_data_of_earlier_versions_are_found(module: Any, key: str) -> None:
    config = module.get_config()
    rows = [list(row) for row in plan(config, "data_support")]
    settings = data.specification(config) | {"seed": 0, "plan": rows}
    assert stage_key("data_support", settings, (), stages.VERSIONS["data"]) == key
