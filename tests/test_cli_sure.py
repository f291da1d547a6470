"""Intervals in the terminal: of the coordinate and of the value, of a rollout, as frames arrive; and what has none."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Choices, Gated, fit_chart, fit_prefix_readout, make_rollout
from ccm_jax._checks import counted
from ccm_jax._stride import stride_clue
from ccm_jax.cli import fitting, until
from ccm_jax.cli.frames import Regimes, read_regimes
from ccm_jax.cli.noise import with_noise
from ccm_jax.cli.prefix import find
from ccm_jax.io.recordings import open_recording
from ccm_jax.sequential import fit_sequential
from ccm_jax.surrogate import Surrogate
from tests.terminal import ccm

ONE = Choices(free_gate=(False,), begin=(0,), pull=(0.0,))
RATES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
NETWORK = """
import jax.numpy as jnp

def apply(params, window):
    return window[:, -1] * jnp.exp(-0.1 * params["rate"][None, None])
"""


def decay(seed: int, rate: Any, count: int = 6, frames: int = 9) -> np.ndarray:
    """Trajectories ``[N, T, 8, C]``, a channel for each rate: they differ a little from it, with noise beside."""
    rng, rate = np.random.default_rng(seed), np.atleast_1d(rate)
    start = 1 + 0.5 * rng.random((count, 1, 1, len(rate))) * np.linspace(0, 1, 8)[None, None, :, None]
    own = rate + 0.02 * rng.standard_normal((count, 1, 1, len(rate)))
    clean = start * np.exp(-0.1 * own * np.arange(frames)[None, :, None, None])
    return np.asarray(clean * (1 + 3e-4 * rng.standard_normal(clean.shape)), np.float32)


@functools.cache
def of_network() -> Surrogate:
    """The network of the tests, whatever it was opened from."""
    apply = importlib.import_module("decaying").apply
    return Surrogate(apply, 1, lambda arrays: {"rate": jnp.asarray(arrays["rate"])}, make_rollout(apply))


def family() -> tuple[Any, list[Any]]:
    """Anchor and experts as trees."""
    anchor, *experts = ({"rate": jnp.array([rate])} for rate in (1.1, 0.7, 1.5))
    return anchor, experts


def save(path: Path, frames: np.ndarray, **known: Any) -> Path:
    np.savez(path, frames=frames, dim=1, **known)
    return path


class Decays(NamedTuple):
    """A family of one weight, with validation trajectories and observed ones at 1.3."""

    folder: Path
    family: list[Any]

    def __call__(self, verb: str, *more: Any) -> Any:
        return ccm(verb, *self.family, "--model", "decaying:apply", *more)


@pytest.fixture(scope="module")
def decays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decays]:
    folder = tmp_path_factory.mktemp("decays")
    (folder / "decaying.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        # One network and one choice: what is tested here is not what validation decides, and programs compile once.
        patched.setattr(fitting, "surrogate_for", lambda *_: of_network())
        patched.setattr(fitting, "fit_prefix_readout", functools.partial(fit_prefix_readout, choices=ONE))
        for name, rate in (("anchor", 1.1), ("low", 0.7), ("high", 1.5)):
            np.savez(folder / f"{name}.npz", rate=np.array([rate], np.float32))
        x = np.concatenate([decay(i, rate) for i, rate in enumerate(RATES)])
        save(folder / "others.npz", x, rate=np.repeat(RATES, 6))
        save(folder / "seen.npz", decay(50, 1.3, 3))
        save(folder / "skipping.npz", decay(50, 1.3, 1, frames=18)[:, ::2])
        save(folder / "swinging.npz", decay(50, 1.3, 1) + 0.05 * np.sin(2 * np.arange(9.0))[None, :, None, None])
        yield Decays(folder, [p for n in ("anchor", "low", "high") for p in (f"--{n}", folder / f"{n}.npz")])


def report(decays: Decays, out: Path, *more: Any, prefix: str = "seen.npz") -> tuple[Any, Any]:
    """Calibrates with validation trajectories; returns the result, and the report if there is one."""
    given = [*more] if "--validation" in more else ["--validation", decays.folder / "others.npz", *more]
    done = decays("calibrate", "--prefix", decays.folder / prefix, *given, "-o", out / "m.safetensors")
    return done, json.loads((out / "m.json").read_text()) if (out / "m.json").exists() else None


@pytest.mark.long
def test_a_calibration_says_how_sure_it_is(decays: Decays, tmp_path: Path) -> None:
    done, found = report(decays, tmp_path, "--sample", "0")
    assert done.exit_code == 0, done.output
    (axis,) = found["sure"]["axes"]
    low, high = axis["interval"]
    assert low < 1.3 < high and high - low < 0.3 and low < axis["value"] < high
    left, right = axis["coordinate_interval"]
    assert left < found["coordinate"] < right and right - left < 0.8
    assert not axis["flat"] and not axis["outside_validation"] and found["sure"]["p_value"] > 0.05
    assert "90 % interval" in done.output and "rate" in done.output and "p = " in done.output
    assert sum(axis["probability"]) == pytest.approx(1, abs=1e-4)
    assert "on validation: the error of later frames is" in done.output
    assert len(found["readout"]["error_over_anchor"]) == len(found["readout"]["validation"])
    assert len(found["residuals"]["merged"]) == 4 and (tmp_path / "m.png").stat().st_size > 10_000
    (tmp_path / "all").mkdir()
    _, every = report(decays, tmp_path / "all")
    narrow = every["sure"]["axes"][0]["interval"]
    assert narrow[1] - narrow[0] < high - low  # three trajectories of one regime say more than one


def test_experts_in_each_others_place_are_noticed_by_the_values_of_validation(decays: Decays, tmp_path: Path) -> None:
    low, high = decays.family[3], decays.family[5]
    exchanged = decays._replace(family=[*decays.family[:3], high, "--high", low])
    done, found = report(exchanged, tmp_path, "--sample", "0")
    assert done.exit_code == 0, done.output
    assert "The coordinate falls as rate rises: the low and high expert seem to be swapped" in done.output
    assert found["sure"]["axes"][0]["falls"] and found["coordinate"] < 0
    assert "swapped" not in report(decays, tmp_path / "right")[0].output


def test_a_prior_moves_coordinate_and_interval(decays: Decays, tmp_path: Path) -> None:
    done, found = report(decays, tmp_path, "--sample", "0", "--prior", "1.2:0.01")
    assert done.exit_code == 0, done.output
    (axis,) = found["sure"]["axes"]
    assert abs(axis["value"] - 1.2) < 0.04 and found["coordinate"] == pytest.approx(found["sure"]["coordinate"][0])
    assert found["coordinate"] < found["choices"][0] - 0.05  # experts at 0.7 and 1.5: 1.3 is +0.5


def test_a_merge_that_is_clearly_better_than_the_anchor_outweighs_a_small_p_value(
    decays: Decays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in twenty trajectories of the family itself has one."""
    for name in ("ALARM", "STRANGE"):
        monkeypatch.setattr(f"ccm_jax.cli.sure.{name}", 1.1)
    done, found = report(decays, tmp_path, "--sample", "0")
    assert done.exit_code == 0 and found["sure"]["no_point_explains_the_frames"] and not found["keeps_anchor"]
    said = " ".join(done.output.split())
    assert "The merge is still better than the anchor: its error is" in said and (tmp_path / "m.safetensors").exists()
    others = ("--validation", decays.folder / "others.npz")
    done = decays("rollout", "--initial", decays.folder / "seen.npz", *others, "-o", tmp_path / "band.npz")
    assert done.exit_code == 0 and (tmp_path / "band.npz").exists()
    assert "The merge is still better than the anchor: its error is" in " ".join(done.output.split())


