from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import ccm_jax
from ccm_jax.io.atomic import read_json
from experiments.report import alternatives, claims
from experiments.report.ratios import in_words
from experiments.report.readme import LIMITS, marks, readme, replace, results
from experiments.report.record import ROOT, figure, runs_of
from experiments.site.hook import PROJECT
from tests.terminal import ccm

README = (ROOT / "README.md").read_text()


def test_the_numbers_of_the_readme_are_those_of_the_files() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    assert readme(README, ROOT / "results") == README
    assert results(page, ROOT / "results") == page
    assert claims.limits(ROOT / "results") == LIMITS.read_text()


def test_no_comparison_that_ccm_loses_is_left_out_of_the_readme() -> None:
    """The strongest alternative of each kind stands in the figure and in words, whoever is better."""
    from experiments.peers.overview import GROUPS

    peers = read_json(ROOT / "results" / "peers.json")
    drawn = {line.ratio for lines in GROUPS.values() for line in lines if line.ratio and not line.ours}
    shown = {key for _, kinds in alternatives.BESIDE.values() for keys in kinds.values() for key in keys}
    relaxed = {"finetune_ratio_coord", "scratch_ratio_sought"}  # one has less than Scale, the other more: on the page
    assert drawn == shown and set(peers["ratios"]["rd_ood"]) == shown | relaxed
    assert {key for keys in claims.CLAIMS.values() for key in keys} >= shown
    words = " ".join(README.split())
    assert all(" ".join(said.split()) in words for said in claims.said(peers).values())


def test_the_words_of_the_readme_s_claims_hold() -> None:
    """Conditioned networks, CoDA and GEPS are better, dam height gains nothing, cheap alternatives are never better."""
    peers = read_json(ROOT / "results" / "peers.json")
    ratios = peers["ratios"]
    for budgets in ("scale_over_conditioned", "scale_over_lora"):
        assert all(ratio["low"] <= 1 for ratio in peers["small_budgets"][budgets].values())
    adaptive = [found.get("frames_ratio_adaptive") or {"mean": None} for found in ratios.values()]
    assert all(ratio["mean"] > 1 for ratio in adaptive if ratio["mean"] is not None)
    for found in ratios.values():
        assert alternatives.worst({"ratios": {"s": found}}, "s", alternatives.CONDITIONED)["low"] > 1  # type: ignore[index]
        assert found["frames_ratio_labelled"]["mean"] > 1
    assert ratios["rdb_ood"]["anchor_ratio"]["mean"] > 1


def test_the_decision_chart_agrees_with_the_errors() -> None:
    """Where one frame does not show the parameter, the method of each row has the smallest error of what it allows."""
    best = {(d["system"], d["knows"], d["trains"]): d for d in read_json(ROOT / "results" / "peers.json")["decisions"]}
    chart = {"nothing more": "anchor", "two fine-tunings": "CCM-", "one fine-tuning": "cond", "from scratch": "cond"}
    for (system, knows, trains), found in best.items():
        if system in claims.HIDDEN and knows != "nothing" and trains in chart:
            assert found["method"].startswith(chart[trains]), (system, knows, trains)
    value, frames = ([best[s, knows, "without labels"] for s in claims.HIDDEN] for knows in ("value", "frames"))
    assert all(d["ours"] for d in value) and all("CCM-" in d["method"] for d in frames)
    known = [best["rdb_ood", "value", trains]["error"] for trains in ("nothing more", "from scratch")]
    assert known[0] < 1.2 * known[1]  # the exception: no method is much better than the anchor


def test_the_seconds_of_the_readme_are_those_of_the_files() -> None:
    first = read_json(ROOT / "docs" / "performance" / "first_use.json")["rows"]
    run = read_json(ROOT / "results" / "rd_ood_time.json")["cold_seconds"]
    said = [float(n) for n in re.search(r"about (\d+) s on two cores.*?takes ([\d.]+) s", README, re.S).groups()]  # type: ignore[union-attr]
    assert abs(first["total"]["fresh"]["median"] - said[0]) < 1
    assert round(first["second readout"]["fresh"]["median"], 2) == said[1]
    kept = float(re.search(r"then\s+take (\d+) s", README)[1])  # type: ignore[index]
    assert abs(first["total"]["kept"]["median"] - kept) < 1
    calibrate = read_json(ROOT / "docs" / "performance" / "first_use.json")["terminal"]
    assert "first call takes [about a minute]" in README and 50 < calibrate["fresh"]["median"] < 70
    assert 0.25 < calibrate["kept"]["median"] / calibrate["fresh"]["median"] < 0.4  # "a third", in docs/index.md
    assert "about four minutes on two cores" in README and 210 < run < 270


