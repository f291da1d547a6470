"""Where a run takes place: its processes and their devices.

Every process runs the same program on the same folder (a shared file system), computes on its own devices what all of
them share out, and one of them, the writer, writes. A single process is the case of one.
"""

from __future__ import annotations

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from ccm_jax.parallel import mesh_of_all as mesh
from ccm_jax.processor import count_compilation, keep_compiled, keep_memory, set_compiler, share_processor

__all__ = [
    "agree",
    "barrier",
    "count_compilation",
    "is_writer",
    "join",
    "keep_compiled",
    "keep_memory",
    "mesh",
    "set_compiler",
    "share_processor",
    "training_mesh",
]

# Weights up to which the cores of a CPU share a batch, each in a network of its own.
SHARED_WEIGHTS = 4_000_000


def join(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins the processes of a run by JAX's own runtime; comes before anything touches a device.

    Without arguments they are found where JAX finds them: Slurm, TPU pods, Open MPI, Kubernetes.
    """
    jax.distributed.initialize(coordinator, processes, process)


def is_writer() -> bool:
    """Whether this process writes files and talks to the terminal."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def agree(value: int) -> int:
    """The writer's value, on every process: what it saw on the disk decides for all."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def training_mesh(weights: int) -> Mesh | None:
    """What batches are cut over: all devices, but those made of one CPU only for networks of so few weights.

    Each device holds all weights and updates them, which costs more than it saves where they are many.
    """
    one_processor = jax.default_backend() == "cpu" and jax.process_count() == 1
    return None if one_processor and weights > SHARED_WEIGHTS else mesh()
