"""Checkpoints as people have them: of every kind, wrapped, prefixed, in mixed precision, in several files."""

from __future__ import annotations

import collections
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax import fit_chart, merge_pytree
from ccm_jax.interop.unsaid import unsaid
from ccm_jax.io.description import describe, portable
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.io.shards import files_for
from ccm_jax.io.torchfile import open_torch_file
from ccm_jax.io.weights import Weights, open_weights
from tests.terminal import NAMES, arrays, ccm, of
from tests.test_interop_torch import fno2d_state
from tests.torchfiles import Global, Name, Storage, Tensor, dump_pickle, pack_msgpack, write, write_legacy

BFLOAT16 = np.dtype("V2")
W = np.arange(12, dtype=np.float32).reshape(3, 4)


def tensor(shape: tuple[int, ...] = (3, 4), key: str = "0") -> Tensor:
    strides = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return Tensor(Storage("FloatStorage", key, int(np.prod(shape))), 0, shape, strides)


def family(folder: Path, *trees: dict[str, Any]) -> list[Any]:
    for name, tree in zip(NAMES, trees, strict=True):
        save_safetensors(folder / f"{name}.safetensors", tree)
    return of(folder)


def merged(folder: Path, *words: Any, at: float = 1.0, output: str = "out.safetensors") -> Any:
    done = ccm("merge", *words, "-c", at, "-o", folder / output)
    assert done.exit_code == 0, done.output
    return done


def refused(*words: Any) -> str:
    done = ccm(*words)
    *notes, line = done.output.splitlines()
    assert done.exit_code == 2 and line.startswith("ccm: ") and done.exception is not None, done.output
    assert all(note.startswith(("ccm: note: ", "ccm: warning: ")) for note in notes), done.output
    return line


def _header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def test_old_files_of_pytorch_pickles_msgpack_and_leaves_are_read(tmp_path: Path) -> None:
    content = {"state_dict": {"w": tensor()}, "epoch": 3}
    for name in ("old.pt", "old.pth.tar", "old"):
        path = write_legacy(tmp_path / name, content, {"0": W})
        np.testing.assert_array_equal(arrays(path)["w"], W)
    whole = (tmp_path / "old").read_bytes()
    (tmp_path / "old").write_bytes(whole[:-4])
    assert "cut off" in refused("inspect", tmp_path / "old")
    tree = {"params": {"a": {"w": W, "h": W.astype(">f8")}, "b": np.float32(2)}}
    for protocol in (2, 4, 5):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(tree, protocol=protocol))
        read = arrays(tmp_path / "a.pkl")
        assert list(read) == ["params.a.w", "params.a.h", "params.b"] and read["params.a.h"].dtype == np.float64
        np.testing.assert_array_equal(read["params.a.h"], W)
    (tmp_path / "a.msgpack").write_bytes(pack_msgpack(tree))
    np.testing.assert_array_equal(arrays(tmp_path / "a.msgpack")["params.a.w"], W)
    (tmp_path / "cut.msgpack").write_bytes(pack_msgpack(tree)[:-5])
    assert "cut off" in refused("inspect", tmp_path / "cut.msgpack")
    with open(tmp_path / "a.eqx", "wb") as file:
        np.save(file, W)
        np.save(file, np.int32(3))
    assert {k: v.shape for k, v in arrays(tmp_path / "a.eqx").items()} == {"0": (3, 4), "1": ()}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npy", np.array({"w": 1}, object), "Python objects"),
        ("a.npy", W, "one array"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        ("a.gz", b"\x1f\x8b" + bytes(50), "gzip"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS and not the file"),
        ("a.safetensors", b"<!DOCTYPE html><html>", "a web page; fetch the file itself"),
        ("a.safetensors", _header(b'{"w":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}'), "w is F8_E4M3"),
        ("a.txt", b"these are no weights", "of an unsupported format"),
        ("a.pkl", pickle.dumps({"w": np.array([{}], object)}), "array of O"),
        ("a.safetensors", b"", "is empty; save or copy it again"),
        ("a.msgpack", b"", "is empty"),
        ("a.eqx", b"\x93NUMPY\1\0v\0{'descr'", "is cut off"),
        ("a.index.json", b'{"weight_map": {"w": "../../etc/passwd"}}', "another folder"),
        ("a.safetensors.index.json", b'{"weight_map": {"w": "b.safetensors"}}', "fetch all files"),
    ],
)
def test_what_is_not_read_is_one_line_that_names_the_file(tmp_path: Path, name: str, content: Any, said: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    line = refused("inspect", path)
    assert said in line and name in line


def test_bfloat16_in_numpy_s_archives_is_read_as_such(tmp_path: Path) -> None:
    upper = (W.view(np.uint32) >> 16).astype(np.uint16).view(BFLOAT16)
    np.savez(tmp_path / "a.npz", **{"params/w": upper, "n": np.arange(2)})
    read = open_weights(tmp_path / "a.npz").arrays
    assert read["params/w"].dtype.name == "bfloat16"
    np.testing.assert_array_equal(read["params/w"].astype(np.float32), W)
    np.savez(tmp_path / "b.npz", w=np.zeros(2, "V3"))
    assert "b.npz" in refused("inspect", tmp_path / "b.npz")


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(70 << 20))
    assert "unpack to more than" in refused("inspect", tmp_path / "a.npz")


