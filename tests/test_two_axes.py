"""Two hidden parameters: regimes as pairs, both charts of the plane, the best coordinate, and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Gated, Multilinear, Polynomial, fit_chart, make_rollout
from ccm_jax.hindsight import best_in_hindsight, coarse_grid
from ccm_jax.io.atomic import finite
from ccm_jax.scale import choose_map
from experiments.configs import ns_2d, rd_2d, rd_ood
from experiments.pipeline import data, plane
from experiments.pipeline.axes import LAYOUTS, join, said
from experiments.pipeline.checks import check_config
from experiments.pipeline.family import Family
from experiments.pipeline.plans import plan, value_of
from experiments.pipeline.store import Stage, write_json
from experiments.pipeline.systems import regime_parameters
from experiments.report.plane import collect, headline, summarise, terminal_table, write_page

Params = dict[str, jax.Array]
FEATURES = {"corners": Multilinear(2), "ends": Polynomial(dim=2)}


def weights(a: Any, b: Any, interaction: float = 0.0) -> Params:
    """Decay rates of two fields: the first follows one parameter, the second the other."""
    return {"rates": jnp.array([-1.0 + 0.3 * a, -2.0 + 0.5 * b + interaction * a * b], jnp.float32)}


ROLLOUT = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rates"][None, None]))


def trajectories(a: float, b: float, interaction: float = 0.0, count: int = 2) -> np.ndarray:
    """``[N, 9, 4, 2]``, from different starts."""
    start = np.random.default_rng(0).uniform(1, 2, (count, 1, 4, 2))
    rates = np.asarray(weights(a, b, interaction)["rates"])
    return np.asarray(start * np.exp(0.1 * np.arange(9)[:, None, None] * rates), np.float32)


def family(layout: str, interaction: float = 0.0) -> Family:
    experts = tuple(weights(a, b, interaction) for a, b in LAYOUTS[layout])
    where = {"coordinates": LAYOUTS[layout], "features": FEATURES[layout]}
    return Family(weights(0.0, 0.0), experts, ROLLOUT, 1, 4, np.zeros(0), **where)


def test_regimes_are_pairs_and_those_of_one_axis_stay_numbers() -> None:
    config = ns_2d.get_config()
    parameters = regime_parameters(config, (2e-3, 0.05))
    assert (parameters["viscosity"], parameters["amplitude"]) == (2e-3, 0.05)
    assert data.coordinate_of(config, (2e-3, 0.05)) == (1.0, -2.0)
    assert value_of(config, (1.0, 0.0)) == pytest.approx((2e-3, 0.1))
    assert said(config, (2e-3, 0.05)) == "viscosity = 0.002, amplitude of the forcing = 0.05"
    assert data.outside((0.5, -1.1)) and not data.outside((1.0, -1.0)) and data.outside(-1.1)
    one = rd_ood.get_config()
    assert data.coordinate_of(one, 1e-3) == -1.0 and join([2.0]) == 2.0
    assert set(data.specification(one)) == {"physics", "solver", "initial", "grid", "channels", "system", "axis"}
    assert "axis2" not in one and "axis2" in data.specification(config)


def test_the_regimes_of_both_planes() -> None:
    for module in (rd_2d, ns_2d):
        config = module.get_config()
        test = [data.coordinate_of(config, v) for v in config.regimes.test]
        assert test == list(itertools.product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=2))
        assert sum(not data.outside(s) for s in test) == 9
        validation = [data.coordinate_of(config, v) for v in config.regimes.validation]
        assert not set(validation) & set(test) and {data.outside(s) for s in validation} == {True, False}
        corners = plan(config, "data_corners")
        assert [data.coordinate_of(config, row.value) for row in corners] == list(LAYOUTS["corners"])
        assert {row.purpose for row in corners} == {"pair"}
        with pytest.raises(ValueError, match="plan: no data stage 'data_endpoints'"):
            plan(config, "data_endpoints")


def test_as_many_steps_in_all_as_with_one_axis() -> None:
    one, two = rd_ood.get_config(), rd_2d.get_config()
    total = two.train.steps + 4 * two.finetune.steps
    assert total == one.train.steps + 2 * one.finetune.steps
    window = plane.window_run(plane.Run(two, Path())).config
    assert (window.train.steps, window.model.history) == (total, 5)


def test_both_parameters_reach_the_frames() -> None:
    config = rd_2d.get_config("smoke")
    config.solver.update(grid=16, frames=2)
    config.data.grid = 8
    low, first, second = (data.simulate(config, v, 1, "pair") for v in ((1e-3, 3e-3), (3e-3, 3e-3), (1e-3, 8e-3)))
    np.testing.assert_array_equal(low[:, 0], first[:, 0])  # a pair starts from the same state
    changed = [np.abs(other - low)[0, 1].max(axis=(0, 1)) for other in (first, second)]
    assert changed[0][0] > 1e-3 and changed[1][1] > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regimes.test": ((1e-3, 5e-3), 1e-3)}, r"regimes.test is .*, expected a value on either axis"),
        ({"axis2.low": 8e-3}, "config.axis2.low is 0.008, expected below axis2.high"),
        ({"axis2.parameters": ("diffusivity_u",)}, "other parameters than those of axis, because config.axis2"),
        ({"axis2.label": ""}, "config.axis2.label is '', expected a name of the axis"),
        ({"calibration.search": "bank"}, "config.calibration.search is 'bank', expected 'continuous'"),
        ({"finetune.paired": False}, "config.finetune.paired is False, expected True"),
        ({"regimes.validation": ((2e-3, 8e-3), (1.9e-3, 5e-3))}, r"expected within \|s\| <= 1.25"),
    ],
)
def test_planes_that_cannot_work_are_refused_at_once(change: dict[str, Any], message: str) -> None:
    config = rd_2d.get_config()
    config.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        check_config(config)


def test_experts_that_do_not_span_the_plane_are_refused_with_a_remedy() -> None:
    line, point = [(c, 0.0) for c in (-1.0, -0.5, 0.5, 1.0)], [(0.5, 0.5)] * 4
    for features in (*FEATURES.values(), *map(Gated, FEATURES.values())):
        for where, message in ((line, "they span 1 of 2 axes; add experts"), (point, "all are at the same coordinate")):
            with pytest.raises(ValueError, match=f"fit_chart: 4 experts at .*{message}"):
                fit_chart(weights(0, 0), [weights(a, b) for a, b in where], where, features=features)
    with pytest.raises(ValueError, match="fit_chart: 2 experts at .*: all are at the same coordinate; add experts"):
        fit_chart(weights(0, 0), [weights(1, 0)] * 2, [1.0, 1.0])
    plain = [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)]  # spans both axes, and says nothing of an interaction
    with pytest.raises(ValueError, match=r"determine 3 of the 4 features of Multilinear\(dim=2\); add experts"):
        fit_chart(weights(0, 0), [weights(a, b) for a, b in plain], plain, features=Multilinear(2))


def test_corners_hold_an_interaction_that_ends_do_not() -> None:
    x = trajectories(1.5, -1.5, interaction=0.2)
    corners, ends = (family(name, 0.2).plane for name in ("corners", "ends"))
    np.testing.assert_allclose(corners((1.5, -1.5))["rates"], weights(1.5, -1.5, 0.2)["rates"], atol=1e-5)
    assert abs(float(ends((1.5, -1.5))["rates"][1] - weights(1.5, -1.5, 0.2)["rates"][1])) == pytest.approx(0.45)
    best = best_in_hindsight(corners, ROLLOUT, x)
    np.testing.assert_allclose(best.coordinate, [1.5, -1.5], atol=2e-3)
    assert best.error < 1e-3 and coarse_grid(2).shape == (25, 2)


def test_where_everything_diverges_the_best_error_is_infinite() -> None:
    broken = make_rollout(lambda params, window: window[:, -1] * jnp.inf * params["rates"][None, None])
    best = best_in_hindsight(family("ends").line, broken, trajectories(0.0, 0.0), candidates=[(0.0, 0.0)])
    assert best.error == float("inf") and np.isfinite(best.coordinate).all()
    with pytest.raises(ValueError, match=r"candidates have shape \(3,\), expected \[n, 2\]"):
        best_in_hindsight(family("ends").line, ROLLOUT, trajectories(0.0, 0.0), candidates=[1.0, 2.0, 3.0])


def test_a_map_is_chosen_for_each_axis() -> None:
    s = np.array([-1.25, -0.5, 0.5, 1.25])
    assert choose_map(s, 0.8 * s).kind == "gamma"
    shifted = choose_map(s, 0.8 * s + 0.2)
    assert shifted.kind == "line" and float(shifted.map(0.0)) == pytest.approx(0.2)


@pytest.mark.long
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_readouts_of_a_plane_find_what_made_the_frames(layout: str) -> None:
    config = rd_2d.get_config("smoke")
    judged = family(layout)
    validation = [trajectories(*data.coordinate_of(config, v)) for v in config.regimes.validation]
    facts = plane.calibrate(config, judged, np.stack(validation))
    np.testing.assert_allclose(facts["best"], facts["coordinates"], atol=5e-3)
    assert facts["score"] < 0.1 and len(facts["maps"]) == 2
    x = jnp.asarray(trajectories(2.0, -2.0))
    row = plane.evaluate_regime(config, judged, facts, value_of(config, (2.0, -2.0)), x)
    assert row["split"] == "ood" and row["errors"]["anchor"] > 0.1
    assert max(row["errors"][name] for name in ("ccm_coord", "ccm_scale", "ccm_prefix", "best")) < 5e-3
    np.testing.assert_allclose(np.array(row["chosen"]["ccm_prefix"])[:, :2], [[2.0, -2.0]] * 2, atol=0.02)


def test_means_are_over_the_plane_and_over_the_best() -> None:
    errors = {"ccm_prefix": [0.1, 0.3, 0.5], "best": [0.1, 0.2, 0.3], "ccm_coord": [float("inf"), 0.1, 0.1]}
    means = summarise(errors, ["id", "ood", "ood"])
    assert means["ccm_prefix"] == pytest.approx({"all": 0.3, "inside": 0.1, "outside": 0.4, "over_best": 1.5})
    assert means["ccm_coord"]["over_best"] == float("inf")


def finished(folder: Path) -> plane.PlaneStages:
    """Stages of an experiment as their files, with errors that grow away from the middle; one diverged."""

    def stage(name: str, content: Any = None, file: str = "evaluation.json") -> Stage:
        (folder / name).mkdir()
        write_json(folder / name / file, content)
        return Stage(name, "0", folder / name, 1.0, False)

    config = rd_2d.get_config("smoke")
    coordinates = [data.coordinate_of(config, v) for v in config.regimes.test]
    error = [0.01 * (1 + abs(a) + abs(b)) for a, b in coordinates]

    def row(i: int, excess: float) -> dict[str, Any]:
        known = {"anchor": 0.3, "ccm_coord": error[i] * 1.2, "ccm_scale": error[i] * 1.1, "best": error[i]}
        s, split = list(coordinates[i]), "ood" if data.outside(coordinates[i]) else "id"
        chosen = {"ccm_coord": s, "ccm_scale": s, "best": s, "ccm_prefix": [[*s, 1.0]]}
        value = list(config.regimes.test[i])
        errors = known | {"ccm_prefix": error[i] * excess}
        return {"value": value, "coordinate": s, "split": split, "errors": errors, "chosen": chosen}

    decided = {"maps": [{"kind": "gamma"}] * 2, "prefix": {"free_gate": False, "begin": 3}}
    calibrations = {
        name: stage(f"calibration_{name}", decided | {"score": score}, "calibration.json")
        for name, score in (("corners", 0.3), ("ends", 0.2))
    }
    evaluations = {
        name: stage(f"evaluation_{name}", [row(i, excess) for i in range(len(error))])
        for name, excess in (("corners", float("inf")), ("ends", 1.05))
    }
    names = ("support", "anchor", "data_corners", "data_ends", "corners", "ends", "window")
    made = {name: stage(name) for name in names}
    experts = {"corners": made["corners"], "ends": made["ends"]}
    regimes = {"corners": made["data_corners"], "ends": made["data_ends"]}
    trained = plane.Networks(made["support"], made["anchor"], regimes, experts, made["window"])
    seen = stage("evaluation_window", [2 * e for e in error])
    return plane.PlaneStages(trained, stage("validation"), stage("test"), calibrations, evaluations, seen)


@pytest.mark.long
def test_the_report_maps_errors_of_the_chart_that_validation_chose(tmp_path: Path) -> None:
    results = finite(collect(rd_2d.get_config("smoke"), finished(tmp_path)))
    assert results["chart"] == "ends"
    of_ends, of_corners = (results["charts"][name]["summary"]["ccm_prefix"] for name in ("ends", "corners"))
    assert of_ends["over_best"] == pytest.approx(1.05) and of_corners["over_best"] is None
    assert results["summary"]["window"]["all"] == pytest.approx(2 * of_ends["all"] / 1.05)
    (tmp_path / "page").mkdir()
    write_page(results, tmp_path / "page")
    page = (tmp_path / "page" / "report.html").read_text()
    assert page.count("<svg") == 2 and "two and two ends" in page and "∞" in page
    assert {path.name for path in (tmp_path / "page" / "figures").glob("*.png")} == {"errors.png", "coordinates.png"}
    assert terminal_table(results).row_count == 2 + 2 * 4
    assert any("1.050 times the best coordinate in hindsight" in line for line in headline(results))
