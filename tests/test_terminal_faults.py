"""Mistakes of a tired user: each is one line that says what was wrong and what to do, before any work is done."""

from __future__ import annotations

import contextlib
import errno
import io
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ccm_jax import example
from ccm_jax.cli.faults import line_of
from ccm_jax.cli.frames import read_regimes
from ccm_jax.cli.kept import best_network
from ccm_jax.cli.prefix import Found
from ccm_jax.cli.showing import number, scored, show, show_candidates, typed, why_stranger
from ccm_jax.cli.sure import Sure
from ccm_jax.io.recordings import open_recording
from ccm_jax.io.safetensors import save_safetensors
from tests.terminal import arrays, ccm

FAMILY = [word for name in example.WEIGHTS for word in (f"--{name}", str(example.path(f"{name}.safetensors")))]
SEEN = example.path("test-0.00075.npz")


def refused(*words: Any) -> str:
    """The last line of a command that must refuse its input."""
    done = ccm(*words)
    assert done.exit_code == 2 and "Traceback" not in done.output, done.output
    return str(done.output.strip().splitlines()[-1])


def test_unknown_verbs_suggest_the_nearest() -> None:
    assert refused("calibrat").startswith(
        "ccm: there is no command calibrat. Did you mean calibrate? Commands: example, "
    )
    assert refused("calibrat").endswith("; see ccm --help.")
    assert "Did you mean describe? Commands: describe" in refused("data", "descrbe", "x")
    assert "Did you mean" not in refused("xyz")


@pytest.mark.parametrize(
    "words",
    [
        ("merge", *FAMILY, "-c", "1", "-o", "out.safetensors"),
        ("calibrate", *FAMILY, "--prefix", SEEN, "-o", "out.safetensors"),
        ("calibrate", *FAMILY, "--prefix", SEEN, "--report", "out.json"),
        ("evaluate", *FAMILY, "--trajectories", SEEN, "--csv", "out.csv"),
        ("rollout", example.path("anchor.safetensors"), "--initial", SEEN, "-o", "out.npz"),
        ("example", "out"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("missing", [False, True])
def test_outputs_are_tried_before_any_work(
    words: tuple[Any, ...], missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", no)
    target = tmp_path / "missing" / words[-1] if missing else tmp_path / words[-1]
    said = refused(*words[:-1], target)
    assert f"no file can be made in the folder {tmp_path} (permission denied); choose another folder" in said
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    assert ccm("merge", *FAMILY, "-c", "1", "-o", tmp_path / "a" / "b" / "out.safetensors").exit_code == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOENT, "check that the path is right"),
        (errno.EACCES, "choose another path"),
        (errno.EISDIR, "name a file in it"),
        (errno.ENOSPC, "nothing was written"),
        (errno.EIO, "check the disk"),
    ],
)
def test_errors_of_the_system_name_the_path_and_the_remedy(code: int, said: str) -> None:
    line = line_of(OSError(code, "Some Reason", "folder/.partial-12.abcd1234-m.pt"))
    assert line.startswith("folder/m.pt: some reason; ") and said in line and "[Errno" not in line


def test_equal_experts_span_no_direction(tmp_path: Path) -> None:
    low = example.path("low.safetensors")
    twice = ("--anchor", example.path("anchor.safetensors"), "--low", low, "--high", low)
    said = refused("merge", *twice, "-c", "1", "-o", "m.pt")
    assert f"--high and --low are the same file, {low}, so there is no direction between them; pass two diff" in said
    save_safetensors(tmp_path / "copy.safetensors", arrays(low))
    said = refused("calibrate", *twice[:5], tmp_path / "copy.safetensors", "--prefix", SEEN, "--sample", "0")
    assert "contain the same weights, so there is no direction between them; pass two different experts" in said


def test_far_coordinates_of_filters_are_warned_of(tmp_path: Path) -> None:
    names = {name: example.path(f"{name}.safetensors") for name in example.WEIGHTS}
    text = (
        f"anchor: {names['anchor']}\nexperts:\n  - {{path: {names['low']}, coordinate: -1}}\n"
        f"  - {{path: {names['high']}, coordinate: 1}}\ncoordinate: 0.5\n"
        'filters:\n  - {name: "lift.*", coordinate: 4}\n'
    )
    (tmp_path / "r.yaml").write_text(text)
    done = ccm("merge", "--recipe", tmp_path / "r.yaml", "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 0 and "warning: coordinate +4 is far outside the experts' range" in done.output
    (tmp_path / "r.yaml").write_text(text.replace("coordinate: 4}", "coordinate: 40}"))
    said = refused("merge", "--recipe", tmp_path / "r.yaml", "-o", tmp_path / "n.safetensors")
    assert "coordinate +40 is far outside the experts' range, -1 to +1" in said and "at most 10" in said


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: np.save(p, np.zeros((0, 9, 4, 4, 1))), "holds no frames; write the file again with frames in it"),
        (lambda p: p.write_bytes(b""), "it is empty; write it again with numpy.save"),
        (lambda p: p.mkdir(), "is a folder; name one of its files"),
        (lambda p: np.save(p, np.load(SEEN)["frames"][:, :3]), "has 3 frames, expected at least 5"),
        (lambda p: None, "check the path"),
    ],
    ids=["no samples", "empty", "folder", "short", "missing"],
)
def test_frames_that_cannot_serve(make: Any, said: str, tmp_path: Path) -> None:
    make(tmp_path / "seen.npy")
    assert said in refused("calibrate", *FAMILY, "--prefix", tmp_path / "seen.npy")