def test_the_part_that_is_the_weights_is_found_or_named(tmp_path: Path) -> None:
    state, moments = {"w": tensor()}, {"state": {0: {"exp_avg": tensor()}}}
    numbers = {"0": W}
    for wrapper in ("model_state", "net", "unusual"):
        content = {wrapper: state, "optimizer_state_dict": moments, "epoch": 3}
        assert set(arrays(write(tmp_path / "a.pt", content, numbers))) == {"w"}
    path = write(tmp_path / "ema.pt", {"model": state, "ema": {"w": tensor(), "n": tensor()}}, numbers)
    done = ccm("inspect", path)
    assert done.exit_code == 0 and "ema left out" in done.output.replace("\n", " ")
    assert set(arrays(Path(f"{path}::ema"))) == {"w", "n"}
    assert "has no part teacher; there are: model, ema" in refused("inspect", f"{path}::teacher")
    path = write(tmp_path / "two.pt", {"first": state, "second": state, "epoch": 3}, numbers)
    assert "say which is meant, as" in refused("inspect", path) and set(arrays(Path(f"{path}::second"))) == {"w"}
    path = write(tmp_path / "inside.pt", {**state, "config": {"lr": 1e-3}}, numbers)
    assert set(arrays(path)) == {"w"}
    path = save_safetensors(tmp_path / "a.safetensors", {"student": {"w": W}, "teacher": {"w": -W}})
    np.testing.assert_array_equal(arrays(Path(f"{path}::teacher"))["w"], -W)


def test_a_training_state_of_flax_is_its_parameters(tmp_path: Path) -> None:
    for i, name in enumerate(NAMES):
        tree = {"params": {"w": W + i}, "opt_state": {"count": np.int32(i), "mu": {"w": W}}, "step": np.int64(i)}
        (tmp_path / f"{name}.msgpack").write_bytes(pack_msgpack(tree))
    words = [part for name in NAMES for part in (f"--{name}", tmp_path / f"{name}.msgpack")]
    done = merged(tmp_path, *words)
    assert "opt_state, step left out" in done.output
    assert list(arrays(tmp_path / "out.safetensors")) == ["w"]
    np.testing.assert_allclose(arrays(tmp_path / "out.safetensors")["w"], W + 2)


def test_orbax_s_training_state_is_its_parameters_or_the_part_that_is_named(tmp_path: Path) -> None:
    from ccm_jax.io import checkpoint

    for i, name in enumerate(NAMES):
        moments = {"count": np.array(i + 1), "mu": {"w": W + 1}}
        checkpoint.save(tmp_path / name, {"params": {"w": W + i}, "opt_state": moments, "step": np.array(i)})
    words = [part for name in NAMES for part in (f"--{name}", tmp_path / name)]
    assert "opt_state, step left out" in merged(tmp_path, *words).output
    assert list(arrays(tmp_path / "out.safetensors")) == ["w"]
    words = [part for name in NAMES for part in (f"--{name}", f"{tmp_path / name}::opt_state.mu")]
    assert "left out" not in merged(tmp_path, *words, output="moments.safetensors").output
    np.testing.assert_allclose(arrays(tmp_path / "moments.safetensors")["w"], W + 1)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "model.", "_forward_module."])
