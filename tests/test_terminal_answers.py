"""What the terminal answers with: outputs replaced by force, JSON, grouped help, and readings of a file that fit."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax import example
from ccm_jax.cli.following import file_beside
from ccm_jax.cli.sure import Axis, Sure
from ccm_jax.cli.verbs import VERBS
from ccm_jax.cli.waiting import waiting
from ccm_jax.io import atomic
from ccm_jax.io.atomic import check_new, partial_of, together
from ccm_jax.io.overwrite import is_read, overwriting
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from tests.terminal import ccm, of

FAMILY = ("--family", example.path())
TEST = example.path("test-0.00075.npz")


# Over what is there


def merge(out: Path, place: float, *more: Any) -> Any:
    return ccm("merge", *FAMILY, "-c", place, "-o", out, *more)


def test_force_replaces_an_output_and_its_card(tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    assert merge(out, 1).exit_code == 0
    before = out.read_bytes(), (tmp_path / "m.safetensors.md").read_text()
    refused = merge(out, -1)
    assert refused.exit_code == 2 and "choose a new path, remove it, or add --force." in refused.output
    assert (out.read_bytes(), (tmp_path / "m.safetensors.md").read_text()) == before
    assert merge(out, -1, "--force").exit_code == 0 and out.read_bytes() != before[0]
    assert "at coordinate -1 by" in (tmp_path / "m.safetensors.md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "m.safetensors.md"]
    assert ccm("inspect", out).exit_code == 0  # the card is of these weights


def test_force_replaces_neither_what_is_read_nor_folders(tmp_path: Path) -> None:
    for name in ("anchor", "low", "high"):
        (tmp_path / f"{name}.safetensors").write_bytes(example.path(f"{name}.safetensors").read_bytes())
    before = (tmp_path / "anchor.safetensors").read_bytes()
    for source in (("--family", tmp_path), of(tmp_path)):
        refused = ccm("merge", *source, "-c", 1, "-o", tmp_path / "anchor.safetensors", "--force")
        assert refused.exit_code == 2 and "is read by this command" in refused.output
    recipe = "anchor: anchor.safetensors\nexperts:\n"
    recipe += "".join(f"  - {{path: {name}.safetensors, coordinate: {c}}}\n" for name, c in (("low", -1), ("high", 1)))
    (tmp_path / "r.yaml").write_text(recipe)
    refused = ccm("merge", "--recipe", tmp_path / "r.yaml", "-c", 1, "-o", tmp_path / "anchor.safetensors", "--force")
    assert refused.exit_code == 2 and "is read by this command" in refused.output
    assert (tmp_path / "anchor.safetensors").read_bytes() == before
    (tmp_path / "folder").mkdir()
    assert "is a folder, and --force replaces files only" in merge(tmp_path / "folder", 1, "--force").output
    with overwriting(True), pytest.raises(ValueError, match="is read by"):
        is_read(tmp_path)
        check_new(tmp_path / "r.yaml")
    check_new(tmp_path / "new")


def test_what_was_replaced_comes_back_if_not_all_is_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, main = tmp_path / "m.md", tmp_path / "m.bin"

    def write(text: str) -> None:
        with together(main) as place:
            place(main).write_text(text)
            place(card).write_text(text)

    write("old")
    plain = os.replace

    def fail(source: Any, target: Any) -> None:
        if Path(target) == main:
            raise OSError("no more")
        plain(source, target)

    with overwriting(True):
        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no more"):
            write("new")
        monkeypatch.setattr(os, "replace", plain)
        assert main.read_text() == card.read_text() == "old" and len(list(tmp_path.iterdir())) == 2
        write("new")
    assert main.read_text() == card.read_text() == "new" and len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_process_replaced_comes_back(tmp_path: Path) -> None:
    """Killed after the card was moved, and before the file itself."""
    card, main = tmp_path / "m.md", tmp_path / "m.bin"
    card.write_text("new")
    main.write_text("old")
    journal = partial_of(main, owner="999999999.dead")
    journal.mkdir()
    (journal / ".partial-old-m.md").write_text("old")
    (journal / ".partial-old-m.bin").write_text("old")
    moved = [[str(card), *atomic._identity(card), str(journal / ".partial-old-m.md")]]
    moved += [[str(main), 0, 0, str(journal / ".partial-old-m.bin")]]
    (journal / ".partial-moved.json").write_text(json.dumps(moved))
    with overwriting(True):
        check_new(main)
    assert card.read_text() == main.read_text() == "old" and not journal.exists()


# JSON


def test_json_is_all_that_stdout_holds(tmp_path: Path) -> None:
    whole = json.loads(ccm("inspect", example.path(), "--json").stdout)
    assert whole["updates"]["(all)"]["cosine"] < 1 and "close enough" in whole["verdict"]
    one = json.loads(ccm("inspect", example.path("low.safetensors"), "--json").stdout)
    assert one["tensors"]["lift.bias"]["shape"] == [12] and "updates" not in one
    (described,) = json.loads(ccm("data", "describe", TEST, "--json").stdout)
    assert (described["samples"], described["frames"], described["grid"]) == (4, 21, [32, 32])
    merged = json.loads(merge(tmp_path / "m.safetensors", -1.4, "--json").stdout)
    assert merged["coordinate"] == [-1.4] and merged["card"].endswith("m.safetensors.md")
    shown = ccm("evaluate", *FAMILY, "--merged", tmp_path / "m.safetensors", "--trajectories", TEST, "--json")
    found = json.loads(shown.stdout)
    assert found["best"] == "m" and found["use"].endswith("m.safetensors") and "use CCM" in found["verdict"]
    assert found["comparisons"]["anchor"]["high"] < 1 and len(found["networks"]) == 4
    assert "tensors" in ccm("inspect", example.path("low.safetensors")).stdout  # text is back


@pytest.mark.long
def test_a_calibration_is_told_as_json_too(tmp_path: Path) -> None:
    how = ("--prefix", TEST, "--sample", 0, "--bank", "-2:2:0.5")
    done = ccm("calibrate", *FAMILY, *how, "-o", tmp_path / "m.safetensors", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0 and found["output"].endswith("m.safetensors") and found["coordinate"] == -1.5
    assert json.loads((tmp_path / "m.json").read_text())["loss"] == found["loss"]
    shown = ccm("calibrate", *FAMILY, *how, "--show-candidates").stdout
    assert shown.count("█") > 9 and shown.index("coordinate -1.50\n") < shown.index("Error at the coarse")


@pytest.mark.long
def test_at_an_end_of_the_range_a_merge_must_be_clearly_better(tmp_path: Path) -> None:
    how = ("--prefix", TEST, "--sample", 0)
    done = ccm("calibrate", *FAMILY, *how, "--bank", "-0.5:1:0.5", "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 3 and not (tmp_path / "m.safetensors").exists()
    assert "ccm: warning: the coordinate is at the edge" in done.stderr and "The anchor is kept" in done.stderr
    assert json.loads((tmp_path / "m.json").read_text())["coordinate"] == "anchor"
    done = ccm("calibrate", *FAMILY, *how, "--bank", "-1.5:0:0.5", "-o", tmp_path / "n.safetensors")
    assert done.exit_code == 0 and "ccm: warning: the coordinate is at the edge" in done.stderr
    assert json.loads((tmp_path / "n.json").read_text())["coordinate"] == -1.5
    kept = ccm("calibrate", *FAMILY, *how, "--bank", "-0.5:1:0.5", "-o", tmp_path / "n.safetensors", "--force")
    assert kept.exit_code == 3 and "n.safetensors is from an earlier run and was not changed" in kept.stderr
    more = ("--bank", "-0.5:1:0.5", "--write-anyway", "--force", "-o", tmp_path / "m.safetensors")
    assert ccm("calibrate", *FAMILY, *how, *more).exit_code == 0 and (tmp_path / "m.safetensors").exists()


# Help, and what to do next


@pytest.mark.parametrize("verb", ["merge", "calibrate", "evaluate", "rollout"])
def test_options_are_shown_under_headings_in_one_order(verb: str) -> None:
    said = ccm(verb, "--help").output
    headings = [line for line in said.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "Checkpoints:" and headings[-2:] == ["Output:", "Other:"] and verb in VERBS
    assert said.index("--anchor") < said.index("--model MODEL")
    assert not any(word in said for word in ("INTEGER", "x>=", "x<=", "TEXT", "FLOAT", "[]"))
    other = said.partition("\nOther:\n")[2].strip().splitlines()
    assert len(other) == 1 and "--help" in other[0]  # every option has its heading


def test_methods_are_listed_where_one_is_chosen() -> None:
    assert "[chart|" in " ".join(ccm("merge", "--help").output.split())


def test_files_that_cannot_be_read_are_not_suggested(tmp_path: Path) -> None:
    (tmp_path / "test-1.npz").write_bytes(b"no archive")
    assert file_beside(tmp_path / "seen.npz", "test") is None
    np.savez(tmp_path / "test-2.npz", frames=np.zeros((3, 4, 4, 1)), dim=2)
    assert file_beside(tmp_path / "seen.npz", "test") == tmp_path / "test-2.npz"


def test_only_validation_of_the_same_fields_grid_step_and_parameters_is_suggested(tmp_path: Path) -> None:
    def write(name: str, points: int, step: float, **values: Any) -> Path:
        frames, times = np.ones((2, 6, points, points, 1), np.float32), step * np.arange(6.0)
        np.savez(tmp_path / name, frames=frames, times=times, **values)
        return tmp_path / name

    varied = np.array([1.0, 2.0])
    test = write("test.npz", 8, 0.5, viscosity=np.ones(2))
    write("validation-grid.npz", 4, 0.5, viscosity=varied)
    write("validation-step.npz", 8, 0.25, viscosity=varied)
    other = write("validation-other.npz", 8, 0.5, friction=varied)
    assert "--validation" not in ccm("data", "describe", test).output
    for file in (other, tmp_path / "validation-step.npz"):
        assert "--prefix OBSERVED_FRAMES" in ccm("data", "describe", file).output
    known = write("validation-real.npz", 8, 0.5, viscosity=varied)
    assert f"--validation {known}" in ccm("data", "describe", test).output.replace("\n", "")
    assert f"--prefix {test} --sample 0" in ccm("data", "describe", known).output.replace("\n", "")
    for file in tmp_path.glob("validation-[gso]*"):
        assert file_beside(test, "validation", like=None) is not None
        file.unlink()
    assert f"--prefix {test} --sample 0 --validation {known}" in ccm("data", "describe", tmp_path).output


def test_what_to_give_for_a_model_is_said(tmp_path: Path) -> None:
    for name in ("anchor", "low", "high"):
        save_safetensors(tmp_path / f"{name}.safetensors", {"w": np.arange(3) + np.float32(name == "low")})
    said = ccm("merge", *of(tmp_path), "-c", 1, "-o", tmp_path / "m.safetensors").output
    assert "# MODEL: neuraloperator, fno2d, dpot-torch, or your network as MODULE:NAME\n" in said


def test_long_work_is_said_once_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccm_jax.cli.waiting.MOMENT", 0.01)
    with waiting("working", steps=True) as progress:
        for _ in range(100):
            time.sleep(0.05)
            if said := capsys.readouterr().err:
                break
        progress(1, 2)
    assert said == "ccm: working …\n" and not capsys.readouterr().err


def test_a_log_is_told_the_time_left_sparsely(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("ccm_jax.cli.waiting.time.monotonic", lambda: now[0])
    with waiting("fitting", steps=True) as progress:
        for done in range(1, 61):
            now[0] = 1.0 * done
            progress(done, 60)
    assert capsys.readouterr().err.splitlines() == [
        "ccm: fitting: 16 of 60, about 44 s left",
        "ccm: fitting: 32 of 60, about 28 s left",
    ]


# Files

STRICT = """
def apply(params, window):
    if window.shape[2:] != (64, 1):
        raise ValueError(f"a line of 64 points is needed, and this is {window.shape}")
    return window[:, -1] * params["w"][None, None]
