"""Numbers gone bad: NaN and overflow are refused by name or reported as infinite; never chosen, averaged or drawn."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Gated, fit_chart, fit_prefix_readout, make_rollout, merge_pytree
from ccm_jax.cli.inspect import residuals, verdict
from ccm_jax.cli.rolled import finite_frames, said_errors
from ccm_jax.cli.verdict import Method, judge
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.io.stream import merge_block
from experiments.pipeline.methods import METHODS
from experiments.report.figures import coordinate_sweep
from experiments.report.results import headline, summarise, typeset
from experiments.report.results import verdict as report_verdict
from tests.terminal import Slow, ccm, make_slow_family, of

LINE = np.array([-0.2, 1.2])  # weights of two experts at coordinate 1.4


@jax.jit
def unchecked(anchor: Any, low: Any, high: Any) -> Any:
    """A chart whose numbers are not known while it is fitted, so that NaN passes."""
    return fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())


def merged(*leaves: Any, weights: np.ndarray = LINE) -> np.ndarray:
    out = np.empty_like(leaves[0])
    merge_block(leaves, weights, out, "w")
    return out


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_narrow_weights_merge_in_single_precision(dtype: Any) -> None:
    # Updates of twice the largest number of float16, which come back into its range; bfloat16 has that of float32.
    most = float(jnp.finfo(dtype).max) / (1 if dtype == np.float16 else 4)
    anchor, low, high = (np.array(x, dtype) for x in ([most, 0.0], [-most, 1.0], [most, 1.0]))
    between = merge_pytree({"w": anchor}, {"w": low}, {"w": high}, 0.5)["w"]
    assert between.dtype == dtype
    expected = 0.25 * low.astype(np.float64) + 0.75 * high.astype(np.float64)
    np.testing.assert_allclose(np.asarray(between, np.float64), expected, rtol=1e-2)
    streamed = merged(anchor, low, high, weights=np.array([0.25, 0.75]))
    np.testing.assert_array_equal(streamed.view(np.uint16), np.asarray(between).view(np.uint16))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
def test_a_merge_that_leaves_the_range_is_refused(dtype: Any) -> None:
    most = float(np.finfo(dtype).max)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"w is NaN or infinite here: the sum leaves the range of .*nearer"):
            merged(*(np.array([1.0, x], dtype) for x in (0.0, -most, most)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_expert_that_is_not_finite_is_named(bad: float) -> None:
    good, spoilt = np.ones(3, np.float32), np.array([1, bad, 1], np.float32)
    with pytest.raises(ValueError, match="in the high expert; a merge needs finite weights: train that one again"):
        merged(good, good, spoilt)
    with pytest.raises(ValueError, match="in the anchor"):
        merged(spoilt, good, good, weights=np.array([0.1, 0.1]))
    np.testing.assert_array_equal(merged(good, good, spoilt, weights=np.zeros(2)), good)  # it is not looked at


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_python_refuses_an_expert_that_is_not_finite_and_under_jit_still_has_the_anchor(bad: float) -> None:
    anchor, low, high = ({"w": jnp.array([x, 1.0])} for x in (0.5, bad, 1.0))
    with pytest.raises(ValueError, match=r"fit_chart: leaf \['w'\] of `experts\[0\]` is not finite; check that no"):
        fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
    with pytest.raises(ValueError, match=r"fit_chart: leaf \['w'\] of `anchor` is not finite"):
        fit_chart(low, [anchor, high], [-1.0, 1.0])
    chart = unchecked(anchor, low, high)
    np.testing.assert_array_equal(chart([0.0, 0.0])["w"], anchor["w"])  # what a readout that keeps the anchor gives
    with pytest.warns(UserWarning, match=r"merge_pytree: leaf \['w'\] of `low` is not finite; check that no training"):
        merge_pytree(anchor, low, high, 0.5)


def test_what_is_infinite_in_all_of_them_stays() -> None:
    mask = np.array([0, -np.inf, np.nan], np.float32)  # as buffers of attention have it
    np.testing.assert_array_equal(merged(mask, mask, mask), mask)
    np.testing.assert_array_equal(merged(mask, mask, mask, weights=np.array([0.3, 0.3])), mask)


def test_no_verdict_on_experts_that_are_not_finite() -> None:
    anchor, low = {"a": np.ones(2), "b": np.ones(3)}, {"a": np.full(2, 1.1), "b": np.ones(3)}
    for value in (np.nan, np.inf, 1e200):
        high = {"a": np.array([1.0, value]), "b": np.full(3, 1.2)}
        found = residuals(anchor, low, high)
        assert not np.isfinite(found["(all)"].high) and np.isfinite(found["b"]).all()
        assert verdict(found["(all)"]).startswith("No verdict: some weights are NaN, infinite")
    assert np.isfinite(residuals(anchor, low, {"a": np.ones(2), "b": np.ones(3)})["(all)"]).all()


def test_nothing_is_won_from_a_rival_that_diverges() -> None:
    good, bad = np.full(8, 0.1), np.array([0.2] * 7 + [np.inf])
    said = judge([Method("anchor", "anchor", "a", bad), Method("merged", "merged", "m", good)]).text
    assert said.splitlines()[1].endswith("anchor: anchor diverges on 1 of 8 trajectories.")
    assert "0.000" not in said


def test_errors_of_a_rollout_that_diverges_are_infinite(capsys: pytest.CaptureFixture[str]) -> None:
    truth = np.ones((3, 4, 4, 1), np.float32)
    predicted = truth.copy()
    predicted[1, 0, 0], predicted[2] = np.nan, 1e30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        errors, _ = said_errors(predicted, truth, 1.5 * truth[0])
    assert errors.tolist() == [0.0, np.inf, np.inf]
    said = capsys.readouterr()
    assert said.out.startswith("relative L2 error: mean infinite, last frame infinite (the last given frame repeated: ")
    assert "repeating the last frame has error 0.5000, less than the network" in said.err
    assert finite_frames(predicted) == 1 and finite_frames(truth) == 3


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Slow:
    """A family whose high expert has a NaN in ``bad.safetensors``."""
    family = make_slow_family(tmp_path_factory.mktemp("family"))
    spoilt = {
        name: np.array(leaf) for name, leaf in open_safetensors(family.folder / "high.safetensors").arrays.items()
    }
    next(leaf for leaf in spoilt.values() if leaf.dtype == np.float32).reshape(-1)[0] = np.nan
    save_safetensors(family.folder / "bad.safetensors", spoilt)
    np.save(family.folder / "seen.npy", family.frames(family.trees[0], 6))
    return family


def with_bad_expert(slow: Slow) -> list[Any]:
    return [*of(slow.folder)[:4], "--high", slow.folder / "bad.safetensors"]


@pytest.mark.parametrize("method", [(), ("--method", "ties"), ("--method", "slerp")])
def test_the_terminal_merges_no_nan(slow: Slow, tmp_path: Path, method: tuple[str, ...]) -> None:
    done = ccm("merge", *with_bad_expert(slow), "-c", "0.5", *method, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 2 and "in the high expert; a merge needs finite weights" in done.output
    assert len(done.output.strip().splitlines()) == 1 and not list(tmp_path.iterdir())


def test_the_terminal_calibrates_with_no_nan(slow: Slow, tmp_path: Path) -> None:
    how = ("--model", slow.folder / "model.yaml", "--prefix", slow.folder / "seen.npy", "--accept-persistence")
    done = ccm("calibrate", *with_bad_expert(slow), *how, "--write-anyway", "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 2 and not list(tmp_path.iterdir()), done.output
    assert f"of {slow.folder / 'bad.safetensors'} is not finite; check that no training diverged" in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_the_terminal_rolls_out_and_draws_nothing(slow: Slow, tmp_path: Path) -> None:
    how = ("--model", slow.folder / "model.yaml", "--initial", slow.folder / "seen.npy", "--truth")
    done = ccm("rollout", slow.folder / "bad.safetensors", *how, "-o", tmp_path / "r.npz")
    assert done.exit_code == 0, done.output
    assert "not finite from predicted frame 1 on" in done.output and "mean infinite" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["r.npz"]


def results(diverged: tuple[str, ...]) -> dict[str, Any]:
    """Three regimes; in the last, the errors of some methods are infinite."""
    regimes = []
    for i, (value, s) in enumerate(((1.0, 0.0), (2.0, 1.0), (3.0, 2.0))):
        errors = dict.fromkeys(METHODS, 0.4) | (dict.fromkeys(diverged, np.inf) if i == 2 else {})
        chosen = {"best": -5.0 if i == 2 else s, "ccm_prefix": [s]}
        row = {"value": value, "coordinate": s, "split": "ood" if i == 2 else "id", "errors": errors, "chosen": chosen}
        regimes.append(row)
    per_trajectory = {name: np.array([[row["errors"][name]] * 3 for row in regimes], float) for name in METHODS}
    config = {"axis": {"low": 1.0, "high": 2.0, "label": "D", "unit": "", "scale": "linear"}}
    config |= {"calibration": {"frames": 4}, "model": {"history": 1}}
    summary = summarise(regimes, per_trajectory)
    return {"config": config, "regimes": regimes, "summary": summary, "bank": [-1.0, 0.0, 1.0]}


def test_a_best_coordinate_where_all_diverge_counts_nowhere() -> None:
    from ccm_jax.io.atomic import finite

    found = results(tuple(METHODS))
    assert found["summary"]["best_correlation"] == pytest.approx(1.0)  # of the two regimes that have a best
    said = "\n".join(headline(finite(found)))
    assert "CCM-Prefix diverges at 3" in said and "nan" not in said and "100" not in said
    sweep = np.ones((3, 3, 4))
    sweep[2] = np.inf
    figure = coordinate_sweep(found, sweep)
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert len(stars) == 2


@pytest.mark.parametrize(
    ("diverged", "said"),
    [
        ((), "Outside the training range, keep the anchor: no merge clearly beats it."),
        (
            ("anchor", "anchor_more"),
            "trained longer or not; CCM-Coord, CCM-Scale and CCM-Prefix do not.",
        ),
        (tuple(METHODS), "the anchor, trained longer or not, and all merges diverge on some trajectory."),
        (("ccm_coord", "ccm_scale", "ccm_prefix"), "keep the anchor"),
    ],
)
def test_the_report_never_recommends_what_diverges(diverged: tuple[str, ...], said: str) -> None:
    from ccm_jax.io.atomic import finite

    assert said in report_verdict(finite(results(diverged)))


def test_subscripts_are_set_in_symbols_alone() -> None:
    for label, expected in (("D_u", "Dᵤ"), ("inflow_velocity", "inflow_velocity"), ("D_uv", "D_uv")):
        axis = typeset({"config": {"axis": {"label": label}}})["config"]["axis"]
        assert axis["label"] == expected


@jax.jit
def growth(params: Any, window: jax.Array) -> jax.Array:
    return window[:, -1] * jnp.exp(params["rate"][0])


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:fit_prefix_readout. the chart contains NaN")
def test_two_thousand_steps_with_candidates_that_blow_up() -> None:
    anchor, low, high = ({"rate": jnp.array([r])} for r in (-1e-4, -1e-1, 1e-1))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0], features=Gated())
    rollout_fn = make_rollout(growth)
    frames = jnp.exp(-1e-4 * jnp.arange(2002.0))[:, None, None] * jnp.ones((2002, 4, 1))
    # Above a rate of 0.05, 2,000 steps leave the range of single precision.
    assert not np.isfinite(rollout_fn(chart([1.0, 1.0]), frames[None, :1], 2000)).all()
    readout = fit_prefix_readout(chart, rollout_fn, frames=2000)
    found = readout(frames)
    assert np.isfinite(found.coordinate).all() and float(found.loss) < 1e-3
    rolled = rollout_fn(chart(found.coordinate), frames[None, :1], 2001)
    assert np.isfinite(rolled).all()
    np.testing.assert_allclose(rolled[0], frames[1:], rtol=5e-2)
    spoilt = unchecked(anchor, low, {"rate": jnp.array([jnp.nan])})
    kept = fit_prefix_readout(spoilt, rollout_fn, frames=2000)(frames)
    assert kept.coordinate.tolist() == [0.0, 0.0] and np.isfinite(kept.loss)  # every merge is NaN: the anchor
