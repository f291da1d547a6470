"""Training that survives a kill: pure chunks of steps, and between some of them, or when asked to end, a checkpoint."""

from __future__ import annotations

import functools
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io import checkpoint
from ccm_jax.parallel import place
from ccm_jax.train import Loss, TrainState, batch_order, init_state, make_loss, make_noise, make_optimizer, train_chunk
from experiments.runner.logs import log
from experiments.runner.preemption import Preempted, saving
from experiments.runner.progress import bar, console
from experiments.runner.runtime import agree, is_writer, training_mesh

Array = jax.Array
Params = Any

# The same object for the same arguments: a chunk compiles once for both experts of a pair.
_optimizer, loss_of, _noise = (functools.cache(make) for make in (make_optimizer, make_loss, make_noise))


class Diverged(ValueError):
    """A training whose loss stopped being finite."""


class Batches(NamedTuple):
    """The samples of a training, and their order.

    Attributes:
        trajectories: ``[regimes, N, T, *space, C]``; all regimes are one set of trajectories.
        history: frames in the model's window.
        steps: updates, one batch each.
        seed: of the order and of the noise.
        part: trains on ``trajectories[part]`` alone, by the program that trains on all of them.
    """

    trajectories: np.ndarray
    history: int
    steps: int
    seed: int
    part: int | None = None


def fit(
    name: str,
    loss_fn: Loss,
    start: Params,
    batches: Batches,
    settings: ConfigDict,
    *,
    work: Path,
    metadata: dict[str, Any],
) -> dict[str, float]:
    """Trains from ``start`` and leaves the weights and every loss in ``work / name``, going on where a kill left off.

    Args:
        name: name of the result, and of its progress bar.
        loss_fn: ``(params, frames [batch, history + unroll, *space, C]) -> scalar``, such as :data:`loss_of` makes.
        start: parameters to start from; they are copied.
        batches: the samples, and their order.
        settings: learning_rate, batch_size, unroll, noise, chunk, save_every.
        work: folder of the stage.
        metadata: goes beside the weights.

    Returns:
        Facts for the record: the final loss, and ``seconds_before``, the time that killed runs had spent.

    Raises:
        Diverged: if the loss stops being finite, with the step and what to change.
        Preempted: after SIGTERM, at the end of a chunk, which is saved.
    """
    if agree(is_writer() and (work / name).exists()):
        return checkpoint.load_metadata(work / name)["facts"]
    trajectories, history, steps, seed, part = batches
    optimizer = _optimizer(settings.learning_rate, steps)
    corrupt = _noise(settings.noise, history=history) if settings.noise else None
    how = {"loss_fn": loss_fn, "optimizer": optimizer, "frames": history + settings.unroll, "corrupt": corrupt}
    devices = training_mesh(sum(leaf.size for leaf in jax.tree.leaves(start)))
    x = place(trajectories.reshape(-1, *trajectories.shape[2:]), devices)
    count = x.shape[0] * (x.shape[1] - history - settings.unroll + 1) // (1 if part is None else len(trajectories))
    first_sample = count * (part or 0)

    # A copy, because chunks reuse the memory of the state that they are given.
    state = init_state(jax.tree.map(jnp.copy, start), optimizer)
    state, losses, seconds_before = _restore(work / f"{name}-steps", state)
    state = place(state, devices)
    begin = time.perf_counter()
    with bar(name, steps, len(losses)) as advance, saving() as asked:
        while len(losses) < steps:
            first = len(losses)
            order = batch_order(seed, first, min(settings.chunk, steps - first), count, settings.batch_size)
            order += first_sample
            state, new = train_chunk(state, x, place(order, devices), seed=seed, mesh=devices, **how)
            losses = np.concatenate([losses, np.asarray(new)])
            _check_finite(name, losses, state.params, work)
            advance(len(new), f"loss {new.mean():.4f}")
            log(name, len(losses), loss=float(new.mean()), seconds=time.perf_counter() - begin)
            stop = agree(asked())  # all processes of a run are asked, not all between the same two chunks
            if stop or (len(losses) % settings.save_every == 0 and len(losses) < steps):
                _save(work / f"{name}-steps", state, losses, seconds_before + time.perf_counter() - begin)
            if stop:
                raise Preempted
    facts = {"final_loss": float(losses[-settings.chunk :].mean()), "seconds_before": seconds_before}
    if is_writer():
        np.save(work / f"{name}-losses.npy", losses)
    spent = facts | {"seconds_before": seconds_before + time.perf_counter() - begin}
    checkpoint.save(work / name, state.params, metadata | {"facts": spent})
    if is_writer():
        shutil.rmtree(work / f"{name}-steps", ignore_errors=True)
    return facts


@jax.jit
def _all_finite(params: Params) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()


def _check_finite(name: str, losses: np.ndarray, params: Params, work: Path) -> None:
    """Raises Diverged, so that no checkpoint and no result holds what is not finite.

    The loss of a step is that before its update: the weights after the last one may be NaN beside finite losses.
    """
    good = np.isfinite(losses)
    if good.all() and bool(_all_finite(params)):
        return
    what, step = ("weights", len(losses)) if good.all() else ("loss", int(np.argmin(good)))
    kept = max((path.name for path in (work / f"{name}-steps").glob("*") if path.name.isdigit()), default=None)
    last = "there is no checkpoint before it" if kept is None else f"the last good checkpoint is {name}-steps/{kept}"
    raise Diverged(
        f"fit: the {what} of {name} {'are' if good.all() else 'is'} not finite at step {step} of the stage {work}; "
        f"{last}. Lower its learning_rate, and see that the data are what you expect."
    )


def _save(folder: Path, state: TrainState, losses: np.ndarray, seconds: float) -> None:
    """Writes a new checkpoint, then removes older ones: at any moment there is a whole one."""
    older = list(folder.glob("*"))
    checkpoint.save(folder / f"{len(losses):08d}", {"state": state, "losses": losses}, {"seconds": seconds})
    for path in older if is_writer() else ():
        shutil.rmtree(path)


def _restore(folder: Path, fresh: TrainState) -> tuple[TrainState, np.ndarray, float]:
    steps = agree(max((int(path.name) for path in folder.glob("*") if path.name.isdigit()), default=0))
    if not steps:
        return fresh, np.zeros(0, np.float32), 0.0
    newest, losses = folder / f"{steps:08d}", np.zeros(steps, np.float32)
    try:
        stored = checkpoint.load(newest, like={"state": fresh, "losses": losses})
    except ValueError as error:  # of another version of the package, or damaged: nothing but time is lost
        console.print(f"  training begins again: {error}", markup=False)
        return fresh, np.zeros(0, np.float32), 0.0
    return stored["state"], stored["losses"], checkpoint.load_metadata(newest)["seconds"]
