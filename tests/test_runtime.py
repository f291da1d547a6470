"""Where compiled programs are kept, and how devices are laid out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxlib
import pytest

from experiments.runner import runtime


@pytest.fixture
def cache_setting() -> Iterator[None]:
    before = jax.config.jax_compilation_cache_dir
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_compiled_programs_are_kept_apart_by_version_and_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_setting: None
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = runtime.keep_compiled()
    assert (
        folder is not None
        and folder.is_dir()
        and folder.parent == tmp_path / "ccm_jax"
        and jaxlib.__version__ in folder.name
    )
    assert jax.config.jax_compilation_cache_dir == str(folder)
    monkeypatch.setattr(runtime, "_processor", lambda: "another")
    assert runtime.keep_compiled() != folder


def test_the_user_s_own_cache_folder_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_setting: None
) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/own")
    assert runtime.keep_compiled() is None


def test_a_cache_folder_that_cannot_be_made_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_setting: None
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert runtime.keep_compiled() is None


def test_what_the_environment_tells_the_compiler_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    runtime.set_compiler()
    runtime.set_compiler()
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_force_host_platform_device_count=2",
        "--xla_backend_optimization_level=2",
        "--xla_cpu_prefer_vector_width=512",
    ]
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_prefer_vector_width=256")
    runtime.set_compiler()
    assert os.environ["XLA_FLAGS"] == "--xla_backend_optimization_level=0 --xla_cpu_prefer_vector_width=256"


def test_one_process_is_the_case_of_one() -> None:
    assert runtime.is_writer() and runtime.agree(3) == 3 and runtime.mesh() is None
    runtime.barrier("alone")
