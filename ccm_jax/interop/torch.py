"""Any PyTorch module as a rollout: PyTorch runs it, behind one callback for a whole rollout and one for its derivative.

    frames = rollout_fn(params, window, steps),    d frames = torch.func.jvp of the same loop

JAX makes the weights of a candidate and hands them over once; candidates come in turn. All readouts work unchanged.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ccm_jax._checks import is_merged
from ccm_jax.interop.layout import Layout, next_frame
from ccm_jax.rollout import RolloutFn

Array = jax.Array

FIRST = Layout(channels="first")
STEP = 1e-3  # of a finite difference, over the norm of the weights
AGREE = 0.1  # relative distance of a derivative from a finite difference that is still the same
COUNTER = "num_batches_tracked"  # of BatchNorm: no forward pass of evaluation reads it


def torch_params(module: Any) -> dict[str, np.ndarray]:
    """The weights of a module by name: parameters and buffers of its ``state_dict``, as a tree that charts take.

    BatchNorm's counters of batches are left out: no forward pass of evaluation reads them.

    Args:
        module: a ``torch.nn.Module``.

    Returns:
        Numpy arrays, copies.

    Example:
        >>> torch_params(torch.nn.Linear(3, 2))["weight"].shape  # doctest: +SKIP
        (2, 3)
    """
    return {name: _to_numpy(tensor) for name, tensor in _tensors(module).items()}


def torch_rollout(module: Any, layout: Layout = FIRST) -> RolloutFn:
    """The autoregressive rollout of a PyTorch module, as :func:`~ccm_jax.make_rollout` gives it for functions of JAX.

    The module is switched to evaluation, and goes to a GPU where PyTorch has one. Its own weights are not used: those
    of the call are. Derivatives are forward-mode, by ``torch.func.jvp``; a module that has none gets central
    differences, and a warning says so.

    Args:
        module: a ``torch.nn.Module``; it takes and gives tensors in the layout.
        layout: where its channels and frames are, and what it predicts; channels first, if not given.

    Returns:
        ``rollout_fn(params, window [N, history, *space, C], steps) -> frames [N, steps, *space, C]``; its ``params``
        are those of :func:`torch_params`. Works under ``jit``, ``vmap``, ``jvp`` and ``lax.map``.

    Example:
        >>> rollout_fn = torch_rollout(torch.nn.Conv2d(2, 2, 3, padding=1))  # doctest: +SKIP
        >>> chart = ccm_jax.fit_chart(anchor, [low, high], [-1, 1], features=ccm_jax.Gated())  # doctest: +SKIP
        >>> ccm_jax.fit_prefix_readout(chart, rollout_fn)(frames).coordinate  # doctest: +SKIP

    Source: ``torch.func.functional_call`` and ``torch.func.jvp`` of PyTorch 2.
    """
    run = _Runner(module, layout)

    @functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
    def call(params: Mapping[str, Array], window: Array, steps: int) -> Array:
        out = jax.ShapeDtypeStruct((len(window), steps, *window.shape[2:]), window.dtype)
        host = functools.partial(run.frames, steps)
        return jax.pure_callback(host, out, dict(params), window, vmap_method="sequential")

    @call.defjvp
    def jvp(steps: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
        (params, window), (moved, shift) = primals, tangents
        frames = call(params, window, steps)
        moved = {name: moved[name] for name in moved if is_merged(params[name])}  # others have no tangents
        host = functools.partial(run.slopes, steps, run.has_derivative(window.shape))
        out = jax.ShapeDtypeStruct(frames.shape, frames.dtype)
        slopes = jax.pure_callback(host, out, dict(params), window, moved, shift, vmap_method="sequential")
        return frames, slopes

    def rollout_fn(params: Mapping[str, Array], window: Array, steps: int) -> Array:
        return call(params, window, steps)

    return rollout_fn


def run_torch(module: Any, layout: Layout, params: Mapping[str, Array], window: Array, steps: int) -> np.ndarray:
    """The same rollout, at once and without a callback, so that what PyTorch raises is raised."""
    return _Runner(module, layout).frames(steps, params, window)


def as_torch_params(module: Any, arrays: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The arrays of a file as weights of a module, without counters.

    A module that wraps the one of the file, as its only part, has the same names behind that part's.

    Args:
        module: a ``torch.nn.Module``.
        arrays: by name, as in a ``state_dict``.
        what: the file, for messages.

    Raises:
        ValueError: unless they have the names and shapes of the module's weights.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in _tensors(module).items()}
    params = {name: leaf for name, leaf in arrays.items() if not _is_counter(name)}
    part, *others = {name.partition(".")[0] for name in expected} or {""}
    if not others and set(expected) == {f"{part}.{name}" for name in params}:
        params = {f"{part}.{name}": leaf for name, leaf in params.items()}
    given = {name: tuple(np.shape(leaf)) for name, leaf in params.items()}
    for name in [*expected, *given]:
        if expected.get(name) != given.get(name):
            of, there = expected.get(name, "no such weight"), given.get(name, "missing")
            raise ValueError(f"{what}: {name} is {there}, and the {type(module).__name__} has {of}.")
    return params


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def _tensors(module: Any) -> dict[str, Any]:
    """The tensors of a ``state_dict``, without counters."""
    state = module.state_dict()
    return {k: v for k, v in state.items() if hasattr(v, "detach") and not _is_counter(k)}


def _to_numpy(tensor: Any) -> np.ndarray:
    return np.array(jax.dlpack.from_dlpack(tensor.detach().cpu().contiguous())) if _narrow(tensor) else _copy(tensor)


def _copy(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().resolve_conj().resolve_neg().numpy().copy()


def _narrow(tensor: Any) -> bool:
    return str(tensor.dtype) == "torch.bfloat16"  # a type that numpy has from JAX only


class _Runner:
    """A module, its loop over frames, and what was found out about its derivative; not for use outside of callbacks."""

    def __init__(self, module: Any, layout: Layout) -> None:
        import torch

        class Loop(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = module

            def forward(self, window: Any, steps: int) -> Any:
                frames = []
                for _ in range(steps):
                    frame = next_frame(one_by_one, window, placed, torch)
                    frames.append(frame)
                    window = torch.cat([window[:, 1:], frame[:, None]], dim=1)
                return torch.stack(frames, dim=1)

        def one_by_one(x: Any) -> Any:
            return module(x) if layout.batched else torch.stack([module(state) for state in x])

        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"torch_rollout: module is {type(module).__name__}, expected a torch.nn.Module.")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        module.eval().to(self.device)
        self.torch, self.module, self.loop = torch, module, Loop()
        real = [t.dtype for t in _tensors(module).values() if t.is_floating_point()]
        self.dtype = real[0] if real else torch.float32
        static = layout.static
        placed = layout._replace(static=None if static is None else torch.tensor(static).to(self.device, self.dtype))
        self.derivative: bool | None = None  # whether torch.func.jvp works; None before it is asked for
        # A functional call puts weights into the module for as long as it lasts, so that only one may run.
        self.alone = threading.Lock()

    def frames(self, steps: int, params: Mapping[str, Any], window: Any) -> np.ndarray:
        """The rollout of host arrays; NaN where PyTorch's linear algebra gives up on what is not finite."""
        with self.alone, self.torch.no_grad():
            return self.back(self.roll(steps, self.weights(params), self.states(window)), window)

    def slopes(
        self, steps: int, derivative: bool, params: Any, window: Any, moved: Mapping[str, Any], shift: Any
    ) -> np.ndarray:
        """The rollout's derivative along a direction of weights and window."""
        at = (self.weights(params), self.states(window))
        along = (self.weights(moved), self.states(shift))
        with self.alone, self.torch.no_grad():
            return self.back((self.jvp if derivative else self.difference)(steps, at, along), window)

    def roll(self, steps: int, weights: Mapping[str, Any], window: Any) -> Any:
        named = {f"network.{name}": tensor for name, tensor in weights.items()}
        try:
            return self.torch.func.functional_call(self.loop, named, (window, steps), tie_weights=False)
        except self.torch.linalg.LinAlgError:
            return self.torch.full((len(window), steps, *window.shape[2:]), math.nan)

    def jvp(self, steps: int, at: Any, along: Any) -> Any:
        """By forward mode."""
        weights, window = at
        moving = {name: weights[name] for name in along[0]}

        def frames(moving: Any, window: Any) -> Any:
            return self.roll(steps, {**weights, **moving}, window)

        with _differentiable(self.torch):
            return self.torch.func.jvp(frames, (moving, window), along)[1]

    def difference(self, steps: int, at: Any, along: Any) -> Any:
        """By a central difference."""

        def norm(tree: Any) -> float:
            weights, window = tree
            return math.sqrt(sum(float(t.abs().square().sum()) for t in [*weights.values(), window]))

        weights, window = at
        length = norm(along)
        if not 0 < length < math.inf:
            return self.roll(steps, weights, window) * (0.0 if length == 0 else math.nan)
        h = STEP * norm(({name: weights[name] for name in along[0]}, window)) / length

        def moved(sign: float) -> Any:
            there = {name: weights[name] + sign * h * tangent for name, tangent in along[0].items()}
            return self.roll(steps, {**weights, **there}, window + sign * h * along[1])

        return (moved(1.0) - moved(-1.0)) / (2 * h)

    def has_derivative(self, shape: tuple[int, ...]) -> bool:
        """Whether ``torch.func.jvp`` of one step works, and agrees with a difference; asked once, on random states."""
        if self.derivative is None:
            torch = self.torch
            generator = torch.Generator().manual_seed(0)

            def random(like: Any) -> Any:
                noise = torch.randn(like.shape, generator=generator, dtype=torch.float32)
                return noise.to(like.device, like.dtype) * like.abs().mean()

            state = torch.ones((1, *shape[1:]), dtype=self.dtype, device=self.device)
            weights = {k: v.detach() for k, v in _tensors(self.module).items()}
            moved = {k: random(v) for k, v in weights.items() if v.is_floating_point() or v.is_complex()}
            at, along = (weights, random(state)), (moved, torch.zeros_like(state))
            reason = "it is not that of finite differences"
            with self.alone, torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch's own: it loads its rules when they are first needed
                try:
                    slope, expected = self.jvp(1, at, along), self.difference(1, at, along)
                    apart = float((slope - expected).norm() / expected.norm().clamp_min(1e-30))
                    self.derivative = not apart > AGREE
                except Exception as error:  # whatever a module may raise, it has no derivative
                    self.derivative, reason = False, str(error).partition("\n")[0]
            if not self.derivative:
                warnings.warn(
                    f"{type(self.module).__name__} has no derivative by torch.func.jvp ({reason}); central differences "
                    "take its place.",
                    stacklevel=2,
                )
        return self.derivative

    def weights(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays as tensors of the module's types, without a copy where they have them."""
        like = _tensors(self.module)
        return {name: self.tensor(leaf).to(self.device, like[name].dtype) for name, leaf in params.items()}

    def states(self, window: Any) -> Any:
        return self.tensor(window).to(self.device, self.dtype)

    def tensor(self, leaf: Any) -> Any:
        """A tensor that shares the memory of an array."""
        return self.torch.from_dlpack(leaf) if leaf.size else self.torch.zeros(leaf.shape)

    def back(self, frames: Any, window: Any) -> np.ndarray:
        wide = self.torch.float64 if window.dtype == np.float64 else self.torch.float32
        return _copy(frames.to(wide)).astype(window.dtype, copy=False)


@contextlib.contextmanager
def _differentiable(torch: Any) -> Iterator[None]:
    """Attention by plain operations: the fused ones have no forward-mode derivative."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
