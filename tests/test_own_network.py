"""Networks of one's own by ``MODULE:NAME``: PyTorch, functions of JAX, Equinox, Flax; and what is refused."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_chart, merge_pytree
from ccm_jax.interop.own import find_own, kind_of, params_of
from ccm_jax.io import checkpoint
from ccm_jax.io.names import flatten
from ccm_jax.io.safetensors import open_safetensors, save_safetensors
from ccm_jax.io.weights import Weights, open_weights
from ccm_jax.models import make_model
from ccm_jax.surrogate import Surrogate, surrogate_of
from tests.terminal import NAMES, ccm

FRAME = (6, 6, 2)
NETS = """
import jax, jax.numpy as jnp

def apply(params, window, gain=1.0):
    x = window[:, -1]
    return x + gain * 0.1 * jnp.tanh(x @ params["mix"]["w"] + params["mix"]["b"][None, None, None])

def unet(width):  # a name that one of this package's networks has
    return lambda params, window: window[:, -1] * params["scale"]

broken = 3


def pair():
    return apply, 1

def fails():
    raise RuntimeError("no such day")
"""
TORCH = """
import torch

def build(width=4, history=1):
    first = torch.nn.Conv2d(2 * history, width, 3, padding=1)
    return torch.nn.Sequential(first, torch.nn.BatchNorm2d(width), torch.nn.GELU(), torch.nn.Conv2d(width, 2, 1))
"""
EQUINOX = """
import equinox as eqx, jax

def build():
    first, second = jax.random.split(jax.random.key(0))
    return eqx.nn.Sequential([
        eqx.nn.Conv2d(2, 4, 3, padding=1, key=first), eqx.nn.Lambda(jax.nn.gelu), eqx.nn.Conv2d(4, 2, 1, key=second)
    ])
"""
FLAX = """
import flax.linen as nn
from flax import nnx

class Net(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.out = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x):
        return x + self.out(self.drop(nnx.gelu(self.first(x))))

class Pointwise(nn.Module):
    width: int = 4

    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(2)(nn.gelu(nn.Dense(self.width)(x)))

def build():
    return Net(nnx.Rngs(0))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a module of this name, and imports it."""
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()

    def write(name: str, text: str) -> Any:
        (tmp_path / f"{name}.py").write_text(text)
        return importlib.import_module(name)

    yield write


def near(arrays: dict[str, Any], seed: int, size: float = 0.1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)

    def moved(leaf: Any) -> Any:
        noise = size * rng.standard_normal(np.shape(leaf))
        return np.asarray(leaf + noise, leaf.dtype) if np.asarray(leaf).dtype.kind == "f" else leaf

    return {name: moved(leaf) for name, leaf in arrays.items()}


def planted(surrogate: Surrogate, arrays: dict[str, Any]) -> tuple[list[dict[str, Any]], np.ndarray]:
    """A family near a network's weights, and frames ``[2, history + 6, *FRAME]`` at 0.5."""
    family = [arrays, near(arrays, 1), near(arrays, 2)]
    trees = [surrogate.to_params(tree) for tree in family]
    start = np.random.default_rng(0).standard_normal((2, surrogate.history, *FRAME)).astype(np.float32)
    chart = fit_chart(trees[0], trees[1:], [-1.0, 1.0])
    return family, np.concatenate([start, surrogate.rollout_fn(chart(0.5), start, 6)], axis=1)


def through(folder: Path, model: Any, *more: Any) -> dict[str, Any]:
    """``ccm calibrate`` and ``evaluate`` of a family in a folder."""
    three = [part for name in NAMES for part in (f"--{name}", folder / f"{name}.safetensors")]
    known = ["--model", model, "--accept-persistence"]
    done = ccm("calibrate", *three, *known, "--prefix", folder / "seen.npy", "-o", folder / "m.safetensors", *more)
    assert done.exit_code == 0, done.output
    notes = [line for line in done.stderr.splitlines() if line.startswith("ccm: ")]
    assert len(notes) == len(set(notes)), notes  # though files are opened twice: to be rolled out, and to be merged
    held = ["--merged", folder / "m.safetensors", "--trajectories", folder / "seen.npy"]
    told = ccm("evaluate", *three, *held, *known, "--frames", 2)
    assert told.exit_code == 0, told.output
    return json.loads((folder / "m.json").read_text())


