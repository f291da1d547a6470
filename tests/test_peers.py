"""The study of peers: what a conditioned network is, how rows are chosen and compared, and which of them are stale."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_prefix_readout, make_rollout
from ccm_jax.io.atomic import read_json
from ccm_jax.models import make_model
from ccm_jax.normalize import Normalization, normalized
from experiments.peers import conditioned
from experiments.peers.methods import METHODS
from experiments.peers.rows import needs, ordered, rows_of
from experiments.peers.study import STUDY
from experiments.peers.summary import best_of, of_system, ratio
from experiments.peers.tables import tables, to_csv
from experiments.peers.trials import beyond, choose
from experiments.runner.sources import changed, hash_of, reachable
from experiments.study.kept import kept_in

HISTORY, CHANNELS = 2, 2


@pytest.fixture(scope="module")
def channel() -> tuple[Any, Any, Any]:
    """A model, its weights with a channel, and frames with a parameter as their last channel."""
    model = make_model("fno", modes=(2, 2), width=4, depth=1, out_channels=CHANNELS)
    base = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, HISTORY, 8, 8, CHANNELS)))
    wide = conditioned.with_channel(base, jax.random.key(1), history=HISTORY, channels=CHANNELS)
    states = jax.random.normal(jax.random.key(2), (3, HISTORY + 1, 8, 8, CHANNELS))
    label = jnp.broadcast_to(jnp.array([-1.0, 0.5, 2.0])[:, None, None, None, None], (*states.shape[:-1], 1))
    return model, wide, jnp.concatenate([states, label], axis=-1)


def test_a_channel_is_a_slope_of_the_first_bias(channel: tuple[Any, Any, Any]) -> None:
    model, wide, frames = channel
    scale = Normalization(jnp.array([0.3, -0.1]), jnp.array([2.0, 0.5]))
    narrow = conditioned.without_channel(wide, history=HISTORY, channels=CHANNELS)
    assert sum(s.ndim > 0 for s in jax.tree.leaves(narrow["slopes"])) == 1
    apply = jax.jit(normalized(model.apply, scale))
    by_channel = jax.jit(conditioned.channel_loss(model.apply, scale, history=HISTORY))(wide, frames)
    by_weights = jax.jit(conditioned.conditioned_loss(apply, history=HISTORY))(narrow, frames)
    assert by_channel == pytest.approx(float(by_weights), rel=1e-5)
    chart = conditioned.chart_of(narrow)
    window = frames[:1, :HISTORY, ..., :-1]
    at = apply(chart(-1.0), window)
    np.testing.assert_allclose(at, apply(conditioned.weights_at(narrow, jnp.array([-1.0])), window))


@pytest.mark.parametrize("kind", ["channel", "biases", "all"])
def test_a_network_that_starts_from_an_anchor_is_the_anchor_everywhere(
    channel: tuple[Any, Any, Any], kind: str
) -> None:
    model, _, frames = channel
    anchor = jax.jit(model.init)(jax.random.key(3), frames[:, :HISTORY, ..., :-1])
    network = conditioned.start(anchor, kind)
    jax.tree.map(np.testing.assert_array_equal, conditioned.weights_at(network, jnp.array([1.7])), anchor)
    slopes = [s.ndim > 0 for s in jax.tree.leaves(network["slopes"])]
    biases = sum("bias" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(anchor))
    assert sum(slopes) == {"channel": 1, "biases": biases, "all": len(slopes)}[kind]


def test_our_readout_infers_the_parameter_of_a_conditioned_network() -> None:
    network = {"base": {"bias": jnp.array([-1.0])}, "slopes": {"bias": jnp.array([[0.5]])}}
    rollout_fn = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["bias"][0]))
    readout = fit_prefix_readout(conditioned.chart_of(network), rollout_fn)
    frames = jnp.exp(-0.02 * jnp.arange(5.0))[:, None, None] * jnp.ones((5, 8, 1))  # a rate of -0.2
    assert float(readout(frames).coordinate[0]) == pytest.approx(1.6, abs=1e-3)


def planted(outside: float, *, seed: int = 0, **errors: float) -> dict[str, Any]:
    found = {name: [value * outside, value] for name, value in errors.items()}
    return {"seed": seed, "found": {"errors": found, "outside": [True, False], "values": [0.5, 1.0], "validation": {}}}


def test_ratios_are_over_the_strongest_peer_of_both_arms() -> None:
    tuned = {"all_scale": 3.0, "ends_scale": 2.0, "all_coord": 4.0, "ends_coord": 8.0, "all_prefix": 2.0}
    ours = {"ccm_scale": 1.0, "ccm_coord": 2.0, "anchor": 5.0, "more": 4.0}
    gathered = {
        "rd_ood window 1": [planted(o, seed=i, **ours) for i, o in enumerate((1.0, 2.0, 4.0))],
        "rd_ood conditioned biases": [planted(o, seed=i, **tuned) for i, o in enumerate((1.0, 2.0, 4.0))],
    }
    found = of_system(gathered, "rd_ood")
    one = gathered | {"rd_ood conditioned all": [planted(1.0, seed=0, all_scale=1.5)]}  # compared on that seed alone
    assert of_system(one, "rd_ood")["finetune_ratio"]["seeds"] == [pytest.approx(1 / 1.5)]
    assert found["finetune_ratio"]["mean"] == pytest.approx(0.5)
    assert found["finetune_ratio"]["peer"] == "conditioned (all biases), fine-tuned on the experts' data, Scale map"
    assert found["finetune_ratio_coord"]["mean"] == pytest.approx(0.5)
    assert found["posthoc_ratio"]["mean"] is None
    assert best_of(gathered, "rd_ood", [("window 1", "anchor"), ("window 1", "more")]) == ("window 1", "more")


def test_the_strongest_peer_has_the_smallest_geometric_mean_as_ratios_do() -> None:
    errors = {0: {"ties": 1.0, "average": 2.1}, 1: {"ties": 4.0, "average": 2.1}}  # 2.5 and 2.1, or 2 and 2.1
    gathered = {"rd_ood post hoc": [planted(1.0, seed=seed, **found) for seed, found in errors.items()]}
    assert best_of(gathered, "rd_ood", [("post hoc", "ties"), ("post hoc", "average")]) == ("post hoc", "ties")


def test_what_was_sought_against_scratch_is_chosen_on_validation() -> None:
    def row(what: str, validation: float, **errors: float) -> Any:
        one = planted(1.0, **errors)
        trials = [{"rate": 1.0, "validation": 9.0}, {"rate": 2.0, "validation": validation}, {"validation": None}]
        one["found"]["choices"] = {what: {"chosen": {"rate": 2.0}, "trials": trials}}
        return [one]

    gathered = {
        "ns_ood window 1": row("experts", 0.3, ccm_scale=3.0),
        "ns_ood window 3": row("experts", 0.2, ccm_scale=2.0),
        "ns_ood split": row("split", 0.1, split_scale=4.0),  # best on validation, not on test regimes
        "ns_ood conditioned scratch": [planted(1.0, scale=2.0)],
    }
    found = of_system(gathered, "ns_ood")
    assert found["scratch_ratio"]["mean"] == pytest.approx(1.5)
    assert found["scratch_ratio_sought"]["mean"] == pytest.approx(2.0)


def test_a_peer_that_diverges_is_infinite_and_never_the_strongest() -> None:
    gathered = {
        "rd_ood window 1": [planted(1.0, ccm_scale=1.0)],
        "rd_ood post hoc": [planted(1.0, ties=float("inf"), average=2.0)],
    }
    gathered["rd_ood post hoc"][0]["found"]["errors"]["dare"] = [None, 0.1]
    places = [("post hoc", "ties"), ("post hoc", "dare"), ("post hoc", "average")]
    assert best_of(gathered, "rd_ood", places) == ("post hoc", "average")
    assert ratio(gathered, "rd_ood", ("window 1", "ccm_scale"), ("post hoc", "dare"))["mean"] == 0.0
    made = tables(rows_of("smoke"), gathered)
    shown = {row["key"]: row["outside"]["mean"] for row in made["systems"]["rd_ood"]}
    assert shown["ties"] == float("inf")
    assert "rd_ood,DARE,nothing,two fine-tunings,1,inf" in to_csv(made)


def test_the_first_seed_chooses_and_the_others_take_over() -> None:
    tried: list[float] = []

    def errors(trial: dict[str, Any]) -> list[float]:
        tried.append(trial["rate"])
        return [abs(trial["rate"] - 2.0) + 0.1, 0.1] if trial["rate"] < 3 else [float("nan"), 0.1]

    found = choose([{"rate": 1.0}, {"rate": 2.0}, {"rate": 4.0}], errors, None)
    assert found["chosen"] == {"rate": 2.0}
    assert found["trials"][2]["validation"] == float("inf")
    assert choose([{"rate": 1.0}], errors, {"rate": 0.3}) == {"chosen": {"rate": 0.3}, "trials": []}
    assert tried == [1.0, 2.0, 4.0]


def test_more_trials_while_the_best_rate_is_at_the_edge() -> None:
    at = [{"kind": "a", "rate": 1.0}, {"kind": "a", "rate": 2.0}, {"kind": "b", "rate": 1.0}]
    assert beyond(at[0], at) == {"kind": "a", "rate": 0.5}
    assert beyond(at[1], at) == {"kind": "a", "rate": 4.0}
    assert beyond(at[2], at) is None
    three = [{"rate": r} for r in (1.0, 0.5, 2.0)]
    assert beyond(three[0], three) is None
    found = choose(three, lambda trial: [1 / trial["rate"]], None)
    assert found["chosen"] == {"rate": 16.0} and len(found["trials"]) == 6


def test_first_seeds_come_first_and_everything_comes_after_what_it_needs() -> None:
    rows = rows_of("")
    jobs = ordered(rows)
    assert len(jobs) == len({(row.name, seed) for row, seed in jobs}) == sum(len(row.seeds) for row in rows)
    for i, (row, seed) in enumerate(jobs):
        assert all(needed in jobs[:i] for needed in needs(row, seed)), row.name
    assert len({STUDY.key_of(row, "", row.seeds[0]) for row in rows}) == len(rows)


def test_every_method_is_measured_by_a_row() -> None:
    measures = {row.name.partition(" ")[2] for row in rows_of("")}
    assert {method.row for method in METHODS} <= measures


def test_a_hash_of_a_program_does_not_see_comments(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in ("a.py", "b.py", "c.py"))
    a.write_text('"""One."""\n\n\ndef f(x):\n    """Two."""\n    return x + 1\n')
    b.write_text('"""Other."""\ndef f(x):\n    """Words."""\n    # more words\n    return (x + 1)\n')
    c.write_text('"""One."""\n\n\ndef f(x):\n    """Two."""\n    return x + 2\n')
    assert hash_of(a) == hash_of(b) != hash_of(c)
    assert changed({"experiments/peers/gone.py": "0"}) == ["experiments/peers/gone.py"]


def test_a_result_depends_on_what_its_code_can_reach() -> None:
    found = reachable(["experiments/pipeline/family.py"])
    assert {"ccm_jax/chart.py", "ccm_jax/rollout.py", "ccm_jax/_checks.py"} <= found
    assert not {"ccm_jax/kalman.py", "ccm_jax/baselines.py"} & found  # loaded by ``import ccm_jax``, and not used
    assert reachable(["experiments/peers/posthoc.py"]) >= {"ccm_jax/baselines.py"}


@pytest.mark.parametrize("path", sorted(kept_in("peers").glob("*.json")), ids=lambda path: path.stem)
def test_kept_rows_were_measured_by_these_sources(path: Path) -> None:
    """Marks what is stale: such a row is named on the page, and is to be measured anew before a release."""
    modules = changed(json.loads(path.read_text(encoding="utf-8"))["found"]["sources"])
    if modules:
        pytest.xfail(f"changed since: {', '.join(modules)}")


def test_the_rows_of_ratios_are_short_on_the_page_and_none_is_left_out() -> None:
    from experiments.peers.docs import CHOSEN, SHORT
    from experiments.peers.page import QUESTIONS

    assert {*SHORT, *CHOSEN} == set(QUESTIONS) and max(map(len, (SHORT | CHOSEN).values())) <= 43


def test_the_pages_of_the_documentation_are_those_of_the_results() -> None:
    """``python -m experiments.peers.docs`` was run after the results were written."""
    from experiments.peers import docs

    for name, text in docs.pages(read_json(docs.RESULTS)).items():
        assert docs.PAGES[name].read_text(encoding="utf-8") == text


def test_the_pages_say_how_far_validation_and_test_regimes_reach() -> None:
    """The words hold for the configurations: validation lies beyond both experts, and some test regimes further out."""
    from experiments.configs import ns_ood
    from experiments.peers import docs
    from experiments.report import reach

    config = ns_ood.get_config()
    assert reach.reach_of(config, "validation") == (-1.25, 1.25) and reach.reach_of(config, "test") == (-2.0, 2.0)
    content = read_json(docs.RESULTS)
    for system in content["systems"]:
        config = importlib.import_module(f"experiments.configs.{system}").get_config()
        (low, high), (least, most) = (reach.reach_of(config, split) for split in ("validation", "test"))
        assert least < low < -1 and 1 < high < most
    words = reach.reaches(content["systems"])
    assert f"lie at {words['validation']}" in " ".join(docs.pages(content)["comparisons"].split())
    assert reach.in_words({"rd_ood": (-1.5, 2.0), "ns_ood": (-2.0, 2.0)}).count("+2") == 2


def test_two_summaries_that_are_equal_stand_once_and_others_each() -> None:
    from experiments.peers import docs
    from experiments.peers.decisions import led

    content = read_json(docs.RESULTS)
    said = {knows: led(content["decisions"], knows) for knows in ("frames", "value")}
    assert said["frames"] == said["value"]
    assert docs.pages(content)["peers"].count(said["value"][1:]) == 1
    for one in content["decisions"]:
        one["ours"] = one["ours"] or one["knows"] == "value"
    text = docs.pages(content)["peers"]
    assert text.count(said["frames"]) == 1 and text.count(led(content["decisions"], "value")) == 1


def test_every_footnote_has_its_marks() -> None:
    """What CCM-Prefix reaches on the anchor that validation chose: in words above the tables, and marked in a fold."""
    from experiments.peers import docs

    whole = docs.pages(read_json(docs.RESULTS))["comparisons"]
    before, found, fold = whole.partition("<summary>With the window of frames that validation chose</summary>")
    fold, _, after = fold.partition("</details>")
    assert found and sum(line.startswith("| CCM-Prefix / ") for line in fold.splitlines()) == len(docs.MARKED) == 4
    assert sum(line.startswith("| CCM-Prefix / ") for line in before.splitlines()) == len(docs.MARKED) + 1
    assert fold.count("†") == 2 + len(docs.MARKED) and fold.count("† For gravity") == 1  # errors that are the anchor's
    assert "†" not in before + after and "and nothing is merged" in before


def test_the_page_begins_with_the_chart_of_decisions() -> None:
    """For what one may know, a row for each thing that one may train, with the method that was best."""
    from experiments.peers import docs, page

    content = read_json(docs.RESULTS)
    text = docs.pages(content)["peers"]
    first, *others = text.split("\n## ")[1:]
    assert (
        first.startswith("By what you know")
        and "Each row also allows" in first
        and not [o for o in others if "also allows" in o]
    )
    for knows, heading in page.KNOWN.items():
        rows = first.partition(f"### {heading}\n")[2].partition("\n### ")[0]
        for trains, may in {"from scratch": ""}.items() if knows == "nothing" else page.MAY.items():
            # Who knows nothing has the same methods whatever may be trained: a sentence with the best of all.
            (row,) = [line for line in rows.splitlines() if line.startswith(f"| {may}" if may else "There is no")]
            found = [d for d in content["decisions"] if (d["knows"], d["trains"]) == (knows, trains)]
            assert all(f"{d['error']:#.2g}" in row for d in found)
