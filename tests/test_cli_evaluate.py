"""``ccm evaluate``: one table, a CSV, and a verdict that calls a tie a tie."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import merge_pytree
from ccm_jax.cli.verdict import Method, compare, judge, student
from ccm_jax.evaluate import future_error, persistence_error
from ccm_jax.io.safetensors import save_safetensors
from tests.terminal import Slow, ccm, make_slow_family, of


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Slow:
    """A family with its merge at 1.25, and trajectories that are this merge's."""
    family = make_slow_family(tmp_path_factory.mktemp("slow"))
    merged = merge_pytree(*family.trees[:3], 1.25)
    save_safetensors(family.folder / "merged.safetensors", merged)
    np.savez(family.folder / "t.npz", frames=family.frames(merged, 7, 7), dim=2)
    return family


def evaluate(slow: Slow, *more: Any, trajectories: str = "t.npz", model: str = "model.yaml") -> Any:
    """Runs the verb."""
    how = ("--model", slow.folder / model, "--trajectories", slow.folder / trajectories)
    return ccm("evaluate", *of(slow.folder), *how, *more)


def test_the_table_is_the_library_s_and_the_verdict_names_what_to_use(slow: Slow, tmp_path: Path) -> None:
    target, merged = tmp_path / "errors.csv", slow.folder / "merged.safetensors"
    done = evaluate(slow, "--merged", merged, "--csv", target)
    assert done.exit_code == 0, done.output
    assert "Verdict: use CCM" in done.output and str(merged) in done.output and "7 of 7" in done.output
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 5 and {r["method"] for r in rows} == {"anchor", "low", "high", "merged", "persistence"}
    x = jnp.asarray(np.load(slow.folder / "t.npz")["frames"])
    for name, expected in (
        ("anchor", future_error(slow.trees[0], slow.rollout_fn, x)),
        ("persistence", persistence_error(x)),
    ):
        found = [float(r["relative_l2"]) for r in rows if r["method"] == name]
        np.testing.assert_allclose(found, np.mean(expected, axis=1), rtol=1e-4)


def test_input_that_persistence_beats_all_on_is_refused(slow: Slow, tmp_path: Path) -> None:
    merged = ("--merged", slow.folder / "merged.safetensors")
    done = evaluate(slow, *merged, "--csv", tmp_path / "e.csv", model="mute.yaml")
    line = done.output.strip().splitlines()[-1]
    assert done.exit_code == 2 and all(word in line for word in ("channels", "units", "mean and std"))
    assert not (tmp_path / "e.csv").exists()
    accepted = evaluate(slow, *merged, "--accept-persistence", model="mute.yaml")
    assert accepted.exit_code == 0 and "Verdict: " in accepted.output


def test_a_network_that_diverges_never_wins(slow: Slow, tmp_path: Path) -> None:
    broken = jax.tree.map(lambda leaf: leaf * 1e30, slow.trees[0])
    save_safetensors(tmp_path / "broken.safetensors", broken)
    done = evaluate(slow, "--merged", tmp_path / "broken.safetensors", "--sample", "0:2", "--accept-persistence")
    assert done.exit_code == 0, done.output
    assert "infinite" in done.output and "use CCM" not in done.output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--frames", "7", "--merged", "merged.safetensors"), "has 8 frames, expected at least 9"),
        (("--merged", "anchor.safetensors"), "passed twice"),
        (("--merged", "merged.safetensors", "--csv", "e.txt"), "does not end in .csv"),
        (("--merged", "merged.safetensors", "--sample", "9"), "there is no sample 9"),
    ],
)
def test_bad_input_is_one_line(slow: Slow, more: tuple[str, ...], message: str) -> None:
    done = evaluate(slow, *(slow.folder / m if m.endswith(".safetensors") else m for m in more))
    assert done.exit_code == 2 and message in done.output, done.output


def test_frames_of_zero_have_no_relative_error(slow: Slow, tmp_path: Path) -> None:
    frames = np.load(slow.folder / "t.npz")["frames"].copy()
    frames[1, 6] = 0
    np.savez(tmp_path / "zero.npz", frames=frames, dim=2)
    done = evaluate(slow, "--merged", slow.folder / "merged.safetensors", trajectories=str(tmp_path / "zero.npz"))
    assert done.exit_code == 2 and "sample 1 is all zeros in frame 6, where its relative" in done.output


