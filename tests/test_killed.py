"""What a process that is killed, asked to end, or out of disk leaves: nothing that is half, and nothing in the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from ccm_jax.io import atomic
from ccm_jax.io.checksums import FILE, check_checksums, write_checksums
from ccm_jax.io.safetensors import save_safetensors
from experiments.pipeline import store
from experiments.report.page import publish
from experiments.runner.logs import log, writing
from experiments.runner.preemption import CODE, Preempted, on_request, saving
from experiments.runner.workdir import open_workdir
from tests.contents import left_behind
from tests.terminal import arrays, ccm, of
from tests.tiny import tiny_config

ROOT = Path(__file__).parent.parent
DEAD = 2**22 + 1  # more than a number of a process may be


@pytest.mark.long
def test_three_kills_of_a_tiny_run_lose_nothing(tmp_path: Path) -> None:
    output = tmp_path / "kill.json"
    command = [sys.executable, "-m", "tests.kill", "--kills=3", "--what=train", "--seed=3", f"--output={output}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())["programs"]["train"]
    assert sum(found["kills"].values()) >= 3 and not found["complaints"] and found["files_compared"] > 8


def test_what_a_dead_process_left_goes_with_the_next_and_a_living_one_s_stays(tmp_path: Path) -> None:
    target = tmp_path / "a[1].json"
    dead, other = atomic.partial_of(target, f"{DEAD}.x"), atomic.partial_of(tmp_path / "b.json", f"{DEAD}.x")
    alive, again = (atomic.partial_of(target, owner) for owner in (f"{os.getppid()}.x", f"{os.getpid()}.x"))
    for path in (dead, other, alive):
        path.write_text("half")
    again.mkdir()  # of an earlier process with this one's number, as in a container that was started anew
    atomic.write_json(target, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([target.name, other.name, alive.name])
    alive.unlink()


def test_several_outputs_are_all_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, card, elsewhere = tmp_path / "m.bin", tmp_path / "m.bin.md", tmp_path / "reports" / "r.json"

    def write(stop: int) -> int:
        """In a process of its own, killed before it moves its output number ``stop``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the child renames files, and computes nothing
            process = os.fork()
        if process == 0:
            plain, moved = os.link, []

            def link(a: Path, b: Path) -> None:
                if b in (main, card, elsewhere):
                    moved.append(b)
                if len(moved) > stop:
                    os.kill(os.getpid(), signal.SIGKILL)
                plain(a, b)

            os.link = link
            with atomic.together(main) as place:
                for path in (main, card, elsewhere):
                    place(path).write_text(path.name)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    for stop in (0, 1, 2):
        assert write(stop) == -signal.SIGKILL
        assert not main.exists()
        atomic.remove_abandoned(main)
        atomic.remove_abandoned(elsewhere)
        assert not card.exists() and not elsewhere.exists() and not left_behind(tmp_path)
    assert write(1) == -signal.SIGKILL and (card.exists() or elsewhere.exists())
    mine = card if card.exists() else elsewhere
    mine.write_text("changed by its user since")
    atomic.remove_abandoned(main)
    assert mine.read_text() == "changed by its user since"
    mine.unlink()  # until then, nothing is written over it
    assert write(3) == 0 and {main.read_text(), card.read_text()} == {main.name, card.name}
    with pytest.raises(ValueError, match="no"), atomic.together(tmp_path / "n") as place:
        place(tmp_path / "n").write_text("")
        raise ValueError("no")
    atomic.remove_abandoned(elsewhere)
    assert not (tmp_path / "n").exists() and not left_behind(tmp_path)


def test_a_killed_merge_of_shards_is_made_again(tmp_path: Path) -> None:
    for i, name in enumerate(("anchor", "low", "high")):
        save_safetensors(tmp_path / f"{name}.safetensors", {"a": np.full(4, i, np.float32), "b": np.zeros(3)})
    out = tmp_path / "out.safetensors.index.json"
    assert ccm("merge", *of(tmp_path), "-c", 1, "-o", out).exit_code == 0
    parts = sorted(tmp_path.glob("out*"))
    journal = atomic.partial_of(out, f"{DEAD}.x")
    journal.mkdir()
    card = tmp_path / f"{out.name}.md"
    moved = [[str(path), *atomic._identity(path)] for path in parts if path != out]
    (journal / ".partial-moved.json").write_text(json.dumps(moved))
    os.replace(out, journal / out.name)  # as if it had been killed before the index was moved
    assert ccm("merge", *of(tmp_path), "-c", 1, "-o", out).exit_code == 0
    assert sorted(tmp_path.glob("out*")) == parts and card.exists() and not left_behind(tmp_path)
    done = ccm("merge", *of(tmp_path), "-c", 0, "-o", out)
    assert done.exit_code == 2 and "nothing is overwritten" in done.output
    assert arrays(out)["a"].tolist() == [2] * 4


