"""Many devices and hosts: one mesh with the axes ``candidate`` and ``data``, and the memory budget of candidates.

Functions of this package take an optional mesh. Without one they run on jax's default device; with one, candidates and
trajectories are distributed over its devices, and every process gets the complete result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

__all__ = ["batch_axes", "candidates_at_once", "make_mesh", "mesh_of_all", "place"]

Array = jax.Array

CANDIDATE, DATA = "candidate", "data"


def __dir__() -> list[str]:
    return sorted(__all__)


def make_mesh(candidate: int = 1, *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over all devices of all processes, ``candidate`` of them side by side and the rest over data.

    Args:
        candidate: devices over which candidate coordinates are spread; it must divide the number of devices.
        devices: the devices to use; all by default.

    Example:
        >>> dict(make_mesh(devices=jax.devices()[:1]).shape)
        {'candidate': 1, 'data': 1}
    """
    devices = jax.devices() if devices is None else devices
    if candidate < 1 or len(devices) % candidate:
        raise ValueError(f"make_mesh: candidate is {candidate}, expected a divisor of the {len(devices)} devices.")
    shape = (candidate, len(devices) // candidate)
    return jax.make_mesh(shape, (CANDIDATE, DATA), (AxisType.Auto, AxisType.Auto), devices=devices)


@functools.cache
def mesh_of_all() -> Mesh | None:
    """All devices of all processes, near to square over candidates and data; None if there is only one."""
    count = jax.device_count()
    if count == 1:
        return None
    return make_mesh(max(d for d in range(1, math.isqrt(count) + 1) if count % d == 0))


def place(tree: Any, mesh: Mesh | None, *axes: Any) -> Any:
    """The tree as global arrays on the mesh, each leaf cut along the named mesh axes, or whole on every device.

    Every process passes the same host values. Without a mesh, the leaves go to the default device.

    Args:
        tree: arrays of the host or of one device.
        mesh: from :func:`make_mesh`, or None.
        axes: for each leading axis of the leaves, the mesh axis (or several) that cuts it, or None.
    """
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    sharding = NamedSharding(mesh, PartitionSpec(*axes))

    def put(leaf: Any) -> Array:
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree)


def batch_axes(mesh: Mesh | None, batch_size: int) -> tuple[str, ...] | None:
    """The mesh axes that cut a training batch: both, one of them, or None where it does not divide."""
    if mesh is None:
        return None
    for axes in ((CANDIDATE, DATA), (DATA,), (CANDIDATE,)):
        size = int(np.prod([mesh.shape[axis] for axis in axes]))
        if size > 1 and batch_size % size == 0:
            return axes
    return None


Errors = Callable[[Any, Any, Array], Any]


def over_mesh(errors: Errors, mesh: Mesh | None) -> Errors:
    """Spreads ``errors(chart, trajectories [N, ...], candidates [n, d]) -> [n, N, ...]`` over the devices of a mesh.

    Trajectories may be a tree of arrays with the same leading axis.

    Each device rolls out its candidates on its trajectories without communication; both are padded by repetition to a
    multiple of their axis. For use inside ``jit``.
    """
    return errors if mesh is None else _spread(errors, mesh, (DATA,), (CANDIDATE,), PartitionSpec(CANDIDATE, DATA))


def over_trajectories(errors: Errors, mesh: Mesh | None) -> Errors:
    """The same for ``errors(chart, trajectories [N, ...], coordinates [N, d]) -> [N, ...]``, one for each; of trees."""
    both = (CANDIDATE, DATA)
    return errors if mesh is None else _spread(errors, mesh, both, both, PartitionSpec(both))


def _spread(errors: Errors, mesh: Mesh, first: tuple[str, ...], second: tuple[str, ...], out: PartitionSpec) -> Errors:
    specs = (PartitionSpec(), PartitionSpec(first), PartitionSpec(second))
    local = jax.shard_map(errors, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False)
    parts = [int(np.prod([mesh.shape[axis] for axis in axes])) for axes in (first, second)]

    def spread(chart: Any, trajectories: Any, candidates: Array) -> Any:
        result = local(chart, _fill(trajectories, parts[0]), _fill(candidates, parts[1]))
        n, count = (len(jax.tree.leaves(x)[0]) for x in (candidates, trajectories))
        kept = jax.tree.map(lambda r: r[:n, :count] if len(out) == 2 else r[:n], result)
        return jax.lax.with_sharding_constraint(kept, NamedSharding(mesh, PartitionSpec()))

    return spread


def _fill(tree: Any, multiple: int) -> Any:
    def filled(x: Array) -> Array:
        missing = -len(x) % multiple
        return jnp.concatenate([x, jnp.broadcast_to(x[:1], (missing, *x.shape[1:]))]) if missing else x

    return jax.tree.map(filled, tree)


# Hidden fields per channel of a frame that a rollout is assumed to hold at once.
HIDDEN_FIELDS = 64
MEMORY_SHARE = 0.5


def candidates_at_once(weights: Any, trajectories: Any, candidates: int, *, limit: float | None = None) -> int:
    """How many candidates may run side by side, each with weights of its own and its own hidden fields.

    One on a CPU, where a candidate fills the cores and its weights the cache. On an accelerator as many as fit into
    half of its memory, by an estimate: the weights, and ``HIDDEN_FIELDS`` fields for each channel of one frame of every
    trajectory.

    Args:
        weights: the tree of one candidate's weights (shapes are enough).
        trajectories: ``[N, T, *space, C]`` (the shape is enough).
        candidates: number of candidates.
        limit: bytes of memory; by default what the device reports, or 8 GiB if it reports none.
    """
    if limit is None:
        if jax.default_backend() == "cpu":
            return 1
        stats = jax.local_devices()[0].memory_stats() or {}
        limit = MEMORY_SHARE * stats.get("bytes_limit", 16 * 2**30)
    one = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(weights))
    frame = trajectories.dtype.itemsize * int(np.prod((trajectories.shape[0], *trajectories.shape[2:])))
    return int(np.clip(limit // (one + HIDDEN_FIELDS * frame), 1, candidates))


def map_candidates(error: Callable[[Array], Array], candidates: Array, chunk: int) -> Array:
    """``error`` of each candidate ``[n, d]``, ``chunk`` of them side by side, in one compiled loop."""
    return jax.lax.map(error, candidates, batch_size=chunk if chunk > 1 else None)
