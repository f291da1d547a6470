"""Training as pure functions from state to state; a chunk of steps is one compiled scan."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from ccm_jax._article import with_article
from ccm_jax._checks import is_traced
from ccm_jax._convolutions import rollout_for_training, slow_in_loops
from ccm_jax.metrics import relative_l2
from ccm_jax.parallel import batch_axes
from ccm_jax.rollout import Apply

Array = jax.Array
Params = Any
Loss = Callable[[Params, Array], Array]
Corruption = Callable[[Array, Array], Array]


class TrainState(NamedTuple):
    """Everything needed to continue training; ``step`` counts updates."""

    params: Params
    opt_state: optax.OptState
    step: Array


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """A fresh state around ``params``."""
    return TrainState(params, optimizer.init(params), jnp.zeros((), jnp.int32))


class ScheduledState(NamedTuple):
    """The state of Adam, and of its learning rate: a cosine from ``peak`` to 0 over ``steps``, after ``warmup``."""

    adam: optax.OptState
    peak: Array
    steps: Array
    warmup: Array


# Weights of a leaf whose gradient is summed over devices by itself.
_LARGE = 1 << 16
ADAM = optax.scale_by_adam()


def make_optimizer(learning_rate: float, steps: int, *, warmup: float = 0.05) -> optax.GradientTransformation:
    """Adam with a cosine schedule from ``learning_rate`` to 0 over ``steps``, after a linear warm-up.

    The schedule's numbers are part of the state, so that runs with other lengths and rates share a compiled program.
    """
    rise = int(warmup * steps)

    def init(params: Params) -> ScheduledState:
        peak, total, up = jnp.float32(learning_rate), jnp.int32(max(steps, rise + 1)), jnp.int32(rise)
        return ScheduledState(ADAM.init(params), peak, total, up)

    return optax.GradientTransformation(init, _scheduled_adam)  # type: ignore[arg-type]


def _scheduled_adam(
    gradient: Params, state: ScheduledState, params: Params | None = None
) -> tuple[Params, ScheduledState]:
    done = state.adam.count  # type: ignore[attr-defined]
    rising = 0.1 + 0.9 * done / jnp.maximum(state.warmup, 1)
    share = jnp.clip((done - state.warmup) / (state.steps - state.warmup), 0.0, 1.0)
    rate = state.peak * jnp.where(done < state.warmup, rising, 0.5 * (1 + jnp.cos(jnp.pi * share)))
    direction, adam = ADAM.update(gradient, state.adam, params)
    return jax.tree.map(lambda x: (-rate).astype(x.dtype) * x, direction), state._replace(adam=adam)


def make_loss(apply: Apply, *, history: int = 1, unroll: int = 1) -> Loss:
    """Mean relative L2 error of ``unroll`` autoregressive steps.

    Returns:
        ``loss(params, frames)`` with ``frames [N, history + unroll, *space, C]``; each step of an unrolled loss is
        rematerialised, so its memory does not grow with the network's depth times ``unroll``.
    """
    rollout_fn = rollout_for_training(jax.checkpoint(apply) if unroll > 1 else apply)

    def loss(params: Params, frames: Array) -> Array:
        predicted = rollout_fn(params, frames[:, :history], unroll)
        return jnp.mean(relative_l2(predicted, frames[:, history:]))

    return loss


def make_noise(level: float, *, history: int = 1) -> Corruption:
    """Adds noise to the model's input but not to its target, which trains it to denoise.

    ``x + level * rms(x) * n``, with ``n`` standard normal and the root mean square over space, per frame and channel.
    DPOT scales by the norm over all points instead, so that its 5e-4 on 10 frames of 128 x 128 is a level of 0.2 here.

    Returns:
        ``corrupt(key, frames [N, history + unroll, *space, C])``.

    Reference: Hao et al., DPOT: Auto-Regressive Denoising Operator Transformer (2024).
    """

    def corrupt(key: Array, frames: Array) -> Array:
        shown = frames[:, :history]
        size = jnp.sqrt(jnp.mean(shown**2, axis=tuple(range(2, frames.ndim - 1)), keepdims=True))
        noisy = shown + level * size * jax.random.normal(key, shown.shape, shown.dtype)
        return jnp.concatenate([noisy, frames[:, history:]], axis=1)

    return corrupt


def train_step(
    state: TrainState, frames: Array, *, loss_fn: Loss, optimizer: optax.GradientTransformation
) -> tuple[TrainState, Array]:
    """One update; returns the new state and the loss before it.

    Raises:
        ValueError: if the state is of another optimizer.
    """
    _check_state("train_step", state, optimizer)
    return _step(state, frames, loss_fn, optimizer.update)


def _check_state(function: str, state: TrainState, optimizer: optax.GradientTransformation) -> None:
    fresh = jax.eval_shape(optimizer.init, state.params)
    structures: list[Any] = [jax.tree.structure(tree) for tree in (state.opt_state, fresh)]
    if structures[0] != structures[1]:
        raise ValueError(
            f"{function}: opt_state is of another optimizer, {with_article(type(state.opt_state).__name__)} that does "
            "not fit this one; start from init_state(params, optimizer)."
        )


def _step(
    state: TrainState, frames: Array, loss_fn: Loss, update: Any, axes: tuple[str, ...] | None = None
) -> tuple[TrainState, Array]:
    loss, gradient = jax.value_and_grad(loss_fn)(state.params, frames)
    if axes is not None:
        loss, gradient = _mean((loss, gradient), axes)
    updates, opt_state = update(gradient, state.opt_state, state.params)
    return TrainState(optax.apply_updates(state.params, updates), opt_state, state.step + 1), loss


def _mean(tree: Any, axes: tuple[str, ...]) -> Any:
    """The mean over devices: of large leaves where they lie, of all others at once, because each mean is a meeting."""
    leaves, structure = jax.tree.flatten(tree)
    flat, restore = ravel_pytree([leaf for leaf in leaves if leaf.size < _LARGE])
    small = iter(restore(jax.lax.pmean(flat, axes)))
    means = [next(small) if x.size < _LARGE else jax.lax.pmean(x, axes) for x in leaves]
    return jax.tree.unflatten(structure, means)


def batch_order(seed: int, first: int, steps: int, count: int, batch_size: int) -> np.ndarray:
    """Which samples make up steps ``first .. first + steps``: ``[steps, batch_size]`` integers below ``count``.

    Each epoch is a new permutation, drawn from ``(seed, epoch)`` alone: training that goes on from a
    checkpoint, and two experts that are trained as a pair, see exactly the same order.

    Raises:
        ValueError: if a batch is larger than the data.
    """
    if batch_size > count:
        raise ValueError(f"batch_order: batch_size {batch_size} exceeds the {count} samples; use a smaller batch.")
    if steps < 1:
        return np.zeros((0, batch_size), np.int32)
    per_epoch = count // batch_size
    epochs = range(first // per_epoch, (first + steps - 1) // per_epoch + 1)
    orders = [np.random.default_rng([seed, epoch]).permutation(count)[: per_epoch * batch_size] for epoch in epochs]
    rows = np.concatenate(orders).reshape(-1, batch_size)
    start = first - epochs[0] * per_epoch
    return rows[start : start + steps].astype(np.int32)


def train_chunk(
    state: TrainState,
    trajectories: Array,
    order: Array,
    *,
    loss_fn: Loss,
    optimizer: optax.GradientTransformation,
    frames: int = 2,
    corrupt: Corruption | None = None,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Array]:
    """Runs ``len(order)`` updates in one compiled scan; the state's memory is reused, so keep only the new one.

    On CPU, updates of a network with convolutions are compiled one by one, because XLA runs their gradients many times
    slower inside a loop (https://github.com/jax-ml/jax/issues/12868).

    Args:
        state: training state (donated).
        trajectories: data on the device, ``[N, T, *space, C]``.
        order: sample numbers ``[steps, batch_size]`` from :func:`batch_order`, where sample ``i`` starts at frame
            ``i % (T - frames + 1)`` of trajectory ``i // (T - frames + 1)``.
        loss_fn: ``(params, frames [batch, frames, ...]) -> scalar``.
        optimizer: an optax transformation.
        frames: frames per sample, history plus unrolled steps.
        corrupt: what happens to a batch before it is trained on, such as :func:`make_noise`.
        seed: of the corruption; the key of a step follows from it and from the number of the step.
        mesh: devices that share each batch, of :func:`~ccm_jax.parallel.make_mesh`, where it divides among them; state
            and data are whole on each.

    Returns:
        The new state, and the loss of every step.

    Raises:
        ValueError: if the state is of another optimizer.
    """
    _check_state("train_chunk", state, optimizer)
    # What an optimizer starts from is in the state: only how it goes on is part of the program.
    program = _Program(loss_fn, optimizer.update, frames, corrupt, mesh)
    batch = jax.ShapeDtypeStruct((order.shape[1], frames, *trajectories.shape[2:]), trajectories.dtype)
    if is_traced(state, order) or not len(order) or not slow_in_loops(loss_fn, state.params, batch):
        return _chunk(state, trajectories, order, seed, program)
    losses = []
    for i in range(len(order)):
        state, loss = _chunk(state, trajectories, order[i : i + 1], seed, program)
        losses.append(loss)
    return state, jnp.concatenate(losses)


class _Program(NamedTuple):
    """What a chunk is compiled for."""

    loss_fn: Loss
    update: Any
    frames: int
    corrupt: Corruption | None
    mesh: Mesh | None


@functools.partial(jax.jit, static_argnames="program", donate_argnums=0)
def _chunk(
    state: TrainState, trajectories: Array, order: Array, seed: int, program: _Program
) -> tuple[TrainState, Array]:
    loss_fn, update, frames, corrupt, mesh = program
    axes = batch_axes(mesh, order.shape[1])

    def run(state: TrainState, trajectories: Array, order: Array, seed: Any) -> tuple[TrainState, Array]:
        starts = trajectories.shape[1] - frames + 1
        flat = trajectories.reshape(-1, *trajectories.shape[2:])

        def body(state: TrainState, samples: Array) -> tuple[TrainState, Array]:
            if corrupt is None:
                samples = _share(samples, mesh, axes)
            first = samples // starts * trajectories.shape[1] + samples % starts
            batch = flat[first[:, None] + jnp.arange(frames)[None, :]]
            if corrupt is not None:  # the noise of a sample is the same however many devices there are
                batch = corrupt(jax.random.fold_in(jax.random.key(seed), state.step), batch)
                batch = _share(batch, mesh, axes)
            return _step(state, batch, loss_fn, update, axes)

        if len(order) == 1:  # a scan of length one is a loop, too
            state, loss = body(state, order[0])
            return state, loss[None]
        return jax.lax.scan(body, state, order)

    if axes is None:
        return run(state, trajectories, order, seed)
    # By hand: left to the compiler, there are many small sums over devices instead of one.
    whole = PartitionSpec()
    run = jax.shard_map(run, mesh=mesh, in_specs=(whole,) * 4, out_specs=(whole, whole), check_vma=False)
    return run(state, trajectories, order, seed)


def _share(batch: Array, mesh: Mesh | None, axes: tuple[str, ...] | None) -> Array:
    """This device's part of a batch that is whole on all of them."""
    if mesh is None or axes is None:
        return batch
    parts = int(np.prod([mesh.shape[axis] for axis in axes]))
    return batch.reshape(parts, -1, *batch.shape[1:])[jax.lax.axis_index(axes)]
