"""From errors to claims: gains where something diverged, intervals, and one list of methods behind every table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from experiments.pipeline.methods import METHODS, Method, columns, drawn, reduced
from experiments.report.parameter_figure import error_by_regime
from experiments.report.results import bootstrap_gain, headline, summarise, terminal_table, verdict
from experiments.study.controls import summarise as summarise_controls
from experiments.study.tables import tables


def results(**changed: float | None) -> dict[str, Any]:
    """Two regimes, one outside the support where errors are ``changed``."""
    plain = dict.fromkeys(METHODS, 0.4) | {"ccm_prefix": 0.1}
    regimes = [
        {"value": 1.0, "coordinate": 0.0, "split": "id", "errors": plain, "chosen": {"best": 0.1}},
        {"value": 3.0, "coordinate": 2.0, "split": "ood", "errors": plain | changed, "chosen": {"best": 2.0}},
    ]
    per_trajectory = {name: np.array([[row["errors"][name]] * 3 for row in regimes], float) for name in METHODS}
    config = {"axis": {"low": 0.5, "high": 1.5, "label": "D", "unit": "", "scale": "linear"}}
    config |= {"calibration": {"frames": 4}, "model": {"history": 1}}
    return {"config": config, "regimes": regimes, "summary": summarise(regimes, per_trajectory)}


def told(found: dict[str, Any]) -> str:
    from ccm_jax.io.atomic import finite

    return "\n".join(headline(finite(found)))


def test_two_anchors_that_diverge_are_no_gain_of_a_hundred_per_cent() -> None:
    found = results(anchor=float("inf"), anchor_more=float("inf"))
    assert all(np.isnan(value) for value in found["summary"]["reduction"].values())
    assert all(np.isnan(ends).all() for ends in found["summary"]["reduction_interval"].values())
    assert "CCM-Prefix, from 5 frames  not defined: a rollout diverged" in told(found)


def test_a_method_that_diverges_has_no_interval_and_the_others_keep_theirs() -> None:
    found = results(ccm_coord=float("inf"), wrong_sign=float("inf"))
    assert found["summary"]["reduction"]["ccm_coord"] == -np.inf
    assert found["summary"]["reduction"]["ccm_prefix"] == pytest.approx(0.75)
    assert found["summary"]["reduction_interval"]["ccm_prefix"] == pytest.approx([0.75, 0.75])
    said = told(found)
    assert "4 x smaller error   [4, 4]" in said and "wrong sign diverges" in said
    only = results(anchor=float("inf"))
    assert only["summary"]["better_anchor"] == "anchor_more"
    assert only["summary"]["reduction"]["ccm_prefix"] == pytest.approx(0.75)
    assert only["summary"]["harm"]["above_anchor"] == pytest.approx(0.1 / 0.4 - 1)


def test_a_method_that_is_worse_has_a_larger_error() -> None:
    assert "1.2 x larger error   [1.2, 1.2]" in told(results(anchor=0.4, anchor_more=0.4, ccm_prefix=0.48))


def said(**changed: float) -> str:
    from ccm_jax.io.atomic import finite

    return verdict(finite(results(**changed)))


def test_the_verdict_says_what_beats_the_better_of_two_anchors() -> None:
    ways = dict.fromkeys(("ccm_coord", "ccm_scale", "ccm_prefix"), 0.4)
    assert "CCM-Prefix: its error is 4 times smaller than the anchor's." in said()
    both = said(ccm_scale=0.2, anchor_more=0.3)  # trained longer, it is better in the mean
    assert (
        "use CCM-Scale if you know the value: its error is 1.5 times smaller than that of the anchor trained longer."
        in both
    )
    assert "If not, use CCM-Prefix: 3 times smaller. CCM-Coord does not" in both
    assert "its error is 1.05 times smaller" in said(**ways | {"ccm_prefix": 0.381})
    assert "keep the anchor: no merge clearly beats it." in said(**ways)
    assert "keep the anchor that was trained longer: no merge" in said(**ways | {"anchor_more": 0.39})


def test_the_verdict_never_passes_over_the_average() -> None:
    ways = dict.fromkeys(("ccm_coord", "ccm_scale", "ccm_prefix"), 0.4)
    best = said(**ways | {"average": 0.2})
    assert "use the endpoint average: its error is 2 times smaller than the anchor's." in best
    assert "CCM-Coord, CCM-Scale and CCM-Prefix do not clearly beat the anchor." in best
    assert "use the endpoint average:" in said(average=0.05) and "use CCM-Prefix:" in said(average=0.2)
    lost = dict.fromkeys(METHODS, float("inf"))
    assert "the anchor diverges on some trajectory, trained longer or not; the endpoint average does not." in said(
        **lost | {"average": 0.4}
    )


def test_trajectories_are_drawn_for_each_regime_by_itself() -> None:
    errors = np.array([[1.0, 1.1, 1.2, 1.3], [1.3, 1.2, 1.1, 1.0]])  # one draw for both would always have this mean
    low, high = bootstrap_gain(errors, np.full_like(errors, 2.0))
    assert high - low > 0.02
    assert bootstrap_gain(errors, 2 * errors) == pytest.approx([0.5, 0.5])  # method and reference share each draw


def test_controls_of_a_run_whose_anchors_diverge_have_no_ratio(tmp_path: Any) -> None:
    from types import SimpleNamespace

    from ccm_jax.io.atomic import write_json

    names = ("average", "same_regime", "ccm_coord", "wrong_sign")
    write_json(tmp_path / "evaluation.json", {"regimes": results(anchor=None, anchor_more=None)["regimes"]})
    np.savez(tmp_path / "controls.npz", **{name: np.full((2, 3), 0.1 * (i + 1)) for i, name in enumerate(names)})
    stage = SimpleNamespace(path=tmp_path)
    found = summarise_controls(SimpleNamespace(evaluation=stage), stage)  # type: ignore[arg-type]
    assert all(np.isnan(value) for value in found["over_anchor"].values())
    assert found["physical_direction_gain"] == pytest.approx(1 - 0.3 / 0.1)
    write_json(tmp_path / "evaluation.json", {"regimes": results(anchor=None)["regimes"]})
    found = summarise_controls(SimpleNamespace(evaluation=stage), stage)  # type: ignore[arg-type]
    assert found["over_anchor"]["ccm_coord"] == pytest.approx(0.3 / 0.4)


def test_a_method_in_the_registry_is_in_every_table_and_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Method("My readout", "#123456", "merge", heading="Mine", source="from tea leaves", by_regime=11)
    monkeypatch.setitem(METHODS, "mine", mine)
    found = results(mine=0.2)
    console = Console(width=200, record=True)
    console.print(terminal_table(found))
    assert "Mine" in console.export_text()
    assert "My readout, from tea leaves  2 x smaller error" in told(found)
    assert "My readout" in [line.get_label() for line in error_by_regime(found).axes[0].lines]
    found["summary"] |= {"best_correlation": 0.9}
    whole = found | {"calibration": {"leave_one_out": {"line": 0.1}}, "stage_seconds": {}}
    made = tables({"rd_ood": [{"seed": 0, "found": whole}]})
    assert made["runs"][0]["gains"]["mine"]["mean"] == pytest.approx(0.5)


def test_the_anchor_that_all_is_compared_with_is_drawn() -> None:
    def shown(found: dict[str, Any]) -> list[Any]:
        return [line.get_label() for line in error_by_regime(found).axes[0].lines]

    assert "anchor" in shown(results()) and "anchor, trained longer" not in shown(results())
    assert {"anchor", "anchor, trained longer"} <= set(shown(results(anchor_more=0.3)))


def test_the_order_of_tables_and_figures() -> None:
    assert " ".join(columns(METHODS).values()) == "anchor anchor+ average wrong Coord Scale Prefix best"
    assert list(columns(reduced())) == ["average", "ccm_coord", "ccm_scale", "ccm_prefix", "best"]
    assert " ".join(drawn("by_regime")) == (
        "wrong_sign low high anchor_more anchor average ccm_scale ccm_coord ccm_prefix best"
    )