def test_frames_that_no_point_explains_keep_the_anchor(decays: Decays, tmp_path: Path) -> None:
    done, found = report(decays, tmp_path, prefix="swinging.npz")
    assert done.exit_code == 3, done.output
    assert found["coordinate"] == "anchor" and found["keeps_anchor"] and found["sure"]["p_value"] < 0.05
    assert "No point of this chart explains these frames" in done.output and not (tmp_path / "m.safetensors").exists()
    assert "order of x and y (--axes)" in done.output and "90 % interval" not in done.output  # of a rejected merge
    refused = decays(
        *("rollout", "--initial", decays.folder / "swinging.npz", "--validation", decays.folder / "others.npz"),
        *("-o", tmp_path / "band.npz"),
    )
    assert refused.exit_code == 3 and "No point of this chart" in refused.output
    assert "90 % interval" not in refused.output
    assert "Next: ccm data describe" in refused.output and "ccm rollout" not in refused.output
    assert not (tmp_path / "band.npz").exists()


def test_frames_of_another_time_step_keep_the_anchor_and_are_told_so(decays: Decays, tmp_path: Path) -> None:
    """At the rim, and with a p-value next to 0, though the merge has less than half of the anchor's error."""
    done, found = report(decays, tmp_path, prefix="skipping.npz")
    assert done.exit_code == 3, done.output
    assert found["at_end_of_search"] and found["sure"]["p_value"] < 1e-3 and found["loss"] < 0.5 * found["anchor_loss"]
    said = " ".join(done.stderr.split())
    assert "warning: the coordinate is at the edge of the search range, and no point of this chart explains" in said
    assert found["clue"] in said and "time steps apart? The anchor is kept" in said  # 2 or 3: a faster decay is both
    assert "90 % interval" not in done.output and not (tmp_path / "m.safetensors").exists()
    done, _ = report(decays, tmp_path, "--write-anyway", "--force", prefix="skipping.npz")
    assert done.exit_code == 0 and (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(("rate", "said"), [(1.0, ""), (2.0, "2 steps of the network per"), (0.5, "per 2 frames")])
def test_another_time_step_is_told_from_the_frames(rate: float, said: str) -> None:
    def apply(params: Any, window: Any) -> Any:
        return window[:, -1] * jnp.exp(-0.1 * params["rate"][None, None])

    anchor, *experts = ({"rate": jnp.array([r])} for r in (1.0, 0.98, 1.02))
    readout = fit_prefix_readout(fit_chart(anchor, experts, [-1.0, 1.0]), make_rollout(apply), history=1, frames=4)
    clue = stride_clue(readout, decay(3, rate, 2))
    assert clue == "" if not said else said in clue and clue.endswith("?")


def test_experts_are_compared_on_the_observed_frames_too(decays: Decays, tmp_path: Path) -> None:
    done, found = report(decays, tmp_path, "--sample", "0")
    low, high = found["expert_losses"]  # at rates 0.7 and 1.5; the frames have 1.3, and the anchor 1.1
    assert found["loss"] < high < low and found["anchor_loss"] < low
    assert f"low expert {low:.4f}, high expert {high:.4f}, last frame repeated" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "No interval: pass --validation FILE"),
        ("none", "--validation has no values of a parameter; it needs"),
        (
            (0.6, 0.6, 1.0, 1.0, 1.0, 1.0),
            "--validation has 2 values of rate; it needs trajectories of three or more known values",
        ),
        ((1.0,) * 6, "--validation has the same rate everywhere; it needs"),
        ("once", "two trajectories or more"),
        ("shuffled", "do not distinguish the regimes"),
    ],
)
def test_where_there_is_no_interval_a_line_says_how_to_get_one(
    decays: Decays, tmp_path: Path, values: Any, said: str
) -> None:
    given: list[Any] = []
    if values is not None:
        count = {"once": 1, "shuffled": 6}.get(str(values), 2)
        rates = [1.0] * 6 if values == "shuffled" else RATES
        x = np.concatenate([decay(i, rate, count) for i, rate in enumerate(rates)])
        known = {} if values == "none" else {"rate": np.repeat(RATES if isinstance(values, str) else values, count)}
        given = ["--validation", save(tmp_path / "v.npz", x, **known)]
    prefix = ("--prefix", decays.folder / "seen.npz", "--report", tmp_path / "m.json")
    done = decays("calibrate", *prefix, *given)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("No interval: ")]
    assert len(lines) == 1 and said in lines[0]
    found = json.loads((tmp_path / "m.json").read_text())
    assert found["sure"] is None and said in f"No interval: {found['unsure']}"