def test_prefixes_of_wrappers_are_seen_through_and_said(tmp_path: Path, prefix: str) -> None:
    low, high = ({f"{prefix}fc.w": W + i, f"{prefix}fc.b": W[0]} for i in (1, 2))
    words = family(tmp_path, {"fc.w": W, "fc.b": W[0]}, low, high)
    done = merged(tmp_path, *words)
    assert "taken for the anchor's fc.w" in done.output.replace("\n", " ")
    assert set(arrays(tmp_path / "out.safetensors")) == {"fc.w", "fc.b"}
    np.testing.assert_allclose(arrays(tmp_path / "out.safetensors")["fc.w"], W + 2)


def batchnorm(variance: float, count: int) -> dict[str, Any]:
    return {"bn.running_var": np.full(3, variance, np.float32), "bn.num_batches_tracked": np.array(count)}


def test_batchnorm_counts_as_the_anchor_and_never_gives_a_negative_variance(tmp_path: Path) -> None:
    words = family(tmp_path, batchnorm(1.0, 0), batchnorm(0.1, 30), batchnorm(4.0, 40))
    done = merged(tmp_path, *words, at=0.5)
    assert "num_batches_tracked" in done.output
    assert arrays(tmp_path / "out.safetensors")["bn.num_batches_tracked"] == 0
    line = refused("merge", *words, "-c", -2, "-o", tmp_path / "m.safetensors")
    assert "bn.running_var becomes negative" in line and not (tmp_path / "m.safetensors").exists()
    (tmp_path / "r.yaml").write_text(
        "anchor: anchor.safetensors\nexperts: [{path: low.safetensors, coordinate: -1}, {path: high.safetensors, "
        "coordinate: 1}]\ncoordinate: -2\nfilters: [{name: '*running_var', coordinate: -1}]\n"
    )
    done = ccm("merge", "--recipe", tmp_path / "r.yaml", "-o", tmp_path / "kept.safetensors")
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(arrays(tmp_path / "kept.safetensors")["bn.running_var"], 0.1, rtol=1e-6)
    assert ccm("merge", *words, "--method", "average", "-o", tmp_path / "average.safetensors").exit_code == 0


@pytest.mark.parametrize("name", ["bn.var.value", "batch_stats.bn.var", "bn.var", "bn.running_var"])
def test_a_negative_variance_is_named_whatever_framework_it_is_of(tmp_path: Path, name: str) -> None:
    trees = [{name: np.full(3, v, np.float32)} for v in (1.0, 0.3, 1.7)]
    assert f"{name} becomes negative" in refused(
        "merge", *family(tmp_path, *trees), "-c", -2, "-o", tmp_path / "m.safetensors"
    )
    nested = [{"bn": {name.removeprefix("bn."): tree[name]}} for tree in trees]
    with pytest.warns(
        UserWarning, match=r"merge_pytree: bn.*var.* becomes negative here \(-0.4\), which is invalid for a variance"
    ):
        merge_pytree(*nested, -2.0)
    chart = fit_chart(nested[0], nested[1:], [-1.0, 1.0])
    chart(0.0)  # warnings are errors in tests
    with pytest.warns(UserWarning, match="Chart: bn.*var.* becomes negative"):
        chart(-2.0)


def test_experts_of_another_precision_merge_in_the_wider_one_with_a_note(tmp_path: Path) -> None:
    words = family(tmp_path, {"w": W}, {"w": W.astype(np.float16)}, {"w": (W + 2).astype(np.float64)})
    done = merged(tmp_path, *words, at=0.5)
    assert "float16" in done.output and "float64" in done.output
    out = arrays(tmp_path / "out.safetensors")["w"]
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, W + 1.5)
    words = family(tmp_path / "b", {"w": W}, {"w": W.astype(np.complex64)}, {"w": W})
    assert "experts must come from this anchor" in refused("merge", *words, "-c", 1, "-o", tmp_path / "m.safetensors")


def test_double_precision_merges_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, low, high = (rng.standard_normal((8, 8)) for _ in range(3))
    merged(tmp_path, *family(tmp_path, {"w": a}, {"w": low}, {"w": high}), at=1.4)
    assert np.abs(arrays(tmp_path / "out.safetensors")["w"] - (-0.2 * low + 1.2 * high)).max() < 1e-15


