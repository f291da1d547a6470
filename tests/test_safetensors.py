"""Files that other programs read, and merging from file to file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from ccm_jax import Gated, Polynomial, fit_chart, merge_pytree
from ccm_jax.io import checkpoint
from ccm_jax.io.names import flatten, restore, unflatten
from ccm_jax.io.safetensors import load_safetensors, merge_safetensors, open_safetensors, save_safetensors
from ccm_jax.loading import load_like


def tree(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal((4, 5)) + 1j * rng.standard_normal((4, 5))
    return {
        "layer": {"kernel": rng.standard_normal((300, 301)).astype(np.float32), "scale": np.float32(rng.normal())},
        "wave": wave.astype(np.complex64),
        "half": jnp.asarray(rng.standard_normal(7), jnp.bfloat16),
        "steps": np.arange(3, dtype=np.int32),
        "empty": np.zeros((0, 2), np.float32),
    }


def files(folder: Path, count: int) -> list[Path]:
    return [save_safetensors(folder / f"{seed}.safetensors", tree(seed)) for seed in range(count)]


def test_the_library_of_the_format_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    expected = flatten(tree(0))
    path = save_safetensors(tmp_path / "a.safetensors", tree(0), {"made by": "a test"})
    plain = {name: leaf for name, leaf in safetensors.numpy.load_file(path).items() if name != "half"}
    for name, leaf in plain.items():
        np.testing.assert_array_equal(leaf, expected[name])
        assert leaf.dtype == expected[name].dtype
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"made by": "a test"} and set(file.keys()) == set(expected)
    safetensors.numpy.save_file(plain, tmp_path / "b.safetensors", {"by": "them"})
    again = open_safetensors(tmp_path / "b.safetensors")
    assert again.metadata == {"by": "them"}
    for name, leaf in plain.items():
        np.testing.assert_array_equal(again.arrays[name], leaf)
    jax.tree.map(np.testing.assert_array_equal, load_safetensors(path), tree(0))


def test_merging_files_is_merging_trees(tmp_path: Path) -> None:
    anchor, low, high = files(tmp_path, 3)
    merge_safetensors(anchor, [low, high], [-1.0, 1.0], 1.4, tmp_path / "m.safetensors", metadata={"coordinate": "1.4"})
    expected = merge_pytree(tree(0), tree(1), tree(2), 1.4)
    merged = open_safetensors(tmp_path / "m.safetensors")
    assert merged.metadata == {"coordinate": "1.4"}
    for name, leaf in flatten(expected).items():
        got = merged.arrays[name]
        assert got.dtype == leaf.dtype and got.shape == leaf.shape
        tolerance = 0.02 if name == "half" else 2e-6
        np.testing.assert_allclose(got.astype(leaf.dtype), leaf, atol=tolerance, rtol=tolerance)


def test_what_has_no_weight_is_not_read(tmp_path: Path) -> None:
    _, low, high = files(tmp_path, 3)
    lost = jax.tree.map(lambda x: x if x.dtype == np.int32 else np.full_like(x, np.nan), tree(0))
    anchor = save_safetensors(tmp_path / "lost.safetensors", lost)
    for number, s in enumerate((-1.0, 0.3, 1.7)):
        out = merge_safetensors(anchor, [low, high], [-1.0, 1.0], s, tmp_path / f"m{number}.safetensors")
        a, b = (open_safetensors(path).arrays["layer.kernel"] for path in (low, high))
        got = open_safetensors(out).arrays["layer.kernel"]
        np.testing.assert_allclose(got, (1 - s) / 2 * a + (1 + s) / 2 * b, atol=2e-6)


def test_experts_of_no_weight_leave_the_anchor_as_it_is(tmp_path: Path) -> None:
    anchor, low, high = files(tmp_path, 3)
    gated = {"features": Gated(Polynomial(1))}
    out = merge_safetensors(anchor, [low, high], [[-1.0, 1.0], [1.0, 1.0]], [0.0, 0.0], tmp_path / "m", **gated)
    for name, leaf in open_safetensors(anchor).arrays.items():
        np.testing.assert_array_equal(open_safetensors(out).arrays[name], leaf)


@pytest.mark.parametrize(
    ("features", "coordinates", "where"),
    [
        (Polynomial(2), [[-1.0], [0.5], [1.0]], [0.3]),
        (Polynomial(1, dim=2), [[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1.2, -0.4]),
        (Gated(Polynomial(2)), [[-1.0, 1.0], [0.5, 1.0], [1.0, 1.0]], [0.7, 0.5]),
    ],
)
@pytest.mark.filterwarnings("ignore:fit_chart. experts.* trained independently")
def test_any_chart_merges_from_files(tmp_path: Path, features: Any, coordinates: Any, where: Any) -> None:
    anchor, *experts = files(tmp_path, 4)
    out = merge_safetensors(anchor, experts, coordinates, where, tmp_path / "m.safetensors", features=features)
    chart = fit_chart(tree(0), [tree(seed) for seed in (1, 2, 3)], coordinates, features=features)
    expected, got = chart(where)["layer"]["kernel"], open_safetensors(out).arrays["layer.kernel"]
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_names_are_cut_at_dots() -> None:
    assert unflatten({"a.b": 1, "a.c.d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    x = np.ones(1)
    assert flatten(unflatten({"a.b": x, "e": x})) == {"a.b": x, "e": x}
    with pytest.raises(ValueError, match="two leaves become 'a.b'; rename one"):
        flatten({"a.b": x, "a": {"b": x}})
    for flat in ({"a.b": 1, "a": 2}, {"a": 2, "a.b": 1}):
        with pytest.raises(ValueError, match="use the flat names"):
            unflatten(flat)
    with pytest.raises(ValueError, match="a.0 is a str, expected arrays in dictionaries and lists"):
        flatten({"a": ["x"]})


def test_the_arrays_of_a_module_are_saved_under_their_paths(tmp_path: Path) -> None:
    eqx = pytest.importorskip("equinox")
    network = eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(0))
    path = save_safetensors(tmp_path / "a.safetensors", network)
    assert sorted(open_safetensors(path).arrays)[:2] == ["layers.0.bias", "layers.0.weight"]
    assert eqx.tree_equal(load_like(path, eqx.nn.MLP(2, 2, 4, 1, key=jax.random.key(1))), network)
    with pytest.raises(ValueError, match=r"expected a file or folder; the arguments are \(path, like\)"):
        load_like(network, path)  # type: ignore[arg-type]
    tree, facts = checkpoint.load_any(path)
    np.testing.assert_array_equal(tree["layers"]["0"]["weight"], network.layers[0].weight)
    assert facts == {}
    with pytest.raises(ValueError, match="save_safetensors: tree is a dict without arrays, expected some"):
        save_safetensors(tmp_path / "b.safetensors", {})


def test_lists_and_empty_places_come_back() -> None:
    x = np.ones(1)
    nested = {"layers": [{"w": x, "b": None}, {"w": 2 * x, "b": 3 * x}], "t": (4 * x,), "none": {}}
    flat = flatten(nested)
    assert list(flat) == ["layers.0.w", "layers.1.w", "layers.1.b", "t.0"]
    assert restore(flat, nested) == {**nested, "t": [4 * x]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, -8]}}, "'a' has no shape or offsets"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 16]}}, "'a' has no shape or offsets"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 16]}}, "do not hold its 12 bytes"),
        (
            {"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}},
            "a is F8_E4M3, which is too narrow to merge; store it as BF16",
        ),
        ({"a": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}, "ends at byte 32 of 16; the file is cut off"),
        ({name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "ab"}, "overlap or leave gaps"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}, "overlap or leave gaps"),
        ([1, 2], "has no valid header"),
        (3, "has no valid header"),
        ({"a": 3}, "'a' has no shape or offsets"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: Any, message: str) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "bad").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16))
    with pytest.raises(ValueError, match=message):
        open_safetensors(tmp_path / "bad")


def test_what_does_not_fit_is_named_and_nothing_is_left_behind(tmp_path: Path) -> None:
    anchor, low, high = files(tmp_path, 3)
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match="0.safetensors exists, and nothing is overwritten"):
        merge_safetensors(anchor, [low, high], [-1.0, 1.0], 0.0, anchor)
    other = tree(1) | {"steps": np.arange(1, 4, dtype=np.int32)}
    save_safetensors(tmp_path / "other.safetensors", other)
    with pytest.raises(ValueError, match="steps, of int32, does not merge and differs between files; keep the"):
        merge_safetensors(anchor, [low, tmp_path / "other.safetensors"], [-1.0, 1.0], 0.0, tmp_path / "m")
    save_safetensors(tmp_path / "small.safetensors", {"wave": np.zeros((4, 4), np.complex64)})
    with pytest.raises(ValueError, match=r"layer.kernel of .*0.safetensors is missing in .*small.safetensors"):
        merge_safetensors(anchor, [tmp_path / "small.safetensors"], [1.0], 0.0, tmp_path / "m")
    (tmp_path / "cut.safetensors").write_bytes(anchor.read_bytes()[:400])
    with pytest.raises(ValueError, match="cut.safetensors|damaged"):
        open_safetensors(tmp_path / "cut.safetensors")
    (tmp_path / "text.safetensors").write_text("this is no such file at all")
    with pytest.raises(ValueError, match="is cut off or not a safetensors file"):
        open_safetensors(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match="determine 1 of the 2 features"):
        merge_safetensors(anchor, [low, high], [1.0, 1.0], 0.0, tmp_path / "m")
    made = {tmp_path / f"{name}.safetensors" for name in ("other", "small", "cut", "text")}
    assert set(tmp_path.iterdir()) == before | made