def test_a_merged_file_that_is_damaged_is_named_by_its_card(tmp_path: Path) -> None:
    for i, name in enumerate(("anchor", "low", "high")):
        save_safetensors(tmp_path / f"{name}.safetensors", {"a": np.full(40, i, np.float32)})
    out = tmp_path / "out.safetensors"
    assert ccm("merge", *of(tmp_path), "-c", 1, "-o", out).exit_code == 0
    family = [*of(tmp_path)[:4], "--high", out]
    assert ccm("merge", *family, "-c", 1, "-o", tmp_path / "fine.pt").exit_code == 0
    content = bytearray(out.read_bytes())
    content[-3] ^= 4
    out.write_bytes(content)
    done = ccm("merge", *family, "-c", 1, "-o", tmp_path / "wrong.pt")
    assert done.exit_code == 2 and "out.safetensors does not match the SHA-256 in" in done.output
    assert not list(tmp_path.glob("*wrong*"))
    done = ccm("inspect", out)  # every verb opens checkpoints by the same function
    assert done.exit_code == 2 and "out.safetensors does not match the SHA-256 in" in done.output


def test_every_file_of_a_stage_is_checked_and_nothing_is_overwritten(tmp_path: Path) -> None:
    def build(work: Path) -> None:
        (work / "deep").mkdir()
        np.save(work / "deep" / "x.npy", np.arange(9.0))
        (work / "y.json").write_text("[1, 2]")

    stage, dice = store.run_stage(tmp_path, "a", {}, (), build), random.Random(0)
    names = sorted(str(path.relative_to(stage.path)) for path in stage.path.rglob("*") if path.is_file())
    assert names == [FILE, "deep/x.npy", "stage.json", "y.json"]
    for name in names:
        path = stage.path / name
        content = path.read_bytes()
        for damaged in (None, *(dice.randrange(8 * len(content)) for _ in range(8))):
            path.unlink()
            if damaged is not None:
                flipped = bytearray(content)
                flipped[damaged // 8] ^= 1 << damaged % 8
                path.write_bytes(flipped)
            with pytest.raises(store.StageError, match="run again") as error:
                store.run_stage(tmp_path, "a", {}, (), build)
            assert "\n" not in str(error.value)
            assert path.name in str(error.value) or name == FILE
            assert (path.read_bytes() != content) if damaged is not None else not path.exists()
            path.write_bytes(content)
    assert not store.run_stage(tmp_path, "a", {}, (), build).fresh


def test_checksums_are_those_of_sha256sum_and_name_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    path = write_checksums(tmp_path)
    assert path.read_text() == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  a\n"
    path.write_text(path.read_text().replace("  a", "  ../a"))
    with pytest.raises(ValueError, match="is damaged, at the line"):
        check_checksums("load", tmp_path, "make it again")


def test_a_stage_takes_over_nothing_that_a_killed_run_left_in_its_folder(tmp_path: Path) -> None:
    key = store.stage_key("a", {}, (), 1)
    work = tmp_path / f".a-{key}.partial"
    (work / "net-steps" / "00000002").mkdir(parents=True)
    atomic.partial_of(work / "net", f"{DEAD}.x").mkdir()
    atomic.partial_of(work / "net-steps" / "00000004", f"{DEAD}.x").mkdir()
    (work / "kept").write_text("")
    steps: list[str] = []
    stage = store.run_stage(
        tmp_path, "a", {}, (), lambda work: steps.extend(path.name for path in (work / "net-steps").iterdir())
    )
    assert steps == ["00000002"]  # what the training goes on from
    assert sorted(path.name for path in stage.path.iterdir()) == [FILE, "kept", "stage.json"]
    (tmp_path / f".a-{key}.lock").write_text("7")  # killed between moving the stage and letting go
    store.run_stage(tmp_path, "a", {}, (), lambda work: None)
    assert [path.name for path in tmp_path.iterdir()] == [stage.path.name]


def test_a_folder_that_was_hardly_begun_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    atomic.partial_of(path / "run.json", f"{DEAD}.x").write_text("{")
    assert open_workdir(path, tiny_config()) == path
    assert [p.name for p in path.iterdir()] == ["run.json"]


def test_a_line_that_was_cut_off_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"event": "end"}\n{"event": "anch')
    with writing(tmp_path, [], {}):
        log("anchor")
    assert [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [
        "end",
        "begin",
        "anchor",
    ]


def test_published_figures_are_each_whole_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, shown = tmp_path / "new", tmp_path / "figures"
    for folder, names in ((new, "ab"), (shown, "bc")):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(folder.name)
    seen, plain = [], os.replace

    def replace(a: Path, b: Path) -> None:
        seen.append({path.name for path in shown.iterdir()} >= {"b", "c"})
        plain(a, b)

    monkeypatch.setattr(os, "replace", replace)
    publish(new, shown)
    assert seen == [True, True]
    assert {path.name: path.read_text() for path in shown.iterdir()} == {"a": "new", "b": "new"}


def test_sigterm_ends_with_a_code_of_its_own_after_what_must_be_saved() -> None:
    with pytest.raises(Preempted) as ended, on_request():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert ended.value.code == CODE == 75
    saved = []
    with pytest.raises(Preempted), on_request(), saving() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
        saved.append(1)
    assert saved
    with on_request(), saving() as asked:
        assert not asked()


def test_a_study_s_row_ends_with_the_study(tmp_path: Path) -> None:
    child = (
        "import os, sys, time; from experiments.runner.preemption import end_with, on_request\n"
        "with on_request():\n"
        "    end_with(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        row = int(process.stdout.readline())
        process.kill()
        for _ in range(1000):
            if not Path(f"/proc/{row}").exists() or " Z " in Path(f"/proc/{row}/stat").read_text():
                return
            time.sleep(0.01)
    pytest.fail(f"process {row} goes on")


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of the kernel")
def test_a_file_that_may_not_grow_is_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    for i, name in enumerate(("anchor", "low", "high")):
        save_safetensors(tmp_path / f"{name}.safetensors", {"a": np.full(100_000, i, np.float32)})
    before = sorted(tmp_path.iterdir())
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from ccm_jax.cli import main; main(sys.argv[1:])"
    )
    words = ["merge", *map(str, of(tmp_path)), "-c", "1", "-o", str(tmp_path / "out.safetensors")]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "File too large; nothing was written" in done.stderr.replace("[Errno 27] ", "")
    assert len(done.stderr.splitlines()) == 1 and sorted(tmp_path.iterdir()) == before


def test_a_training_that_is_asked_to_end_saves_the_step_that_it_is_at(tmp_path: Path) -> None:
    from ccm_jax.io import checkpoint
    from experiments.pipeline import training

    x = np.random.default_rng(0).random((1, 3, 6, 4, 4, 1)).astype(np.float32)
    settings = tiny_config().train
    settings.update(chunk=2, save_every=1000)
    batches = training.Batches(x, history=1, steps=8, seed=5)
    start, asked = {"gain": np.ones(1, np.float32)}, []

    def model(params: dict[str, np.ndarray], window: np.ndarray) -> np.ndarray:
        return window[:, -1] * params["gain"][None, None, None]

    def fit(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        loss_fn = training.loss_of(model, history=1, unroll=1)
        training.fit("net", loss_fn, start, batches, settings, work=folder, metadata={})

    def ask(event: str, step: int | None = None, **values: float) -> None:
        if step == 4 and not asked:
            asked.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Preempted), on_request():
        patch.setattr(training, "log", ask)
        fit(tmp_path / "a")
    # A saved step has eight digits; chunks of an array have names that begin with anything.
    assert [path.name for path in (tmp_path / "a").rglob("[0-9]" * 8)] == ["00000004"]
    fit(tmp_path / "a")
    fit(tmp_path / "b")
    weights = [checkpoint.load(tmp_path / name / "net")["gain"] for name in "ab"]
    np.testing.assert_array_equal(*weights)
    np.testing.assert_array_equal(*(np.load(tmp_path / name / "net-losses.npy") for name in "ab"))
