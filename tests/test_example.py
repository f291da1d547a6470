"""The example family that comes with the package: small, readable, and merged it beats its anchor."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner, Result

import ccm_jax
from ccm_jax import Choices, coordinate_from_metadata, example
from ccm_jax.cli import main
from ccm_jax.evaluate import future_error
from ccm_jax.io.recordings import common_parameter, open_recording
from ccm_jax.io.weights import open_weights

ROOT = Path(__file__).parent.parent
ONE = Choices(free_gate=(False,), begin=(3,), pull=(0.0,))  # one of the choices: each costs seconds of compilation
FILES = sorted(file for file in example.path().iterdir() if file.suffix in (".safetensors", ".npz"))


def snippet() -> str:
    """The README's snippet on the example family."""
    found = re.search(r"<!-- snippet -->\s*```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert found is not None
    return found[1]


def run_snippet() -> dict[str, Any]:
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(snippet(), names)
    return names | {"printed": numbers(printed.getvalue())}


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"-?\d+\.\d+", text)]


def said() -> list[float]:
    """What the snippet says that it prints: the coordinate and its gate, and the errors of four networks."""
    lines = [line for line in snippet().splitlines() if line.lstrip().startswith("print(")]
    return [number for line in lines for number in numbers(line.partition("  # ")[2])]


@pytest.fixture(scope="module")
def family() -> example.Family:
    return example.load()


@pytest.fixture(scope="module")
def ran() -> dict[str, Any]:
    """The names that the snippet leaves, where validation decides among one choice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ccm_jax, "fit_prefix_readout", functools.partial(ccm_jax.fit_prefix_readout, choices=ONE))
        return run_snippet()


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


def test_importing_the_package_does_not_import_the_example() -> None:
    script = "import sys, ccm_jax; assert 'ccm_jax.example' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def check_far_regimes(family: example.Family, ran: dict[str, Any]) -> None:
    """The coordinate is the physical one, and the merge beats the anchor, on both sides of the support."""
    for value, x in zip(family.test_values, family.test, strict=True):
        found = ran["readout"](x[0])
        np.testing.assert_allclose(found.coordinate[0], physical(family, value), atol=0.25)
        errors = [
            float(future_error(params, family.rollout_fn, jnp.asarray(x[:1])).mean())
            for params in (ran["chart"](found.coordinate), family.anchor)
        ]
        assert errors[0] < 0.4 * errors[1], value
        assert found.loss < 0.4 * found.anchor_loss and found.anchor_loss < found.persistence_loss


def test_the_snippet_of_the_readme_finds_the_physical_coordinate(family: example.Family, ran: dict[str, Any]) -> None:
    value, low, high = family.test_values[1], family.low_value, family.high_value
    known = f"coordinate_from_metadata({value}, {low}, {high})  # coordinate {physical(family, value):g}\n"
    assert known in snippet()
    np.testing.assert_allclose(ran["found"].coordinate[0], physical(family, family.test_values[1]), atol=0.25)
    np.testing.assert_allclose(ran["printed"][-3:-1], said()[-3:-1], rtol=0.02)
    np.testing.assert_allclose(ran["printed"][-1], said()[-1], rtol=0.25)  # one of the readout's choices
    assert jax.tree.structure(ran["weights"]) == jax.tree.structure(family.anchor)
    check_far_regimes(family, ran)


@pytest.mark.slow
def test_the_snippet_as_it_stands(family: example.Family) -> None:
    ran = run_snippet()
    np.testing.assert_allclose(ran["printed"], said(), rtol=0.02)
    check_far_regimes(family, ran)


def test_the_docstring_shows_the_snippet_of_the_readme() -> None:
    code = [line.partition("#")[0].strip() for line in snippet().splitlines()]
    shown = [line.strip() for line in (example.__doc__ or "").splitlines()]
    assert "found = readout(flow[:5])" in code
    assert [line for line in code if line and line not in shown] == []


def ccm(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_the_terminal_reads_the_files(tmp_path: Path) -> None:
    files = {name: example.path(f"{name}.safetensors") for name in example.WEIGHTS}
    looked = ccm("inspect", *files.values())
    assert looked.exit_code == 0 and "close enough to this anchor" in " ".join(looked.output.split())
    options = [part for name, file in files.items() for part in (f"--{name}", file)]
    out = tmp_path / "merged.safetensors"
    done = ccm("calibrate", *options, "--prefix", example.path("test-0.0025.npz"), "--sample", 0, "-o", out)
    assert done.exit_code == 0, done.output
    assert open_weights(out).arrays.keys() == open_weights(files["anchor"]).arrays.keys()


@pytest.mark.slow
def test_the_forecast_covers_as_little_as_its_page_says(tmp_path: Path) -> None:
    text = " ".join((ROOT / "docs" / "how-to" / "how-sure.md").read_text().split())
    said = re.search(r"90 % interval contains (\d+) % of the true values, and (\d+) % in the last frame", text)
    files = [part for name in example.WEIGHTS for part in (f"--{name}", example.path(f"{name}.safetensors"))]
    frames = ("--initial", example.path("test-0.0025.npz"), "--truth", "--validation", example.path(example.VALIDATION))
    done = ccm("rollout", *files, *frames, "--samples", 8, "-o", tmp_path / "forecast.npz")
    line = " ".join(done.output.split())
    printed = re.search(r"contains (\d+) % of the true values, (\d+) % in the last frame", line)
    assert said is not None and printed is not None, done.output
    np.testing.assert_allclose([float(n) for n in printed.groups()], [float(n) for n in said.groups()], atol=2)


def test_the_recipe_is_a_configuration_that_holds() -> None:
    from experiments.example import get_config
    from experiments.pipeline.checks import check_config

    config = get_config()
    check_config(config)
    assert list(config.regimes.test) == example.load().test_values


def test_a_full_disk_leaves_no_part_of_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    plain = Path.write_bytes

    def write_bytes(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    done = ccm("example", tmp_path / "example")
    assert done.exit_code == 2 and not list((tmp_path / "example").iterdir())
    monkeypatch.undo()
    assert ccm("example", tmp_path / "example").exit_code == 0