def test_a_parameter_that_varies_beside_the_one_that_is_named_is_told(decays: Decays, tmp_path: Path) -> None:
    with np.load(decays.folder / "others.npz") as others:
        np.savez(tmp_path / "two.npz", **others, force=np.repeat(np.arange(len(RATES)) % 2, 6))
    how = ("--prefix", decays.folder / "seen.npz", "--sample", "0", "--report", tmp_path / "m.json")
    done = decays("calibrate", *how, "--validation", tmp_path / "two.npz", "--parameter", "rate")
    said = " ".join(done.output.split())
    assert done.exit_code == 0 and "force varies too, and is not told apart; --parameter names rate" in said, said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--prior", "1.3:0"], "a deviation above 0; a value that is known for certain"),
        (["--prior", "1.3:-1"], "a deviation above 0"),
        (["--prior", "1.3"], "expected VALUE:DEVIATION"),
        (["--prior", "x:1"], "expected a number"),
        (["--prior", "130:1"], "beyond the values of rate"),
        (["--prior", "1.3:1", "--prior", "1.3:1"], "is given 2 times, expected once for each of rate"),
        (["--parameter", "nu"], "has rate, and no nu."),
        (["--parameter", "rote"], "has rate, and no rote; did you mean rate?"),
    ],
)
def test_what_cannot_be_known_of_a_value_is_refused(
    decays: Decays, tmp_path: Path, given: list[str], said: str
) -> None:
    done, _ = report(decays, tmp_path, *given)
    assert done.exit_code == 2 and said in done.output.splitlines()[-1], done.output
    assert not list(tmp_path.iterdir())


