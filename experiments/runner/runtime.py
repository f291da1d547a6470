"""Where a run takes place: its processes, their devices, and the cache of what was compiled.

Every process runs the same program on the same folder (a shared file system), computes on its own devices what all of
them share out, and one of them, the writer, writes. A single process is the case of one.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import functools
import hashlib
import math
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jaxlib
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from ccm_jax.parallel import make_mesh

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


@functools.cache
def mesh() -> Mesh | None:
    """All devices of all processes, near to square over candidates and data; None if there is only one."""
    count = jax.device_count()
    if count == 1:
        return None
    return make_mesh(max(d for d in range(1, math.isqrt(count) + 1) if count % d == 0))


def training_mesh(weights: int) -> Mesh | None:
    """What batches are cut over: all devices, but those made of one CPU only for networks of so few weights.

    Each device holds all weights and updates them, which costs more than it saves where they are many.
    """
    one_processor = jax.default_backend() == "cpu" and jax.process_count() == 1
    return None if one_processor and weights > SHARED_WEIGHTS else mesh()


def share_processor() -> None:
    """Makes a device of every core of a CPU, up to eight, before anything touches one; the environment goes first.

    Rollouts of different trajectories have nothing to say to each other: on a core and in a cache of their own they
    take two thirds of the time that they take where both cores share each operation (two cores, networks as here).
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "") or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # the devices are there already, and stay as they are
        jax.config.update("jax_num_cpu_devices", 2 ** (min(cores, 8).bit_length() - 1))


def keep_compiled() -> Path | None:
    """Keeps compiled programs on disk between runs; returns the folder, or None where there is no writing.

    It is ``ccm_jax`` in the user's cache folder, apart for each version of jaxlib and each kind of processor: a program
    that was compiled for another one may crash. Where ``JAX_COMPILATION_CACHE_DIR`` is set, that is JAX's own matter.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ccm_jax"
    folder = root / f"jaxlib-{jaxlib.__version__}-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def keep_memory() -> bool:
    """Lets the C library keep large blocks that are freed, for the next to need them; whether that is possible here.

    XLA asks for the whole memory of a program whenever it runs. glibc returns such blocks to the system at once, and
    gets them back page by page, each zeroed by the kernel: a quarter of the time of a forward pass at 64². For a
    process of its own (all of an allocator's settings are), so this is no part of the library.
    """
    library = ctypes.util.find_library("c")
    set_option = getattr(ctypes.CDLL(library), "mallopt", None) if library and sys.platform == "linux" else None
    if set_option is None:
        return False
    arena_max, mmap_threshold, trim_threshold = -8, -3, -1  # numbers of malloc.h
    return all([set_option(mmap_threshold, 1 << 30), set_option(trim_threshold, 2**31 - 1), set_option(arena_max, 1)])


def set_compiler() -> None:
    """Compiles at LLVM's second level and for whole vectors, unless ``XLA_FLAGS`` says otherwise; comes before devices.

    The third level takes six times as long for jax's random numbers, a fifth of all compilation of a run, and networks
    are no faster by it. XLA works with half of a vector of 512 bits unless it is told otherwise, which is slower for
    activations. A processor without such vectors does not notice.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    for name, value in (("xla_backend_optimization_level", 2), ("xla_cpu_prefer_vector_width", 512)):
        if name not in flags:
            flags = f"{flags} --{name}={value}".strip()
    os.environ["XLA_FLAGS"] = flags


def count_compilation() -> Callable[[], float]:
    """Counts from now on; returns how many seconds XLA has compiled since, or read what it compiled before."""
    seconds = [0.0]

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds[0] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: seconds[0]


def _processor() -> str:
    """A short hash of what programs are compiled for: the processor's model and its instructions."""
    described = [platform.machine(), platform.processor(), platform.system()]
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        described += [next((x for x in lines if x.startswith(field)), "") for field in ("model name", "flags")]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:8]