def test_what_the_anchor_says_travels_with_the_merged_file(tmp_path: Path) -> None:
    options = {
        "non_linearity": Name("torch.nn.functional", "relu"),
        "domain_padding": 0.25,
        "bad": Global("system", "x"),
    }
    for i, name in enumerate(NAMES):
        args = {"act": "gelu", "modes": 4}
        content = {"model": {"w": tensor(), "_metadata": options}, "args": args, "epoch": i}
        write(tmp_path / f"{name}.pt", content, {"0": W + i})
    words = [part for name in NAMES for part in (f"--{name}", tmp_path / f"{name}.pt")]
    for output in ("out.safetensors", "out.pt"):
        merged(tmp_path, *words, output=output)
        found = open_weights(tmp_path / output)
        assert found.metadata["_metadata"]["non_linearity"] == "torch.nn.functional.relu"
        assert found.metadata["_metadata"]["domain_padding"] == 0.25
        assert found.metadata["said"] == {"args": {"act": "gelu", "modes": 4}}
        np.testing.assert_allclose(found.arrays["w"], W + 2)
    assert open_safetensors(tmp_path / "out.safetensors").metadata["format"] == "pt"


def test_a_file_of_pytorch_is_written_that_its_readers_read(tmp_path: Path) -> None:
    tree = {"w": W, "c": (W + 1j).astype(np.complex64), "n": np.array(3), "empty": np.zeros((0, 2), np.float32)}
    words = family(tmp_path, tree, tree, tree)
    merged(tmp_path, *words, output="out.pt")
    with zipfile.ZipFile(tmp_path / "out.pt") as archive:
        assert archive.testzip() is None
        names = {info.filename: info for info in archive.infolist()}
    whole = (tmp_path / "out.pt").read_bytes()
    for name, info in names.items():
        head = whole[info.header_offset :][:30]
        assert (
            info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        ) % 64 == 0, name
    found = open_torch_file(tmp_path / "out.pt")
    assert type(found.content) is collections.OrderedDict and list(found.content) == list(tree)
    for name, leaf in tree.items():
        np.testing.assert_array_equal(found.content[name], leaf)
        assert found.content[name].dtype == leaf.dtype
    assert "sha256" in found.metadata["provenance"]
    assert 'torch.load("out.pt", weights_only=True)' in (tmp_path / "out.pt.md").read_text()


def test_pytorch_itself_reads_it() -> None:
    torch = pytest.importorskip("torch")  # the test above reads the same file without
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
        for i, member in enumerate(NAMES):
            net[1].num_batches_tracked += i
            torch.save({"model": net.state_dict()}, folder / f"{member}.pt")
        words = [part for member in NAMES for part in (f"--{member}", folder / f"{member}.pt")]
        merged(folder, *words, output="out.pt")
        state = torch.load(folder / "out.pt", weights_only=True)
        assert state._metadata["1"] == {"version": 2}
        assert not any(net.load_state_dict(state, strict=True))
        assert torch.equal(state["0.weight"], net[0].weight)


