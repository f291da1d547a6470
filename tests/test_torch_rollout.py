"""PyTorch's modules as rollouts: the same frames, slopes and coordinates as loops in PyTorch give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Gated, fit_chart, fit_prefix_readout, make_rollout
from ccm_jax.cli.faults import line_of_run
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.torch import FIRST, as_torch_params, torch_module, torch_params, torch_rollout
from ccm_jax.prefix import prefix_errors

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parent.parent


def convolutions(channels: int = 2, history: int = 1, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    first = torch.nn.Conv2d(channels * history, 6, 3, padding=1, padding_mode="circular")
    return torch.nn.Sequential(first, torch.nn.GELU(), torch.nn.Conv2d(6, channels, 3, padding=1))


def family(module: Any, step: float = 0.05) -> tuple[Any, list[Any]]:
    """Weights of a module as the anchor's, and two experts near it."""
    rng = np.random.default_rng(0)
    anchor = torch_params(module)

    def moved(leaf: np.ndarray) -> np.ndarray:
        return (leaf + step * rng.standard_normal(leaf.shape)).astype(leaf.dtype) if leaf.dtype.kind in "fc" else leaf

    return anchor, [{name: moved(leaf) for name, leaf in anchor.items()} for _ in range(2)]


def in_torch(module: Any, weights: dict[str, Any], window: np.ndarray, steps: int) -> np.ndarray:
    """The loop that anybody would write: channels first, the frames of the window as channels."""
    module.load_state_dict({k: torch.tensor(np.asarray(v)) for k, v in weights.items()}, strict=False)
    past = [torch.tensor(np.moveaxis(frame, -1, 1).copy()) for frame in np.moveaxis(window, 1, 0)]
    with torch.no_grad():
        for _ in range(steps):
            past.append(module(torch.cat(past[-window.shape[1] :], dim=1)))
    return np.stack([np.moveaxis(frame.numpy(), 1, -1) for frame in past[window.shape[1] :]], axis=1)


