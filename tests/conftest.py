"""Silent broadcasting between ranks is an error in tests; double precision is a fixture, for solvers only."""

from __future__ import annotations

import os
from collections.abc import Iterator

# Tests compile much and compute little: without LLVM's optimisations they take nearly half the time. Same algebra.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".strip()

import jax
import pytest

from ccm_jax import processor

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session", autouse=True)
def compiled_programs_stay_here(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Programs that tests start share what they compile, and leave the user's cache folder alone."""
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="session", autouse=True)
def settings_of_this_process_stay() -> None:
    """Verbs of ``ccm`` that tests call run in the process of the tests, whose devices and memory are not theirs."""
    processor.prepare = lambda: None


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