def test_files_that_stand_for_each_other() -> None:
    weights = example.path("anchor.safetensors")
    assert "has the name of a checkpoint, expected trajectories" in refused("calibrate", *FAMILY, "--prefix", weights)
    said = refused("calibrate", *FAMILY, "--prefix", SEEN, "--model", "neuraloperator")
    assert "already describes its network; omit --model" in said
    for span in ("0:9", f"3:{10**20}"):
        assert "there is no sample 4; it has 4 samples, 0 to 3" in refused(
            "evaluate", *FAMILY, "--trajectories", SEEN, "--sample", span
        )
    frames = refused("evaluate", *FAMILY, "--trajectories", SEEN, "--sample", "0:9")
    assert "there is no sample 4; it has 4 samples, 0 to 3 (--sample)" in frames


def test_nan_has_a_next_step(tmp_path: Path) -> None:
    frames = np.load(SEEN)["frames"].astype(np.float32)
    frames[1, 6, 3, 3] = np.nan
    np.save(tmp_path / "nan.npy", frames)
    words = ("--trajectories", tmp_path / "nan.npy")
    assert "first in frame 6; fix it, or choose other samples with --sample" in refused("evaluate", *FAMILY, *words)


def test_arguments_of_a_method_are_named() -> None:
    said = refused("merge", *FAMILY, "-c", "1", "--method", "ties", "--set", "dens=0.2", "-o", "none.safetensors")
    assert "method ties: takes no dens; there are: " in said and "density" in said


def found(**more: Any) -> Found:
    """What a readout finds on one trajectory."""
    plain: dict[str, Any] = {
        "coordinate": (-1.5, 0.8),
        "keeps_anchor": False,
        "loss": 0.1,
        "anchor_loss": 0.5,
        "persistence_loss": 0.6,
        "choices": [[-1.5, 0.8]],
        "candidates": [[-2.5, 1.0], [0.0, 0.5]],
        "losses": [0.2, 3e6],
        "at_end_of_search": False,
        "moved_toward_anchor": False,
        "frames": 4,
        "history": 1,
        "readout": {},
        "residuals": {},
        "unsure": "why.",
    }
    return Found(**(plain | more))


def test_the_gate_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed((-1.5, 0.8), 1) == "-1.50, gate 0.80" and typed((-1.5, 0.8), 2) == "-1.50, +0.80"
    show(found(), 1)
    said = capsys.readouterr().out
    assert "coordinate -1.50, gate 0.80\n" in said
    assert "(gate: factor on the shared update; 0 = none of it, 1 = all, above 1 = more)" in said and "█" not in said
    show_candidates(found(), 1)
    assert "3.000e+06" in capsys.readouterr().out
    show(found(coordinate=(-1.5,), candidates=[[-2.5], [0.0]]), 1)
    assert "gate" not in capsys.readouterr().out


