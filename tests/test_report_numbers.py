"""Numbers as the report writes them, and what it concludes from them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ccm_jax.io.atomic import read_json, write_json
from experiments.pipeline.methods import METHODS, headlines
from experiments.report import head, peers
from experiments.report.film import film
from experiments.report.frame_figure import frames
from experiments.report.numbers import by_regime, signed, too_often
from experiments.report.page import FOLDED, held, in_order, two_parts
from experiments.report.sure_figures import sureness

CONFIG: dict[str, Any] = {
    "name": "rd_ood",
    "size": "",
    "system": "reaction_diffusion",
    "axis": {"label": "diffusivity"},
    "model": {"history": 1, "name": "fno"},
    "calibration": {"frames": 4},
    "solver": {"dt": 0.25},
}


def test_coordinates_have_true_minus_signs_and_zero_has_none() -> None:
    assert [signed(x) for x in (-1.5, 1, 0.0, -0.004)] == ["−1.50", "+1.00", "0.00", "0.00"]


def test_a_test_that_rejects_more_often_than_by_chance_is_named() -> None:
    assert too_often(7, 32, 0.05) and too_often(2, 2, 0.05)
    assert not too_often(3, 32, 0.05) and not too_often(0, 0, 0.05)


def test_each_regime_is_compared_with_the_anchor_that_is_better_there() -> None:
    def of(*regimes: tuple[float | None, float | None, float | None]) -> tuple[float, float] | None:
        names = ("anchor", "anchor_more", "ccm_prefix")
        rows = [{"split": "ood", "errors": dict(zip(names, errors, strict=True))} for errors in regimes]
        inside = {"split": "id", "errors": dict.fromkeys(names, 1.0)}
        return by_regime({"regimes": [inside, *rows]}, "ccm_prefix")

    assert of((0.4, 0.8, 0.2), (0.9, 0.6, 0.1)) == pytest.approx((2.0, 6.0))
    assert of((0.4, None, 0.2), (None, None, 0.1)) == (2.0, float("inf"))
    assert of((0.4, 0.8, None), (0.9, 0.6, 0.1)) == pytest.approx((0.0, 6.0))
    assert of((0.4, 0.8, 0.2)) is None and of((0.4, 0.8, 0.2), (None, None, None)) is None


def bitmap(uri: str) -> np.ndarray:
    """Red minus blue of a data URI: it grows with the value."""
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")
    return np.asarray(image, float) @ [1, 0, -1]


def test_the_film_and_the_figure_show_the_last_frame_in_one_orientation() -> None:
    """``u[i, j]`` is i to the right and j up."""
    u = np.zeros((1, 2, 4, 6, 1))
    u[0, :, 3, 1], u[0, :, 0, 5] = 0.7, -0.7  # full colours of both ends have as much red as green
    u[0, :, 1, 1] = 1.0
    arrays = {f"frames/{name}": u for name in ("truth", "anchor", "ccm_prefix")}
    over_time = {"anchor": [0.1, 0.2], "ccm_prefix": [0.1, 0.2]}
    regime = {"value": 1.0, "coordinate": 0.0, "split": "id", "error_over_time": over_time}
    results = {"config": CONFIG, "regimes": [regime]}
    played = film(results, arrays, "u")
    assert played and played["rows"][0]["ends"][-1] == [-1, 1]
    shown = bitmap(played["rows"][0]["sprite"])[:6, 4:]  # the truth's second frame, from the top
    still = np.array(frames(results, arrays, 0, ("u",)).axes[0].images[0].get_array())[::-1]
    still[4, 1] = shown[4, 1] = 0
    for picture in (shown, still):
        assert picture.shape == (6, 4)
        assert np.unravel_index(picture.argmax(), picture.shape) == (4, 3)
        assert np.unravel_index(picture.argmin(), picture.shape) == (0, 0)


def test_the_head_names_the_system_and_the_numbers_that_decide() -> None:
    assert head.title(CONFIG, [2.0, 0.5]) == "Reaction–diffusion: merged weights for diffusivity from 0.5 to 2"
    assert head.title(CONFIG | {"system": "mine:SYSTEM"}, [2.0]) == "Merged weights for diffusivity 2"
    line = head.setting(CONFIG, (32, 32), head.count({"w": np.zeros((1000, 2), complex)}))
    assert line.endswith("32 × 32 grid; Δt = 0.25; FNO with 4,000 weights")
    names, errors = (
        ("ccm_coord", "ccm_scale", "ccm_prefix"),
        {"anchor": 0.2, "anchor_more": 0.25, "ccm_scale": 0.1, "ccm_prefix": None},
    )
    summary: dict[str, Any] = {"better_anchor": "anchor", "ood_error": errors}
    summary["reduction"] = dict(zip(names, (0.5, 0.5, None), strict=True))
    summary["reduction_interval"] = dict(zip(names, ([0, 1], [0.4, 0.6], [None, None]), strict=True))
    peer = {"mean": 0.5, "low": 0.4, "high": 1.05, "error": 0.3, "label": "", "seeds": 3}
    anchor, scale, prefix, other = head.cards({"config": CONFIG, "summary": summary}, peer)
    assert (anchor["name"], anchor["error"], anchor["kind"]) == ("anchor", 0.2, "reference")
    assert anchor["text"] == "trained for as many steps as CCM in total: 0.250"
    assert [card["source"] for card in (scale, prefix)] == ["from the value", "from 5 frames"]
    assert other["source"] == "from the value, 3 seeds"
    assert (scale["text"], scale["kind"]) == ("2 times smaller [1.7, 2.5]", "better")
    assert (prefix["text"], prefix["kind"]) == ("diverges", "worse")
    assert other["kind"] == "other" and other["text"] == "2 times larger [0.95, 2.5] than CCM-Scale"
    *_, other = head.cards(
        {"config": CONFIG, "summary": summary}, peer | {"inside": {"mean": 2, "low": 1.5, "high": 3}}
    )
    assert other["text"].endswith(" than CCM-Scale; inside: 2 times smaller [1.5, 3]")
    longer = {"better_anchor": "anchor_more", "ood_error": errors | {"anchor": None}}
    first, *_ = head.cards({"config": CONFIG, "summary": summary | longer}, None)
    assert (first["name"], first["text"]) == ("anchor, trained longer", "before that: it diverges")
    assert len(head.cards({"config": CONFIG, "summary": {}}, None)) == 0


def test_the_head_says_where_a_conditioned_network_is_better_and_only_where_an_interval_does() -> None:
    clear, unclear = {"mean": 1.3, "low": 1.1, "high": 1.6}, {"mean": 2.2, "low": 0.9, "high": 5.0}

    def said(outside: dict[str, float], inside: dict[str, float] | None) -> str:
        return head.alternative(outside | {"inside": inside}).replace("\u00a0", " ").partition("errors are ")[2]

    both = "1.3 times smaller than CCM-Scale's outside the training range and 1.3 times smaller inside it."
    assert said(clear, clear) == both
    assert said(clear, unclear) == said(clear, None) == "1.3 times smaller than CCM-Scale's outside the training range."
    assert said(unclear, clear) == "1.3 times smaller than CCM-Scale's inside the training range."
    assert head.alternative(unclear | {"inside": None}) == head.alternative(None) == ""


def test_the_verdict_outside_the_training_range_comes_first() -> None:
    outside, inside = "Outside the training range, it is 4 times smaller.", "Inside the training range, it is better."
    assert two_parts(f"{outside} {inside}") == (
        outside.replace(" times", "\u00a0times"),
        inside,
    )
    assert two_parts(outside)[1] == ""


def test_columns_that_a_reader_asks_for_are_methods_and_none_heads_the_report() -> None:
    assert set(FOLDED) < set(METHODS) and not set(FOLDED) & set(headlines(5))


@pytest.mark.parametrize("anchor", ["anchor", "anchor_more"])
def test_the_table_starts_with_what_is_compared_and_leaves_no_method_out(anchor: str) -> None:
    order = in_order(anchor, list(headlines(5)))
    assert order[:4] == [anchor, "ccm_prefix", "ccm_scale", "ccm_coord"] and sorted(order) == sorted(METHODS)


def test_alternatives_have_short_names_and_one_conditioned_network_that_knows_the_value() -> None:
    assert peers.short("anchor, window of 1, continued on all data") == "anchor, 1 frame"
    assert peers.short("window of 5, from scratch with the total steps") == "network that sees 5 frames"
    outside = [0.0005, 0.0035, 0.004]
    curves = peers.curves_of(CONFIG, outside)
    assert sum(curve["group"] in peers.CONDITIONED for curve in curves) == 1
    found = peers.conditioned(CONFIG, curves, outside)
    assert found and found["low"] < found["mean"] < found["high"]
    listed = {one["label"]: one["inside"]["seeds"] for one in read_json(peers.PEERS)["systems"]["rd_ood"]}
    seeds = [a / b for a, b in zip(listed["CCM-Scale"], listed[found["label"]], strict=True)]
    assert found["inside"]["mean"] == pytest.approx(np.exp(np.mean(np.log(seeds))))
    assert found["inside"]["low"] < found["inside"]["mean"] < found["inside"]["high"]
    assert peers.curves_of(CONFIG | {"size": "smoke"}, outside) == []
    assert peers.conditioned(CONFIG, [], outside) is None


def test_errors_of_other_seeds_are_not_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_json(peers.PEERS)
    for one in study["systems"]["rd_ood"]:
        if one["label"] == "CCM-Scale":
            for split in ("outside", "inside"):
                one[split]["seeds"] = one[split]["seeds"][::-1]
    write_json(tmp_path / "peers.json", study)
    monkeypatch.setattr(peers, "PEERS", tmp_path / "peers.json")
    outside = [0.0005, 0.0035, 0.004]
    found = peers.conditioned(CONFIG, peers.curves_of(CONFIG, outside), outside)
    assert found and found["inside"] is None


def test_the_better_anchor_is_shown_and_named() -> None:
    u = np.linspace(-1, 1, 24).reshape(1, 1, 4, 6, 1)
    arrays = {f"frames/{name}": u for name in ("truth", "anchor", "ccm_prefix")}
    longer = arrays | {"frames/anchor_more": -u}
    over_time = {"anchor": [0.1], "anchor_more": [0.05], "ccm_prefix": [0.2]}
    regime = {"value": 1.0, "coordinate": 0.0, "split": "id", "error_over_time": over_time}
    results = {"config": CONFIG, "regimes": [regime], "summary": {"better_anchor": "anchor_more"}}
    played = film(results, longer, "u")
    assert played and played["labels"] == ["truth", "anchor, trained longer", "CCM-Prefix"]
    assert played["rows"][0]["error"] == [[0.05], [0.2]]
    sheet = bitmap(played["rows"][0]["sprite"])
    assert np.allclose(sheet[:6], -sheet[6:12], atol=60) and not np.allclose(sheet[:6], sheet[6:12], atol=60)
    titles = [ax.get_title().replace("\n", " ") for ax in frames(results, longer, 0, ("u",)).axes]
    assert "error of anchor, trained longer" in titles
    kept = film(results, arrays, "u")  # of an older run, without these frames
    assert kept and kept["labels"][1] == "anchor" and kept["rows"][0]["error"][0] == [0.1]


@pytest.mark.parametrize("narrow", [False, True])
def test_too_narrow_intervals_are_named_beside_the_figure_of_their_regime(narrow: bool) -> None:
    curve = {name: [0.1, 0.2] for name in ("mean", "low", "high", "truth", "covered", "expected_error")}
    row: dict[str, Any] = curve | {"error": [[0.1, 0.2]], "observed": [0.0], "place": [1], "values": [1.0, 2.0, 3.0]}
    row |= {"probability": [0.1, 1.0, 0.1], "split": "id", "coordinate": 0.0, "value": 1.0, "covered": [0.9, 0.9]}
    fine = row | {"intervals": [[1.5, 2.5]] * 4, "held": 4}
    bad = row | {"intervals": [[1.5, 2.5]] * 4, "held": 3, "coordinate": 2.0, "value": 2.0, "covered": [0.8, 0.7]}
    config = CONFIG | {"axis": {"label": "diffusivity", "unit": ""}}
    axes = sureness({"regimes": [bad, fine]}, config, "u", narrow).axes
    said = [" ".join(" ".join(text.get_text() for text in ax.texts).split()) for ax in axes]
    assert said[:3] == ["", "", ""] and said[5] == ""
    assert said[3] == "too narrow here: 3 of 4 intervals contain the value"
    assert said[4] == "too narrow here: 75 % of the forecast values lie in their interval"


def test_intervals_are_counted_on_either_side_of_the_support() -> None:
    rows = [{"split": "ood", "held": held, "intervals": [[0, 1]] * 4} for held in (4, 2)]
    found = held(rows)
    assert found["inside"] is None and found["outside"]
    assert (found["outside"]["held"], found["outside"]["count"], found["outside"]["worst"]["held"]) == (6, 8, 2)