def test_a_prior_without_intervals_is_refused(decays: Decays, tmp_path: Path) -> None:
    done = decays(
        "calibrate", "--prefix", decays.folder / "seen.npz", "--prior", "1:1", "--report", tmp_path / "m.json"
    )
    assert done.exit_code == 2 and "--prior needs intervals" in done.output and not list(tmp_path.iterdir())


def test_names_and_priors_are_checked_before_anything_is_fitted(
    decays: Decays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccm_jax.cli.calibrate.fit_readout", lambda *given, **how: pytest.fail("fitted"))
    for given, said in ((("--parameter", "nu"), "--parameter nu"), (("--prior", "1:1") * 2, "is given 2 times")):
        done, _ = report(decays, tmp_path, *given)
        assert done.exit_code == 2 and said in done.output and "rate" in done.output


def test_another_unit_is_refused_before_anything_is_fitted(
    decays: Decays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccm_jax.cli.calibrate.fit_readout", lambda *given, **how: pytest.fail("fitted"))
    stored = np.load(decays.folder / "seen.npz")["frames"]
    # Of a decay, the network is linear: only the noise of another sensor is no state of it.
    noise = 1e4 * np.random.default_rng(0).standard_normal(stored.shape).astype(np.float32)
    path = save(tmp_path / "far.npz", noise)
    done, _ = report(decays, tmp_path, prefix=str(path))
    assert done.exit_code == 2 and "times larger than those of validation" in done.output


def test_what_merged_weights_were_calibrated_on_is_told_where_they_are_evaluated(
    decays: Decays, tmp_path: Path
) -> None:
    seen, other = decays.folder / "seen.npz", save(tmp_path / "other.npz", decay(7, 0.7), rate=np.full(6, 0.7))
    assert report(decays, tmp_path, "--sample", "0")[0].exit_code == 0
    merged = tmp_path / "m.safetensors"
    for sample, said in (("0,1,2", True), ("1:4", False)):
        done = decays("evaluate", "--merged", merged, "--trajectories", seen, "--sample", sample)
        assert ("calibrated on the first frames of sample 0" in done.output) == said, done.output
        assert "another regime" not in done.output
    done = decays("evaluate", "--merged", merged, "--trajectories", other)
    assert "calibrated for rate 1." in done.output and "these trajectories have 0.7: the comparison" in done.output


def test_a_rollout_has_a_band(decays: Decays, tmp_path: Path) -> None:
    others = ("--validation", decays.folder / "others.npz")
    how = ("--initial", decays.folder / "seen.npz", "--truth", *others, "--samples", "5", "--seed", "3")
    done = decays("rollout", *how, "-o", tmp_path / "band.npz")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "band.npz") as band:
        frames, low, high, truth = band["frames"], band["low"], band["high"], decay(50, 1.3, 3)[0, 5:]
        assert frames.shape == low.shape == truth.shape and (low < frames).all() and (frames < high).all()
        assert (
            np.mean((low <= truth) & (truth <= high)) == pytest.approx(band["covered"].mean())
            and band["covered"].min() > 0.5
        )
        assert band["samples"].shape == (5, *truth.shape) and band["coordinates"].shape == (5, 2)
        assert np.std(band["samples"][:, -1, 0, 0]) > 0
        drawn = band["coordinates"]
    assert (tmp_path / "band.png").exists() and "The 90 % interval contains" in done.output
    again = decays("rollout", *how, "-o", tmp_path / "again.npz")
    assert again.exit_code == 0 and np.array_equal(np.load(tmp_path / "again.npz")["coordinates"], drawn)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--steps", "5"], "--steps is 5, expected at most 4"),
        (["--frames", "9"], "has trajectories of 9 frames, and --frames 9 needs at least 11"),
        ([], "for which --validation FILE is needed"),
    ],
)
def test_a_band_that_nothing_tells_is_refused(decays: Decays, tmp_path: Path, given: list[str], said: str) -> None:
    others = ["--validation", decays.folder / "others.npz"] if given else []
    done = decays("rollout", "--initial", decays.folder / "seen.npz", *others, *given, "-o", tmp_path / "band.npz")
    assert done.exit_code == 2 and said in done.output.splitlines()[-1], done.output
    assert not list(tmp_path.iterdir())


