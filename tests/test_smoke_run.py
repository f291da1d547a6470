"""The runner from end to end, on the smoke size."""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Gated, fit_chart, fit_prefix_readout
from ccm_jax.evaluate import future_error_each
from ccm_jax.fit_readout import CHOICES
from ccm_jax.io import checkpoint
from ccm_jax.io.recordings import common_parameter, open_recording
from experiments.configs import rd_ood
from experiments.pipeline import evaluation, methods, networks, store
from experiments.pipeline.calibration import load_map
from experiments.pipeline.methods import METHODS
from experiments.pipeline.readouts import load_readout
from experiments.pipeline.stages import (
    Run,
    anchor,
    endpoint_data,
    endpoints,
    load_trajectories,
    run_all,
    support_data,
    validation_data,
)
from experiments.pipeline.stages import (
    test_data as data_of_test,
)
from experiments.runner.workdir import alone, open_workdir
from tests.terminal import ccm

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.long


def program(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments.run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("run") / "rd"
    done = program("--config=rd_ood:smoke", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == lines[-1] == "smoke: tests the pipeline; its errors are meaningless"
    assert lines[-2] == f"Done in {lines[-2].split()[2]} s. Next: open {workdir / 'report.html'}"
    assert any(line.endswith("report.html, results.json, results.csv, figures/, weights/") for line in lines)  # whole
    assert "  anchor+  that network, trained on" in done.stdout and "better anchor" not in done.stdout
    assert json.loads((workdir / "run.json").read_text())["seed"] == 0
    return workdir


def test_results_hold_what_they_promise(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    config = rd_ood.get_config("smoke")
    assert results["config"]["name"] == "rd_ood" and results["seed"] == 0
    assert [row["value"] for row in results["regimes"]] == list(config.regimes.test)
    for row in results["regimes"]:
        assert set(row["errors"]) == set(METHODS)
        assert row["split"] == ("ood" if abs(row["coordinate"]) > 1 else "id")
        assert len(row["chosen"]["ccm_prefix"]) == config.data.test
        assert all(error is None or error > 0 for error in row["errors"].values())
        assert row["errors"]["best"] <= min(row["errors"][name] for name in ("average", "low", "high")) + 1e-9
        if row["coordinate"] in (-1.0, 1.0):
            assert row["errors"]["ccm_coord"] == row["errors"]["low" if row["coordinate"] < 0 else "high"]
    assert {"anchor", "anchor_more", "endpoints", "calibration", "evaluation"} <= set(results["wall_seconds"])
    summary = results["summary"]
    ood = [row["errors"] for row in results["regimes"] if row["split"] == "ood"]
    mean = {name: np.mean([e[name] for e in ood]) for name in ("anchor", "anchor_more", "ccm_coord", "wrong_sign")}
    better = min(mean["anchor"], mean["anchor_more"])
    assert summary["reduction"]["ccm_coord"] == pytest.approx(1 - mean["ccm_coord"] / better, rel=1e-5)
    assert summary["wrong_sign_factor"] == pytest.approx(mean["wrong_sign"] / mean["ccm_coord"], rel=1e-5)
    said = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in said if line["event"] == "anchor" and "loss" in line] == [20, 40, 60]
    assert next(line["compile_seconds"] for line in said if line["event"] == "end") > 0
    lines = (finished / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + len(results["regimes"]) * len(METHODS)


def test_the_report_stands_alone(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert page.count("<svg") >= 7 and "<script src" not in page
    loaded = r'<(?!a )[^>]+(?:src|href)="https?://(?!www.w3.org)'  # a link loads nothing until it is followed
    assert not re.search(loaded, page)
    assert {path.suffix for path in (finished / "figures").iterdir()} == {".png", ".pdf"}


@pytest.mark.filterwarnings("ignore:fit_uncertainty. on validation")  # the networks of this size know nothing
def test_the_lines_of_the_report_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What "Use it" shows is pasted into a terminal in the folder of the report."""
    page = (finished / "report.html").read_text()
    lines = [html.unescape(line) for line in re.findall(r'<pre class="use">(.*?)</pre>', page, re.S)]
    verbs = ("merge", "calibrate", "rollout", "merge")
    merge, calibrate, rollout, linear = (shlex.split(line) for line in lines)
    assert [line[:2] for line in (merge, calibrate, rollout, linear)] == [["ccm", verb] for verb in verbs]
    shutil.copytree(finished / "weights", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    run = Run(rd_ood.get_config("smoke"), finished / "stages")
    np.save("seen.npy", load_trajectories(data_of_test(run))[0, 0, :5])
    merged, far = ccm(*merge[1:], "--json"), max(run.config.regimes.test)
    assert merged.exit_code == ccm(*linear[1:]).exit_code == 0, merged.output
    rows = json.loads((finished / "results.json").read_text())["regimes"]
    (of_run,) = (row["chosen"]["ccm_scale"] for row in rows if row["value"] == far)
    (of_command,) = json.loads(merged.stdout)["coordinate"]
    assert merge[merge.index("--value") + 1] == f"{far:g}" and of_command == pytest.approx(of_run, abs=1e-4)
    said = ccm(*calibrate[1:], "--accept-persistence", "--write-anyway")  # the networks of a smoke run know nothing
    assert said.exit_code == 0, said.output
    assert ccm(*rollout[1:]).exit_code == 0
    snippet, found = re.search(r'<pre class="use python">(.*?)</pre>', page, re.S), {}
    assert snippet
    exec(html.unescape(snippet[1]), found)
    assert set(found["params"]) == set(found["anchor"])


def test_the_validation_trajectories_lie_beside_the_weights(finished: Path) -> None:
    run = Run(rd_ood.get_config("smoke"), finished / "stages")
    left, made = open_recording(finished / "weights" / "validation.npz"), load_trajectories(validation_data(run))
    regimes, count = made.shape[:2]
    assert left.shape == (regimes * count, *made.shape[2:-1]) and left.fields == ("u", "v")
    values = common_parameter(left, "diffusivity_u").reshape(regimes, count)
    assert (values == np.array(run.config.regimes.validation)[:, None]).all() and left.time_step == run.config.solver.dt
    assert (left.trajectory(regimes * count - 1) == made[-1, -1]).all()


def test_a_second_run_keeps_everything_and_redraws_a_lost_report(finished: Path) -> None:
    (finished / "report.html").unlink()
    done = program("--config=rd_ood:smoke", f"--workdir={finished}")
    assert done.returncode == 0 and (finished / "report.html").exists()
    stages = [line for line in done.stdout.splitlines() if " kept " in line]
    assert len(stages) == 12


def test_an_override_redoes_only_what_depends_on_it(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = rd_ood.get_config("smoke")
    config.regimes.test = (4e-3,)
    stages = run_all(Run(config, finished / "stages"))
    assert {stage.name for stage in stages if stage.fresh} == {"data_test", "evaluation"}

    def copied(root: Path, name: str, settings: Any, inputs: Any, build: Any, **how: Any) -> store.Stage:
        """What is redone is known from the names of stages: any finished one of the name stands for the new one."""
        (like, *_) = (path for path in root.glob(f"{name}-*") if (path / store.RECORD).exists())

        def stand_in(work: Path) -> dict[str, Any]:
            shutil.copytree(like, work, dirs_exist_ok=True)
            return json.loads((like / store.RECORD).read_text())["facts"]

        return store.run_stage(root, name, settings, inputs, stand_in, **how)

    monkeypatch.setattr("experiments.pipeline.stages.run_stage", copied)
    root = finished.parent / "overridden"
    shutil.copytree(finished / "stages", root)
    config.finetune.steps = 20
    stages = run_all(Run(config, root))
    assert {s.name for s in stages if s.fresh} == {"anchor_more", "endpoints", "calibration", "evaluation"}
    config = rd_ood.get_config("smoke")
    config.regimes.test = (4e-3,)
    config.axis.low = 1.5e-3
    stages = run_all(Run(config, root))
    assert {s.name for s in stages if s.fresh} == {"data_endpoints", "endpoints", "calibration", "evaluation"}


def test_what_validation_chose_is_what_the_readout_does(finished: Path) -> None:
    config = rd_ood.get_config("smoke")
    done = run_all(Run(config, finished / "stages"))
    facts = json.loads((done.calibration.path / "calibration.json").read_text())
    family = networks.load_family(config, done.anchor, done.endpoints)
    x = jnp.asarray(load_trajectories(done.validation)[0])
    readout = load_readout(config, family, facts["prefix"])
    errors = family.errors_each(family.plane, readout(x, batch="each").coordinate, x)
    ratio = errors.mean() / family.errors_of(family.anchor, x).mean()
    key = {"free_gate": readout.free_gate, "begin": readout.begin, "pull": pytest.approx(facts["prefix"]["pull"])}
    row = next(row for row in facts["prefix_tried"] if {name: row[name] for name in key} == key)
    assert row["error_over_anchor"][0] == pytest.approx(ratio, rel=1e-3)


def test_the_library_s_call_on_a_finished_run_gives_the_number_of_its_table(finished: Path) -> None:
    config = rd_ood.get_config("smoke")
    done = run_all(Run(config, finished / "stages"))
    family = networks.load_family(config, done.anchor, done.endpoints)
    validation = [jnp.asarray(x) for x in load_trajectories(done.validation)]
    chart = fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0], features=Gated())
    choices = CHOICES._replace(begin=(0,), free_gate=(False,))  # all that this size leaves open
    readout = fit_prefix_readout(chart, family.rollout_fn, validation, choices=choices)
    x = jnp.asarray(load_trajectories(done.test)[0])
    found = readout(x, batch="each")
    errors = future_error_each(chart, family.rollout_fn, x, found.coordinate)
    row = json.loads((finished / "results.json").read_text())["regimes"][0]
    assert float(errors.mean()) == pytest.approx(row["errors"]["ccm_prefix"], rel=1e-3)


def test_a_readout_of_one_s_own_is_judged_beside_the_others(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "how-to" / "own-readout.md").read_text()
    for name, code in re.findall(r'```python title="([\w.]+)"\n(.*?)```', page, re.S):
        (tmp_path / name).write_text(code)
    monkeypatch.setattr(methods, "METHODS", dict(methods.METHODS))
    monkeypatch.setattr(methods, "READOUTS", {})
    monkeypatch.setattr(evaluation, "METHODS", methods.METHODS)
    monkeypatch.setattr(evaluation, "READOUTS", methods.READOUTS)
    monkeypatch.syspath_prepend(tmp_path)
    config = importlib.import_module("mine").get_config("smoke")
    done = run_all(Run(rd_ood.get_config("smoke"), finished / "stages"))
    family = networks.load_family(config, done.anchor, done.endpoints)
    facts = json.loads((done.calibration.path / "calibration.json").read_text())
    fixed = evaluation.Calibrated(family.anchor, load_map(facts), load_readout(config, family, facts["prefix"]))
    x = jnp.asarray(load_trajectories(done.test)[0])
    row, arrays = evaluation.evaluate_regime(config, family, fixed, config.regimes.test[0], x)
    assert row["errors"]["cautious"] > 0 and arrays["errors/cautious"].shape == arrays["errors/ccm_prefix"].shape
    with pytest.raises(ValueError, match="cautious is taken"):
        methods.register_readout("cautious", methods.METHODS["cautious"])(lambda regime: None)


def test_paired_experts_start_from_the_same_states(finished: Path) -> None:
    config = rd_ood.get_config("smoke")
    for paired in (True, False):
        config.finetune.paired = paired
        x = np.load(endpoint_data(Run(config, finished / "stages")).path / "trajectories.npy")
        assert np.array_equal(x[0, :, 0], x[1, :, 0]) == paired
        assert not np.array_equal(x[0, :, 1], x[1, :, 1])


def test_an_expert_done_before_a_kill_is_kept(finished: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from experiments.pipeline import stages as module

    root = tmp_path / "stages"
    shutil.copytree(finished / "stages", root)
    for path in root.glob("endpoints-*"):
        shutil.rmtree(path)
    run = Run(rd_ood.get_config("smoke"), root)
    first, ends = anchor(run, support_data(run)), endpoint_data(run)
    original = module.fit

    def killed(name: str, *args: object, **kwargs: object) -> object:
        if name == "high":
            raise KeyboardInterrupt
        return original(name, *args, **kwargs)

    monkeypatch.setattr(module, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        endpoints(run, ends, first)
    low = next(root.glob(".endpoints-*.partial/low"))
    written = low.stat().st_mtime_ns
    monkeypatch.setattr(module, "fit", original)
    stage = endpoints(run, ends, first)
    assert (stage.path / "low").stat().st_mtime_ns == written


def test_the_weights_carry_what_made_them(finished: Path) -> None:
    path = next((finished / "stages").glob("endpoints-*")) / "low"
    metadata = checkpoint.load_metadata(path)
    assert metadata["config"]["name"] == "rd_ood" and metadata["seed"] == 0
    assert {"jax", "flax", "orbax-checkpoint"} <= set(metadata["versions"]) and "git" in metadata
    assert len(metadata["normalization"]["mean"]) == 2


def test_another_configuration_s_folder_is_refused(finished: Path) -> None:
    before = (finished / "results.json").read_text()
    done = program("--config=rd_ood", f"--workdir={finished}")
    assert done.returncode == 2 and "is the run of another configuration, rd_ood:smoke" in done.stderr
    assert (finished / "results.json").read_text() == before
    config = rd_ood.get_config("smoke")
    (finished.parent / "foreign").mkdir()
    (finished.parent / "foreign" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="is not the folder of a run"):
        open_workdir(finished.parent / "foreign", config)


def test_two_processes_do_not_share_a_folder(finished: Path) -> None:
    with alone(finished):
        done = program("--config=rd_ood:smoke", f"--workdir={finished}")
        assert done.returncode == 2 and f"process {os.getpid()} is working in" in done.stderr
    with alone(finished):  # and the lock goes with its holder
        pass


def test_the_worst_regime_of_the_prefix_is_reported(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    ratios = [row["errors"]["ccm_prefix"] / row["errors"]["anchor"] for row in results["regimes"]]
    assert results["summary"]["harm"]["above_anchor"] == pytest.approx(max(ratios) - 1)
    tried = results["calibration"]["prefix_tried"]
    assert 0 < len(tried) <= len(CHOICES.pull)  # where the gate and the begin are open, times four
