"""The study: its arithmetic on planted errors, its page, and how it survives a row that fails."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.configs.rd_ood import get_config
from experiments.report.statistics import interval
from experiments.study import jobs as study
from experiments.study import measures as study_measures
from experiments.study.ablations import filled, noisy, observed_pixels
from experiments.study.figures import over_anchor
from experiments.study.page import page, publish
from experiments.study.paper import STUDY
from experiments.study.rows import Row, rows_of
from experiments.study.tables import NOT_RUN, minutes, tables, to_csv

METHODS = {"anchor": 0.4, "anchor_more": 0.2, "average": 0.22, "wrong_sign": 1.0, "ccm_coord": 0.1, "best": 0.08}


def experiment(scale: float = 1.0) -> dict[str, Any]:
    errors = {name: scale * e for name, e in METHODS.items()} | {"ccm_scale": 0.09 * scale, "ccm_prefix": 0.05 * scale}
    inside = dict.fromkeys(errors, 0.01)
    return {
        "regimes": [
            {"value": 4.0, "coordinate": 2.0, "split": "ood", "errors": errors},
            {"value": 2.0, "coordinate": 0.0, "split": "id", "errors": inside},
        ],
        "summary": {"best_correlation": 0.99, "reduction_interval": {"ccm_coord": [0.4, 0.6]}},
        "stage_seconds": {"anchor": 90.0, "endpoints": 30.0},
        "calibration": {"leave_one_out": {"linear": 0.1, "quadratic": None}},
    }


def seeds(*found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"seed": i, "found": one, "seconds": 1.0, "git": "abc"} for i, one in enumerate(found)]


def test_an_interval_keeps_to_what_its_quantity_can_be() -> None:
    ratio, r = interval([0.1, 1.0, 10.0], "log"), interval([0.9, 0.99, 0.999], "correlation")
    assert 0 < ratio["low"] < 1.0 < ratio["high"]
    assert ratio["low"] * ratio["high"] == pytest.approx(1.0)
    assert -1 <= r["low"] < r["mean"] < r["high"] < 1
    assert interval([1.0, float("inf")])["low"] is None
    plain = interval([1.0, 2.0, 3.0])
    assert plain["high"] - plain["mean"] == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)


def test_a_single_seed_has_the_interval_of_its_trajectories() -> None:
    made = tables({"rd_ood": seeds(experiment())})["runs"][0]["gains"]["ccm_coord"]
    assert (made["low"], made["high"]) == (0.4, 0.6)
    several = tables({"rd_ood": seeds(experiment(), experiment())})["runs"][0]["gains"]["ccm_coord"]
    assert several["bootstrap"] == [[0.4, 0.6]] * 2


def test_harm_is_told_against_either_anchor() -> None:
    found = experiment()
    found["regimes"][1]["errors"] |= {"anchor": 0.01, "anchor_more": 0.008, "ccm_prefix": 0.0101}
    row = tables({"rd_ood": seeds(found)})["runs"][0]
    assert row["harm"] == pytest.approx(0.01)
    assert row["harm_better"] == pytest.approx(0.0101 / 0.008 - 1)


def test_an_undefined_correlation_or_two_diverged_anchors_make_no_number_and_no_crash(tmp_path: Path) -> None:
    found = experiment()
    found["summary"]["best_correlation"] = None
    found["regimes"][0]["errors"] |= {"anchor": None, "anchor_more": None}
    gathered = {"rd_ood": seeds(found)}
    made = tables(gathered)
    assert np.isnan(made["runs"][0]["gains"]["ccm_coord"]["mean"])
    assert next(row for row in made["published"] if row["key"] == "r_rd")["agrees"] is None
    publish([Row("rd_ood", "rd_ood", "run", (0,))], gathered, tmp_path, None, jobs=1)
    assert (tmp_path / "study.html").exists()


def test_minutes_count_rounds_and_stages_that_were_there() -> None:
    assert minutes({"rd_ood": seeds(experiment(), experiment(), experiment())}, 2)["rd_ood"] == pytest.approx(2 * 2.0)


def test_a_diverged_merge_is_said_to_diverge_and_a_missing_one_is_not(tmp_path: Path) -> None:
    ours = {"mean": None, "low": None, "high": None, "seeds": [None]}
    texts = [
        [text.get_text() for text in over_anchor([{"key": "ties", "what": "TIES", "ours": value}]).axes[0].texts]
        for value in (ours, None)
    ]
    assert texts == [["diverges"], []]


def test_gains_are_against_the_better_anchor_outside_the_support() -> None:
    made = tables({"rd_ood": seeds(experiment(), experiment(2.0), experiment(3.0))})
    base = next(row for row in made["published"] if row["key"] == "scale_base")
    assert base["ours"]["mean"] == pytest.approx(1 - 0.22 / 0.2)
    assert base["agrees"] is None  # the axis of the published one is not named
    same = next(row for row in made["published"] if row["key"] == "du_average")
    assert same["ours"]["mean"] == base["ours"]["mean"] and same["agrees"] is True  # both are losses
    assert made["summary"]["wrong_sign_factor"] == pytest.approx(10.0)
    run = made["runs"][0]["gains"]
    assert [run[who]["mean"] for who in ("ccm_coord", "ccm_prefix")] == pytest.approx([0.5, 0.75])


def test_a_divergence_is_infinitely_bad_and_a_missing_row_is_no_number() -> None:
    diverged = experiment()
    diverged["regimes"][0]["errors"]["ccm_coord"] = None
    made = tables({"rd_dpot": seeds(diverged), "rd_ood": [{"seed": 0, "error": "ValueError: broken"}]})
    assert made["summary"]["dpot_coord_over_best"] == np.inf
    assert "wrong_sign_factor" not in made["summary"]
    assert made["failed"] == [{"row": "rd_ood", "seed": 0, "error": "ValueError: broken"}]


def test_a_layer_s_share_is_of_the_direction_s_gain_on_the_average() -> None:
    over = {"average": 1.0, "ccm_coord": 0.5, "only lift": 0.9, "without lift": 0.6}
    controls = {"over_anchor": over, "same_regime_direction_gain": 0.01, "physical_direction_gain": 0.5}
    made = tables({"controls": seeds(controls | {"over_anchor": over | _rest(over)})})
    assert made["layers"][0]["alone"]["mean"] == pytest.approx(0.2)
    assert made["layers"][0]["lost"]["mean"] == pytest.approx(0.2)


def _rest(over: dict[str, float]) -> dict[str, float]:
    from experiments.study.tables import CONTROLS, MERGES

    return {name: 1.1 for name in (*MERGES, *CONTROLS) if name not in over}


def test_the_csv_holds_every_published_number_that_was_reached() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(tables({"rd_ood": seeds(experiment(), experiment())})))))
    published = {line["key"]: line for line in lines if line["table"] == "published"}
    assert {"du_average", "wrong_sign", "r_rd", "scale_base"} == set(published)
    assert float(published["wrong_sign"]["mean"]) == pytest.approx(10.0)
    assert float(published["wrong_sign"]["published"]) == 3.91


def test_the_page_names_what_failed_and_shows_what_there_is(tmp_path: Path) -> None:
    rows = [Row("rd_ood", "rd_ood", "run", (0, 1)), Row("rd_dpot", "rd_dpot", "run", (0,))]
    gathered = {"rd_ood": seeds(experiment(), experiment()), "rd_dpot": [{"seed": 0, "error": "out of <memory>"}]}
    publish(rows, gathered, tmp_path, tmp_path / "out" / "paper.json", jobs=2)
    html = (tmp_path / "study.html").read_text()
    assert "out of &lt;memory&gt;" in html
    assert "<svg" in html
    assert json.loads((tmp_path / "out" / "paper.json").read_text())["seeds"] == {"rd_ood": [0, 1], "rd_dpot": []}
    assert page.__doc__ and (tmp_path / "figures" / "published.pdf").stat().st_size > 1000


def test_a_row_that_fails_is_marked_and_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    row = Row("rd_ood", "rd_ood", "run", (0, 1, 2))

    def measure(run: Any) -> dict[str, Any]:
        if run.config.seed == 1 and not (tmp_path / "mended").exists():
            raise ValueError("planted")
        return {"seed": run.config.seed}

    monkeypatch.setitem(study_measures.MEASURES, "run", measure)
    monkeypatch.setattr("experiments.runner.runtime.keep_compiled", lambda: None)
    place = study.Place(STUDY, "paper:smoke", tmp_path)
    assert [study.one(place, row, seed, None) for seed in (0, 1)] == [0, 1]
    found = study.gather(place, [row])["rd_ood"]
    assert found[0]["found"] == {"seed": 0}
    assert "git" in found[0]
    assert found[1] == {"seed": 1, "error": "ValueError: planted"}
    assert found[2] == {"seed": 2, "error": NOT_RUN}
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{place.result(row, 2).stem}.log").touch()
    assert study.gather(place, [row])["rd_ood"][2] == {"seed": 2, "error": study.KILLED}
    (tmp_path / "mended").touch()
    assert study.one(place, row, 1, None) == 0
    assert study.gather(place, [row])["rd_ood"][1]["found"] == {"seed": 1}


def test_a_changed_row_is_another_result() -> None:
    row = rows_of("")[0]
    keys = {STUDY.key_of(row, "", 0), STUDY.key_of(row, "", 1), STUDY.key_of(row, "smoke", 0)}
    assert len(keys | {STUDY.key_of(row._replace(overrides=(("finetune.steps", 7),)), "", 0)}) == 4


def test_every_row_s_overrides_name_fields_of_its_configuration() -> None:
    import importlib

    for row in rows_of(""):
        config = importlib.import_module(f"experiments.configs.{row.config}").get_config()
        for field, _ in row.overrides:
            owner, name = field.split(".")
            assert name in config[owner], f"{row.name}: {field}"


def test_noise_has_the_size_that_is_asked_for() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 64, 64, 2)) * np.array([1.0, 30.0]) + 5.0
    added = noisy(x, 0.1, 1) - x
    for channel in range(2):
        ratio = np.std(added[..., channel]) / np.sqrt(np.mean(np.square(x[..., channel])))
        assert ratio == pytest.approx(0.1, rel=0.02)


def test_missing_pixels_are_filled_from_the_nearest_observed_one() -> None:
    mask = observed_pixels((16, 16), 0.75, 0)
    assert mask.sum() == 64
    field = np.broadcast_to(np.arange(16.0)[:, None, None], (16, 16, 1)) * np.ones((3, 1, 1, 1))
    back = filled(field, mask)
    observed = mask[..., 0] > 0
    np.testing.assert_array_equal(back[:, observed], field[:, observed])
    assert np.abs(back - field).max() < 5
    np.testing.assert_array_equal(filled(field, np.ones((16, 16, 1))), field)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_coordinate_s_value_has_that_coordinate(scale: str) -> None:
    from experiments.pipeline.data import coordinate_of
    from experiments.pipeline.plans import value_of

    config = get_config()
    config.axis.scale = scale
    for s in (-1.0, -0.3, 0.0, 1.0, 1.7):
        assert coordinate_of(config, value_of(config, s)) == pytest.approx(s, abs=1e-6)


def test_a_mean_is_taken_where_its_interval_is() -> None:
    ratio, one = interval([1.0, 4.0], "log"), interval([3.0], "log")
    assert ratio["mean"] == pytest.approx(2.0) and ratio["low"] * ratio["high"] == pytest.approx(4.0)
    assert one["mean"] == 3.0 and one["low"] is None