EXPERTS = {
    "they span 1 of 2 axes": ([[-1, 0], [1, 0], [-0.5, 0], [0.5, 0]], "{name: Polynomial, dim: 2}"),
    "all are at the same coordinate": ([0.5, 0.5], "{name: Polynomial}"),
}


@pytest.mark.parametrize("said", EXPERTS)
@pytest.mark.parametrize("verb", ["calibrate", "rollout"])
def test_experts_that_do_not_span_the_axes_are_refused(decays: Decays, tmp_path: Path, verb: str, said: str) -> None:
    coordinates, features = EXPERTS[said]
    experts = "\n".join(f"  - {{path: {decays.folder}/low.npz, coordinate: {c}}}" for c in coordinates)
    (tmp_path / "r.yaml").write_text(f"anchor: {decays.folder}/anchor.npz\nexperts:\n{experts}\nfeatures: {features}\n")
    frames = {"calibrate": "--prefix", "rollout": "--initial"}[verb]
    out = ("--report", tmp_path / "out.json") if verb == "calibrate" else ("-o", tmp_path / "out.npz")
    how = ("--recipe", tmp_path / "r.yaml", frames, decays.folder / "seen.npz", *out)
    done = ccm(verb, *how, *(("--validation", decays.folder / "others.npz") if verb == "rollout" else ()))
    assert done.exit_code == 2 and len(done.output.splitlines()) == 1, done.output
    assert said in done.output and list(tmp_path.iterdir()) == [tmp_path / "r.yaml"]


def test_a_posterior_that_is_flat_says_so_and_holds_no_nan(decays: Decays) -> None:
    regimes = read_regimes(open_recording(decays.folder / "others.npz"))
    chart = fit_chart(*family(), [-1.0, 1.0], features=Gated())
    fitted = fitting.fit_readout(fitting.Opened(chart, of_network()), (8, 1), 4, regimes)
    bound = fitted._replace(readout=dataclasses.replace(fitted.readout, pull=jnp.float32(1e6)))
    found = find(bound, decay(50, 1.3, 3))
    assert found.keeps_anchor and found.sure is not None and found.sure.axes[0].flat
    assert found.sure.stranger and not found.sure.remarks()  # another family, of which more frames say no more
    assert "The frames do not constrain rate" in found.sure._replace(p_value=0.5).remarks()[0]
    assert np.isfinite([*found.sure.axes[0].interval, *found.sure.axes[0].coordinate_interval]).all()