def test_a_merge_that_hardly_fits_better_than_the_best_of_anchor_and_experts_is_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for losses, words in (
        ((0.102, 0.3), "only 2.0 % better than the low expert"),
        ((0.3, 0.09), "no better than the high expert"),
        ((0.3, float("nan")), ""),
    ):
        show(found(expert_losses=losses), 1)
        said = " ".join(capsys.readouterr().err.split())
        assert (f"the merge fits these frames {words}: compare both (ccm evaluate)" in said) == bool(words)
        assert words or "fits these frames" not in said


@pytest.mark.parametrize(
    ("loss", "kept"),
    [(0.2, "Check the merge on held-out frames"), (0.4, "Its error is 0.8 times the anchor's. The anchor is kept")],
)
def test_a_coordinate_at_an_end_of_what_is_searched_is_warned_of(
    loss: float, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(found(loss=loss, at_end_of_search=True, keeps_anchor=loss > 0.25), 1)
    said = capsys.readouterr()
    assert said.err.startswith("ccm: warning: the coordinate is at the edge of the search range") and kept in said.err
    assert ("the best merge is at" in said.out) == (loss > 0.25) and "fits these frames at least" not in said.out


def test_networks_that_are_no_better_than_zeros_are_wrong_for_these_frames() -> None:
    from ccm_jax.cli.persistence import check_persistence

    check_persistence("calibrate", 1.4, 0.9, accept=False)
    with pytest.raises(
        ValueError, match=r"calibrate: a forecast of zeros has error 1, and every network at least 1.33"
    ):
        check_persistence("calibrate", 1.41, 1.33, accept=False)
    check_persistence("calibrate", 1.41, 1.33, accept=True)


def test_a_network_that_ends_the_program_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_exits.py").write_text("import sys\n\n\ndef build():\n    sys.exit('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez(tmp_path / "w.npz", w=np.ones(3, np.float32))
    words = ("rollout", tmp_path / "w.npz", "--model", "own_exits:build", "--initial", SEEN, "-o", tmp_path / "o.npz")
    assert refused(*words) == (
        "ccm: the code of --model ended the program by sys.exit (no licence); let it raise an error."
    )


@pytest.mark.parametrize("what, code", [("raise KeyboardInterrupt", 130), ("raise SystemExit(3)", 2)])
def test_what_ends_a_forward_pass_ends_the_verb_and_leaves_nothing(
    what: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the network runs, and a network that gives up by itself."""
    name = f"own_ends_{code}"
    (tmp_path / f"{name}.py").write_text(f"def apply(params, window):\n    {what}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez(tmp_path / "w.npz", w=np.ones(3, np.float32))
    words = ("rollout", tmp_path / "w.npz", "--model", f"{name}:apply", "--initial", SEEN, "-o", tmp_path / "o.npz")
    done = ccm(*words)
    assert done.exit_code == code and "Traceback" not in done.output
    assert (
        "ccm: interrupted; no incomplete" in done.output
        if code == 130
        else "ended the program by sys.exit (3)" in done.output
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".npz") == ["w.npz"]


def test_parameters_that_are_not_finite_are_noted(tmp_path: Path) -> None:
    frames = np.load(SEEN)["frames"][:3]
    np.savez(tmp_path / "v.npz", frames=frames, nu=np.array([1.0, np.nan, 2.0]))
    recording = open_recording(tmp_path / "v.npz")
    with contextlib.redirect_stderr(io.StringIO()) as said:
        read_regimes(recording, recording)
    assert "v.npz: not read as a parameter: nu: contains NaN or infinite values." in said.getvalue()


def test_uneven_times_are_said_of_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=np.ones((3, 4, 4, 1)), times=np.array([0.0, 1.0, 3.0]))
    done = ccm("data", "describe", tmp_path / "a.npz")
    assert done.exit_code == 0 and "warning: " in done.output and "expected frames one time step apart" in done.output


def test_a_sample_counts_once(tmp_path: Path) -> None:
    said = refused("evaluate", *FAMILY, "--trajectories", SEEN, "--sample", "0,0,1")
    assert said == "ccm: --sample 0,0,1: 0 is listed twice and would count twice; list it once."


def test_a_key_of_a_recipe_stands_once(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("anchor: a.pt\ncoordinate: 1\ncoordinate: -1\n")
    assert "the key coordinate is there twice" in refused(
        "merge", "--recipe", tmp_path / "r.yaml", "-o", tmp_path / "m.pt"
    )


def test_the_frames_that_are_scored_are_said() -> None:
    assert scored({"begin": 0}, 4) == "the observed frames" and scored({"begin": 2}, 4) == "the last 2 observed frames"
    assert scored({"begin": 3}, 4) == "the last observed frame, one step ahead"
    assert [number(x) for x in (0.25, 2.4e-7, 0.0, float("inf"))] == ["0.2500", "2.4e-07", "0.0000", "infinite"]


def test_a_p_value_is_said_in_its_strength() -> None:
    usual, weak, strong = (Sure((), (), p) for p in (0.085, 0.02, 1e-5))
    assert usual.remarks() == ["p = 0.085: these frames do not contradict the chart (below 0.05, they would)."]
    (said,) = weak.remarks()
    assert said.startswith("The chart explains these frames worse than most validation frames (p = 0.02; 1 in 20")
    assert weak.unlike and not weak.stranger  # so the merge is kept
    assert strong.unlike and strong.stranger and not strong.remarks()
    refused = why_stranger(strong, gaps=True)
    assert refused.startswith("No point of this chart explains these frames (p = 1e-05")
    assert "whether the fill restores the gaps" in refused
    assert all("add noise of the same size to the validation" in line for line in (said, refused))


def test_where_no_merge_is_the_answer_the_network_that_fits_best_is_run() -> None:
    names = ("low expert", "high expert")
    recipe = SimpleNamespace(anchor=Path("a.npz"), experts=(Path("l.npz"), Path("h.npz")), expert_names=names)
    for losses, best in (((0.3, 0.2), "h.npz"), ((0.6, 0.7), "a.npz"), ((), "a.npz")):
        found = SimpleNamespace(expert_losses=losses, anchor_loss=0.5)
        assert best_network(recipe, found) == Path(best)  # type: ignore[arg-type]


def test_fields_in_another_order_than_those_of_validation_are_refused(tmp_path: Path) -> None:
    """Both files name them, so that nothing is to be fitted before it is said."""
    from ccm_jax.cli.frames import read_regimes
    from ccm_jax.io.recordings import open_recording

    for name, fields in (("seen", ["v", "u"]), ("others", ["u", "v"])):
        np.savez(tmp_path / f"{name}.npz", frames=np.ones((2, 9, 8, 8, 2)), dim=2, fields=fields)
    seen, others = (open_recording(tmp_path / f"{name}.npz") for name in ("seen", "others"))
    with pytest.raises(ValueError, match="seen.npz has the fields v, u, and .*others.npz u, v: .*--fields u,v"):
        read_regimes(others, seen)
    assert read_regimes(others, open_recording(tmp_path / "seen.npz", fields=("u", "v"))).trajectories


def test_a_file_without_a_time_axis_is_named_before_the_network_is_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.ones((32, 32, 1), np.float32))
    how = ("--prefix", tmp_path / "one.npy", "--axes", "TXYC", "-o", tmp_path / "m.safetensors")
    assert "a single frame [X, Y, C] has no T: write frames with a time axis" in refused("calibrate", *FAMILY, *how)


def test_an_array_that_may_be_one_frame_or_frames_of_a_line_says_what_the_network_takes(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.random.default_rng(0).standard_normal((21, 64, 1)).astype(np.float32))
    said = refused("calibrate", *FAMILY, "--prefix", tmp_path / "one.npy", "-o", tmp_path / "m.safetensors")
    assert "one.npy holds [21, 64, 1]: one frame without a time axis or 1-D frames; this network is 2-D" in said


def test_noise_is_refused_before_the_readout_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the readout is fitted")

    monkeypatch.setattr("ccm_jax.cli.fitting.fit_prefix_readout", refuse)
    noise = np.random.default_rng(0).normal(size=(1, 8, 32, 32, 1)).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    how = ("--prefix", tmp_path / "noise.npy", "--sample", 0, "--validation", example.path("validation.npz"))
    assert "check units, the order of channels" in refused("calibrate", *FAMILY, *how, "-o", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
