"""PyTorch's files are read without PyTorch, and nothing in them runs. They are made here byte by byte."""

from __future__ import annotations

import collections
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax.io.parts import state_dict_of
from ccm_jax.io.torchfile import open_torch
from tests.torchfiles import Global, Name, Storage, Tensor, write


def test_tensors_are_views_with_their_strides(tmp_path: Path) -> None:
    numbers = np.arange(12, dtype=np.float32)
    storage = Storage("FloatStorage", "0", 12)
    content = {"a": Tensor(storage, 0, (3, 4), (4, 1)), "b": Tensor(storage, 1, (4, 2), (1, 4)), "epoch": 7}
    path = write(tmp_path / "a.pt", content, {"0": numbers})
    found = open_torch(path)
    assert found["epoch"] == 7
    np.testing.assert_array_equal(found["a"], numbers.reshape(3, 4))
    np.testing.assert_array_equal(found["b"], _by_hand())
    assert not found["a"].flags.writeable
    assert set(state_dict_of(found)) == {"a", "b"}


def _by_hand() -> np.ndarray:
    return np.array([[1 + i + 4 * j for j in range(2)] for i in range(4)], np.float32)


@pytest.mark.parametrize("kind, dtype", [("ComplexFloatStorage", np.complex64), ("LongStorage", np.int64)])
def test_types_and_wrappers(tmp_path: Path, kind: str, dtype: Any) -> None:
    numbers = np.arange(3).astype(dtype)
    content = {"model": {"w": Tensor(Storage(kind, "0", 3), 0, (3,), (1,))}, "optimizer": {"step": 3}}
    weights = state_dict_of(open_torch(write(tmp_path / "a.pt", content, {"0": numbers})))
    np.testing.assert_array_equal(weights["w"], numbers)
    assert weights["w"].dtype == dtype


def test_a_wrapped_state_dict_is_found_beside_other_tensors_and_none_goes_missing(tmp_path: Path) -> None:
    numbers = np.arange(3, dtype=np.float32)

    def tensor() -> Tensor:
        return Tensor(Storage("FloatStorage", "0", 3), 0, (3,), (1,))

    wrapped = {"model_state_dict": {"w": tensor()}, "loss": tensor(), "epoch": 3}
    assert set(state_dict_of(open_torch(write(tmp_path / "a.pt", wrapped, {"0": numbers})))) == {"w"}
    both = {"model": {"w": tensor()}, "state_dict": {"w": tensor()}}
    with pytest.raises(ValueError, match="holds model and state_dict; say which is meant, as the file::model"):
        state_dict_of(open_torch(write(tmp_path / "b.pt", both, {"0": numbers})))
    lost = {"w": tensor(), "sparse": Global("_rebuild_sparse_tensor", 1)}
    with pytest.raises(ValueError, match="sparse is .*, which is not read here"):
        state_dict_of(open_torch(write(tmp_path / "c.pt", lost, {"0": numbers})))


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    numbers = np.ones(1, np.float32)
    content = {
        "w": Tensor(Storage("FloatStorage", "0", 1), 0, (1,), (1,)),
        "_metadata": {"bad": Global("system", f"touch {mark}"), "activation": Name("torch._C._nn", "gelu")},
    }
    found = open_torch(write(tmp_path / "a.pt", content, {"0": numbers}))
    assert not mark.exists()
    assert repr(found["_metadata"]["bad"]) == "<not loaded>"
    assert found["_metadata"]["activation"].__name__ == "torch._C._nn.gelu"
    np.testing.assert_array_equal(state_dict_of(found)["w"], numbers)


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    numbers = np.ones(4, np.float32)
    for size, stride in (((5,), (1,)), ((2, 2), (100, 1)), ((2,), (-1,))):
        path = write(tmp_path / "a.pt", {"w": Tensor(Storage("FloatStorage", "0", 4), 0, size, stride)}, {"0": numbers})
        with pytest.raises(ValueError, match="open_torch: .*a.pt cannot be read"):
            open_torch(path)


def test_what_is_cut_off_or_something_else_is_said(tmp_path: Path) -> None:
    content = {"w": Tensor(Storage("FloatStorage", "0", 4), 0, (4,), (1,))}
    whole = write(tmp_path / "a.pt", content, {"0": np.ones(4, np.float32)}).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut off, or not a file of torch.save"):
        open_torch(tmp_path / "cut.pt")
    short = write(tmp_path / "short.pt", content, {"0": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="has 12 bytes, expected 4 numbers of float32"):
        open_torch(short)
    with pytest.raises(ValueError, match="holds no arrays by name, but"):
        state_dict_of({"epoch": 3})
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(ValueError, match="no data.pkl"):
        open_torch(tmp_path / "other.pt")


def test_names_that_are_one_as_text_lose_no_weight() -> None:
    assert set(state_dict_of({1: np.zeros(1), "2": np.ones(1)})) == {"1", "2"}
    with pytest.raises(ValueError, match="^state_dict_of: the file: two tensors have one name as text; .*[.]$"):
        state_dict_of({1: np.zeros(1), "1": np.ones(1)})


def test_pytorch_s_own_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    tree = {
        "half": torch.randn(3, 2).half(),
        "brain": torch.randn(3).bfloat16(),
        "complex": torch.randn(2, 2, dtype=torch.complex64),
        "turned": torch.randn(4, 3).T,
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "empty": torch.zeros(0, 3),
    }
    torch.save({"state_dict": tree, "epoch": 1}, tmp_path / "a.pt")
    found = state_dict_of(open_torch(tmp_path / "a.pt"))
    for name, tensor in tree.items():
        expected = tensor.detach().float() if name in ("half", "brain") else tensor.detach()
        np.testing.assert_array_equal(np.asarray(found[name], expected.numpy().dtype), expected.numpy())


def test_lazily_conjugated_and_negated_tensors_are_read_as_what_they_mean(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    z = torch.tensor([1 + 2j, 3 - 1j])
    torch.save({"conjugate": z.conj(), "plain": z}, tmp_path / "a.pt")
    torch.save(z.clone().conj().imag, tmp_path / "b.pt")
    read = open_torch(tmp_path / "a.pt")
    np.testing.assert_array_equal(read["conjugate"], [1 - 2j, 3 + 1j])
    np.testing.assert_array_equal(read["plain"], z.numpy())
    np.testing.assert_array_equal(open_torch(tmp_path / "b.pt"), [-2.0, 1.0])


class Custom:
    """An object of a class that only its writer knows."""

    def __init__(self) -> None:
        self.rate = 0.1


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_whole_training_state_is_read(tmp_path: Path, protocol: int) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 4))
    model[2].weight = model[0].weight
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    beside = {"epoch": 3, "best": 0.5, "done": False, "none": None, "pair": (1, [2.5, "ü"]), "seed": 2**70}
    content = beside | {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "custom": Custom()}
    content |= {"size": torch.Size([2, 3]), "wide": torch.ones(1).expand(2, 3), "rows": torch.arange(6).unfold(0, 3, 1)}
    torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
    found = open_torch(tmp_path / "a.pt")
    assert {key: found[key] for key in beside} == beside and found["size"] == (2, 3)
    assert found["custom"].name.endswith(".Custom")
    assert type(found["model"]) is collections.OrderedDict and found["model"]._metadata["1"]["version"] == 2
    assert found["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    np.testing.assert_array_equal(
        found["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"]
    )
    assert set(state_dict_of(found)) == set(model.state_dict())
    for name, tensor in (model.state_dict() | {"wide": content["wide"], "rows": content["rows"]}).items():
        np.testing.assert_array_equal(found["model"].get(name, found.get(name)), tensor.numpy())
