"""Physical values in the terminal and in recipes, and what is said of places that are doubtful."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ccm_jax import Gated, Multilinear, merge_pytree
from ccm_jax.cli.recipe import read_recipe
from ccm_jax.cli.units import Units
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from tests.terminal import NAMES, arrays, ccm, of

AROUND = ("--range", "-1:2")
RANGE = ("--range", "1e-3:3e-3")


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """Three small files."""
    rng = np.random.default_rng(0)
    anchor = rng.standard_normal((4, 3))
    for name in NAMES:
        moved = 0.1 * rng.standard_normal((4, 3)) * (name != "anchor")
        save_safetensors(tmp_path / f"{name}.safetensors", {"w": anchor + moved})
    return tmp_path


@pytest.mark.parametrize(
    ("value", "more", "coordinate"),
    [("4e-3", RANGE, 2.0), ("1e-3", RANGE, -1.0), ("2e-3", ("--range", "1e-3:4e-3", "--log"), 0.0)],
)
def test_a_physical_value_is_merged_at_its_coordinate(
    family: Path, value: str, more: tuple[str, ...], coordinate: float
) -> None:
    out = family / "out.safetensors"
    done = ccm("merge", *of(family), "--value", value, *more, "-o", out)
    assert done.exit_code == 0 and "warning" not in done.output, done.output
    expected = merge_pytree(*(arrays(family / f"{name}.safetensors") for name in NAMES), coordinate)
    np.testing.assert_allclose(arrays(out)["w"], expected["w"], atol=1e-5)
    facts = json.loads(open_safetensors(out).metadata["provenance"])
    assert facts["coordinate"] == [coordinate] and facts["physical"]["value"] == float(value)
    assert facts["physical"]["scale"] == ("log" if "--log" in more else "linear")
    assert f"the value {float(value):g}" in Path(f"{out}.md").read_text()


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_coordinate_has_its_physical_value_back(scale: Literal["linear", "log"]) -> None:
    units = Units(1e-3, 3e-3, scale)
    for value in (5e-4, 1e-3, 2.2e-3, 4e-3):
        np.testing.assert_allclose(units.value(units.coordinate(value, "test")), value, rtol=1e-5)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("-c", "4"), "coordinate +4 is far outside the experts' range, -1 to +1"),
        (("-c", "-2.6"), "coordinate -2.6 is"),
        (("--value", "6e-3", *RANGE), "value 0.006 is at coordinate +4, far outside the experts' range 0.001 to 0.003"),
        (("-c", "4e-3"), "if 0.004 is a physical value, pass --value 0.004 --range"),
    ],
)
def test_doubtful_places_are_merged_with_a_warning(family: Path, place: tuple[str, ...], said: str) -> None:
    done = ccm("merge", *of(family), *place, "-o", family / "out.safetensors")
    assert done.exit_code == 0 and said in done.stderr, done.output
    assert ("Pass a physical value by --value" in done.stderr) == (place[0] == "-c" and abs(float(place[1])) > 1)
    assert (family / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("-c", "250"), "coordinate +250 is far outside the experts' range, -1 to +1; expected at most 10"),
        (("-c", "-11"), "if -11 is a physical value, pass --value -11 --range LOW:HIGH"),
        (("--value", "0.5", *RANGE), "far outside the experts' range 0.001 to 0.003"),
    ],
)
def test_a_coordinate_and_a_value_are_refused_at_the_same_distance(
    family: Path, place: tuple[str, ...], said: str
) -> None:
    done = ccm("merge", *of(family), *place, "-o", family / "out.safetensors")
    assert done.exit_code == 2 and said in done.output and "expected at most 10" in done.output
    assert done.output.count("\n") == 1 and not (family / "out.safetensors").exists()


@pytest.mark.parametrize(
    "place",
    [("-c", "2.5"), ("-c", "0"), ("--value", "2.001e-3", *RANGE), ("--value", "0", *RANGE), ("--value", "0", *AROUND)],
)
def test_other_places_are_merged_without_a_word(family: Path, place: tuple[str, ...]) -> None:
    done = ccm("merge", *of(family), *place, "-o", family / "out.safetensors")
    assert done.exit_code == 0 and not done.stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("--value", "4e-3"), "--value 0.004 needs --range LOW:HIGH"),
        (RANGE, "--range needs --value"),
        (("--value", "4e-3", "--range", "3e-3:1e-3"), "--range 3e-3:1e-3: low is 0.003"),
        (("--value", "4", *RANGE), "--value 4 is at coordinate +3998, far outside the experts' range 0.001 to 0.003"),
        (("--value", "4e-3", "--range", "3e-3"), "expected LOW:HIGH"),
        (("--value", "4e-3", "--range", "1e-3-3e-3"), "expected LOW:HIGH"),
        (("--value", "1e250", "--range", "1e200:3e200"), "3e+200 is too large for single precision"),
        (("--value", "4e-3", "--range", "a:b"), "--range a:b is"),
        (("--value", "4e-3", *RANGE, "-c", "1"), "give --coordinate or --value, not both"),
        (("--value", "-1", "--range", "1:3", "--log"), "a log scale needs positive values"),
        (("--value", "1", "--range", "0:3", "--log"), "a log scale needs positive values"),
        (
            ("--value", "-1e-3", *RANGE),
            "--value -0.001: expected above 0, as both experts' values are",
        ),
        (("--value", "1", "--range", "-3:-1"), "--value 1: expected below 0, as both experts' values are (-3 to -1)"),
        (("-c", "1", "--log"), "--log needs --range"),
        (("--value", "nan", *RANGE), "expected a finite number"),
        (("-c", "1", "-c", "2"), "--coordinate is given 2 times"),
    ],
)
def test_values_without_sense_are_refused_in_one_line(family: Path, place: tuple[str, ...], message: str) -> None:
    done = ccm("merge", *of(family), *place, "-o", family / "out.safetensors")
    assert done.exit_code == 2 and message in done.output and len(done.output.splitlines()) == 1, done.output
    assert not (family / "out.safetensors").exists()


def recipe(family: Path, low: str, high: str, rest: str) -> Path:
    """A recipe of two experts."""
    path = family / "recipe.yaml"
    experts = f"  - {{path: low.safetensors, {low}}}\n  - {{path: high.safetensors, {high}}}\n"
    path.write_text(f"anchor: anchor.safetensors\nexperts:\n{experts}{rest}\n")
    return path


@pytest.mark.parametrize("typed", [(), ("--value", "4e-3"), ("-c", "2")])
def test_a_recipe_may_be_written_in_physical_values(family: Path, typed: tuple[str, ...]) -> None:
    value = "" if typed else "value: 4e-3\n"
    path = recipe(family, "value: 1e-3", "value: 3e-3", f"range: [1e-3, 3e-3]\n{value}")
    done = ccm("merge", "--recipe", path, *typed, "-o", family / "out.safetensors")
    assert done.exit_code == 0, done.output
    facts = json.loads(open_safetensors(family / "out.safetensors").metadata["provenance"])
    assert facts["coordinate"] == [2.0] and [e["coordinate"] for e in facts["experts"]] == [[-1.0], [1.0]]
    assert ("physical" in facts) == ("-c" not in typed)


AT = ("coordinate: -1", "coordinate: 1")


@pytest.mark.parametrize(("gate", "same_as"), [("[0, 0]", "anchor"), ("1", "high"), ("[1, 1]", "high")])
def test_a_gate_is_1_for_experts_and_for_a_coordinate_without_it(family: Path, gate: str, same_as: str) -> None:
    path = recipe(family, *AT, f"features: {{name: Gated, inner: {{degree: 1}}}}\ncoordinate: {gate}")
    done = ccm("merge", "--recipe", path, "-o", family / "out.safetensors")
    assert done.exit_code == 0, done.output
    expected = arrays(family / f"{same_as}.safetensors")["w"]
    np.testing.assert_allclose(arrays(family / "out.safetensors")["w"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("experts", "rest", "typed", "message"),
    [
        (AT, "value: 4e-3", (), "value needs a range"),
        (AT, "value: 4e-3\nrange: [3e-3, 1e-3]", (), "range: low is 0.003"),
        (AT, "value: 4e-3\nrange: [1e-3, 3e-3]\ncoordinate: 1", (), "give coordinate or value, not both"),
        (AT, "value: 4\nrange: [1e-3, 3e-3]", (), "value is at coordinate +3998, far outside"),
        (AT, "value: 1\nrange: [-1, 3]\nscale: log", (), "a log scale needs positive values"),
        (AT, "value: 1\nrange: [1, 3]\nscale: cubic", (), "'linear' or 'log'"),
        (AT, "coordinate: 1\nscale: log", (), "scale needs range"),
        (AT, "coordinate: 1\nrange: [1, 3]", ("--value", "1", "--range", "1:3"), "leave one out"),
        (("value: 1", "value: 3"), "coordinate: 1", (), "experts[0].value needs range"),
        (("coordinate: 1", "coordinate: 1"), "coordinate: 1", (), "add experts at other coordinates"),
        (AT, "coordinate: 1\nfeatures: {name: Polynomial, degree: 2}", (), "use fewer features, or set ridge"),
        (AT, "coordinate: 1e39", (), "coordinate is 1e+39, expected within 1e+06"),
        (AT, "coordinate: 1\nridge: []", (), "ridge is [], expected one number"),
        (AT, "coordinate: 1\nridge: true", (), "ridge is True, expected a number"),
        (AT, "coordinate: 1\nridge: -1", (), "ridge is -1, expected at least 0"),
        (AT, "value: [1, 2]\nrange: [1, 3]", (), "value is [1, 2], expected one number"),
        (AT, "coordinate: 1\nfeatures: {name: [Gated]}", (), "features are {'name': ['Gated']}, expected"),
        (AT, "coordinate: 1\nfeatures: {name: Gated, inner: 3}", (), "features are 3, expected"),
        (AT, "coordinate: 1\nfeatures: {name: Polynomial, degree: -1}", (), "degree is -1, expected a whole number"),
        (AT, "coordinate: 1\nfeatures: {name: Polynomial, degree: 0}", (), "degree is 0, expected a whole number"),
        (AT, "coordinate: [1, 2]", (), "coordinate has 2 numbers, expected 1"),
        (AT, "coordinate: 1", ("-c", "1", "-c", "2"), "coordinate has 2 numbers, expected 1"),
    ],
)
def test_recipes_without_sense_are_refused_by_name(
    family: Path, experts: tuple[str, str], rest: str, typed: tuple[str, ...], message: str
) -> None:
    path = recipe(family, *experts, rest)
    done = ccm("merge", "--recipe", path, *typed, "-o", family / "out.safetensors")
    assert done.exit_code == 2 and message in done.output and str(path) in done.output, done.output
    assert len(done.output.splitlines()) == 1 and not (family / "out.safetensors").exists()


def test_two_experts_at_one_corner_are_named(tmp_path: Path) -> None:
    experts = "\n".join(
        f"  - {{path: {i}.npz, coordinate: {c}}}" for i, c in enumerate(([-1, -1], [-1, 1], [1, -1], [1, -1]))
    )
    (tmp_path / "r.yaml").write_text(f"anchor: a.npz\nexperts:\n{experts}\nfeatures: {{name: Multilinear, dim: 2}}\n")
    with pytest.raises(ValueError, match=r"experts\[2\] and experts\[3\] are both at \[1.0, -1.0\]: correct one"):
        read_recipe(tmp_path / "r.yaml")


def test_the_corners_of_a_rectangle_are_features_of_a_recipe(tmp_path: Path) -> None:
    corners = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    experts = "\n".join(f"  - {{path: {i}.npz, coordinate: {corner}}}" for i, corner in enumerate(corners))
    for features, expected in (
        ("{name: Multilinear, dim: 2}", Multilinear(2)),
        ("{name: Gated, inner: {name: Multilinear, dim: 2}}", Gated(Multilinear(2))),
    ):
        (tmp_path / "r.yaml").write_text(
            f"anchor: a.npz\nexperts:\n{experts}\nfeatures: {features}\ncoordinate: [0.3, -0.7]\n"
        )
        assert read_recipe(tmp_path / "r.yaml").features == expected
