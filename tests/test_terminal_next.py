"""What the terminal suggests: commands filled in with the files that are there, other axes, and a verdict."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ccm_jax.cli.card import card
from ccm_jax.cli.frames import Layout
from ccm_jax.cli.kept import kept_next
from ccm_jax.cli.readings import other_axes
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.verdict import KINDS, Method, judge
from ccm_jax.cli.wanted import FRAMES, Options, words_of
from ccm_jax.io.recordings import open_recording
from ccm_jax.io.weights import Weights
from tests.terminal import ccm

NETWORK = "def apply(params, window):\n    return params['scale'][0] * window[:, -1]\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``fam`` of a network of one's own, and trajectories beside it."""
    (tmp_path / "fam").mkdir()
    for name, scale in (("anchor", 0.9), ("low", 0.89), ("high", 0.92)):
        np.savez(tmp_path / "fam" / f"{name}.npz", scale=np.array([scale], np.float32))
    np.savez(tmp_path / "seen.npz", frames=np.ones((9, 8, 1), np.float32), dim=1)
    np.savez(tmp_path / "val.npz", frames=np.ones((3, 9, 8, 1), np.float32), dim=1, rate=np.arange(3.0))
    (tmp_path / "own_scaling.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def next_of(*words: str) -> list[str]:
    done = ccm(*words)
    assert done.exit_code == 0, done.output
    return suggested(done.output)


def suggested(output: str) -> list[str]:
    """The words of the last command that an output says to run next."""
    *_, said = (line for line in output.splitlines() if line.startswith("Next: ccm "))
    return shlex.split(said.removeprefix("Next: ccm "))


def test_files_beside_the_folder_of_a_family_are_filled_in(own: Path) -> None:
    frames = ["--prefix", "seen.npz", "--sample", "0", "--validation", "val.npz"]
    model, out = ["--model", "MODEL"], ["-o", "merged.safetensors"]
    assert next_of("inspect", "fam") == ["calibrate", "--family", "fam", *model, *frames, *out]
    alone = ["--prefix", "seen.npz", "--validation", "val.npz"]
    assert next_of("data", "describe", "seen.npz") == ["calibrate", "--family", "fam", *model, *alone, *out]
    assert next_of("data", "describe", ".") == ["calibrate", "--family", "fam", *model, *frames, *out]
    merged = next_of("merge", "--family", "fam", "-c", "1", "-o", "m.safetensors")
    assert merged[-2:] == ["--trajectories", "seen.npz"]


def test_merged_weights_say_what_they_are_and_are_compared_next(own: Path) -> None:
    assert ccm("merge", "--family", "fam", "-c", "0.5", "-o", "m.safetensors").exit_code == 0
    done = ccm("inspect", "m.safetensors")
    assert "merged at +0.50 from fam/anchor.npz, fam/low.npz, fam/high.npz." in " ".join(done.output.split())
    assert suggested(done.output)[0] == "evaluate" and "--merged m.safetensors" in done.output


def test_files_that_are_too_short_are_not_suggested(own: Path) -> None:
    np.savez(own / "fam" / "seen.npz", frames=np.ones((5, 8, 1), np.float32), dim=1)
    words = next_of("merge", "--family", "fam", "-c", "1", "-o", "m.safetensors")
    assert words[-2:] == ["--trajectories", "seen.npz"]
    (own / "seen.npz").unlink()
    again = next_of("merge", "--family", "fam", "-c", "1", "-o", "again.safetensors")
    assert again[-2:] == ["--trajectories", "TRAJECTORIES"]
    np.savez(own / "seen.npz", frames=np.ones((6, 8, 1), np.float32), dim=1)
    (own / "net.yaml").write_text("model: own_scaling:apply\nhistory: 2\n")  # of six frames, none is left to score
    words = next_of("merge", "--family", "fam", "--model", "net.yaml", "-c", "1", "-o", "more.safetensors")
    assert words[-2:] == ["--trajectories", "TRAJECTORIES"]


@pytest.mark.long
def test_after_a_verdict_the_forecast_starts_where_it_was_scored(own: Path) -> None:
    x = 0.93 ** np.arange(9)[None, :, None, None] * np.linspace(1, 2, 24).reshape(3, 1, 8, 1)
    np.savez("held.npz", frames=x.astype(np.float32), dim=1)
    model, out = ("--model", "own_scaling:apply"), ("-o", "m.safetensors")
    assert ccm("merge", "--family", "fam", "-c", "1", *out).exit_code == 0
    words = next_of("evaluate", "--family", "fam", "--merged", "m.safetensors", *model, "--trajectories", "held.npz")
    assert words[0] == "rollout" and words[-5:] == ["--start", "5", "--truth", "-o", "rollout.npz"]
    assert ccm(*words).exit_code == 0


PLACE = {"clue": "", "history": 1, "frames": 4}


def stub(**said: Any) -> Any:
    return SimpleNamespace(
        **{"expert_losses": (0.2, 0.5), "anchor_loss": 0.4, "at_end_of_search": False, **PLACE} | said
    )


def test_where_the_anchor_is_kept_the_network_that_fits_best_is_rolled_out(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(Path("fam/anchor.npz"), (Path("fam/low.npz"), Path("fam/high.npz")), ((-1.0,), (1.0,)), ())
    none = dict.fromkeys(Options._fields) | {"missing": "refuse", "frames": FRAMES, "parameter": (), "prior": ()}
    options = Options(**none | {"prefix": Path("seen.npz"), "layout": Layout(), "validation": Path("val.npz")})
    doubted = stub(sure=SimpleNamespace(stranger=False), refuted=False)
    kept_next(recipe, doubted, None, options, 0, 9)  # a merge that was refused is not suggested by another way
    assert suggested(capsys.readouterr().out)[:2] == ["rollout", "fam/low.npz"]
    for clue in ("", "2 steps fit better"):
        kept_next(recipe, stub(sure=SimpleNamespace(stranger=True), clue=clue), None, options, 0, 9)
        said = capsys.readouterr().out  # frames that no point of the chart explains recommend no network
        assert suggested(said) == ["data", "describe", "seen.npz"] and "better" not in said
    kept_next(recipe, stub(sure=None), None, options, 0, 9)
    assert "--start 5 --truth" in capsys.readouterr().out
    kept_next(recipe, stub(sure=None, clue="2 steps fit better"), None, options, 0, 9)
    assert not capsys.readouterr().out  # nothing runs on frames of another time step


def test_a_card_tells_a_calibration_in_words(own: Path) -> None:
    frames = ["0.25"] * 4
    settings = {"search": "continuous", "free_gate": True, "begin": 3, "frame_weights": frames, "pull": 0, "growth": 3}
    found = {"prefix": "seen.npz", "frames": 4, "loss": 0.1, "readout": settings | {"validation": ["rate = 1"]}}
    found |= {"intervals": {"rate": [0.5, 0.75]}, "p_value": 0.5, "ends_not_known": {"rate": ["lower"]}}
    arrays = {"scale": np.ones(1, np.float32)}
    facts = {"experts": [], "coordinate": [1.0], "method": "chart", "made_by": "ccm_jax", "created": "now"}
    facts |= {"anchor": {"path": "a", "sha256": "0" * 64}, "found": found}
    said = card(Path("m.safetensors"), facts, Weights(Path("a.npz"), "npz", arrays, {}))
    assert "- search: over all coordinates of a range, gate searched too, by the errors of the last frame, " in said
    assert "settings chosen on validation trajectories of rate = 1\n" in said
    assert "- 90 % interval: rate 0.5 to 0.75\n" in said and "- p-value: 0.5\n" in said
    assert "- ends of the interval that are only bounds: rate (lower)\n" in said
    assert not any(word in said for word in ("free_gate", "frame_weights", "pull", "growth", "anchor_loss"))


def test_the_help_of_calibrate_tells_an_outcome_of_each_condition() -> None:
    said = ccm("calibrate", "--help").output
    rows = [
        re.fullmatch(r"  (.{2,52}) {2,}((?:refused|\S+ written|written)) +(\d)", line) for line in said.splitlines()
    ]
    told = [(row[1].strip(), row[2], row[3]) for row in rows if row]
    assert [outcome for _, *outcome in told].count(["not written", "3"]) == 5 and "either of these" not in said
    assert ("- every merge diverges", "never written", "3") in told and told[0][1:] == ("refused", "2")
    assert len({(row.start(2), row.start(3)) for row in rows if row}) == 1  # columns are aligned
    assert max(map(len, said[said.index("p-value") : said.index("Exit code 3 means")].splitlines())) <= 80


def test_what_was_asked_for_is_suggested_again(own: Path) -> None:
    none = dict.fromkeys(Options._fields) | {"missing": "refuse", "frames": FRAMES, "parameter": (), "prior": ()}
    options = Options(**none | {"prefix": Path("seen.npz"), "layout": Layout(), "prior": ("1:2",), "log": True})
    assert words_of(options) == ["--prefix", "seen.npz", "--prior", "1:2", "--log"]
    more = options._replace(sample="0:2", frames=6, mask=Path("m.npy"), missing="nan", layout=Layout(axes="TXC"))
    assert ccm("calibrate", "--family", "fam", *words_of(more), "-o", "x.npz", "--help").exit_code == 0
    assert {"--sample", "--frames", "--mask", "--missing", "--axes"} <= set(words_of(more))
    assert "--frames" not in words_of(more._replace(until=0.1))


def test_what_a_rollout_stores_beside_its_frames_is_not_remarked_on(own: Path) -> None:
    frames, errors = np.ones((5, 8, 1), np.float32), np.ones(5, np.float32)
    np.savez("rollout.npz", frames=frames, dim=1, errors=errors, low=frames, high=frames, coordinates=np.ones((4, 2)))
    np.savez("own.npz", frames=frames, dim=1, odd=errors)
    assert "left out" not in ccm("data", "describe", "rollout.npz").output
    assert "left out: odd" in ccm("data", "describe", "own.npz").output


def test_axes_that_the_network_also_takes_are_named(own: Path) -> None:
    weights = Weights(Path("a.npz"), "npz", {"scale": np.ones(1, np.float32)}, {})
    np.save("box.npy", np.ones((11, 8, 8, 8, 1), np.float32))
    said = other_axes(weights, "own_scaling:apply", open_recording("box.npy"))
    assert said == (
        "its axes [11, 8, 8, 8, 1] are taken for sample, time, x, y, channel, and the network also takes them as "
        "--axes TXYZC"
    )
    assert not other_axes(weights, "own_scaling:apply", open_recording("box.npy", axes="TXYZC"))
    assert not other_axes(weights, "own_scaling:apply", open_recording("seen.npz"))  # dim says it


def test_a_verdict_says_the_same_error_and_what_would_be_enough() -> None:
    rng = np.random.default_rng(0)
    errors = 1 + 0.1 * rng.random(6)
    same = judge([Method("a", KINDS[2], "a", errors), Method("b", KINDS[2], "b", errors)]).text
    assert "a against b: the same error on each of 6 trajectories." in same
    near = judge([Method("a", KINDS[2], "a", errors), Method("b", KINDS[2], "b", errors[::-1] + 1e-9)]).text
    assert "No significant difference, and 1,000 such trajectories would not resolve it." in near
