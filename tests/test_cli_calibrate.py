"""``ccm calibrate``: curves, planes, validation, the anchor as the answer, and input that no network understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax import Polynomial, fit_chart
from ccm_jax.cli import fitting
from ccm_jax.cli.frames import read_regimes
from ccm_jax.cli.recipe import Filter, Recipe
from ccm_jax.io.recordings import open_recording, write_recording
from ccm_jax.io.safetensors import open_safetensors
from ccm_jax.io.weights import open_weights
from tests.terminal import Slow, ccm, make_slow_family, of

DIM2 = {"dim": 2}
BANK = ("--bank", "-2.4:2.4:0.2")  # quicker to compile than the search in between


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Slow:
    """A family whose states change slowly, so that the last frame repeated is a good guess."""
    return make_slow_family(tmp_path_factory.mktemp("slow"))


@pytest.fixture(scope="module")
def seen(slow: Slow) -> np.ndarray:
    """Frames of the family merged at 1.25."""
    return slow.frames(fit_chart(slow.trees[0], slow.trees[1:3], [-1.0, 1.0])(1.25))


def calibrate(slow: Slow, frames: np.ndarray, out: Path, *more: Any, model: str = "model.yaml") -> Any:
    """Runs the verb on frames; returns the result, and the report if there is one."""
    np.savez(out / "seen.npz", frames=frames, **DIM2)
    family = [] if "--recipe" in more else of(slow.folder)
    how = ("--model", slow.folder / model, "--prefix", out / "seen.npz", "-o", out / "m.safetensors")
    done = ccm("calibrate", *family, *how, *more)
    report = out / "m.json"
    return done, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.long
@pytest.mark.parametrize(
    ("case", "model", "bank"),
    [
        ("no mean and std", "mute.yaml", ()),
        ("channels swapped", "model.yaml", BANK),
        ("units x 1000", "model.yaml", BANK),
    ],
)
def test_input_that_no_network_beats_persistence_on_is_refused(
    slow: Slow, seen: np.ndarray, tmp_path: Path, case: str, model: str, bank: tuple[str, ...]
) -> None:
    frames = {"channels swapped": seen[..., ::-1], "units x 1000": 1000 * seen}.get(case, seen)
    done, report = calibrate(slow, frames[:1], tmp_path, *bank, model=model)
    assert done.exit_code == 2, done.output
    line = done.output.strip().splitlines()[-1]
    assert line.startswith("ccm: ") and all(word in line for word in ("channels", "units", "mean and std"))
    assert report is None and [p.name for p in tmp_path.iterdir()] == ["seen.npz"]
    assert "keep it" not in done.output and "coordinate " not in done.output


def test_an_option_accepts_that_persistence_is_best(slow: Slow, seen: np.ndarray, tmp_path: Path) -> None:
    done, report = calibrate(slow, seen, tmp_path, *BANK, "--accept-persistence", model="mute.yaml")
    assert done.exit_code == 0, done.output
    assert report["persistence_loss"] < report["loss"] and (tmp_path / "m.safetensors").exists()


def test_where_the_anchor_fits_best_nothing_is_written_unless_told_to(slow: Slow, tmp_path: Path) -> None:
    frames = slow.frames(slow.trees[0])
    done, report = calibrate(slow, frames, tmp_path, *BANK)
    assert done.exit_code == 3, done.output
    assert report["coordinate"] == "anchor" and report["anchor_loss"] < report["loss"]
    assert set(report["choices"]) == {"anchor"}
    assert not (tmp_path / "m.safetensors").exists() and "is not written" in done.output
    (tmp_path / "again").mkdir()
    done, report = calibrate(slow, frames, tmp_path / "again", *BANK, "--write-anyway")
    assert done.exit_code == 0, done.output
    facts = json.loads(open_safetensors(tmp_path / "again" / "m.safetensors").metadata["provenance"])
    assert facts["coordinate"] == [pytest.approx(report["best_merge"])] and report["coordinate"] == "anchor"


RECIPES: dict[str, tuple[list[Any], str, Any, list[float], tuple[str, ...]]] = {
    "a curve": ([-1, 1, 0.25], "{name: Polynomial, degree: 2}", Polynomial(2), [0.6], BANK),
    "a plane": ([[-1, 0], [1, 0], [0, 1]], "{name: Polynomial, dim: 2}", Polynomial(1, 2), [0.5, -0.4], ()),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", RECIPES)
def test_curves_and_planes_calibrate_by_recipe(slow: Slow, tmp_path: Path, kind: str) -> None:
    coordinates, features, function, at, bank = RECIPES[kind]
    chart = fit_chart(slow.trees[0], slow.trees[1:], coordinates, features=function)
    experts = "\n".join(
        f"  - {{path: {slow.folder}/{name}.safetensors, coordinate: {c}}}"
        for name, c in zip(("low", "high", "third"), coordinates, strict=True)
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"anchor: {slow.folder}/anchor.safetensors\nexperts:\n{experts}\nfeatures: {features}\n")
    done, report = calibrate(slow, slow.frames(chart(np.array(at)), samples=1), tmp_path, "--recipe", recipe, *bank)
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(np.ravel(report["coordinate"]), at, atol=2e-2)
    facts = json.loads(open_safetensors(tmp_path / "m.safetensors").metadata["provenance"])
    np.testing.assert_allclose(facts["coordinate"], np.ravel(report["coordinate"]))
    errors = " ".join(done.output.split())  # each expert is a point of the chart
    low, high, third = report["expert_losses"]
    assert f"expert low {low:.4f}, expert high {high:.4f}, expert third {third:.4f}, last frame repeated" in errors
    again = ccm("merge", "--recipe", recipe, "-o", tmp_path / "again.safetensors")
    assert again.exit_code == 2 and "there is no coordinate" in again.output


@pytest.mark.parametrize("swapped", [False, True])
def test_a_recipe_of_two_experts_names_them_and_its_own_files(
    slow: Slow, seen: np.ndarray, tmp_path: Path, swapped: bool
) -> None:
    experts = [f"  - {{path: {slow.folder}/{n}.safetensors, coordinate: {c}}}" for n, c in (("low", -1), ("high", 1))]
    recipe = tmp_path / "recipe.yaml"
    files = "\n".join(experts[:: -1 if swapped else 1])
    recipe.write_text(f"anchor: {slow.folder}/anchor.safetensors\nexperts:\n{files}\nfeatures: {{name: Gated}}\n")
    done, report = calibrate(slow, seen[:1], tmp_path, "--recipe", recipe, *BANK)
    assert done.exit_code == 0, done.output
    low, high = report["expert_losses"][:: -1 if swapped else 1]
    said = " ".join(done.output.split())
    assert f"low expert {low:.4f}" in said and f"high expert {high:.4f}" in said and high < low
    three = [part for name in ("anchor", "low", "high") for part in (f"--{name}", f"{slow.folder}/{name}.safetensors")]
    assert f"Then: ccm evaluate {' '.join(three)} --merged" in said


def test_experts_that_a_chart_does_not_go_through_are_no_points_of_it() -> None:
    three = ((-1.0,), (1.0,), (0.25,))
    files = tuple(Path(name) for name in ("a", "b", "c"))
    assert Recipe(Path("o"), files, three, (), Polynomial(2)).holds_experts
    assert not Recipe(Path("o"), files, three, (), Polynomial(1)).holds_experts
    two = Recipe(Path("o"), files[:2], three[:2], ())
    assert two.holds_experts and not two._replace(ridge=0.1).holds_experts
    assert not two._replace(filters=(Filter("*", None),)).holds_experts
    assert two.expert_names == ("low expert", "high expert")


def test_a_range_tells_the_value_at_the_coordinate(slow: Slow, seen: np.ndarray, tmp_path: Path) -> None:
    done, report = calibrate(slow, seen[:1], tmp_path, *BANK, "--range", "1:3")
    value = 2 + report["coordinate"]
    assert done.exit_code == 0 and f"This is the value {value:.4g} if coordinates are linear in it" in done.output
    for more, said in ((("--range", "1:3:5"), "expected LOW:HIGH"), (("--log",), "--log needs --range")):
        refused = ccm("calibrate", *of(slow.folder), "--prefix", tmp_path / "seen.npz", *more)
        assert refused.exit_code == 2 and said in refused.output


def test_a_bank_of_the_paper_chooses_among_its_coordinates(slow: Slow, seen: np.ndarray, tmp_path: Path) -> None:
    done, report = calibrate(slow, seen[:1], tmp_path, "--bank", "-1.5:1.5:0.25")
    assert done.exit_code == 0, done.output
    assert report["coordinate"] == 1.25 and len(report["candidates"]) == 13 and report["readout"]["search"] == "bank"


def write_validation(path: Path, trajectories: np.ndarray, values: list[float]) -> Path:
    """A file with the physical value of each trajectory."""
    count, times, *space, channels = trajectories.shape
    axes = [np.arange(n) for n in space]
    known = [{"nu": v} for v in values]
    fields = [f"u{i}" for i in range(channels)]
    return write_recording(path, trajectories, known, fields=fields, times=np.arange(times), axes=axes)


def test_trajectories_form_regimes_by_their_parameter(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 5, 1))
    regimes = read_regimes(open_recording(write_validation(tmp_path / "v.h5", x, [1e-3, 2e-3, 1e-3, 2e-3])))
    assert list(regimes.trajectories) == ["nu = 0.001", "nu = 0.002"]
    assert regimes.parameters == [{"nu": 1e-3}, {"nu": 2e-3}]
    np.testing.assert_allclose(regimes.trajectories["nu = 0.002"], x[[1, 3]], atol=1e-6)
    np.save(tmp_path / "v.npy", x)
    assert list(read_regimes(open_recording(tmp_path / "v.npy")).trajectories) == ["all"]


def test_validation_trajectories_fit_the_readout(
    slow: Slow, seen: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, given = fitting.fit_prefix_readout, []

    def without(chart: Any, rollout_fn: Any, validation: Any = None, *, mesh: Any = None, **how: Any) -> Any:
        given.append(validation)
        return fit(chart, rollout_fn, **how)  # fitting is the library's, and takes its time

    monkeypatch.setattr(fitting, "fit_prefix_readout", without)
    x = 1 + np.concatenate([seen, seen, seen], axis=1)
    write_validation(tmp_path / "v.h5", x, [1e-3, 3e-3, 1e-3])
    done, report = calibrate(slow, seen[:1], tmp_path, "--validation", tmp_path / "v.h5")
    assert done.exit_code == 0, done.output
    assert [regime.shape[0] for regime in given[-1]] == [2, 1]
    assert report["coordinate"] == pytest.approx(1.25, abs=2e-2)
    assert report["readout"]["validation"] == ["nu = 0.001", "nu = 0.003"]


def test_validation_of_other_channels_names_the_file_s_regimes(slow: Slow, seen: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", frames=np.ones((1, 9, 12, 12, 3)), **DIM2)
    done, _ = calibrate(slow, seen[:1], tmp_path, "--validation", tmp_path / "v.npz")
    assert done.exit_code == 2 and "--validation" in done.output and "channels" in done.output


def test_filters_of_a_recipe_hold_while_it_calibrates(slow: Slow) -> None:
    paths = [slow.folder / f"{name}.safetensors" for name in ("anchor", "low", "high")]
    filters = (Filter("project*", None), Filter("lift*", (1.0,)))
    recipe = Recipe(paths[0], (paths[1], paths[2]), ((-1.0,), (1.0,)), (), filters=filters)
    anchor, low, high = fitting.filtered(recipe, [open_weights(path) for path in paths])
    before = [open_weights(path).arrays for path in paths]
    for name in anchor:
        kept = before[0] if name.startswith("project") else before[2] if name.startswith("lift") else None
        np.testing.assert_array_equal(anchor[name], before[0][name])
        for expert, whole in ((low, before[1]), (high, before[2])):
            np.testing.assert_allclose(expert[name], (kept or whole)[name], atol=1e-6)


def test_a_prefix_of_several_regimes_is_remarked_on(slow: Slow, seen: np.ndarray, tmp_path: Path) -> None:
    path = write_validation(tmp_path / "several.h5", seen[:2], [1.0, 2.0])
    how = ("--model", slow.folder / "model.yaml", "--prefix", path, *BANK)
    said = "the trajectories differ in nu (2 values), and one coordinate is fitted to all"
    assert said in ccm("calibrate", *of(slow.folder), *how).output
    assert said not in ccm("calibrate", *of(slow.folder), *how, "--sample", 1).output
    assert "--prefix OBSERVED_FRAMES --validation" in ccm("data", "describe", path).output
