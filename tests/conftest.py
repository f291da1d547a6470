"""Silent broadcasting between ranks is an error in tests; double precision is a fixture, for solvers only."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
from collections.abc import Iterator

# Tests compile much and compute little: without LLVM's optimisations, and with XLA's plain loops in place of its fused
# ones, each program as one module, compiling takes a quarter of the time. Same algebra. What XLA_FLAGS names is left.
os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", "")]
    + [
        f"--{flag}"
        for flag in (
            "xla_backend_optimization_level=0",
            "xla_cpu_use_fusion_emitters=false",
            "xla_cpu_parallel_codegen_split_count=1",
        )
        if flag.partition("=")[0] not in os.environ.get("XLA_FLAGS", "")
        # The newest XLA ends at a flag that it no longer has.
        and not (
            flag.startswith("xla_cpu_use_fusion_emitters")
            and tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) >= (0, 12)
        )
    ]
).strip()

import jax
import pytest

from ccm_jax import processor

jax.config.update("jax_numpy_rank_promotion", "raise")

# Scripts that made the references, with packages that the tests themselves do without.
collect_ignore_glob = ["references/make_*.py"]


# The files that take longest begin first, so that no core waits for the last of them.
LONGEST = (
    "test_killed.py",
    "test_track.py",
    "test_cli_sure.py",
    "test_fno.py",
    "test_shallow_water.py",
    "test_observed.py",
)


# Examples in docstrings that take many seconds.
LONG_EXAMPLES = {
    "ccm_jax.predict.predict_rollout",
    "ccm_jax.sequential.fit_sequential",
    "ccm_jax.starts.mean_over_starts",
}


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, and long examples marked."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if item.name in LONG_EXAMPLES:
            item.add_marker(pytest.mark.long)


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collector of garbage need not walk through it again and again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def compiled_programs_stay_here(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Programs that tests start share what they compile, and leave the user's cache folder alone."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session", autouse=True)
def settings_of_this_process_stay() -> None:
    """Verbs of ``ccm`` that tests call run in the process of the tests, whose devices and memory are not theirs."""
    processor.prepare = lambda: None


@pytest.fixture(scope="session", autouse=True)
def a_slow_machine_says_no_more() -> None:
    """The lines of long phases depend on the machine; those that a test asks for come at once."""
    with contextlib.suppress(ImportError):  # without the extra of the command line
        from ccm_jax.cli import waiting

        waiting.MOMENT = 3600.0


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