def write_family(folder: Path, family: list[dict[str, Any]], seen: np.ndarray) -> None:
    for name, tree in zip(NAMES, family, strict=True):
        save_safetensors(folder / f"{name}.safetensors", {k: np.array(v) for k, v in tree.items()})
    np.save(folder / "seen.npy", seen)


def test_a_torch_network_from_files_to_a_merge_that_torch_loads(tmp_path: Path, nets: Any) -> None:
    torch = pytest.importorskip("torch")
    module = nets("own_torch", TORCH).build(5, history=2)
    from ccm_jax.interop.torch import torch_params

    (tmp_path / "model.yaml").write_text(
        "model: own_torch:build\nargs: {width: 5, history: 2}\nhistory: 2\npredicts: increment\n"
        "mean: [1.0, -2.0]\nstd: [2.0, 0.5]\n"
    )
    counter = {"1.num_batches_tracked": np.int64(7)}  # is no weight
    arrays = torch_params(module) | counter
    weights = Weights(tmp_path / "anchor", "torch", arrays, {})
    surrogate = surrogate_of(weights, str(tmp_path / "model.yaml"), FRAME)
    assert surrogate.history == 2 and not surrogate.spreads
    family, seen = planted(surrogate, torch_params(module))
    mean, std = np.array([1.0, -2.0]), np.array([2.0, 0.5])
    with torch.no_grad():  # what PyTorch says of the anchor: past frames as channels, normalised; the change comes out
        x = np.moveaxis((seen[:, :2] - mean) / std, -1, 2).astype(np.float32)
        change = np.moveaxis(module.eval()(torch.tensor(x.reshape(2, 4, 6, 6))).numpy(), 1, -1)
    got = surrogate.apply(surrogate.to_params(arrays), jnp.asarray(seen[:, :2]))
    np.testing.assert_allclose(got, seen[:, 1] + std * change, atol=1e-4)
    write_family(
        tmp_path, [tree | {name: at + i for name, at in counter.items()} for i, tree in enumerate(family)], seen
    )
    found = through(tmp_path, tmp_path / "model.yaml")
    np.testing.assert_allclose(found["best_merge"], 0.5, atol=0.01)
    merged = open_safetensors(tmp_path / "m.safetensors").arrays
    module.load_state_dict({k: torch.tensor(np.array(v)) for k, v in merged.items()}, strict=True)
    expected = merge_pytree(*family, found["best_merge"])
    for name, leaf in torch_params(module).items():
        np.testing.assert_allclose(leaf, expected[name], atol=1e-6)
    rolled = ccm("rollout", tmp_path / "m.safetensors", "--model", tmp_path / "model.yaml", "--initial",
                 tmp_path / "seen.npy", "--truth", "-o", tmp_path / "r.npz")  # fmt: skip
    assert rolled.exit_code == 0, rolled.output
    assert np.load(tmp_path / "r.npz")["errors"].mean() < 1e-2
    (tmp_path / "model.yaml").write_text("model: own_torch:build\nargs: {width: 4}\n")
    with pytest.raises(ValueError, match=r"anchor: 0.weight is \(5, 4, 3, 3\); the network expects"):
        surrogate_of(weights, str(tmp_path / "model.yaml"), FRAME)


def test_a_function_of_jax(tmp_path: Path, nets: Any) -> None:
    nets("own_jax", NETS)
    rng = np.random.default_rng(0)
    arrays = {"mix.w": rng.standard_normal((2, 2)).astype(np.float32), "mix.b": np.ones(2, np.float32)}
    (tmp_path / "model.yaml").write_text("model: own_jax:apply\nargs: {gain: 2.0}\n")
    for model in ("own_jax:apply", str(tmp_path / "model.yaml")):
        surrogate = surrogate_of(Weights(tmp_path / "a.npz", "npz", arrays, {}), model, FRAME)
        family, seen = planted(surrogate, arrays)
    write_family(tmp_path, family, seen)
    np.testing.assert_allclose(through(tmp_path, model)["best_merge"], 0.5, atol=0.01)


