"""More experts for the steps and trajectories of two: which curve through how many, chosen on validation regimes.

Every arm takes as many steps as the two endpoint experts together, and no trajectory more: experts at the ends are
trained on those of the endpoints, experts between them on those that the anchor has seen there.

    two           the line through the endpoint experts, each for half of the steps
    equal N       N experts, each from the anchor for 1 / N of the steps
    short N       the ends keep most of the steps; each expert between them starts from the merge at its coordinate
    middle first  the ends start from an expert of the middle, so what they share is learned once; then as short 5
    trained       as short 5, but the correction is trained on all regimes between the ends at once
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax import Chart, Gated, Interior, choose_chart, fit_chart
from ccm_jax.choose_chart import HELD, Regime, TriedChart, score_chart, select_chart
from ccm_jax.train_chart import Trained, chart_loss, chart_with, labelled, weights_of
from experiments.beyond.tuning import VERSION, Piece, support_parts, tune
from experiments.peers import judge as judging
from experiments.peers.judge import Judge, by_metadata, by_prefix, judge_of
from experiments.peers.training import Given, given
from experiments.peers.trials import Found, regimes_of
from experiments.pipeline import stages
from experiments.pipeline.networks import load_params, normalized_model
from experiments.pipeline.stages import PAIR, Run, load_trajectories
from experiments.pipeline.store import run_stage
from experiments.pipeline.training import Batches, Diverged, fit
from experiments.runner.progress import finished

Params = Any
Experts = dict[float, Params]  # by coordinate

TWO = "two: line through the ends"
SLOW = 1 / 3  # times the rate of fine-tuning: short corrections may want less


class Split(NamedTuple):
    """How the steps of both endpoint experts are shared out.

    Attributes:
        total: of them all.
        inner: of each of the three experts between the ends, where those are short.
        first: of the expert that the ends start from in the arm ``middle first``.
    """

    total: int
    inner: int
    first: int


def split_of(run: Run) -> Split:
    """An expert between the ends gets a tenth of an endpoint's steps."""
    steps = run.config.finetune.steps
    return Split(2 * steps, max(1, steps // 10), max(2, steps // 5))


def experts(run: Run, known: Found) -> Found:
    """Errors of all curves of all arms, and which one validation takes, beside the line of the two endpoint experts.

    Returns:
        ``errors``: by coordinate (``coord``) of every chart; by map and by prefix of the line and of the chosen chart.
        ``validation``: what every chart was chosen by; ``chosen`` and ``chosen_of_arm``; ``over_line``: the mean test
        error inside and outside over that of the two experts' line, of every chart.
    """
    there = given(run)
    judge = judge_of(run, there.anchor)
    tried: list[TriedChart] = []
    of_arm: dict[str, str] = {}
    diverged: list[str] = []
    for name, make in ARMS.items():
        try:
            curves, its_best = make(run, there, judge)
        except Diverged:
            if not tried:  # nothing can be compared without the line of the two experts
                raise
            diverged.append(name)
            continue
        tried += [one._replace(name=f"{name}: {one.name}") for one in curves]
        of_arm[name] = f"{name}: {its_best}"
    best = select_chart(tried).name
    charts = {one.name: one.chart for one in tried}
    where = judge.coordinates("test")
    coord = {name: judging.along(judge, chart, where) for name, chart in charts.items()}
    scale: dict[str, list[float]] = {}
    prefix: dict[str, list[float]] = {}
    for name in dict.fromkeys((TWO, best, *of_arm.values())):
        scale[name] = by_metadata(judge, charts[name])["scale"]
    for name in dict.fromkeys((TWO, best)):
        prefix[name] = by_prefix(judge, charts[name])["prefix"]
    regimes = regimes_of(run)
    errors = {"coord": coord, "scale": scale, "prefix": prefix}
    return {
        "errors": errors,
        "over_line": {by: _over_line(of, np.array(regimes["outside"])) for by, of in errors.items()},
        "validation": {one.name: _of_validation(one) for one in tried},
        "chosen": best,
        "chosen_of_arm": of_arm,
        "diverged": diverged,
        "split": split_of(run)._asdict(),
    } | regimes


def _over_line(errors: dict[str, list[float]], outside: np.ndarray) -> Found:
    line = np.array(errors[TWO])
    sides = {"inside": ~outside, "outside": outside}
    return {
        name: {side: float(np.mean(np.array(e)[of]) / np.mean(line[of])) for side, of in sides.items()}
        for name, e in errors.items()
    }


def _of_validation(one: TriedChart) -> Found:
    return {name: value for name, value in one._asdict().items() if name not in ("name", "chart")}


def _validation(judge: Judge) -> list[Regime]:
    return [Regime(s, x) for s, x in zip(judge.coordinates("validation"), judge.validation, strict=True)]


def _curves(there: Given, judge: Judge, at: Experts) -> tuple[list[TriedChart], str]:
    """All curves through experts, as :func:`ccm_jax.choose_chart` tries them, and the name of its choice."""
    anchor, how = load_params(there.anchor, "anchor"), {"history": judge.history, "frames": judge.frames}
    chosen = choose_chart(anchor, list(at.values()), list(at), judge.rollout_fn, _validation(judge), **how)
    return list(chosen.tried), chosen.name


def _rate(run: Run) -> float:
    return float(run.config.finetune.learning_rate)


def _between(run: Run, count: int) -> dict[float, int]:
    """Support regimes between the ends: all of them, or the middle one."""
    parts = {s: i for s, i in support_parts(run).items() if abs(s) < 1}
    middle = min(parts, key=abs)
    return parts if count == 5 else {middle: parts[middle]}


def _ends(run: Run, there: Given, steps: int, name: str = "ends", start: Params = None) -> Experts:
    """Both end experts, paired as the endpoints are; they start from the anchor unless said."""
    first = load_params(there.anchor, "anchor") if start is None else start
    pieces = [Piece("low", 0, steps, _rate(run)), Piece("high", 1, steps, _rate(run))]
    found = tune(run, name, pieces, there.ends, (there.anchor, there.support), lambda piece: first)
    return {-1.0: found["low"], 1.0: found["high"]}


def _line(there: Given, ends: Experts) -> Chart:
    return fit_chart(load_params(there.anchor, "anchor"), list(ends.values()), list(ends))


def two(run: Run, there: Given, judge: Judge) -> tuple[list[TriedChart], str]:
    """The endpoint experts."""
    trained = stages.endpoints(run, there.ends, there.anchor)
    return _curves(there, judge, {-1.0: load_params(trained, "low"), 1.0: load_params(trained, "high")})


def equal(run: Run, there: Given, judge: Judge, count: int) -> tuple[list[TriedChart], str]:
    """Experts from the anchor that share the steps equally."""
    split, anchor = split_of(run), load_params(there.anchor, "anchor")
    steps = split.total // count
    between = _between(run, count)
    pieces = [Piece(f"at{s:+g}", part, steps, _rate(run)) for s, part in between.items()]
    inner = tune(run, f"equal_{count}", pieces, there.support, (there.anchor,), lambda piece: anchor)
    ends = _ends(run, there, (split.total - steps * len(between)) // 2)
    return _curves(there, judge, {**ends, **{s: inner[f"at{s:+g}"] for s in between}})


def short(
    run: Run, there: Given, judge: Judge, count: int, rate: float = 1.0, first: bool = False
) -> tuple[list[TriedChart], str]:
    """Short corrections of the merge of longer ends, which may start from an expert of the middle."""
    ends, name = _long_ends(run, there, first)
    line, between = _line(there, ends), _between(run, count)
    steps = 3 * split_of(run).inner // len(between)
    pieces = [Piece(f"at{s:+g}", part, steps, rate * _rate(run)) for s, part in between.items()]
    starts = {f"at{s:+g}": line(s) for s in between}
    # The ends follow from the split alone, which the steps of the endpoints give: those are in the stage's settings.
    inputs = (there.anchor, there.ends)
    inner = tune(run, f"short_after_{name}", pieces, there.support, inputs, lambda piece: starts[piece.name])
    return _curves(there, judge, {**ends, **{s: inner[f"at{s:+g}"] for s in between}})


def _long_ends(run: Run, there: Given, first: bool = False) -> tuple[Experts, str]:
    split = split_of(run)
    left = split.total - 3 * split.inner
    if not first:
        return _ends(run, there, left // 2), "ends"
    (part,) = _between(run, 3).values()
    piece = Piece("middle", part, split.first, _rate(run))
    anchor = load_params(there.anchor, "anchor")
    middle = tune(run, "first", [piece], there.support, (there.anchor,), lambda piece: anchor)["middle"]
    return _ends(run, there, (left - split.first) // 2, "ends_after_first", middle), "first"


def trained(run: Run, there: Given, judge: Judge, rate: float = 1.0) -> tuple[list[TriedChart], str]:
    """The correction of long ends, trained on batches of all regimes between them; the line keeps every bit."""
    config, ends = run.config, _long_ends(run, there)[0]
    line, between = _line(there, ends), _between(run, 5)
    at = {**ends, **{s: line(s) for s in between}}
    weights = [HELD if abs(s) == 1 else 1.0 for s in at]
    anchor = load_params(there.anchor, "anchor")
    begin = fit_chart(anchor, list(at.values()), list(at), features=Interior(degree=2), weights=weights)
    steps = 3 * split_of(run).inner

    def build(work: Path) -> dict[str, float]:
        x = load_trajectories(there.support)
        frames = labelled(begin.features, [Regime(s, x[part]) for s, part in between.items()])
        normalization, apply = normalized_model(config, there.anchor)
        history = config.model.history
        loss_fn = chart_loss(begin, apply, history=history, trained=Trained(origin=False, features=(2, 3)))
        settings = config.finetune.copy_and_resolve_references()
        settings.learning_rate, settings.unroll = rate * _rate(run), 1
        batches = Batches(np.asarray(frames)[None], history, steps, 10 * config.seed + PAIR)
        metadata = stages.metadata_of(config, normalization)
        return fit("chart", loss_fn, weights_of(begin), batches, settings, work=work, metadata=metadata)

    facts = {"steps": steps, "rate": rate, **stages.settings_of(config, "finetune", "seed")}
    inputs = (there.support, there.ends, there.anchor)
    stage = run_stage(run.root, "beyond_trained", facts, inputs, build, version=VERSION)
    finished(stage, f"{steps} steps")
    found = chart_with(begin, load_params(stage, "chart"))
    gated = Chart(found.origin, found.basis, Gated(begin.features))  # type: ignore[arg-type]
    how = {"history": judge.history, "frames": judge.frames}
    name = "leaning interior"
    return [score_chart(name, gated, judge.rollout_fn, _validation(judge), **how)], name


ARMS: dict[str, Callable[..., tuple[list[TriedChart], str]]] = {
    "two": two,
    "equal 3": functools.partial(equal, count=3),
    "equal 5": functools.partial(equal, count=5),
    "short 3": functools.partial(short, count=3),
    "short 5": functools.partial(short, count=5),
    "short 5, slow": functools.partial(short, count=5, rate=SLOW),
    "middle first": functools.partial(short, count=5, first=True),
    "trained": trained,
    "trained, slow": functools.partial(trained, rate=SLOW),
}
