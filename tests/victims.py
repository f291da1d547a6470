"""The programs that :mod:`tests.kill` kills: a run, its trainings alone, a study, merges, a calibration."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from pathlib import Path

import numpy as np

# Imported before anything is forked.
import experiments.pipeline.stages
import experiments.report.page
import experiments.report.sure_figures
import experiments.run
import experiments.study.__main__
from ccm_jax.cli import main as ccm_main
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.io.weights import open_weights
from experiments import command
from tests import contents, kill, tiny
from tests.kill import Program

MERGED = ("one.safetensors", "one.pt", "shards.safetensors.index.json", "folder")


def PROGRAMS(root: Path) -> dict[str, Program]:
    """All programs by name; ``root`` is a folder for what they start from."""
    nothing = lambda folder, attempt: None  # noqa: E731
    return {
        "run": Program("run", functools.partial(_earlier_run, root), _run, contents.broken, _stage),
        "train": Program("train", nothing, _train, contents.broken, _stage),
        "study": Program("study", nothing, _study, contents.broken, _stage),
        "merge": Program("merge", _checkpoints, _merge, _merged_wrong, _output),
        "calibrate": Program("calibrate", functools.partial(_family, root), _calibrate, contents.broken, _output),
    }


def _run(folder: Path, **changes: object) -> None:
    sys.argv = ["run", f"--workdir={folder / 'run'}", *tiny.arguments(**changes)]
    command.run(experiments.run.main, "")


def _earlier_run(root: Path, folder: Path, attempt: int) -> None:
    """Every other time a run of other test regimes has been made in the same folder."""
    earlier = root / "earlier"
    if not attempt:
        return
    if not earlier.exists():
        earlier.mkdir()
        if kill.ended(kill.begin(lambda f: _run(f, regimes__test=(1e-3, 4e-3)), earlier), kill.FEW) != 0:
            raise RuntimeError(f"an earlier run fails; see {earlier.with_suffix('.log')}")
    shutil.copytree(earlier, folder, dirs_exist_ok=True)


def _train(folder: Path) -> None:
    """Data, anchor and experts, without what comes after."""
    from experiments.pipeline import stages
    from experiments.runner import preemption, runtime

    runtime.share_processor()
    run = stages.Run(tiny.tiny_config(), folder / "stages")
    with preemption.on_request():
        anchor = stages.anchor(run, stages.support_data(run))
        stages.endpoints(run, stages.endpoint_data(run), anchor)


def _study(folder: Path) -> None:
    sys.argv = ["study", "--config=tests.tiny_study", f"--workdir={folder / 'study'}", "--jobs=1"]
    experiments.study.__main__.main()


def _stage(folder: Path) -> str:
    """The stage that is being made."""
    made = sorted(folder.rglob(".*.partial"), key=lambda path: path.stat().st_mtime_ns)
    if made:
        return made[-1].name[1:].partition("-")[0]
    return "between stages" if next(folder.rglob("stage.json"), None) else "start"


def _checkpoints(folder: Path, attempt: int) -> None:
    """Anchors and experts of random numbers in one file and in shards; every other time with an output of before."""
    rng = np.random.default_rng(0)
    for name in ("anchor", "low", "high"):
        tree = {f"block{i}": {"w": rng.standard_normal((64, 1024 * (1 + i))).astype(np.float32)} for i in range(4)}
        save_safetensors(folder / f"{name}.safetensors", tree)
        (folder / name).mkdir()
        flat = {f"{block}.w": leaf["w"] for block, leaf in tree.items()}
        for i, (key, leaf) in enumerate(flat.items()):
            save_safetensors(folder / name / f"model-{i}.safetensors", {key: leaf})
        where = {key: f"model-{i}.safetensors" for i, key in enumerate(flat)}
        (folder / name / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    if attempt:
        for name in ("one.safetensors", "one.safetensors.md"):
            shutil.copyfile(folder / "low.safetensors", folder / name)


def _merge(folder: Path) -> None:
    for output in MERGED:
        there = (folder / output).exists()
        end = "" if output.endswith("json") else ".safetensors"
        family = [f"--{name}={name}{end}" for name in ("anchor", "low", "high")]
        try:
            ccm_main(["merge", *family, "--coordinate=1.4", "-o", output], standalone_mode=False)
        except SystemExit as refused:
            if refused.code != 2 or not there:  # what is there is not overwritten
                raise


def _merged_wrong(folder: Path) -> list[str]:
    """Outputs under their own names that are not whole, or that were there before and have changed."""
    found = []
    trees = {name: open_safetensors(folder / f"{name}.safetensors").arrays for name in ("anchor", "low", "high")}
    earlier = (folder / "one.safetensors.md").exists() and len((folder / "one.safetensors.md").read_bytes()) > 1 << 16
    expected = {key: 1.2 * trees["high"][key] - 0.2 * trees["low"][key] for key in trees["low"]}
    for output in MERGED:
        path = folder / output
        if not path.exists():
            continue
        wanted = trees["low"] if earlier and output == MERGED[0] else expected
        if output == "folder":  # read by a process of its own, at the end
            continue
        arrays = open_weights(path).arrays
        same = set(arrays) == set(wanted) and all(np.allclose(arrays[k], wanted[k], atol=1e-5) for k in wanted)
        found += [] if same else [f"{output} is not whole"]
        found += [] if (folder / f"{output}.md").exists() else [f"{output} has no card"]
    return found


def _output(folder: Path) -> str:
    """The output that is being made."""
    made = [path.name for path in folder.glob(".partial-*")]
    return f"at {made[0].split('-', 2)[2]}" if made else "between outputs"


def _family(root: Path, folder: Path, attempt: int) -> None:
    """A tiny network's family and observed frames."""
    made = root / "family"
    if not made.exists():
        made.mkdir()

        def make(folder: Path) -> None:
            from tests.terminal import make_family

            make_family(folder)

        if kill.ended(kill.begin(make, made), kill.FEW) != 0:
            raise RuntimeError(f"a family cannot be made; see {made.with_suffix('.log')}")
    shutil.copytree(made, folder, dirs_exist_ok=True)
    if attempt:
        (folder / "other.json").write_text("{}")


def _calibrate(folder: Path) -> None:
    family = [f"--{name}={name}.safetensors" for name in ("anchor", "low", "high")]
    how = ["--model=neuraloperator", "--prefix=seen.npy", "--bank=-2:2:1"]
    if not (folder / "merged.safetensors").exists():
        ccm_main(["calibrate", *family, *how, "-o", "merged.safetensors"], standalone_mode=False)
    run = ["rollout", "merged.safetensors", "--model=neuraloperator", "--initial=seen.npy", "-o", "run.npz"]
    try:
        ccm_main(run, standalone_mode=False)
    except SystemExit as refused:
        if refused.code != 2 or not (folder / "run.npz").exists():
            raise
