"""Settings for a process that runs networks: compilation cache, compiler flags, memory allocator, devices.

They affect the whole process, so importing the library changes none of them. Call them before JAX initialises its
devices; environment variables take precedence.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import hashlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jaxlib

# What /proc/cpuinfo says of a processor's model and instructions: on x86, on ARM, on POWER, on RISC-V.
FIELDS = (
    *("vendor_id", "model name", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"),
    *("cpu", "revision"),
    *("isa", "uarch"),
)


def prepare() -> None:
    """Applies all settings; call it before JAX uses a device."""
    keep_compiled(shortest=0.0)  # a verb of `ccm` compiles many programs of less than a second
    keep_memory()
    set_compiler()
    share_processor()


def share_processor() -> None:
    """Makes each CPU core a device, up to eight; call it before JAX initializes; environment variables take precedence.

    Rollouts of different trajectories are independent. With a core and a cache of its own, each takes two thirds of the
    time that it takes if all cores share each operation (two cores, networks of this package's size).
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "") or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # the devices are there already, and stay as they are
        jax.config.update("jax_num_cpu_devices", 2 ** (min(cores, 8).bit_length() - 1))


def keep_compiled(*, shortest: float | None = None) -> Path | None:
    """Keeps compiled programs on disk between runs; returns the folder, or None if it is not writable.

    The folder is ``ccm_jax`` in the user's cache folder, apart for each version of jaxlib and each kind of processor: a
    program that was compiled for another processor may crash. ``JAX_COMPILATION_CACHE_DIR`` takes precedence.

    Args:
        shortest: programs that compiled in fewer seconds are not kept; None leaves JAX's setting, 1 s.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ccm_jax"
        folder = root / f"jaxlib-{jaxlib.__version__}-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home folder is a RuntimeError
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if shortest is not None and "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)
    return folder


def keep_memory() -> bool:
    """Lets the C library keep large freed blocks for reuse; returns whether that is possible here.

    XLA allocates the whole memory of a program whenever it runs. glibc returns such blocks to the system at once and
    gets them back page by page, zeroed by the kernel, which costs a quarter of a forward pass at 64².
    """
    library = ctypes.util.find_library("c")
    set_option = getattr(ctypes.CDLL(library), "mallopt", None) if library and sys.platform == "linux" else None
    if set_option is None:
        return False
    arena_max, mmap_threshold, trim_threshold = -8, -3, -1  # numbers of malloc.h
    return all([set_option(mmap_threshold, 1 << 30), set_option(trim_threshold, 2**31 - 1), set_option(arena_max, 1)])


def set_compiler() -> None:
    """Sets LLVM's level 2 and full vector width, unless ``XLA_FLAGS`` does; call before devices exist.

    The third level takes six times as long for jax's random numbers, a fifth of all compilation of a run, and networks
    run no faster with it. XLA works with half of a vector of 512 bits unless it is told otherwise, which is slower for
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


def _processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """A short hash of what programs are compiled for: the processor's model and its instructions."""
    described = [platform.machine(), platform.processor(), platform.system()]
    if info.exists():
        # All cores count: those of one processor may differ, large and small ones.
        pairs = (line.partition(":") for line in info.read_text(encoding="utf-8", errors="replace").splitlines())
        described += sorted({f"{name.strip()}:{value.strip()}" for name, _, value in pairs if name.strip() in FIELDS})
    return hashlib.sha256("\n".join(described).encode()).hexdigest()[:8]
