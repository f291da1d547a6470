"""Any PyTorch module as a rollout: PyTorch runs it, behind one callback for a whole rollout and one for its derivative.

    frames = rollout_fn(params, window, steps),    d frames = torch.func.jvp of the same loop

JAX computes a candidate's weights and passes them over once; candidates run in turn. All readouts work unchanged.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

from ccm_jax._checks import is_merged
from ccm_jax.interop.layout import Layout
from ccm_jax.interop.torch_runner import Runner, When, is_counter, tensors_of, to_numpy
from ccm_jax.rollout import RolloutFn

Array = jax.Array

FIRST = Layout(channels="first")


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
    return {name: to_numpy(tensor) for name, tensor in tensors_of(module).items()}


def torch_module(module: Any, params: Mapping[str, Any]) -> Any:
    """A copy of a module with other weights, such as merged ones, in evaluation mode.

    Args:
        module: a ``torch.nn.Module``; it stays as it is.
        params: weights by name, as :func:`torch_params` gives them; they are cast to the module's types.

    Returns:
        The copy, on the module's device; counters of BatchNorm are the module's.

    Raises:
        ValueError: unless they have the names and shapes of the module's weights.

    Example:
        >>> net = torch_module(anchor_net, chart(readout(frames)))  # doctest: +SKIP
        >>> torch.save(net.state_dict(), "merged.pt")  # doctest: +SKIP
    """
    import torch

    weights = as_torch_params(module, params, "torch_module: params")
    other = copy.deepcopy(module)
    # Copied: PyTorch may not write to arrays of JAX.
    other.load_state_dict({name: torch.tensor(np.asarray(leaf)) for name, leaf in weights.items()}, strict=False)
    return other.eval()


def torch_rollout(module: Any, layout: Layout = FIRST) -> RolloutFn:
    """The autoregressive rollout of a PyTorch module, as :func:`~ccm_jax.make_rollout` gives it for functions of JAX.

    The module is switched to evaluation mode, and moved to a GPU if PyTorch has one. The weights of each call replace
    its own. Derivatives are forward-mode, by ``torch.func.jvp``; a module that has none gets central differences, and a
    warning says so.

    Args:
        module: a ``torch.nn.Module``; it takes and gives tensors in the layout.
        layout: where its channels and frames are, and what it predicts; channels first, if not given.

    Returns:
        ``rollout_fn(params, window [N, history, *space, C], steps) -> frames [N, steps, *space, C]``; its ``params``
        are those of :func:`torch_params`. Works under ``jit``, ``vmap``, ``jvp`` and ``lax.map``. With a context, see
        :func:`~ccm_jax.rollout.call_rollout`, the module is called with its tensors and the index of the frame, as
        ``module(x, context, time)``; there are no derivatives along a context.

    Example:
        >>> rollout_fn = torch_rollout(torch.nn.Conv2d(2, 2, 3, padding=1))  # doctest: +SKIP
        >>> chart = ccm_jax.fit_chart(anchor, [low, high], [-1, 1], features=ccm_jax.Gated())  # doctest: +SKIP
        >>> ccm_jax.fit_prefix_readout(chart, rollout_fn)(frames).coordinate  # doctest: +SKIP

    Source: ``torch.func.functional_call`` and ``torch.func.jvp`` of PyTorch 2.
    """
    run = Runner(module, layout)

    @functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4))
    def call(params: Mapping[str, Array], window: Array, context: Any, steps: int, start: int) -> Array:
        def host(params: Any, window: Any, context: Any) -> np.ndarray:
            return run.frames(params, window, When(steps, context, start))

        run.check(window.shape, When(steps, context, start))
        out = jax.ShapeDtypeStruct((len(window), steps, *window.shape[2:]), window.dtype)
        return _call_back(host, out, params, window, context)

    @call.defjvp
    def jvp(steps: int, start: int, primals: Any, tangents: Any) -> tuple[Array, Array]:
        (params, window, context), (moved, shift, _) = primals, tangents
        derivative = run.has_derivative(window.shape, When(steps, context, start))

        def host(params: Any, window: Any, context: Any, moved: Any, shift: Any) -> np.ndarray:
            return run.slopes(derivative, params, window, moved, shift, When(steps, context, start))

        frames = call(params, window, context, steps, start)
        moved = {name: moved[name] for name in moved if is_merged(params[name])}  # others have no tangents
        out = jax.ShapeDtypeStruct(frames.shape, frames.dtype)
        given = (params, window, context, moved, shift)
        return frames, _call_back(host, out, *given)

    def rollout_fn(
        params: Mapping[str, Array], window: Array, steps: int, context: Any = None, start: int = 0
    ) -> Array:
        return call(dict(params), window, context, steps, start)

    return rollout_fn


def _call_back(host: Callable[..., np.ndarray], out: jax.ShapeDtypeStruct, *given: Any) -> Array:
    """A call of the host with the buffers of arrays themselves.

    ``jax.pure_callback`` copies them to arrays of its own first, on the threads that wait for the callback: where there
    is but one, that never ends.
    """

    if jax.default_backend() != "cpu":  # whose buffers the host cannot reach
        return jax.pure_callback(host, out, *given, vmap_method="sequential")

    def call(_: Any, result: Any, *buffers: Any) -> None:
        np.asarray(result)[...] = host(*buffers)

    return buffer_callback(call, out, vmap_method="sequential")(*given)


def run_torch(module: Any, layout: Layout, params: Mapping[str, Array], window: Array, steps: int) -> np.ndarray:
    """The same rollout, at once and without a callback, so that what PyTorch raises is raised."""
    return Runner(module, layout).frames(params, window, When(steps))


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
    expected = {name: tuple(tensor.shape) for name, tensor in tensors_of(module).items()}
    params = {name: leaf for name, leaf in arrays.items() if not is_counter(name)}
    part, *others = {name.partition(".")[0] for name in expected} or {""}
    if not others and set(expected) == {f"{part}.{name}" for name in params}:
        params = {f"{part}.{name}": leaf for name, leaf in params.items()}
    given = {name: tuple(np.shape(leaf)) for name, leaf in params.items()}
    for name in [*expected, *given]:
        if expected.get(name) != given.get(name):
            of, there = expected.get(name, "no such weight"), given.get(name, "missing")
            has = "" if name in given else f"; the weights are {', '.join(list(given)[:3])} and so on"
            raise ValueError(f"{what}: {name} is {there}; the network expects {of}{has}.")
    return params