@pytest.mark.long
def test_the_interval_that_ends_the_search_for_frames_is_the_one_reported(decays: Decays, tmp_path: Path) -> None:
    done, found = report(decays, tmp_path, "--until", "0.5")
    assert done.exit_code == 0, done.output
    search, (low, high) = found["until"], found["sure"]["axes"][0]["coordinate_interval"]
    assert search["reached"] and high - low <= 0.5
    *before, (frames, width) = search["intervals"].items()
    assert int(frames) == found["frames"] and width == pytest.approx(high - low)
    assert all(width > 0.5 for _, width in before) and all(width > 0.5 for width in search["filter"][:-1])
    after = f"{counted(found['frames'], 'frame')} after the window"
    assert f"With {after}, the 90 % interval is {width:.3f} wide; no more are used." in done.output


@pytest.mark.long
def test_an_interval_that_stays_too_wide_says_what_limits_the_frames(decays: Decays, tmp_path: Path) -> None:
    done, found = report(decays, tmp_path, "--until", "1e-6")
    assert done.exit_code == 0, done.output
    assert not found["until"]["reached"] and f"With {counted(found['frames'], 'frame')} after" in done.output
    assert "not 1e-06 or narrower; " in done.output
    longer = np.concatenate([np.load(decays.folder / "seen.npz")["frames"]] * 3, axis=1)
    assert until._most(longer, read_regimes(open_recording(decays.folder / "others.npz")), 1)[1].endswith(
        f"of --validation allow no more, although the file has {longer.shape[1] - 1}"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--until", "0"], "--until is 0, expected a width above 0"),
        (["--until", "nan"], "--until is nan"),
        (["--until", "0.1", "--missing", "nan"], "--until needs complete frames"),
        (["--prior", "1.3"], "--prior 1.3: expected VALUE:DEVIATION"),
    ],
)
def test_widths_and_priors_that_cannot_be_are_refused_before_anything_is_fitted(
    decays: Decays, tmp_path: Path, given: list[str], said: str
) -> None:
    done, _ = report(decays, tmp_path, *given)
    assert done.exit_code == 2 and done.output.count("\n") == 1 and said in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_intervals_as_frames_arrive_cover_the_coordinate_of_the_regime(decays: Decays) -> None:
    chart, rollout_fn = fit_chart(*family(), [-1.0, 1.0]), of_network().rollout_fn
    read = fit_sequential(chart, rollout_fn, [decay(i, rate) for i, rate in enumerate(RATES)])
    track = read(decay(60, 1.3, 40), batch="each")
    low, high = np.moveaxis(np.asarray(track.interval(0.9))[:, :, 0], -1, 0)
    covered = np.mean((low < 0.5) & (high > 0.5), axis=0)  # the experts are at 0.7 and 1.5
    assert covered.shape == (8,) and (covered > 0.75).all()
    x = jnp.asarray(decay(61, 1.3, 1)[0])
    state = read.start(x[:1])
    for frame in x[1:]:
        state = read.update(state, frame)
    np.testing.assert_allclose(read.deviation(state), read(x).std[-1], rtol=1e-3)
    plain = read.tracker(x).std[-1]
    assert float(read(x).std[-1, 0]) > 2 * float(plain[0])  # its own is that of noise alone
    with pytest.raises(ValueError, match="two trajectories or more"):
        fit_sequential(chart, rollout_fn, [decay(0, 1.0, 1)])


def test_noise_of_a_share_of_each_channel_is_added_to_validation() -> None:
    rng = np.random.default_rng(1)
    clean = {str(i): (i + rng.normal(size=(20, 6, 16, 16, 2)) * [1.0, 10.0]).astype(np.float32) for i in range(2)}
    noisy = with_noise(Regimes(clean, []), 0.1)
    added = np.concatenate([noisy.trajectories[name] - x for name, x in clean.items()])
    spread = np.concatenate(list(clean.values())).std(axis=(0, 1, 2, 3))
    np.testing.assert_allclose(added.std(axis=(0, 1, 2, 3)), 0.1 * spread, rtol=0.02)
    again = with_noise(Regimes(clean, []), 0.1).trajectories
    assert all((noisy.trajectories[name] == again[name]).all() for name in clean)
