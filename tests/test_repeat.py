"""Changes that change no number: what is compared, what is recorded, and that a row's sources follow the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.peers.rows import rows_of
from experiments.runner import sources
from experiments.study import repeat


def test_measurements_differ_in_numbers_and_not_in_time() -> None:
    was = {"errors": [{"rd": 0.1}, float("nan")], "seconds": {"a": 1}, "sources": {"x": "1"}}
    is_ = {"errors": [{"rd": 0.1}, float("nan")], "seconds": {"a": 2}, "sources": {"x": "2"}}
    assert repeat.differing(was, is_) == []
    is_["errors"] = [{"rd": 0.1 + 2e-17}, float("nan")]  # the next double
    assert repeat.differing(was, is_) == ["found.errors[0].rd (0.1, 0.10000000000000002)"]
    assert repeat.differing(was, is_, within=1e-6) == []
    is_["errors"] = [{"rd": 0.1 + 1e-6}, float("nan")]
    assert len(repeat.differing(was, is_, within=1e-6)) == 1
    assert repeat.differing([1.0, 1e-9], [1.0, 2e-9], within=1e-6) == []  # next to the largest, rounding
    assert len(repeat.differing([1.0, 1e-9], [1.0, 2e-9])) == 1
    assert repeat.differing([float("inf"), 1.0], [float("inf"), 1.0 + 1e-7], within=1e-6) == []
    assert len(repeat.differing([float("inf"), 1.0], [2.0, 1.0], within=1e-6)) == 1
    assert repeat.differing(was, was | {"more": 1}) == ["found.more (None, 1)"]
    assert repeat.differing([1, 2], [1]) == ["found ([1, 2], [1])"]


def test_a_row_stands_through_recorded_changes_of_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EQUAL", tmp_path / "equal.json")
    monkeypatch.setattr(repeat, "EQUAL", tmp_path / "equal.json")
    name = "experiments/pipeline/plans.py"
    now = sources.hash_of(sources.ROOT / name)
    old, older, other = {name: "old"}, {name: "older"}, {name: "other"}
    assert sources.changed({name: now}) == [] and sources.changed(old) == [name]
    repeat.record({name: {"old": now, "older": "old"}}, ["a row"], "only comments")
    entries = json.loads((tmp_path / "equal.json").read_text(encoding="utf-8"))
    assert [entry["shown_by"] for entry in entries] == [["a row"]] * 2
    assert sources.changed(old) == sources.changed(older) == []
    assert sources.changed(other) == [name]
    repeat.record({name: {"old": "between"}}, ["a row"], "what is equal to the same is equal")
    assert sources.changed({name: "between"}) == []


def test_rows_to_repeat_are_named() -> None:
    jobs = repeat.named_jobs(rows_of(""), "ns_ood post hoc:0,rd_ood window 1:1")
    assert [(row.name, seed) for row, seed in jobs] == [("ns_ood post hoc", 0), ("rd_ood window 1", 1)]
    with pytest.raises(ValueError, match=r"no seed of a row is called 'ns_ood post hoc'; expected ROW:SEED"):
        repeat.named_jobs(rows_of(""), "ns_ood post hoc")


def test_recorded_changes_lead_to_modules_as_they_are() -> None:
    """Each module of the record is there, and each record says why and by which rows it was shown."""
    for change in json.loads(sources.EQUAL.read_text(encoding="utf-8")) if sources.EQUAL.exists() else []:
        assert change["why"] and change["shown_by"]
        assert all((sources.ROOT / name).exists() and len(pair) == 2 for name, pair in change["modules"].items())