@pytest.mark.long
def test_an_equinox_network_by_names_and_by_its_own_files(tmp_path: Path, nets: Any) -> None:
    eqx = pytest.importorskip("equinox")
    module = nets("own_equinox", EQUINOX).build()
    path = tmp_path / "anchor.eqx"
    eqx.tree_serialise_leaves(path, module)
    numbered, size = {}, path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            numbered[str(len(numbered))] = np.load(file)
    surrogate = surrogate_of(Weights(path, "leaves", numbered, {}), "own_equinox:build", FRAME)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 1, *FRAME)), jnp.float32)
    expected = jnp.moveaxis(jax.vmap(module)(jnp.moveaxis(x[:, 0], -1, 1)), 1, -1)
    params = surrogate.to_params(numbered)
    np.testing.assert_allclose(surrogate.apply(params, x), expected, atol=1e-6)
    assert set(params) == {f"layers.{i}.{name}" for i in (0, 2) for name in ("weight", "bias")}
    by_name = params_of(module, {name: np.asarray(leaf) for name, leaf in params.items()}, "file")
    jax.tree.map(np.testing.assert_array_equal, by_name, params)
    family, seen = planted(surrogate, numbered)
    write_family(tmp_path, family, seen)
    np.testing.assert_allclose(through(tmp_path, "own_equinox:build")["best_merge"], 0.5, atol=0.01)
    with pytest.raises(ValueError, match=r"file: layers.0.bias is missing; the network expects shape \(4, 1, 1\)"):
        params_of(module, {"layers.0.weight": params["layers.0.weight"]}, "file")
    slashes = {f"params/{name.replace('.', '/')}": leaf for name, leaf in by_name.items()}
    jax.tree.map(np.testing.assert_array_equal, params_of(module, slashes, "file"), params)
    with pytest.raises(ValueError, match="file has 1 arrays; the network expects 4"):
        params_of(module, {"0": np.ones(2)}, "file")


@pytest.mark.long
def test_an_nnx_network_in_a_folder_of_orbax(tmp_path: Path, nets: Any) -> None:
    nnx = pytest.importorskip("flax.nnx")
    module = nets("own_flax", FLAX).build()
    state = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    checkpoint.save(tmp_path / "anchor", state)
    surrogate = surrogate_of(open_weights(tmp_path / "anchor"), "own_flax:build", FRAME)
    module.eval()
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 1, *FRAME)), jnp.float32)
    arrays = open_weights(tmp_path / "anchor").arrays
    got = jax.jit(surrogate.apply)(surrogate.to_params(arrays), x)
    np.testing.assert_allclose(got, module(x[:, 0]), atol=1e-5)
    with pytest.raises(ValueError, match="has no place for other"):
        params_of(module, arrays | {"other": np.ones(2, np.float32)}, "file")


def test_a_linen_network_with_its_collections(tmp_path: Path, nets: Any) -> None:
    module = nets("own_linen", FLAX).Pointwise(width=5)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 1, *FRAME)), jnp.float32)
    variables = jax.tree.map(np.asarray, jax.jit(module.init)(jax.random.key(0), x[:, 0]))
    (tmp_path / "model.yaml").write_text("model: own_linen:Pointwise\nargs: {width: 5}\n")
    for tree in (variables, variables["params"]):
        checkpoint.save(path := tmp_path / f"anchor{len(tree)}", tree)
        weights = open_weights(path)
        surrogate = surrogate_of(weights, str(tmp_path / "model.yaml"), FRAME)
        got = surrogate.apply(surrogate.to_params(weights.arrays), x)
        np.testing.assert_allclose(got, module.apply(variables, x[:, 0]), atol=1e-6)


def test_static_fields_and_rates_of_a_network(tmp_path: Path, nets: Any) -> None:
    nets("own_rate", "def apply(params, x):\n    return x[..., :2] + params['a'] * x[..., 2:]\n")
    static = np.random.default_rng(0).standard_normal((6, 6, 2)).astype(np.float32)
    np.save(tmp_path / "terrain.npy", static)
    said = "model: own_rate:apply\nwindow: merged\nstatic: terrain.npy\npredicts: rate\ntime_step: 0.5\n"
    (tmp_path / "model.yaml").write_text(said)
    weights = Weights(tmp_path / "a.npz", "npz", {"a": np.float32(3.0)}, {})
    surrogate = surrogate_of(weights, str(tmp_path / "model.yaml"), FRAME)
    x = np.ones((2, 1, *FRAME), np.float32)
    got = surrogate.apply(surrogate.to_params(weights.arrays), jnp.asarray(x))
    np.testing.assert_allclose(got, np.broadcast_to(1 + 0.5 * (1 + 3 * static[None]), got.shape), rtol=1e-6)
    with pytest.raises(ValueError, match=r"static has shape \(6, 6, 2\), expected \[8, 8, 'S'\]"):
        surrogate_of(weights, str(tmp_path / "model.yaml"), (8, 8, 2))