def test_ccm_gains_less_on_tuned_anchors_as_the_page_of_results_says() -> None:
    runs, ratios = runs_of(ROOT / "results")[0], read_json(ROOT / "results" / "peers.json")["ratios"]
    assert all(
        1 - runs[name]["gains"]["ccm_prefix"]["mean"] < found["anchor_ratio"]["mean"] for name, found in ratios.items()
    )


def test_of_several_comparisons_the_one_in_which_ccm_does_worst_is_shown() -> None:
    one, two = ({"mean": mean, "low": None, "high": None} for mean in (0.5, 2.0))
    peers = {"ratios": {"rd_ood": {"a": one, "b": two, "c": {"mean": None}}}}
    worst = alternatives.worst
    assert worst(peers, "rd_ood", ("a", "b", "c")) is two and worst(peers, "ns_ood", ("a",)) is None


def test_a_ratio_whose_interval_contains_one_is_no_difference_and_one_seed_is_said() -> None:
    ratios = {
        "rd_ood": {"mean": 0.5, "low": 0.4, "high": 0.8},
        "ns_ood": {"mean": 0.5, "low": 0.2, "high": 1.25},
        "rdb_gravity": {"mean": 0.5, "low": None, "high": None},
        "rdb_ood": None,
    }
    assert in_words(ratios) == (
        "2.0\xa0times smaller for reaction–diffusion; no clear difference for Navier–Stokes; "
        "in one seed, 2.0\xa0times smaller for gravity"
    )


def test_the_figure_of_the_results_shows_the_numbers_of_the_files(tmp_path: Path) -> None:
    import matplotlib.image
    import numpy as np

    figure(ROOT / "results").savefig(tmp_path / "again.png", dpi=160)
    drawn, shown = (matplotlib.image.imread(path) for path in (tmp_path / "again.png", ROOT / "docs" / "rd_ood.png"))
    assert np.abs(drawn[..., :3] - shown[..., :3]).mean() < 0.01  # fonts may differ, curves may not


def test_the_page_of_speeds_is_that_of_the_files() -> None:
    from benchmarks.page import page

    assert page() == (ROOT / "docs" / "performance.md").read_text()


def test_the_start_of_the_site_shows_the_snippet_of_the_readme() -> None:
    blocks = [
        ast.parse(re.search(r"```python\n(.*?)```", text, re.S)[1])  # type: ignore[index]
        for text in (README, (ROOT / "docs" / "index.md").read_text())
    ]
    readme_s, site_s = ([ast.dump(line) for line in block.body] for block in blocks)
    assert readme_s[: len(site_s)] == site_s and len(site_s) >= len(readme_s) - 1


def test_what_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / target.split("#")[0]).exists(), target


def test_a_readme_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="put them back"):
        replace(README.replace(marks("when")[0], ""), "when", "")


def test_the_configuration_names_in_the_readme_exist() -> None:
    from experiments.configs import resolve

    found = set(re.findall(r"experiments\.(\w+) --config=([a-z_]+(?::[a-z]+)?)", README))
    assert "run" in {command for command, _ in found}
    for command, name in found:
        if command == "study":  # whose one configuration is a list of others
            assert name in ("paper", "peers")
        else:
            assert Path(resolve(name).split(":")[0]).exists()


def test_the_first_program_of_one_s_own_network_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "how-to" / "own-network.md").read_text()
    block = re.search(r"<!-- first program -->\n```python\n(.*?)```", page, re.S)
    assert block is not None
    with jax.numpy_rank_promotion("allow"):
        exec(block[1], {})
    assert capsys.readouterr().out.strip() == block[1].rpartition("  # ")[2].strip()


@pytest.mark.long
def test_the_example_for_one_s_own_network_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "how-to" / "own-network.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)[1:3]  # the first one stands alone
    scope: dict[str, Any] = {}
    with jax.numpy_rank_promotion("allow"):  # as a reader has it
        exec("".join(blocks), scope)
    assert scope["found"].coordinate.tolist() == pytest.approx([2.0, 1.0], abs=0.05)  # rounds as printed
    told = re.search(r"mean\(\)\)  # (.*)", blocks[1])
    errors = [float(error) for error in capsys.readouterr().out.split()[-3:]]
    assert told and errors == pytest.approx([float(error) for error in told[1].split(", ")], abs=0.004)


def test_the_readme_s_lines_for_one_s_own_network_run() -> None:
    nn = pytest.importorskip("flax.linen")
    block = re.search(r"<!-- own network -->\n```python\n(.*?)```", README, re.S)
    assert block is not None
    module = nn.Conv(1, (3,), padding="CIRCULAR")
    networks = [module.init(jax.random.key(seed), jax.numpy.ones((1, 16, 1))) for seed in range(3)]
    scope: dict[str, Any] = dict(zip(("anchor", "low", "high"), networks, strict=True))
    scope |= {"ccm_jax": ccm_jax, "module": module, "frames": jax.random.normal(jax.random.key(4), (5, 16, 1))}
    with jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noise has no coordinate
        exec(block[1], scope)
    assert jax.tree.structure(scope["weights"]) == jax.tree.structure(networks[0])