"""


def test_the_reading_that_fits_the_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_strict.py").write_text(STRICT)
    monkeypatch.syspath_prepend(str(tmp_path))
    np.save(tmp_path / "test.npy", np.ones((6, 5, 64, 1), np.float32))
    save_safetensors(tmp_path / "w.safetensors", {"w": np.float32([0.5])})

    def rollout(*more: str) -> Any:
        how = ("--model", "own_strict:apply", "--initial", tmp_path / "test.npy", "--steps", 2, *more)
        return ccm("rollout", tmp_path / "w.safetensors", *how, "-o", tmp_path / "r.npz")

    for more in ((), ("--axes", "NTXY")):
        refused = rollout(*more)
        assert refused.exit_code == 2, refused.output
        assert "test.npy is read as " in refused.output
        assert "1 channel, and only NTXC fits own_strict:apply: add --axes NTXC." in refused.output
    assert rollout("--axes", "NTXC").exit_code == 0
    np.save(tmp_path / "test.npy", np.ones((6, 5, 32, 1), np.float32))
    refused = rollout("--axes", "NTXC", "--force")
    assert "read as 6 samples, 5 frames, grid 32, 1 channel;" in refused.output


def test_leaves_of_equinox_come_out_as_they_go_in(tmp_path: Path) -> None:
    eqx = pytest.importorskip("equinox")
    import jax.numpy as jnp

    def network(seed: int) -> Any:
        x = jnp.linspace(0, 1, 6).reshape(2, 3) * seed
        return {"w": x, "half": jnp.asarray(x, jnp.bfloat16), "count": np.arange(3), "rate": 0.5 * seed, "name": "net"}

    for name, seed in (("anchor", 1), ("low", 2), ("high", 3)):
        eqx.tree_serialise_leaves(tmp_path / f"{name}.eqx", network(seed))
    family = ("--family", tmp_path)
    assert ccm("merge", *family, "-c", 1, "-o", tmp_path / "m.eqx").exit_code == 0
    loaded = eqx.tree_deserialise_leaves(tmp_path / "m.eqx", network(1))
    for name, leaf in network(3).items():
        assert type(loaded[name]) is type(leaf), name
        assert loaded[name] == leaf if name == "name" else np.allclose(loaded[name], leaf, rtol=1e-6), name
    assert "numbers its arrays; --model MODULE:NAME shows their paths" in ccm("inspect", tmp_path).output
    card = (tmp_path / "m.eqx.md").read_text()
    assert 'eqx.tree_deserialise_leaves("m.eqx", network)' in card and "load_state_dict" not in card
    assert ccm("merge", *family, "-c", 1, "-o", tmp_path / "m.safetensors").exit_code == 0
    assert "Merged to a file NAME.eqx, they load" in (tmp_path / "m.safetensors.md").read_text()
    refused = ccm("merge", *FAMILY, "-c", 1, "-o", tmp_path / "n.eqx")
    assert refused.exit_code == 2 and f"ccm: {tmp_path / 'n.eqx'} would hold leaves in their order" in refused.output
    how = ("--prefix", TEST, "--sample", 0, "-o", tmp_path / "n.eqx")
    assert "would hold leaves in their order" in ccm("calibrate", *FAMILY, *how).output
    assert open_weights(tmp_path / "m.eqx").kind == "leaves" and not (tmp_path / "n.eqx").exists()


def test_ends_of_an_interval_that_are_not_known_are_said() -> None:
    many: dict[str, Any] = {"values": [0.0, 1.0], "probability": [0.5, 0.5], "coordinates": [0.0], "density": [1.0]}
    axis = Axis("rate", 0.5, (0.1, 0.9), (-1, 1), False, False, (False, True), (0.0, 1.0), **many)
    assert axis.as_json()["ends_not_known"] == ["upper"] and not axis.as_json()["outside_validation"]


def test_an_interval_that_is_cut_off_names_the_number_that_holds_and_the_value_to_simulate() -> None:
    many = {"values": [0.2, 0.5, 1.5], "probability": [0.0, 0.5, 0.5], "coordinates": [], "density": []}
    for cut, said in (
        ((False, True), "up to 1.25; to find its end, add a validation regime at rate 1.5"),
        ((True, False), "down to 0.25; to find its end, add a validation regime at rate 0.2"),
    ):
        axis = Axis("rate", 0.9, (0.25, 1.25), (-1, 1), False, False, cut, (0.3, 1.0), **many)
        line = Sure((axis,), (0.0,), 0.5).remarks()[0]
        assert line == f"The interval of rate reaches at least {said}, where the search stops."
