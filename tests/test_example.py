"""The example family that comes with the package: small, readable, and merged it beats its anchor."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner, Result

import ccm_jax
from ccm_jax import Choices, PrefixReadout, coordinate_from_metadata, example
from ccm_jax.cli import main
from ccm_jax.evaluate import future_error, future_error_each
from ccm_jax.io.recordings import common_parameter, open_recording
from ccm_jax.io.weights import open_weights

ONE = Choices(free_gate=(False,), begin=(3,), pull=(0.0,))  # what all choices together decide on this family
FILES = sorted(file for file in example.path().iterdir() if file.suffix in (".safetensors", ".npz"))


@pytest.fixture(scope="module")
def family() -> example.Family:
    return example.load()


@pytest.fixture(scope="module")
def readout(family: example.Family) -> PrefixReadout:
    chart = ccm_jax.fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=ccm_jax.Gated())
    return ccm_jax.fit_prefix_readout(chart, family.rollout_fn, family.validation[:2], choices=ONE)


def physical(family: example.Family, value: float) -> float:
    return float(coordinate_from_metadata(value, family.low_value, family.high_value, clip=None).coordinate[0])


def test_the_files_fit_a_wheel_and_can_be_read() -> None:
    assert sum(file.stat().st_size for file in FILES) < 2_000_000
    weights = [open_weights(example.path(f"{name}.safetensors")) for name in example.WEIGHTS]
    shapes = [{name: leaf.shape for name, leaf in w.arrays.items()} for w in weights]
    assert shapes[0] and shapes[1:] == shapes[:1] * 2
    assert all(leaf.dtype == np.float32 for w in weights for leaf in w.arrays.values())


def test_the_trajectories_tell_their_viscosity(family: example.Family) -> None:
    recording = open_recording(example.path(example.VALIDATION))
    assert sorted(set(common_parameter(recording, "viscosity"))) == family.validation_values
    assert len(family.validation) == 6 and all(x.dtype == np.float32 and x.ndim == 5 for x in family.validation)
    coordinates = [physical(family, value) for value in family.test_values]
    assert min(coordinates) < -1 and max(coordinates) > 1 and all(abs(s) > 1 for s in coordinates)
    for value, x in zip(family.test_values, family.test, strict=True):
        alone = open_recording(example.path(example.TEST.format(value)))
        assert common_parameter(alone, "viscosity").tolist() == [value] * len(x)
        np.testing.assert_array_equal(alone.trajectory(1), x[1])


def test_the_model_is_made_once(family: example.Family) -> None:
    assert example.load().rollout_fn is family.rollout_fn and family.history == 1


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="no file 'middle.safetensors', expected one of anchor.safetensors, high"):
        example.path("middle.safetensors")


def test_without_flax_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "flax" else find(name, *a))
    with pytest.raises(ImportError, match=r"pip install 'ccm_jax\[models\]'") as raised:
        example.load()
    assert "\n" not in str(raised.value)


def test_importing_the_package_does_not_import_the_example() -> None:
    script = "import sys, ccm_jax; assert 'ccm_jax.example' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


@pytest.mark.parametrize("regime", [0, 2])
def test_outside_the_support_the_coordinate_is_physical_and_the_merge_beats_the_anchor(
    family: example.Family, readout: PrefixReadout, regime: int
) -> None:
    x, value = jnp.asarray(family.test[regime]), family.test_values[regime]
    found = readout(x, batch="each").coordinate
    np.testing.assert_allclose(found[:, 0], physical(family, value), atol=0.25)
    anchor = float(future_error(family.anchor, family.rollout_fn, x).mean())
    merged = float(future_error_each(readout.chart, family.rollout_fn, x, found).mean())
    assert merged < 0.4 * anchor


def ccm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_terminal_reads_the_files(tmp_path: Path) -> None:
    files = {name: example.path(f"{name}.safetensors") for name in example.WEIGHTS}
    looked = ccm("inspect", *files.values())
    assert looked.exit_code == 0 and "near this anchor" in " ".join(looked.output.split())
    options = [part for name, file in files.items() for part in (f"--{name}", file)]
    out = tmp_path / "merged.safetensors"
    done = ccm("calibrate", *options, "--prefix", example.path("test-0.0025.npz"), "-o", out)
    assert done.exit_code == 0, done.output
    assert open_weights(out).arrays.keys() == open_weights(files["anchor"]).arrays.keys()


def test_the_recipe_is_a_configuration_that_holds() -> None:
    from experiments.example import get_config
    from experiments.pipeline.checks import check_config

    config = get_config()
    check_config(config)
    assert list(config.regimes.test) == example.load().test_values
