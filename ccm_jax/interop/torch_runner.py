"""PyTorch's side of a rollout: a module, its loop over frames, and derivatives; called with arrays of the host."""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ccm_jax._article import with_article
from ccm_jax._reasons import FAILED, reason_of
from ccm_jax.interop.layout import Layout, next_frame

STEP = 1e-3  # of a finite difference, over the norm of the weights
AGREE = 0.1  # relative distance of a derivative from a finite difference that is still the same
LAST = "windows are [N, history, *space, C], channels last, and a Layout says how the module takes them"
DIRECTIONS = 3  # in which they are compared: one alone may hardly move a weight that is detached in part
COUNTER = "num_batches_tracked"  # of BatchNorm: no forward pass of evaluation reads it


def is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def tensors_of(module: Any) -> dict[str, Any]:
    """The tensors of a ``state_dict``, without counters."""
    state = module.state_dict()
    return {k: v for k, v in state.items() if hasattr(v, "detach") and not is_counter(k)}


def to_numpy(tensor: Any) -> np.ndarray:
    return np.array(jax.dlpack.from_dlpack(tensor.detach().cpu().contiguous())) if _narrow(tensor) else copied(tensor)


def copied(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().resolve_conj().resolve_neg().numpy().copy()


def _narrow(tensor: Any) -> bool:
    return str(tensor.dtype) == "torch.bfloat16"  # a type that numpy has from JAX only


def same_kind(frame: Any, window: Any) -> Any:
    """A frame in the precision of its window, which it becomes a part of.

    Raises:
        TypeError: for complex numbers, which no state has.
        ValueError: for another shape.
    """
    if frame.shape[1:] != window.shape[2:]:
        raise ValueError(f"a frame {list(frame.shape[1:])} comes out for frames {list(window.shape[2:])}")
    if frame.is_complex():
        raise TypeError("the frame is complex, expected real numbers, such as its real part")
    return frame.to(window.dtype)


class When(NamedTuple):
    """Over which frames a module runs, and what it takes beside its window.

    Attributes:
        steps: frames to predict.
        context: a tree of arrays ``[N, ...]`` for the module's second argument, or None.
        start: index of the first predicted frame; with a context, that of each frame is the module's third argument.
    """

    steps: int
    context: Any = None
    start: int = 0


class Runner:
    """A module, its loop over frames, and what was found out about its derivative; not for use outside of callbacks."""

    def __init__(self, module: Any, layout: Layout) -> None:
        import torch

        class Loop(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = module

            def forward(self, window: Any, when: When) -> Any:
                frames = []
                for time in range(when.start, when.start + when.steps):
                    more = () if when.context is None else (when.context, time)
                    frame = next_frame(functools.partial(network, more=more), window, placed, torch)
                    frames.append(same_kind(frame, window))
                    window = torch.cat([window[:, 1:], frames[-1][:, None]], dim=1)
                return torch.stack(frames, dim=1)

        def network(x: Any, more: Any) -> Any:
            x = x.clone()  # a module may work in place, and these numbers are the caller's, or those of the last frame
            if layout.batched:
                return module(x, *more)
            each = (
                [jax.tree.map(lambda leaf, i=i: leaf[i], more[0]), *more[1:]] if more else [] for i in range(len(x))
            )
            return torch.stack([module(state, *rest) for state, rest in zip(x, each, strict=True)])

        if not isinstance(module, torch.nn.Module):
            raise ValueError(
                f"torch_rollout: module is {with_article(type(module).__name__)}, expected a torch.nn.Module."
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        module.eval().to(self.device)
        self.torch, self.module, self.loop = torch, module, Loop()
        real = [t.dtype for t in tensors_of(module).values() if t.is_floating_point()]
        self.dtype = real[0] if real else torch.float32
        static: Any = layout.static
        placed = layout if static is None else layout._replace(static=self.fields(static))
        self.tried: set[tuple[int, ...]] = set()  # windows that the module takes
        self.derivative: bool | None = None  # whether torch.func.jvp works; None before it is asked for
        # A functional call puts weights into the module for as long as it lasts, so only one may run.
        self.alone = threading.Lock()

    def frames(self, params: Mapping[str, Any], window: Any, when: When) -> np.ndarray:
        """The rollout of host arrays; NaN where PyTorch's linear algebra gives up on what is not finite."""
        with self.alone, self.torch.no_grad():
            return self.back(self.roll(self.weights(params), self.states(window), self.placed(when)), window)

    def slopes(
        self, derivative: bool, params: Any, window: Any, moved: Mapping[str, Any], shift: Any, when: When
    ) -> np.ndarray:
        """The rollout's derivative along a direction of weights and window."""
        with self.alone, self.torch.no_grad():
            at = (self.weights(params), self.states(window))
            along = (self.weights(moved), self.states(shift))
            return self.back((self.jvp if derivative else self.difference)(at, along, self.placed(when)), window)

    def placed(self, when: When) -> When:
        """With tensors as its context."""
        return when._replace(context=jax.tree.map(lambda leaf: self.tensor(leaf).to(self.device), when.context))

    def roll(self, weights: Mapping[str, Any], window: Any, when: When) -> Any:
        named = {f"network.{name}": tensor for name, tensor in weights.items()}
        try:
            return self.torch.func.functional_call(self.loop, named, (window, when), tie_weights=False)
        except self.torch.linalg.LinAlgError:
            return self.torch.full((len(window), when.steps, *window.shape[2:]), math.nan)
        except (Exception, SystemExit) as error:  # whatever a module may raise
            raise ValueError(
                f"{FAILED}{type(self.module).__name__} failed on a window {list(window.shape)}, {when.steps} frames "
                f"ahead: {reason_of(error)}."
            ) from error

    def jvp(self, at: Any, along: Any, when: When) -> Any:
        """By forward mode."""
        weights, window = at
        moving = {name: weights[name] for name in along[0]}

        def frames(moving: Any, window: Any) -> Any:
            return self.roll({**weights, **moving}, window, when)

        with _differentiable(self.torch, self.module):
            return self.torch.func.jvp(frames, (moving, window), along)[1]

    def difference(self, at: Any, along: Any, when: When) -> Any:
        """By a central difference."""

        def norm(tree: Any) -> float:
            weights, window = tree
            return math.sqrt(sum(float(t.abs().square().sum()) for t in [*weights.values(), window]))

        weights, window = at
        length = norm(along)
        if not 0 < length < math.inf:
            return self.roll(weights, window, when) * (0.0 if length == 0 else math.nan)
        h = STEP * norm(({name: weights[name] for name in along[0]}, window)) / length

        def moved(sign: float) -> Any:
            there = {name: weights[name] + sign * h * tangent for name, tangent in along[0].items()}
            return self.roll({**weights, **there}, window + sign * h * along[1], when)

        return (moved(1.0) - moved(-1.0)) / (2 * h)

    def check(self, shape: tuple[int, ...], when: When) -> None:
        """Tries one step with the module's own weights, once for each shape ``[N, history, *space, C]`` of a window.

        Raises:
            ValueError: if the module does not take such a window, or gives no frame of its shape.
        """
        if shape[1:] in self.tried:
            return
        torch, one = self.torch, When(1, self._ones(when.context), when.start)
        with self.alone, torch.no_grad():
            state = torch.ones((1, *shape[1:]), dtype=self.dtype, device=self.device)
            weights = {name: tensor.detach().clone() for name, tensor in tensors_of(self.module).items()}
            try:
                self.roll(weights, state, one)
            except ValueError as error:
                raise ValueError(f"{str(error).rstrip('.')}; {LAST}.") from error
        self.tried.add(shape[1:])

    def _ones(self, context: Any) -> Any:
        """A context of one trajectory."""
        return jax.tree.map(lambda a: self.torch.ones((1, *a.shape[1:]), device=self.device), context)

    def has_derivative(self, shape: tuple[int, ...], when: When) -> bool:
        """Whether ``torch.func.jvp`` of one step works, and agrees with a difference; asked once, on random states."""
        if self.derivative is None:
            torch = self.torch
            generator = torch.Generator().manual_seed(0)

            def random(like: Any) -> Any:
                noise = torch.randn(like.shape, generator=generator, dtype=torch.float32)
                return noise.to(like.device, like.dtype) * like.abs().mean()

            reason = "it is not that of finite differences"
            # The module's tensors are its own only while no call runs: one may, in another thread.
            with self.alone, torch.no_grad(), warnings.catch_warnings():
                state = torch.ones((1, *shape[1:]), dtype=self.dtype, device=self.device)
                weights = {k: v.detach() for k, v in tensors_of(self.module).items()}
                at, real = (weights, random(state)), {k: v for k, v in weights.items() if not _is_whole(v)}
                one = When(1, self._ones(when.context), when.start)
                warnings.simplefilter("ignore")  # PyTorch's own: it loads its rules when they are first needed
                try:
                    apart = []
                    for _ in range(DIRECTIONS):
                        along = ({k: random(v) for k, v in real.items()}, torch.zeros_like(state))
                        slope, expected = self.jvp(at, along, one), self.difference(at, along, one)
                        apart.append(float((slope - expected).norm() / expected.norm().clamp_min(1e-30)))
                    self.derivative = not max(apart) > AGREE
                except Exception as error:  # whatever a module may raise, it has no derivative
                    self.derivative, reason = False, reason_of(error.__cause__ if error.__cause__ else error)
            if not self.derivative:
                warnings.warn(
                    f"{type(self.module).__name__} has no derivative by torch.func.jvp ({reason}); central differences "
                    "take its place.",
                    stacklevel=2,
                )
        return self.derivative

    def weights(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays as tensors of the module's types, without a copy where they have them; buffers are copied."""
        like, buffers = tensors_of(self.module), {name for name, _ in self.module.named_buffers()}
        found = {name: self.tensor(leaf).to(self.device, like[name].dtype) for name, leaf in params.items()}
        return {name: tensor.clone() if name in buffers else tensor for name, tensor in found.items()}

    def states(self, window: Any) -> Any:
        return self.tensor(window).to(self.device, self.dtype)

    def fields(self, array: np.ndarray) -> Any:
        return self.torch.tensor(array).to(self.device, self.dtype)

    def tensor(self, leaf: Any) -> Any:
        """A tensor that shares the memory of an array."""
        return self.torch.from_dlpack(leaf) if math.prod(leaf.shape) else self.torch.zeros(leaf.shape)

    def back(self, frames: Any, window: Any) -> np.ndarray:
        wide = self.torch.float64 if window.dtype == np.float64 else self.torch.float32
        return copied(frames.to(wide)).astype(window.dtype, copy=False)


def _is_whole(tensor: Any) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


@contextlib.contextmanager
def _differentiable(torch: Any, module: Any) -> Iterator[None]:
    """Attention and BatchNorm by plain operations: the fused ones have no forward-mode derivative, in part."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fused = torch.nn.modules.batchnorm._BatchNorm
    norms = [part for part in module.modules() if isinstance(part, fused) and part.running_mean is not None]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for norm in norms:
        norm.forward = functools.partial(_normalized, norm)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for norm in norms:
            del norm.forward  # the class's is there again


def _normalized(norm: Any, x: Any) -> Any:
    """BatchNorm in evaluation, ``x [N, C, *space]``."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    y = (x - norm.running_mean.view(shape)) * (norm.running_var.view(shape) + norm.eps).rsqrt()
    return y * norm.weight.view(shape) + norm.bias.view(shape) if norm.affine else y