@pytest.mark.parametrize("library", ["equinox", "linen", "nnx"])
def test_the_examples_for_libraries_of_networks_run(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("equinox" if library == "equinox" else "flax")
    page = (ROOT / "docs" / "how-to" / "equinox-flax.md").read_text()
    block = re.search(rf"<!-- {library} -->\n```python\n(.*?)```", page, re.S)
    assert block is not None
    scope: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"):
        exec(block[1], scope)
        frames = scope["rollout_fn"](scope["chart"](0.5), jax.numpy.ones((2, 1, 32, 1)), 3)
    assert frames.shape == (2, 3, 32, 1) and bool(jax.numpy.isfinite(frames).all())


def test_merged_weights_of_flax_load_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From ``.msgpack`` to a folder, into the network again, and to ``.msgpack``; and Linen's and nnx's parameters."""
    nnx = pytest.importorskip("flax.nnx")
    from flax import serialization

    net = nnx.Sequential(*(nnx.Conv(1, 1, (3,), rngs=nnx.Rngs(seed)) for seed in range(2)))
    params = nnx.to_pure_dict(nnx.state(net, nnx.Param))
    monkeypatch.chdir(tmp_path)
    for name, factor in {"anchor": 1.0, "low": 0.9, "high": 1.2}.items():
        tree = jax.tree.map(lambda leaf, factor=factor: factor * leaf, params)
        Path(f"{name}.msgpack").write_bytes(serialization.to_bytes(serialization.to_state_dict(tree)))
    merge = ("merge", "--family", ".", "-c", "0.5", "-o")
    assert ccm(*merge, "merged").exit_code == 0
    assert all(ccm(*merge, f"other{ending}").exit_code == 2 for ending in (".msgpack", ".npz"))
    page = (ROOT / "docs" / "how-to" / "own-network-terminal.md").read_text()
    block = re.search(r"<!-- merged by the terminal -->\n```python\n(.*?)```", page, re.S)
    assert block is not None
    scope: dict[str, Any] = {}
    exec(block[1], scope)
    nnx.update(net, nnx.restore_int_paths(scope["merged"]))
    expected = jax.tree.map(lambda leaf: 1.125 * leaf, params)  # 1 + 0.05 + 0.5 * 0.15
    got = nnx.to_pure_dict(nnx.state(net, nnx.Param))
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    again = serialization.msgpack_restore(Path("merged.msgpack").read_bytes())
    jax.tree.map(np.testing.assert_array_equal, again, scope["merged"])


def test_checkpoints_of_other_programs_are_read_into_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orbax's own folder of an nnx network with BatchNorm, by the block of the page, and a file of Equinox."""
    nnx, eqx, ocp = (pytest.importorskip(name) for name in ("flax.nnx", "equinox", "orbax.checkpoint"))
    from ccm_jax.loading import load_like

    def build(seed: int) -> Any:
        rngs = nnx.Rngs(seed)
        return nnx.Sequential(nnx.Conv(1, 1, (3,), rngs=rngs), nnx.BatchNorm(1, rngs=rngs))

    stored, network = nnx.state(build(0)), build(1)
    monkeypatch.chdir(tmp_path)
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "anchor", stored)
    page = (ROOT / "docs" / "how-to" / "equinox-flax.md").read_text()
    block = re.search(r"<!-- files -->\n```python\n(.*?)```", page, re.S)
    assert block is not None
    scope: dict[str, Any] = {"nnx": nnx, "network": network}
    exec(block[1], scope)
    assert jax.tree.structure(scope["anchor"]) == jax.tree.structure(nnx.state(network))
    jax.tree.map(np.testing.assert_array_equal, scope["anchor"], stored)
    nets = [eqx.nn.MLP(2, 2, 4, 2, key=jax.random.key(seed)) for seed in range(2)]
    eqx.tree_serialise_leaves("anchor.eqx", nets[0])
    assert eqx.tree_equal(load_like("anchor.eqx", nets[1]), nets[0])
    with pytest.raises(ValueError, match="anchor.eqx has 6 arrays; the network expects 4"):
        load_like("anchor.eqx", eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0)))


def test_every_page_is_in_the_site_s_menu() -> None:
    menu = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    made = {f"notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")} | set(PROJECT)
    assert menu == pages | made


def test_the_benchmark_of_the_first_call_runs_the_lines_of_the_snippet() -> None:
    from benchmarks.first_use import SNIPPET

    snippet = README.partition("<!-- snippet -->")[2].partition("```python")[2].partition("```")[0]
    lines = [line.partition("  #")[0] for line in snippet.splitlines() if " = " in line and line[0] not in " #"]
    assert len(lines) > 7 and not set(lines) - set(SNIPPET.splitlines())
