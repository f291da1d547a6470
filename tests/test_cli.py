"""``ccm`` from foreign files to a merged checkpoint: the verbs, and what they say of bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import make_rollout, merge_pytree
from ccm_jax.baselines import BASELINES, complex_view, pair_view
from ccm_jax.cli import VERBS
from ccm_jax.cli.inspect import residuals
from ccm_jax.cli.others import OTHERS, real_pairs
from ccm_jax.interop import fno_to_neuraloperator
from ccm_jax.io import checkpoint
from ccm_jax.io.description import model_name
from ccm_jax.io.names import flatten, unflatten
from ccm_jax.io.recordings import open_recording
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.io.weights import Weights
from ccm_jax.models import is_real_pair, make_model
from tests.terminal import SETTINGS, arrays, ccm, make_family, of, weights


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files with neuraloperator's names, and frames of the model merged at 1.25."""
    return make_family(tmp_path_factory.mktemp("family"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    said = ccm(verb, "--help").output
    if verb == "data":
        said = ccm(verb, "describe", "--help").output
    assert f"ccm {verb}" in said.split("Options:")[0].split("\n", 2)[2]


def test_three_commands_from_files_to_a_merged_checkpoint_and_its_rollout(family: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "merged.safetensors", tmp_path / "found.json"
    how = ("--model", "neuraloperator")
    bank = ("--bank", "-2.5:2.5:0.25")
    done = ccm("calibrate", *of(family), *how, *bank, "--prefix", family / "seen.npy", "--report", report, "-o", out)
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert found["coordinate"] == 1.25 and found["choices"] == [1.25] * 3 and found["spread"] == 0.0
    assert found["loss"] < 1e-4 < found["anchor_loss"] < found["persistence_loss"]
    assert "+1.25" in done.output and (tmp_path / "found.png").stat().st_size > 1000
    ran = ccm("rollout", out, *how, "--initial", family / "seen.npy", "--truth", "-o", tmp_path / "run.npz")
    assert ran.exit_code == 0, ran.output
    with np.load(tmp_path / "run.npz") as stored:
        np.testing.assert_allclose(stored["frames"], np.load(family / "seen.npy")[0, 1:], atol=1e-4)
        assert stored["errors"].max() < 1e-3
    assert {p.suffix for p in tmp_path.glob("run.*")} == {".npz", ".png", ".gif"}


def test_a_rollout_in_other_units_is_noticed(family: Path, tmp_path: Path) -> None:
    seen = 1e-4 * np.load(family / "seen.npy")  # far below the mean and scale of the network
    np.save(tmp_path / "other.npy", seen)
    how = ("rollout", family / "anchor.safetensors", "--model", "neuraloperator", "--initial", tmp_path / "other.npy")
    for i, more in enumerate((("--truth",), ("--steps", 3))):
        ran = ccm(*how, *more, "-o", tmp_path / f"run{i}.npz")
        assert ran.exit_code == 0 and "warning" in ran.output and "in its units" in ran.output


def test_an_ending_that_no_format_has_is_refused(family: Path, tmp_path: Path) -> None:
    for name in ("m.xyz", "m.safetensor", "m.npz"):
        ran = ccm("merge", *of(family), "--coordinate", 1.4, "-o", tmp_path / name)
        assert ran.exit_code == 2 and "or a folder without an ending" in ran.output
    assert ccm("merge", *of(family), "--coordinate", 1.4, "-o", tmp_path / "run-1.4").exit_code == 0


def test_merging_is_the_library_s_and_says_where_it_comes_from(family: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged.safetensors"
    assert ccm("merge", *of(family), "--coordinate", 1.4, "-o", out).exit_code == 0
    trees = [arrays(family / f"{name}.safetensors") for name in ("anchor", "low", "high")]
    expected = merge_pytree(*trees, 1.4)
    for name, leaf in arrays(out).items():
        np.testing.assert_allclose(leaf, expected[name], atol=1e-6)
    facts = json.loads(open_safetensors(out).metadata["provenance"])
    assert facts["coordinate"] == [1.4] and len(facts["anchor"]["sha256"]) == 64
    card = (tmp_path / "merged.safetensors.md").read_text()
    assert "1.4" in card


@pytest.mark.parametrize(
    "leaf, file, line",
    [
        ("lift.kernel", "m.safetensors", 'ccm_jax.loading.load_like("m.safetensors", like)'),
        ("lift.kernel", "m.pt", 'ccm_jax.loading.load_like("m.pt", like)'),
        ("lift.weight", "m.safetensors", 'model.load_state_dict(safetensors.torch.load_file("m.safetensors"))'),
        ("lift.weight", "m.pt", 'model.load_state_dict(torch.load("m.pt", weights_only=True))'),
    ],
)
def test_a_card_says_how_to_read_its_weights(leaf: str, file: str, line: str, tmp_path: Path) -> None:
    """Flax calls a weight a kernel, PyTorch does not."""
    for name in ("anchor", "low", "high"):
        save_safetensors(tmp_path / f"{name}.safetensors", {leaf: np.ones(3, np.float32)})
    assert ccm("merge", *of(tmp_path), "--coordinate", 1.4, "-o", tmp_path / file).exit_code == 0
    assert line in (tmp_path / f"{file}.md").read_text()


def test_a_calibrated_file_says_how_its_coordinate_was_found(family: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged.safetensors"
    how = ("--model", "neuraloperator", "--bank", "-1.5:1.5:0.25", "--prefix", family / "seen.npy", "-o", out)
    done = ccm("calibrate", *of(family), *how)
    assert done.exit_code == 0, done.output
    found = json.loads(open_safetensors(out).metadata["provenance"])["found"]
    assert found["model"] == "neuraloperator" and len(found["prefix_sha256"]) == 64
    assert found["loss"] == json.loads((tmp_path / "merged.json").read_text())["loss"]
    card = (tmp_path / "merged.safetensors.md").read_text()
    assert f"their SHA-256: `{found['prefix_sha256'][:12]}`" in card
    assert (tmp_path / "merged.png").stat().st_size > 1000


@pytest.mark.parametrize("method", list(OTHERS))
def test_other_methods_keep_double_precision_and_tell_the_coordinate_that_they_use(method: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("anchor", "low", "high"):
        save_safetensors(tmp_path / f"{name}.safetensors", {"w": rng.standard_normal((4, 3)), "n": np.arange(2)})
    out = tmp_path / "out.safetensors"
    done = ccm("merge", *of(tmp_path), "-c", 1, "--method", method, "-o", out)
    assert done.exit_code == 0, done.output
    assert {name: leaf.dtype for name, leaf in arrays(out).items()} == {"w": np.float64, "n": np.int64}
    assert jnp.zeros(()).dtype == jnp.float32
    told = [1.0] if method in ("nearest_expert", "slerp") else None
    assert json.loads(open_safetensors(out).metadata["provenance"])["coordinate"] == told


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_fourier_weights_of_our_models_are_merged_as_complex_numbers(method: str, tmp_path: Path) -> None:
    rng, shapes = np.random.default_rng(0), {"spectral_0": (2, 3, 4, 2, 2), "skip_0": (5, 4)}
    trees = [{k: {"weight": rng.standard_normal(v).astype(np.float32)} for k, v in shapes.items()} for _ in range(3)]
    config = {"config": json.dumps({"model": {"name": "fno", "history": 1, "args": {}}})}
    (tmp_path / "mute").mkdir()
    for name, tree in zip(("anchor", "low", "high"), trees, strict=True):
        save_safetensors(tmp_path / f"{name}.safetensors", tree, config)
        save_safetensors(tmp_path / "mute" / f"{name}.safetensors", tree)
    (tmp_path / "model.yaml").write_text("model: fno\n")
    a, *e = (complex_view(tree, is_real_pair) for tree in trees)
    expected = flatten(pair_view(BASELINES[method].merge(a, e, [-1.0, 1.0], 0.5), trees[0]))
    halves = flatten(BASELINES[method].merge(trees[0], trees[1:], [-1.0, 1.0], 0.5))
    assert not np.allclose(halves["spectral_0.weight"], expected["spectral_0.weight"], atol=0.1)
    for files, more in ((tmp_path, ()), (tmp_path / "mute", ("--model", tmp_path / "model.yaml"))):
        out = files / "out.safetensors"
        done = ccm("merge", *of(files), "-c", 0.5, "--method", method, *more, "-o", out)
        assert done.exit_code == 0, done.output
        for name, leaf in arrays(out).items():
            np.testing.assert_allclose(leaf, expected[name], atol=1e-5, err_msg=name)


def test_pytorch_s_dpot_keeps_complex_weights_in_pairs_and_other_texts_are_no_model() -> None:
    pair, plain = np.zeros((2, 4, 3, 3)), np.zeros((2, 3))
    assert real_pairs("dpot-torch")("blocks.0.filter.w1", pair)
    assert not real_pairs("dpot-torch")("blocks.0.mlp.0.weight", plain)
    assert not real_pairs("neuraloperator")("spectral_0.weight", pair)
    assert real_pairs("fno")("spectral_0.weight", pair)
    said = Weights(Path("x"), "safetensors", {}, {"config": "resnet50"})
    assert model_name(said, None) is None


def test_counters_that_differ_are_named_and_a_filter_keeps_the_anchor_s(tmp_path: Path) -> None:
    for i, name in enumerate(("anchor", "low", "high")):
        tree = {"w": np.full(3, float(i), np.float32), "bn.seen": np.array([i])}
        save_safetensors(tmp_path / f"{name}.safetensors", tree)
    done = ccm("merge", *of(tmp_path), "-c", 1, "-o", tmp_path / "out.safetensors")
    assert done.exit_code == 2 and "bn.seen" in done.output
    (tmp_path / "recipe.yaml").write_text(
        "anchor: anchor.safetensors\nexperts:\n  - {path: low.safetensors, coordinate: -1}\n"
        "  - {path: high.safetensors, coordinate: 1}\ncoordinate: 1\nfilters: [{name: 'bn.*', keep: anchor}]\n"
    )
    done = ccm("merge", "--recipe", tmp_path / "recipe.yaml", "-o", tmp_path / "out.safetensors")
    assert done.exit_code == 0, done.output
    assert arrays(tmp_path / "out.safetensors")["bn.seen"].tolist() == [0]


def test_a_recipe_with_filters_and_another_method(family: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"""
anchor: {family}/anchor.safetensors
experts:
  - {{path: {family}/low.safetensors, coordinate: -1}}
  - {{path: {family}/high.safetensors, coordinate: 1}}
coordinate: 0.5
filters:
  - {{name: "projection.*", keep: anchor}}
  - {{name: "lifting.*", coordinate: 1}}
""")
    out = tmp_path / "merged.safetensors"
    done = ccm("merge", "--recipe", recipe, "-o", out)
    assert done.exit_code == 0, done.output
    anchor, low, high = (arrays(family / f"{name}.safetensors") for name in ("anchor", "low", "high"))
    half = merge_pytree(anchor, low, high, 0.5)
    for name, leaf in arrays(out).items():
        kept = anchor if name.startswith("projection") else high if name.startswith("lifting") else half
        np.testing.assert_allclose(leaf, kept[name], atol=1e-6)
    how = ("--method", "task_arithmetic", "--set", "scale=0.5", "-o", tmp_path / "ta.safetensors")
    assert ccm("merge", *of(family), *how).exit_code == 0
    for name, leaf in arrays(tmp_path / "ta.safetensors").items():
        np.testing.assert_allclose(leaf, (low[name] + high[name]) / 2, atol=1e-6)


def test_what_others_saved_by_orbax_merges_with_its_containers(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    trees = [{"layers": [{"w": np.full((2, 3), v, np.float32)}, {"w": np.full(3, -v, np.float32)}]} for v in (1, 2, 4)]
    for name, tree in zip(("anchor", "low", "high"), trees, strict=True):
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / name, tree)
    with ocp.CheckpointManager(tmp_path / "manager") as manager:
        manager.save(7, args=ocp.args.StandardSave(trees[0]))
    files = [part for name in ("low", "high") for part in (f"--{name}", tmp_path / name)]
    out = tmp_path / "merged"
    done = ccm("merge", "--anchor", tmp_path / "manager" / "7", *files, "-c", 1.5, "-o", out)
    assert done.exit_code == 0, done.output
    merged = checkpoint.load(out)
    np.testing.assert_allclose(merged["layers"][0]["w"], merge_pytree(*(t["layers"][0]["w"] for t in trees), 1.5))
    np.testing.assert_allclose(merged["layers"][1]["w"], merge_pytree(*(t["layers"][1]["w"] for t in trees), 1.5))
    flat = ccm("merge", "--anchor", tmp_path / "anchor", *files, "-c", 1.5, "-o", tmp_path / "m.safetensors")
    assert flat.exit_code == 0 and list(arrays(tmp_path / "m.safetensors")) == ["layers.0.w", "layers.1.w"]
    several = ccm("inspect", tmp_path / "manager")
    assert several.exit_code == 2 and "holds 7; pass " in several.output
    with ocp.CheckpointManager(tmp_path / "items") as manager:
        items = {"params": {"w": np.ones(2), "step": 7}, "ema": {"w": np.full(2, 9.0)}}
        saved = {name: ocp.args.PyTreeSave(tree) for name, tree in items.items()}
        manager.save(3, args=ocp.args.Composite(meta=ocp.args.JsonSave({"a": 1}), **saved))
    step = tmp_path / "items" / "3"
    both = ccm("inspect", step)
    assert both.exit_code == 2 and "holds ema, params; choose one of them" in both.output
    for name, tree in items.items():
        read = arrays(step / name)
        assert read.keys() == tree.keys() and all(np.array_equal(read[k], tree[k]) for k in read)


def test_orbax_runs_tell_their_model(family: Path, tmp_path: Path) -> None:
    trees = [weights(0), weights(1, weights(0)), weights(2, weights(0))]
    args = {k: v for k, v in SETTINGS.items() if k != "out_channels"}
    config = {"model": {"name": "fno", "history": 1, "args": args}}
    said = {"config": config, "normalization": {"mean": [0.1], "std": [2.0]}}
    names = ("anchor", "low", "high")
    for name, tree in zip(names, trees, strict=True):
        checkpoint.save(tmp_path / name, tree, said)
    options = [part for name in names for part in (f"--{name}", tmp_path / name)]
    assert ccm("merge", *options, "-c", 1, "-o", tmp_path / "merged").exit_code == 0
    again = checkpoint.load(tmp_path / "merged")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), again, trees[2])
    assert checkpoint.load_metadata(tmp_path / "merged")["normalization"] == said["normalization"]
    assert ccm("merge", *options, "-c", 1, "-o", tmp_path / "merged.safetensors").exit_code == 0
    for made in ("merged", "merged.safetensors"):
        done = ccm("rollout", tmp_path / made, "--initial", family / "seen.npy", "-o", tmp_path / f"{made}.run.npz")
        assert done.exit_code == 0, done.output
    found = []
    for made in ("merged", "merged.safetensors"):
        with np.load(tmp_path / f"{made}.run.npz") as stored:
            found.append(stored["frames"])
    a, b = found
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_inspect_tells_fine_tuned_from_foreign(family: Path, tmp_path: Path) -> None:
    done = ccm("inspect", *(family / f"{name}.safetensors" for name in ("anchor", "low", "high")))
    assert done.exit_code == 0 and "close enough to this anchor" in re.sub(r"\s+", " ", done.output)
    flat = {key: np.array(value) for key, value in fno_to_neuraloperator(weights(9)).items()}
    save_safetensors(tmp_path / "other.safetensors", flat)
    done = ccm("inspect", family / "anchor.safetensors", family / "low.safetensors", tmp_path / "other.safetensors")
    assert "can hardly come from this anchor" in re.sub(r"\s+", " ", done.output)
    twice = ccm("inspect", *(family / f"{name}.safetensors" for name in ("low", "low", "high")))
    assert "the low expert has the anchor's weights" in twice.output.lower() and "Next" not in twice.output
    single = ccm("inspect", family / "anchor.safetensors")
    assert "safetensors" in single.output and "complex64" in single.output


def test_residuals_are_those_of_the_library() -> None:
    from ccm_jax.geometry import residual_geometry

    anchor = weights(0)
    low, high = weights(1, anchor), weights(2, anchor)

    found = residuals(*(jax.tree.map(np.asarray, flatten(tree)) for tree in (anchor, low, high)))["(all)"]
    whole = residual_geometry(anchor, low, high)[-1]
    expected = [whole.low_norm, whole.high_norm, whole.shared_norm, whole.direction_norm]
    np.testing.assert_allclose(found[:4], np.array(expected) / float(whole.anchor_norm), rtol=1e-4)
    np.testing.assert_allclose(found.cosine, whole.cosine, rtol=1e-4)


def test_data_generate_says_where_data_come_from() -> None:
    done = ccm("data", "generate", "--config", "rd_ood", "-o", "family.h5")
    assert done.exit_code == 2 and "python -m experiments.generate" in done.output


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["inspect", "nothing.pt"], "nothing.pt; check"),
        (["merge", "FAMILY", "-c", "1", "-o", "anchor.safetensors"], "nothing is overwritten"),
        (["merge", "FAMILY", "-c", "1", "-o", "out.npz"], "expected .safetensors"),
        (["merge", "FAMILY", "-c", "1", "--method", "best", "-o", "out.safetensors"], "expected chart, average"),
        (["merge", "FAMILY", "-c", "1", "--method", "ties", "--set", "x=1", "-o", "out.safetensors"], "method ties"),
        (["merge", "FAMILY", "--method", "nearest_expert", "-o", "out.safetensors"], "needed by method nearest_expert"),
        (["calibrate", "FAMILY", "--prefix", "seen.npy", "-o", "out.safetensors"], "pass --model"),
        (["calibrate", "FAMILY", "--model", "dpot-torch", "--prefix", "seen.npy"], "there are no blocks.0"),
        (["calibrate", "FAMILY", "--model", "fno", "--prefix", "seen.npy", "--bank", "1:0:1"], "--bank 1:0:1"),
        (["calibrate", "FAMILY", "--model", "neuraloperator", "--prefix", "seen.npy", "--frames", "9"], "observe more"),
        (["calibrate", "FAMILY", "--model", "neuraloperator", "--prefix", "wide.npy"], "choose them by --fields"),
        (["calibrate", "FAMILY", "--model", "neuraloperator", "--prefix", "nan.npy"], "NaN or infinite"),
        (["rollout", "anchor.safetensors", "--initial", "seen.npy", "-o", "out.txt"], "ends in .npz"),
        (["merge", "--recipe", "typo.yaml", "-o", "out.safetensors"], "expert is unknown; there are: anchor, experts"),
        (["merge", "FAMILY", "-c", "nan", "-o", "out.safetensors"], "expected finite numbers"),
        (["merge", "FAMILY", "-c", "1e39", "-o", "out.safetensors"], "experts are at -1 and +1"),
        (
            ["merge", "FAMILY", "--value", "1e300", "--range", "1e-3:3e-3", "-o", "o.safetensors"],
            "too large for single precision",
        ),
        (
            ["merge", "FAMILY", "--value", "1e30", "--range", "1e-3:3e-3", "-o", "o.safetensors"],
            "experts are at -1 and +1",
        ),
        (["calibrate", "FAMILY", "--model", "fno", "--prefix", "seen.npy", "--bank=-inf:1:1"], "--bank -inf:1:1"),
        (["calibrate", "FAMILY", "--model", "fno", "--prefix", "seen.npy", "--bank", "0:1:1e-9"], "a longer STEP"),
        (
            ["merge", "FAMILY", "-c", "1", "--method", "ties", "--set", "scale=nan", "-o", "o.safetensors"],
            "a finite one",
        ),
        (["merge", "FAMILY", "-c", "1", "--set", "density=0.2", "-o", "out.safetensors"], "takes no arguments"),
        (["merge", "--recipe", "ties.yaml", "-o", "out.safetensors"], "method ties takes no filters"),
        (["merge", "--recipe", "list.yaml", "-o", "out.safetensors"], "arguments are [1], expected names with numbers"),
        (["calibrate", "FAMILY", "--model", "neuraloperator", "--prefix", "seen.npy", "-o", "out.npz"], ".safetensors"),
        (["calibrate", "FAMILY", "--model", "neuraloperator", "--prefix", "seen.npy", "--report", "a.png"], ".json"),
        (["calibrate", "FAMILY", "--model", "broken.yaml", "--prefix", "seen.npy"], "is not a YAML file"),
        (["calibrate", "FAMILY", "--model", "flat.yaml", "--prefix", "seen.npy"], "std is [0.0], expected positive"),
        (["rollout", "anchor.safetensors", "--initial", "complex.npy", "-o", "out.npz"], "expected real frames"),
        (["data", "describe", "anchor.safetensors"], "the name of a checkpoint"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    family: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    seen = np.load(family / "seen.npy")
    np.save(tmp_path / "seen.npy", seen)
    np.save(tmp_path / "wide.npy", np.concatenate([seen] * 3, axis=-1))
    np.save(tmp_path / "nan.npy", np.where(seen > 2, np.nan, seen))
    (tmp_path / "typo.yaml").write_text("anchor: a\nexpert: b\n")
    experts = "anchor: a\nexperts: [{path: l, coordinate: -1}, {path: h, coordinate: 1}]\ncoordinate: 1\n"
    (tmp_path / "ties.yaml").write_text(f"{experts}method: ties\nfilters: [{{name: w, keep: anchor}}]\n")
    (tmp_path / "list.yaml").write_text(f"{experts}arguments: [1]\n")
    (tmp_path / "broken.yaml").write_text("model: [")
    (tmp_path / "flat.yaml").write_text("model: neuraloperator\nstd: 0\n")
    np.save(tmp_path / "complex.npy", seen.astype(np.complex64))
    (tmp_path / "anchor.safetensors").write_bytes((family / "anchor.safetensors").read_bytes())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    filled = [part for a in arguments for part in (of(family) if a == "FAMILY" else [a])]
    placed = [tmp_path / a if isinstance(a, str) and re.search(r"\.\w+$", a) else a for a in filled]
    done = ccm(*placed)
    assert done.exit_code == 2, done.output
    assert message in done.output, done.output
    assert "Traceback" not in done.output
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_experts_of_another_architecture_are_named(family: Path, tmp_path: Path) -> None:
    other = arrays(family / "high.safetensors")
    other["lifting.fcs.0.bias"] = other["lifting.fcs.0.bias"][:-1]
    save_safetensors(tmp_path / "high.safetensors", unflatten(other))
    options = ["--anchor", family / "anchor.safetensors", "--low", family / "low.safetensors"]
    done = ccm("merge", *options, "--high", tmp_path / "high.safetensors", "-c", 1, "-o", tmp_path / "out.safetensors")
    assert done.exit_code == 2 and "lifting.fcs.0.bias is float32[11]" in done.output
    assert not (tmp_path / "out.safetensors").exists()


def test_the_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third is that of ``ccm calibrate --help``, and the last the one to run next: another test runs both."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    block = re.search(r"<!-- commands -->\s*```bash\n(.*?)```", readme, re.S)
    assert block is not None
    begin, inspect, calibrate, forecast = re.sub(r" \\\n +", " ", block[1]).strip().splitlines()
    assert begin == "ccm example && cd example"
    monkeypatch.chdir(tmp_path)
    assert ccm("example").exit_code == 0
    monkeypatch.chdir(tmp_path / "example")
    assert ccm(*inspect.split()[1:]).exit_code == 0
    shown = re.sub(r"[\s\\]+", " ", ccm("calibrate", "--help").output)
    assert forecast.endswith("--start 5 --truth -o rollout.npz")
    assert calibrate in shown and all(Path(word).exists() for word in calibrate.split()[3:6:2])


@pytest.mark.parametrize("space", [(16,), (6, 6, 6)])
def test_lines_and_boxes_roll_out_too(tmp_path: Path, space: tuple[int, ...]) -> None:
    settings: dict[str, Any] = {"modes": (2,) * len(space), "width": 4, "depth": 1, "out_channels": 1}
    model = make_model("fno", **settings)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1, *space, 1)))
    save_safetensors(tmp_path / "a.safetensors", params)
    (tmp_path / "model.yaml").write_text(
        f"model: fno\nargs: {{modes: {[2] * len(space)}, width: 4, depth: 1, out_channels: 1}}\n"
    )
    start = jax.random.normal(jax.random.key(1), (1, 1, *space, 1))
    frames = np.concatenate([start, make_rollout(model.apply)(params, start, 5)], axis=1)
    np.savez(tmp_path / "seen.npz", frames=frames, dim=len(space))
    how = ("--model", tmp_path / "model.yaml", "--initial", tmp_path / "seen.npz", "--truth")
    done = ccm("rollout", tmp_path / "a.safetensors", *how, "-o", tmp_path / "run.npz")
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(open_recording(tmp_path / "run.npz").trajectory(0), frames[0, 1:], atol=1e-5)
    assert (tmp_path / "run.png").stat().st_size > 1000


def test_a_place_that_a_method_does_not_know_is_not_ignored_in_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("anchor", "low", "high"):
        save_safetensors(tmp_path / f"{name}.safetensors", {"w": rng.standard_normal((4, 3))})
    words = ("merge", *of(tmp_path), "--method", "ties", "-o")
    told, plain = ccm(*words, tmp_path / "told.safetensors", "-c", 1), ccm(*words, tmp_path / "plain.safetensors")
    assert told.exit_code == plain.exit_code == 0
    assert "method ties gives the same weights for every coordinate" in told.output
    assert "the same weights" not in plain.output
    np.testing.assert_array_equal(*(arrays(tmp_path / f"{name}.safetensors")["w"] for name in ("told", "plain")))


@pytest.mark.long
def test_a_forecast_begins_after_the_last_frame_where_that_is_asked_for(tmp_path: Path) -> None:
    from ccm_jax import example

    family = example.load()
    x = np.asarray(family.test[1][0])
    np.save(tmp_path / "seen.npy", x[:5])
    done = ccm("example", tmp_path / "example")
    assert done.exit_code == 0, done.output
    words = ("rollout", tmp_path / "example" / "low.safetensors", "--initial", tmp_path / "seen.npy", "--steps", 2)
    first = ccm(*words, "-o", tmp_path / "first.npz")
    assert first.exit_code == 0 and "starts after frame 1 of 5" in first.output
    last = ccm(*words, "--start", "last", "-o", tmp_path / "last.npz")
    assert last.exit_code == 0 and "note" not in last.output
    expected = family.rollout_fn(family.low, x[None, 4:5], 2)[0]
    np.testing.assert_allclose(np.load(tmp_path / "last.npz")["frames"], expected, atol=1e-4)
    refused = ccm(*words, "--start", "last", "--truth", "-o", tmp_path / "no.npz")
    assert refused.exit_code == 2 and "--start last begins after the last frame" in refused.output
    after = ccm(*words, "--start", "3", "--truth", "-o", tmp_path / "after.npz")
    assert after.exit_code == 0 and "note" not in after.output and "relative L2 error" in after.output
    expected = family.rollout_fn(family.low, x[None, 2:3], 2)[0]
    np.testing.assert_allclose(np.load(tmp_path / "after.npz")["frames"], expected, atol=1e-4)
    for start, said in (
        ("6", "--start is 6, and"),
        ("0", "'0' is not first, last or a number of frames"),
        ("middle", "'middle' is not first, last or a number of frames"),
    ):
        refused = ccm(*words, "--start", start, "-o", tmp_path / "no.npz")
        assert refused.exit_code == 2 and said in refused.output and refused.output.count("\n") == 1, refused.output


def test_a_family_is_found_in_its_folder(family: Path, tmp_path: Path) -> None:
    assert ccm("merge", *of(family), "-c", 1.4, "-o", tmp_path / "typed.safetensors").exit_code == 0
    done = ccm("merge", "--family", family, "-c", 1.4, "-o", tmp_path / "found.safetensors")
    assert done.exit_code == 0, done.output
    jax.tree.map(np.testing.assert_array_equal, *(arrays(tmp_path / f"{n}.safetensors") for n in ("typed", "found")))
    x = ("-c", 1, "-o", tmp_path / "x.safetensors")
    twice = ccm("merge", "--family", family, "--low", family / "low.safetensors", *x)
    assert twice.exit_code == 2 and "--family stands for --anchor, --low and --high" in twice.output
    few = tmp_path / "few"
    few.mkdir()
    for name in ("anchor.pt", "anchor.npz", "anchor.md", "low.pt"):
        (few / name).touch()
    done = ccm("merge", "--family", few, *x)
    assert done.exit_code == 2 and "has 2 files called anchor (anchor.npz, anchor.pt)" in done.output
    (few / "anchor.npz").unlink()
    done = ccm("merge", "--family", few, *x)
    assert done.exit_code == 2 and "has no high" in done.output
    done = ccm("merge", "--family", tmp_path / "none", *x)
    assert done.exit_code == 2 and "is not a folder" in done.output