def test_folders_of_hugging_face_and_shards_go_in_and_out(tmp_path: Path) -> None:
    for i, name in enumerate(NAMES):
        folder = tmp_path / name
        folder.mkdir()
        files = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        for key, file in files.items():
            save_safetensors(folder / file, {key: W + i}, {"format": "pt"})
        text = json.dumps({"metadata": {"total_size": 96}, "weight_map": files})
        (folder / "model.safetensors.index.json").write_text(text)
        (folder / "config.json").write_text('{"model_type": "x"}')
    words = [part for name in NAMES for part in (f"--{name}", tmp_path / name)]
    merged(tmp_path, *words, output="out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("config.json", "model.safetensors.index.json"),
        *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    }
    merged(tmp_path, *words, output="flat.safetensors.index.json")
    merged(tmp_path, *words, output="whole.safetensors")
    index = [
        f"--{name}" if j == 0 else tmp_path / name / "model.safetensors.index.json" for name in NAMES for j in (0, 1)
    ]
    merged(tmp_path, *index, output="again.safetensors")
    for output in ("out", "flat.safetensors.index.json", "whole.safetensors", "again.safetensors"):
        found = arrays(tmp_path / output)
        assert list(found) == ["a", "b"]
        np.testing.assert_allclose(found["b"], W + 2)
    assert open_weights(tmp_path / "out").metadata["format"] == "pt"
    assert "nothing is overwritten" in refused("merge", *words, "-c", 1, "-o", tmp_path / "out")
    for i, name in enumerate(NAMES):
        (tmp_path / "single" / name).mkdir(parents=True)
        save_safetensors(tmp_path / "single" / name / "model.safetensors", {"w": W + i}, {"format": "pt"})
    words = [part for name in NAMES for part in (f"--{name}", tmp_path / "single" / name)]
    merged(tmp_path, *words, output="one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["model.safetensors"]
    assert not list(tmp_path.glob(".partial*"))


def test_shards_are_filled_up_to_a_size() -> None:
    like = {f"w{i}": np.zeros(10, np.float32) for i in range(5)}
    files = files_for(like, "m", None, limit=80)
    assert list(files.values()) == [f"m-0000{i}-of-00003.safetensors" for i in (1, 1, 2, 2, 3)]


def test_pickles_run_nothing_and_arrays_in_them_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(dump_pickle({"w": W, "f": print}))
    assert "f is" in refused("inspect", tmp_path / "a.pkl")


def test_options_that_leave_no_trace_are_checked_where_they_are_said_and_told_where_they_are_assumed() -> None:
    for name, option in (("neuraloperator", "gelu"), ("fno2d", "padding 0"), ("dpot-torch", "modes all")):
        assert option in str(unsaid(name, {}, {}, "a.pt"))
    assert unsaid("neuraloperator", {"_metadata": {"non_linearity": "gelu"}}, {}, "a.pt") is None
    assert unsaid("fno", {}, {}, "a.pt") is None
    said = {"said": {"args": {"act": "gelu", "res": 128, "patch_size": 8, "modes": 32, "normalize": 0}}}
    assert unsaid("dpot-torch", said, {}, "a.pt") is None
    for key, value in (("act", "relu"), ("modes", 8), ("normalize", 1)):
        with pytest.raises(ValueError, match=f"^a.pt says {key}={value!r}"):
            unsaid("dpot-torch", {"said": {"args": said["said"]["args"] | {key: value}}}, {}, "a.pt")


@pytest.mark.long
def test_what_a_merge_was_told_of_its_network_is_in_its_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = fno2d_state(rng, (3, 3), 2)
    words = family(tmp_path, *({k: v * (1 + 0.01 * i) for k, v in state.items()} for i in range(3)))
    np.save(tmp_path / "seen.npy", rng.standard_normal((8, 14, 14, 2)).astype(np.float32))
    told, bare, other = (tmp_path / f"{name}.yaml" for name in ("told", "bare", "other"))
    told.write_text("model: fno2d\nargs: {padding: 2, coordinates: [-0.9, 0.9]}\nmean: 0.5\n")
    bare.write_text("model: fno2d\n")
    other.write_text("model: fno2d\nargs: {padding: 0}\n")
    known = ("--prefix", tmp_path / "seen.npy", "--bank", "-1:1:1", "--write-anyway", "--accept-persistence")
    done = ccm("calibrate", *words, "--model", told, *known, "-o", tmp_path / "m.safetensors")
    assert done.exit_code == 0, done.output
    merged(tmp_path, *words, "--model", told, output="out.pt")
    frames = []
    for i, (file, model) in enumerate([("m.safetensors", m) for m in (told, bare, "fno2d", None)] + [("out.pt", None)]):
        said = () if model is None else ("--model", model)
        out = ("--initial", tmp_path / "seen.npy", "--steps", 1, "-o", tmp_path / f"{i}.npz")
        done = ccm("rollout", tmp_path / file, *said, *out)
        assert done.exit_code == 0 and "assumed" not in done.output, done.output
        frames.append(np.load(tmp_path / f"{i}.npz")["frames"])
    assert all(np.array_equal(frame, frames[0]) for frame in frames[:-1]) and frames[-1].shape == frames[0].shape
    line = refused("rollout", tmp_path / "m.safetensors", "--model", other, *out[:-1], tmp_path / "x.npz")
    assert "args padding is 0" in line and "was made with 2" in line and not (tmp_path / "x.npz").exists()


def test_static_fields_are_to_be_given_again_and_are_known_again(tmp_path: Path) -> None:
    said = {"ccm_description": portable({"model": "nets:build", "static": W, "history": 2})}
    weights = Weights(tmp_path / "m.safetensors", "safetensors", {}, said)
    with pytest.raises(ValueError, match="made with static fields, which it does not hold"):
        describe(weights, "nets:build")
    for name, fields in (("same", W), ("other", W + 1)):
        np.save(tmp_path / f"{name}.npy", fields)
        (tmp_path / f"{name}.yaml").write_text(f"model: nets:build\nstatic: {name}.npy\n")
    found = describe(weights, str(tmp_path / "same.yaml"))
    assert found["history"] == 2 and np.array_equal(found["static"], W)
    with pytest.raises(ValueError, match=r"other.yaml: static is .* was made with"):
        describe(weights, str(tmp_path / "other.yaml"))


def test_a_module_that_a_file_names_is_not_imported(tmp_path: Path) -> None:
    said = {"ccm_description": json.dumps({"model": "antigravity:geohash", "args": {}})}
    path = save_safetensors(tmp_path / "a.safetensors", {"w": W}, said)
    np.save(tmp_path / "seen.npy", np.ones((4, 3, 4, 1), np.float32))
    line = refused("rollout", path, "--initial", tmp_path / "seen.npy", "-o", tmp_path / "r.npz")
    assert "if you trust that, pass it as --model" in line
    path = save_safetensors(tmp_path / "b.safetensors", {"w": W}, {"ccm_description": '{"model": "fno", "code": 1}'})
    assert "pass --model" in refused("rollout", path, "--initial", tmp_path / "seen.npy", "-o", tmp_path / "r.npz")


def test_experts_that_training_scripts_built_with_other_options_are_told(tmp_path: Path) -> None:
    for name, act in zip(NAMES, ("gelu", "gelu", "relu"), strict=True):
        write(tmp_path / f"{name}.pt", {"model": {"w": tensor()}, "args": {"act": act, "lr": act}}, {"0": W})
    words = [part for name in NAMES for part in (f"--{name}", tmp_path / f"{name}.pt")]
    done = merged(tmp_path, *words)
    assert "high.pt says act='relu'" in done.output and "lr=" not in done.output


def test_runs_with_other_scales_do_not_merge(tmp_path: Path) -> None:
    config = json.dumps({"model": {"name": "fno", "history": 1, "args": {}}})
    for i, name in enumerate(NAMES):
        said = {"config": config, "normalization": json.dumps({"mean": [0.0], "std": [1.0 + (i > 1)]})}
        save_safetensors(tmp_path / f"{name}.safetensors", {"w": W}, said)
    line = refused("merge", *of(tmp_path), "-c", 1, "-o", tmp_path / "m.safetensors")
    assert "high.safetensors says normalization=" in line


def test_prefixes_are_seen_through_where_a_network_is_built() -> None:
    from ccm_jax.interop.flat import Names

    names = Names("f", {"_orig_mod.module.fc.weight": W, "_orig_mod.module.fc.bias": W[0]})
    assert set(names.left) == {"fc.weight", "fc.bias"}


def test_copies_of_one_network_are_not_merged_together(tmp_path: Path) -> None:
    state, numbers = {"w": tensor()}, {"0": W}
    for names in (("best", "last"), ("epoch_1", "epoch_2")):
        path = write(tmp_path / "times.pt", dict.fromkeys(names, state), numbers)
        assert f"holds {names[0]} and {names[1]}; say which is meant" in refused("inspect", path)
        assert set(arrays(Path(f"{path}::{names[1]}"))) == {"w"}
        (tmp_path / "times.msgpack").write_bytes(pack_msgpack(dict.fromkeys(names, {"params": {"w": W}})))
        assert f"::{names[0]}" in refused("inspect", tmp_path / "times.msgpack")
    path = write(tmp_path / "gan.pt", {"netG": state, "netD": {"v": tensor()}}, numbers)
    assert open_weights(path).notes == (
        f"{path}: netG and netD are read as parts of one checkpoint; {path}::netG reads one of them.",
    )
    (tmp_path / "ema.msgpack").write_bytes(pack_msgpack({"params": {"w": W}, "ema_params": {"w": W}}))
    assert set(arrays(tmp_path / "ema.msgpack")) == {"w"}
    assert "ema_params left out" in open_weights(tmp_path / "ema.msgpack").notes[0]


def test_a_folder_without_its_index_says_what_to_fetch(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "model-00001-of-00002.safetensors", {"w": W})
    assert "no index; fetch the *.index.json beside them" in refused("inspect", tmp_path)


def test_a_name_that_safetensors_keeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a tensor is called __metadata__, which safetensors keeps for text; rename"):
        save_safetensors(tmp_path / "a.safetensors", {"__metadata__": W})
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_met_many_times_merge(tmp_path: Path) -> None:
    """As ``expand`` stores them: one number, and strides of 0."""
    for name, at in (("a", 0.0), ("l", -1.0), ("h", 1.0)):
        content = {"v": tensor(), "w": Tensor(Storage("FloatStorage", "1", 1), 0, (5000,), (0,))}
        write(tmp_path / f"{name}.pt", content, {"0": W, "1": np.float32([at])})
    words = [word for name in NAMES for word in (f"--{name}", tmp_path / f"{name[0]}.pt")]
    merged(tmp_path, *words, at=0.5)
    np.testing.assert_array_equal(arrays(tmp_path / "out.safetensors")["w"], np.full(5000, 0.5))


def test_layers_of_equal_shape_are_no_copies(tmp_path: Path) -> None:
    layer = {"w": W}
    for names in (("initial", "hidden", "final"), ("block_0", "last_block"), ("step_0", "step_1")):
        (tmp_path / "a.msgpack").write_bytes(pack_msgpack(dict.fromkeys(names, layer)))
        assert set(arrays(tmp_path / "a.msgpack")) == {f"{name}.w" for name in names}
    for names in (("ep10", "ep20"), ("old", "new"), ("model_best", "model_last"), ("checkpoint-10", "checkpoint-20")):
        (tmp_path / "a.msgpack").write_bytes(pack_msgpack(dict.fromkeys(names, layer)))
        assert "say which is meant" in refused("inspect", tmp_path / "a.msgpack")


def test_a_training_state_within_another_is_its_parameters(tmp_path: Path) -> None:
    state = {"params": {"w": W}, "step": np.int32(3), "opt_state": {"mu": {"w": W}}}
    (tmp_path / "a.msgpack").write_bytes(pack_msgpack({"model": state, "data": {"seen": np.int32(5)}}))
    assert set(arrays(tmp_path / "a.msgpack")) == {"w"}
    (tmp_path / "b.msgpack").write_bytes(pack_msgpack({"params": {"w": W}, "best_params": {"w": W}}))
    weights = open_weights(tmp_path / "b.msgpack")
    assert set(weights.arrays) == {"w"} and "best_params left out" in weights.notes[0]


def test_networks_beside_a_counter_are_read_together_and_a_state_dict_beside_tensors_is_named(tmp_path: Path) -> None:
    content = {"encoder": {"w": tensor()}, "decoder": {"v": tensor()}, "epoch": 3}
    assert set(arrays(write(tmp_path / "a.pt", content, {"0": W}))) == {"encoder.w", "decoder.v"}
    path = write(tmp_path / "b.pt", {"state_dict": {"w": tensor()}, "mean": tensor(), "std": tensor()}, {"0": W})
    assert f"say {path}::state_dict to read it" in refused("inspect", path)


def test_equal_and_unrelated_experts_are_warned_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tree = [{"w": rng.standard_normal((20, 20)).astype(np.float32)} for _ in range(2)]
    said = merged(tmp_path, *family(tmp_path, tree[0], tree[1], tree[1])).stderr
    assert "so there is no direction between them; see ccm inspect" in said
    (tmp_path / "low.safetensors").unlink()
    save_safetensors(tmp_path / "low.safetensors", tree[0])
    said = merged(tmp_path, *of(tmp_path), output="b.safetensors").stderr
    assert (
        "high.safetensors differs from the anchor by 1.36 times the anchor's norm" in said
        and "as if it had been trained independently; see ccm inspect" in said
    )