def methods(**errors: Any) -> list[Method]:
    """Methods with these errors; the kind of a name that is none is that of an expert."""
    kinds = {"anchor": "anchor", "merged": "merged"}
    return [Method(name, kinds.get(name, "expert"), f"{name}.pt", np.asarray(e, float)) for name, e in errors.items()]


NOISE = np.random.default_rng(0).normal(size=20) * 0.1
ONE = np.ones(20)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (methods(anchor=ONE, low=1.2 * ONE, merged=0.5 * ONE + 0.1 * NOISE), "Verdict: use CCM (merged.pt)."),
        (
            methods(anchor=ONE, low=1.2 * ONE, merged=0.99 * ONE + NOISE),
            "20 trajectories are too few to tell it from anchor, which is simpler; evaluate more.",
        ),
        (methods(anchor=0.5 * ONE, low=ONE, merged=0.9 * ONE), "Verdict: keep the anchor."),
        (methods(anchor=ONE, low=0.4 * ONE, merged=0.9 * ONE), "Verdict: use an expert (low)."),
        (
            methods(anchor=ONE, low=0.5 * ONE, merged=0.5 * ONE - 1e-3 + 0.1 * NOISE),
            "but 20 trajectories are too few to tell it from low, which is simpler",
        ),
        (  # the anchor is not told from the merge, but from the expert
            methods(anchor=[0.08, 0.09, 0.075], low=[0.055, 0.06, 0.05], merged=[0.02, 0.03, 0.09]),
            "low against anchor: 0.673 of its error",
        ),
        (methods(anchor=np.append(ONE, np.inf), merged=np.append(ONE, 1.0)), "too few to tell it from anchor"),
        (methods(anchor=[np.inf] * 9, merged=[1.0] * 9), "Verdict: use CCM"),
        (methods(anchor=[np.inf, 1.0], merged=[1.0, np.inf]), "Verdict: none."),
        (methods(anchor=[1.0, 1.0], merged=[0.5, 0.5]), "Verdict: none from 2 trajectories"),
        (methods(anchor=[1.0], merged=[0.5]), "Verdict: none from 1 trajectory"),
        (methods(anchor=[1.0, 1.1, 0.9, 1.0], merged=[0.1, 0.12, 0.1, 0.09]), "Verdict: use CCM"),
        (
            methods(anchor=[1.0, 1.0, 1.0], merged=[0.5, 0.9, 1.2]),
            "No significant difference: about 34 such trajectories",
        ),
    ],
)
def test_the_verdict(found: list[Method], verdict: str) -> None:
    assert verdict in judge(found).text


def test_the_best_of_several_merges_is_compared_with_the_others_and_said_to_be_chosen() -> None:
    several = methods(anchor=ONE, merged=0.5 * ONE + 0.1 * NOISE)
    several.append(Method("other", "merged", "other.pt", 0.6 * ONE))
    found = judge(several)
    assert "merged against other: 0.8" in found.text and set(found.comparisons) == {"anchor", "other"}
    assert "merged is the best of 2 merged checkpoints on these trajectories, which favours it" in found.text
    assert "is the best of" not in judge(several[:2]).text and found.best == "merged"


def test_a_comparison_is_paired() -> None:
    hard = np.linspace(1, 100, 30)  # trajectories differ a hundredfold, methods by a tenth
    found = compare(0.9 * hard, hard)
    assert found.better and found.wins == 30
    np.testing.assert_allclose([found.ratio, found.low, found.high], 0.9)
    assert compare(hard, hard).ratio == 1 and not compare(hard, hard).better


def test_the_quantile_is_that_of_the_tables() -> None:
    np.testing.assert_allclose(student([2, 3, 5, 10, 30, 1000]), [4.303, 3.182, 2.571, 2.228, 2.042, 1.962], rtol=0.01)


def test_few_trajectories_make_a_wide_interval_and_say_how_many_would_do() -> None:
    rng = np.random.default_rng(1)
    ratios = np.exp(0.2 * rng.normal(size=(2000, 4)))  # the truth is a tie
    told = np.mean([not c.low <= 1 <= c.high for c in (compare(r, np.ones(4)) for r in ratios)])
    assert 0.03 < told < 0.08  # as often as 95 % promises
    few = compare(np.array([0.5, 0.9, 1.2]), np.ones(3))
    assert few.low < 1 < few.high
    assert compare(np.tile([0.5, 0.9, 1.2], 12), np.ones(36)).better and few.enough == 34
    assert np.isinf(compare(np.array([1.5, 0.5001, 1.0]), np.ones(3)).enough)
