"""A folder of a run that is used again with other settings: the report that was there is put aside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from ccm_jax.io.atomic import write_json
from experiments.runner.workdir import OWNER, earlier_report, open_workdir, put_aside, record_settings
from tests.tiny import tiny_config


def publish(path: Path, config: ConfigDict, text: str) -> None:
    """What a run leaves in front."""
    put_aside(path, config)
    (path / "weights" / "low").mkdir(parents=True, exist_ok=True)
    (path / "report.html").write_text(text)
    (path / "weights" / "low" / "x").write_text(text)
    write_json(path / "results.json", {"config": config.to_dict(), "text": text})


def seeded(seed: int) -> ConfigDict:
    config = tiny_config()
    config.seed = seed
    return config


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    path = open_workdir(tmp_path / "run", seeded(0))
    publish(path, seeded(0), "of 0")
    return path


def test_the_report_of_another_seed_moves_with_what_lies_beside_it(workdir: Path) -> None:
    earlier = earlier_report(workdir, seeded(3))
    assert earlier is not None and earlier.folder.name.startswith("seed-0-") and earlier.said == "seed 0"
    publish(workdir, seeded(3), "of 3")
    assert (workdir / "report.html").read_text() == "of 3"
    assert (earlier.folder / "report.html").read_text() == (earlier.folder / "weights/low/x").read_text() == "of 0"
    publish(workdir, seeded(0), "of 0 again")
    assert (workdir / "report.html").read_text() == "of 0 again"
    (moved,) = (workdir / "earlier").glob("seed-3-*")
    assert (moved / "report.html").read_text() == "of 3"
    publish(workdir, seeded(3), "of 3 again")
    assert (earlier.folder / "report.html").read_text() == "of 0 again"  # of the same settings, so in the same place
    assert len(list((workdir / "earlier").iterdir())) == 2


def test_a_changed_field_counts_and_is_named(workdir: Path) -> None:
    config = tiny_config()
    config.train.steps = 7
    earlier = earlier_report(workdir, config)
    assert earlier is not None and earlier.said == "seed 0, train.steps 6"


def test_the_same_settings_redraw_the_report_in_its_place(workdir: Path) -> None:
    assert earlier_report(workdir, seeded(0)) is None
    results = json.loads((workdir / "results.json").read_text())
    del results["config"]["train"]["noise"]  # a field that this version did not have
    (workdir / "results.json").write_text(json.dumps(results))
    publish(workdir, seeded(0), "redrawn")
    assert (workdir / "report.html").read_text() == "redrawn" and not (workdir / "earlier").exists()


def test_a_move_that_was_cut_off_goes_on(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def killed(*names: Path) -> None:
        if names[0].name == "weights":
            raise KeyboardInterrupt
        os.rename(*names)

    with monkeypatch.context() as patched:
        patched.setattr("experiments.runner.workdir.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            put_aside(workdir, seeded(3))
    earlier = put_aside(workdir, seeded(3))
    assert earlier is not None
    assert sorted(path.name for path in earlier.folder.iterdir()) == ["report.html", "results.json", "weights"]
    assert sorted(path.name for path in workdir.iterdir()) == ["earlier", OWNER]


def test_run_json_says_what_was_asked_for(workdir: Path) -> None:
    record_settings(workdir, seeded(3), {"regimes.test": (1e-3, 4e-3)})
    said = json.loads((workdir / OWNER).read_text())
    assert said == {"config": "rd_ood", "size": "smoke", "seed": 3, "overrides": {"regimes.test": [1e-3, 4e-3]}}
    assert open_workdir(workdir, seeded(0)) == workdir  # it belongs to a configuration, whatever its overrides