def test_what_is_no_network_is_refused_in_one_line(tmp_path: Path, nets: Any) -> None:
    nets("own_bad", NETS)
    (tmp_path / "own_fails.py").write_text("def apply(params, window):\n    return window\nlater()\n")
    (tmp_path / "own_torn.py").write_text("def apply(:\n")
    weights = Weights(tmp_path / "a.npz", "npz", {"scale": np.ones(1, np.float32)}, {})
    for model, message in {
        "own_bad:brokn": r"a network is MODULE:NAME. Did you mean own_bad:broken\?",
        "own_bad:nothing": "own_bad has no nothing; a network is MODULE:NAME",
        "own_bad:pair": r"own_bad:pair returns a tuple \(function, int\), expected the network alone: return its first",
        "own_bad:broken": "own_bad:broken is an int, expected a torch.nn.Module",
        "own_bad:unet": "own_bad:unet needs width; name a function that builds the network without arguments, or pass",
        "own_bad:fails": "--model own_bad:fails: RuntimeError no such day, when it was called .own_bad.py, line",
        ":apply": "--model :apply: expected MODULE:NAME",
        "own_bad:apply": "does not fit its model on a window .*: KeyError 'mix'",
        "own_nowhere:apply": "own_nowhere cannot be imported: .*; put its folder on PYTHONPATH",
        "own_bad.py:apply": "own_bad.py is a path, expected the name of a module: own_bad, with its folder",
        "own_fails:apply": r"own_fails cannot be imported: NameError: .* is not defined \(own_fails.py, line 3",
        "own_torn:apply": r"own_torn cannot be imported: .* \(own_torn.py, line 1\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            surrogate_of(weights, model, FRAME)
    with pytest.raises(ValueError, match="no model 'own_bad:unet'"):  # it is not ours, whatever its name
        make_model("own_bad:unet")
    assert kind_of(find_own("own_bad:unet", {"width": 3}).network) is None
    for model, message in {
        "own_bad": "and none of .*, or MODULE:NAME, such as own_bad:NAME",
        "own_bad.apply": "such as own_bad:apply",
        "own_bad.py": "expected own_bad:NAME, with NAME of what in this module is the network or builds it",
    }.items():
        with pytest.raises(ValueError, match=message):
            surrogate_of(weights, str(tmp_path / model), FRAME)
    file = tmp_path / "model.yaml"
    for line, message in {
        "channels: middle": "channels is 'middle', expected first or last",
        "batched: 2": "batched is 2, expected true or false",
        "predicts: rate": "predicts is rate; say time_step, the time between two frames in its units",
        "predicts: rate\ntime_step: 0": "time_step is 0, expected the time between two frames",
        "history: 0": "history is 0, expected the frames in a window, 1 or more",
        "time_step: 0.1": "time_step is that of a rate; say predicts: rate",
        "static: none.npy": "expected a .npy file",
        "chanels: first": "chanels is unknown",
    }.items():
        file.write_text(f"model: own_bad:apply\n{line}\n")
        with pytest.raises(ValueError, match=message):
            surrogate_of(weights, str(file), FRAME)
    file.write_text("model: fno\nchannels: first\nargs: {modes: [2, 2], width: 4, depth: 1}\n")
    with pytest.raises(ValueError, match="channels is for networks of your own, MODULE:NAME; fno is known here"):
        surrogate_of(weights, str(file), FRAME)


def test_a_known_network_may_predict_an_increment(tmp_path: Path) -> None:
    args = {"modes": (2, 2), "width": 4, "depth": 1, "out_channels": 2}
    model, x = make_model("fno", **args), jax.random.normal(jax.random.key(1), (2, 1, *FRAME))
    params = jax.jit(model.init)(jax.random.key(0), x)
    weights = Weights(tmp_path / "a.safetensors", "safetensors", flatten(jax.tree.map(np.asarray, params)), {})
    (tmp_path / "model.yaml").write_text(
        "model: fno\npredicts: increment\nargs: {modes: [2, 2], width: 4, depth: 1, out_channels: 2}\n"
    )
    surrogate = surrogate_of(weights, str(tmp_path / "model.yaml"), FRAME)
    expected = x[:, 0] + jax.jit(model.apply)(params, x)
    np.testing.assert_allclose(jax.jit(surrogate.apply)(params, x), expected, atol=1e-6)
