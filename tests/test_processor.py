"""Settings of a process: where compiled programs are kept, and what the compiler is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxlib
import pytest

from ccm_jax import processor


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
    folder = processor.keep_compiled()
    assert (
        folder is not None
        and folder.is_dir()
        and folder.parent == tmp_path / "ccm_jax"
        and jaxlib.__version__ in folder.name
    )
    assert jax.config.jax_compilation_cache_dir == str(folder)
    monkeypatch.setattr(processor, "_processor", lambda: "another")
    assert processor.keep_compiled() != folder


def test_the_user_s_own_cache_folder_goes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_setting: None
) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "gs://bucket/own")
    assert processor.keep_compiled() is None


def test_a_cache_folder_that_cannot_be_made_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_setting: None
) -> None:
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert processor.keep_compiled() is None


def test_what_the_environment_tells_the_compiler_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    processor.set_compiler()
    processor.set_compiler()
    assert os.environ["XLA_FLAGS"].split() == [
        "--xla_force_host_platform_device_count=2",
        "--xla_backend_optimization_level=2",
        "--xla_cpu_prefer_vector_width=512",
    ]
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_prefer_vector_width=256")
    processor.set_compiler()
    assert os.environ["XLA_FLAGS"] == "--xla_backend_optimization_level=0 --xla_cpu_prefer_vector_width=256"


def test_a_user_without_a_home_folder_has_no_cache(monkeypatch: pytest.MonkeyPatch, cache_setting: None) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert processor.keep_compiled() is None


ARM = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: {part}

processor\t: 1
BogoMIPS\t: 243.75
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd05
"""
X86 = "processor\t: 0\nmodel name\t: {name}\ncpu MHz\t\t: {mhz}\nflags\t\t: fpu {flags}\n"


@pytest.mark.parametrize(
    ("text", "one", "other", "same"),
    [
        (ARM, {"features": "sve", "part": "0xd40"}, {"features": "", "part": "0xd40"}, {}),
        (ARM, {"features": "sve", "part": "0xd40"}, {"features": "sve", "part": "0xd4f"}, {}),
        (X86, {"name": "A", "mhz": 1, "flags": "avx2"}, {"name": "A", "mhz": 1, "flags": "avx512f"}, {"mhz": 2}),
    ],
)
def test_processors_of_other_models_or_instructions_have_folders_of_their_own(
    tmp_path: Path, text: str, one: dict[str, object], other: dict[str, object], same: dict[str, object]
) -> None:
    def hashed(fields: dict[str, object]) -> str:
        (tmp_path / "cpuinfo").write_text(text.format(**fields))
        return processor._processor(tmp_path / "cpuinfo")

    assert hashed(one) != hashed(other)
    assert hashed(one) == hashed(one | same)


def test_verbs_that_run_networks_touch_no_device_before_the_settings() -> None:
    script = """
import ccm_jax.cli.calibrate, ccm_jax.cli.rollout
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