def states(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("history", [1, 3])
def test_a_rollout_is_that_of_a_loop_in_torch(history: int) -> None:
    module = convolutions(history=history)
    anchor, (low, _) = family(module)
    window, run = states(3, history, 6, 5, 2), torch_rollout(module)
    got = jax.jit(run, static_argnums=2)(low, window, 4)
    np.testing.assert_allclose(got, in_torch(module, low, window, 4), atol=1e-6)
    # The weights are those of the call, not the module's; several sets of them come one after the other.
    both = jax.vmap(lambda params: run(params, window, 2))(jax.tree.map(lambda *x: np.stack(x), anchor, low))
    np.testing.assert_allclose(both[1], got[:, :2], atol=1e-6)
    np.testing.assert_allclose(both[0], in_torch(module, anchor, window, 2), atol=1e-6)


def test_its_slopes_are_those_of_the_same_network_in_jax() -> None:
    module = torch.nn.Conv1d(2, 2, 1)
    anchor, (low, _) = family(module, 0.3)
    run, window = torch_rollout(module), states(2, 1, 5, 2)

    def apply(params: Any, window: Any) -> Any:
        return window[:, -1] @ params["weight"][..., 0].T + params["bias"][None, None]

    def along(rollout_fn: Any) -> Any:
        return jax.jit(lambda p, x, dp, dx: jax.jvp(lambda p, x: rollout_fn(p, x, 3), (p, x), (dp, dx)))

    direction = jax.tree.map(lambda a, b: b - a, anchor, low)
    given = (anchor, window, direction, 0.1 * window)
    for ours, expected in zip(along(run)(*given), along(make_rollout(apply))(*given), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


class Attention(torch.nn.Module):
    """Points attend to each other, by the function whose fast form has no forward-mode derivative."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside, self.out = torch.nn.Linear(1, 12), torch.nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:  # [N, 1, n]
        q, k, v = self.inside(x.mT).unflatten(-1, (3, 1, 4)).unbind(-3)
        there = torch.nn.functional.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)))
        return x + 0.3 * self.out(there[:, 0]).mT


class Opaque(torch.autograd.Function):
    """Doubles, and has no derivative of any kind."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.sin()


class Hidden(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inside = torch.nn.Linear(1, 1)

    def forward(self, x: Any) -> Any:
        return x + 0.3 * Opaque.apply(self.inside(x.mT)).mT


class Detached(Hidden):
    def forward(self, x: Any) -> Any:  # torch.func.jvp works, and says 0
        return x + 0.3 * self.inside(x.mT).detach().sin().mT


@pytest.mark.parametrize("kind", [Attention, Hidden, Detached])
def test_a_planted_coordinate_is_found_whatever_derivatives_the_module_has(kind: Any) -> None:
    module = kind()
    anchor, experts = family(module, 0.2)
    chart, run = fit_chart(anchor, experts, [-1.0, 1.0], features=Gated()), torch_rollout(module)
    start = states(2, 1, 6, 1)
    frames = np.concatenate([start, run(chart(0.7), start, 4)], axis=1)
    readout = fit_prefix_readout(chart, run)
    if kind is Attention:
        found = readout(frames, batch="pooled")
    else:
        with pytest.warns(UserWarning, match="has no derivative by torch.func.jvp .*central differences"):
            found = readout(frames, batch="pooled")
    np.testing.assert_allclose(found.coordinate, [0.7, 1.0], atol=5e-3)


def test_layouts() -> None:
    class Frames(torch.nn.Module):  # as DPOT: [N, x, y, T, C] is another matter, but [N, T, C, x, y] -> [N, 1, C, x, y]
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Any) -> Any:
            assert x.shape[1:] == (3, 2, 6, 5)
            return (self.scale * x[:, -1:], "logits")

    window = states(2, 3, 6, 5, 2)
    run = torch_rollout(Frames(), Layout(channels="first", window="axis"))
    np.testing.assert_allclose(run(torch_params(Frames()), window, 1)[:, 0], 2 * window[:, -1])

    class Points(torch.nn.Module):  # one state at a time, channels last, a static field behind them; gives a rate
        def forward(self, x: Any) -> Any:
            assert x.shape == (6, 5, 7)
            return x[..., -3:-1] + x[..., -1:]

    static = states(6, 5, 1)
    layout = Layout("last", "merged", batched=False, predicts="rate", time_step=0.5, static=static)
    got = torch_rollout(Points(), layout)({}, window, 2)
    first = window[:, -1] + 0.5 * (window[:, -1] + static[None])
    np.testing.assert_allclose(got[:, 0], first, rtol=1e-6)
    np.testing.assert_allclose(got[:, 1], first + 0.5 * (first + static[None]), rtol=1e-6)


@pytest.mark.parametrize("batched", [True, False])
def test_a_forcing_and_the_time_are_a_context(batched: bool) -> None:
    class Forced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x: Any, context: Any, time: int) -> Any:  # [N, n, 1], or [n, 1]
            return x + self.gain * context["force"][..., time : time + 1, None]

    module, force, window = Forced(), states(2, 9), states(2, 1, 4, 1)
    run = torch_rollout(module, Layout("last", batched=batched))
    rolled = jax.jit(lambda p: run(p, window, 3, {"force": force}, 5))
    summed = window + np.cumsum(force[:, 5:8], axis=1)[:, :, None, None] * 0.5
    np.testing.assert_allclose(rolled(torch_params(module)), summed, rtol=1e-5)
    _, slope = jax.jvp(lambda gain: rolled({"gain": gain}), (jnp.float32(0.5),), (jnp.float32(1.0),))
    np.testing.assert_allclose(slope, (summed - window) / 0.5, rtol=1e-4, atol=1e-5)


def test_weights_of_any_type_and_what_is_no_weight() -> None:
    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.z = torch.nn.Parameter(torch.tensor([1.0 + 2.0j, 3.0]))
            self.norm = torch.nn.BatchNorm1d(2)
            self.register_buffer("order", torch.tensor([1, 0]))
            self.twice = self.z

        def forward(self, x: Any) -> Any:  # [N, 2, n]
            return self.norm(x)[:, self.order] * self.z.real[:, None] + self.twice.imag[:, None]

    module = Mixed().train()
    module(torch.ones(2, 2, 4))
    params = torch_params(module)
    assert set(params) == {"z", "twice", "order", *(f"norm.{k}" for k in ("weight", "bias", "running_mean"))} | {
        "norm.running_var"
    }
    assert params["z"].dtype == np.complex64 and params["order"].dtype == np.int64
    x = states(3, 1, 4, 2)
    got = torch_rollout(module)(params, x, 1)[:, 0]
    expected = module(torch.tensor(np.moveaxis(x[:, 0], -1, 1).copy())).detach().numpy()
    np.testing.assert_allclose(np.moveaxis(got, -1, 1), expected, atol=1e-6)
    half = torch.nn.Linear(2, 2).to(torch.bfloat16)
    assert torch_params(half)["weight"].dtype == jnp.bfloat16
    out = torch_rollout(half, FIRST._replace(channels="last"))(torch_params(half), x, 2)
    assert out.dtype == jnp.float32 and bool(jnp.isfinite(out).all())
    with pytest.raises(ValueError, match=r"file: bias is missing; the network expects \(2,\)"):
        as_torch_params(half, {"weight": np.ones((2, 2))}, "file")
    wrapped = torch.nn.Sequential(torch.nn.Sequential(half))
    assert set(as_torch_params(torch.nn.Sequential(half), torch_params(half), "file")) == {"0.weight", "0.bias"}
    with pytest.raises(ValueError, match=r"file: 0.0.weight is missing"):
        as_torch_params(wrapped, torch_params(half), "file")
    with pytest.raises(ValueError, match="module is a dict, expected a torch.nn.Module"):
        torch_rollout({})


def test_what_diverges_is_infinite_and_never_wins() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    trees = [{"weight": np.array([[w]], np.float32)} for w in (1.0, 0.5, 1.5)]
    chart = fit_chart(trees[0], trees[1:], [-1.0, 1.0])
    run = torch_rollout(module, FIRST._replace(channels="last"))
    errors = prefix_errors(chart, run, 1.5 ** jnp.arange(5.0)[None, :, None, None], jnp.array([[-1e20], [1.0]]))
    assert not bool(jnp.isfinite(errors[0]).all()) and float(errors[1].max()) < 1e-5


def test_one_thread_is_enough() -> None:
    script = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, torch
from ccm_jax import fit_chart, fit_prefix_readout
from ccm_jax.interop.torch import torch_params, torch_rollout
module = torch.nn.Sequential(torch.nn.Conv1d(1, 1024, 1), torch.nn.Conv1d(1024, 1024, 1), torch.nn.Conv1d(1024, 1, 1))
anchor = torch_params(module)
low, high = ({k: v * (1 + s) for k, v in anchor.items()} for s in (-0.1, 0.1))
readout = fit_prefix_readout(fit_chart(anchor, [low, high], [-1.0, 1.0]), torch_rollout(module))
frames = jnp.ones((2, 5, 16, 1))
print(jnp.isfinite(readout(frames, batch="each").loss).all())
"""
    there = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    done = subprocess.run([sys.executable, "-c", script], env=there, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and done.stdout.strip() == "True", done.stderr


class PartlyDetached(torch.nn.Module):
    """Reads one weight twice, the second time as a constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return x + 0.1 * self.b.weight.data.sum() * self.b(torch.tanh(self.a(x)))


def test_a_weight_that_is_detached_in_part_has_no_derivative() -> None:
    module = PartlyDetached()
    with pytest.warns(UserWarning, match="it is not that of finite differences"):
        jax.jvp(
            lambda p: torch_rollout(module)(p, states(1, 1, 6, 6, 2), 1),
            (torch_params(module),) * 1,
            (torch_params(module),),
        )


class Late(torch.nn.Module):
    """Has positions for two steps only."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.step = torch.nn.Parameter(torch.tensor(0.5)), 0

    def forward(self, x: Any) -> Any:
        self.step += 1
        if self.step > 3:  # one of them is tried before
            raise IndexError("index 2 is out of range\nof this table")
        return self.scale * x


def test_what_a_module_raises_later_is_one_line() -> None:
    run, window = torch_rollout(Late()), states(1, 1, 6, 6, 2)
    with pytest.raises(RuntimeError) as raised:
        jax.block_until_ready(jax.jit(run, static_argnums=2)(torch_params(Late()), window, 4))
    said = line_of_run(raised.value)
    assert said == (
        "the network failed while it ran: Late failed on a window [1, 1, 6, 6, 2], 4 frames ahead: IndexError index 2 "
        "is out of range; see --model."
    )
    assert line_of_run(RuntimeError("of another kind")) is None


@pytest.mark.parametrize("kind", ["double", "half", "int", "complex"])
def test_frames_take_the_precision_of_their_window(kind: str) -> None:
    class Other(torch.nn.Conv2d):
        def forward(self, x: Any) -> Any:
            y = super().forward(x)
            return y + 0j if kind == "complex" else getattr(y, kind)()

    module = Other(2, 2, 1)
    run = torch_rollout(module)
    if kind == "complex":
        with pytest.raises(ValueError, match="the frame is complex, expected real numbers"):
            jax.block_until_ready(run(torch_params(module), states(1, 1, 6, 6, 2), 3))
    else:
        assert run(torch_params(module), states(1, 1, 6, 6, 2), 3).dtype == jnp.float32


@pytest.mark.parametrize("layout", [FIRST, Layout("last", "merged")], ids=["first", "last"])
def test_a_module_that_works_in_place_changes_nothing_of_the_caller_s(layout: Layout) -> None:
    class InPlace(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(0.5))
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            self.calls += 1
            x -= 1
            return self.scale * x

    window = jnp.asarray(states(2, 1, 6, 6, 1))
    before, params = np.array(window), jax.tree.map(jnp.asarray, torch_params(InPlace()))
    run = torch_rollout(InPlace(), layout)
    first, second = (np.asarray(run(params, window, 3)) for _ in range(2))
    np.testing.assert_array_equal(window, before)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first[:, 0], 0.5 * (before[:, -1] - 1), rtol=1e-6)
    assert params["calls"] == 0
    grows = torch_rollout(InPlace(), layout._replace(predicts="increment"))(params, window, 1)
    np.testing.assert_allclose(grows[:, 0], before[:, -1] + 0.5 * (before[:, -1] - 1), rtol=1e-5)


def test_a_network_that_gives_no_tensor_is_told_what_to_give() -> None:
    class Named(torch.nn.Identity):
        def forward(self, x: Any) -> Any:
            return {"y": x}

    with pytest.raises(ValueError, match="the network gives dict, expected an array, or a tuple whose first is one"):
        jax.block_until_ready(torch_rollout(Named())({}, states(1, 1, 6, 6, 2), 1))


def test_channels_in_another_place_are_said_before_anything_runs() -> None:
    run = torch_rollout(torch.nn.Conv2d(2, 2, 3, padding=1))
    with pytest.raises(ValueError, match=r"Conv2d failed on a window \[1, 1, 2, 6, 6\].*; windows are .*channels last"):
        run({}, states(3, 1, 2, 6, 6), 2)
    with pytest.raises(ValueError, match=r"a frame \[6, 6, 3\] comes out for frames \[6, 6, 2\]; windows are"):
        torch_rollout(torch.nn.Conv2d(2, 3, 1))({}, states(3, 1, 6, 6, 2), 2)


def test_a_module_with_other_weights_is_a_copy_and_predicts_with_them() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3, padding=1), torch.nn.BatchNorm2d(2))
    anchor, (low, _) = family(module)
    before = {name: leaf.clone() for name, leaf in module.state_dict().items()}
    merged = torch_module(module, jax.tree.map(jnp.asarray, low))
    assert not merged.training and module.training
    assert all(torch.equal(module.state_dict()[name], leaf) for name, leaf in before.items())
    x = states(1, 1, 8, 8, 2)
    ours, theirs = torch_rollout(module)(low, x, 2), torch_rollout(merged)(torch_params(merged), x, 2)
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(
        ValueError, match=r"^torch_module: params: 0.weight is missing; the network expects \(2, 2, 3, 3\)"
    ):
        torch_module(module, {name: leaf for name, leaf in anchor.items() if name != "0.weight"})
