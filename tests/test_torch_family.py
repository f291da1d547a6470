"""A U-Net and a ViT of PyTorch through the command line, beside PyTorch's own merge and choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors.torch")

TINY: dict[str, dict[str, Any]] = {
    "unet": {"width": 8},
    "vit": {"grid": 16, "width": 16, "depth": 1},
}


def heat(viscosity: float, size: Any, seed: int) -> np.ndarray:
    """Random fields that decay by the heat equation, exactly: what the solver gives, without compiling one."""
    noise = np.random.default_rng(seed).standard_normal((size.samples, 1, size.grid, size.grid))
    k = np.fft.fftfreq(size.grid, 1 / size.grid)
    square = k[:, None] ** 2 + k[: size.grid // 2 + 1] ** 2
    time = np.arange(size.length)[:, None, None]
    spectrum = np.fft.rfft2(noise) * np.exp(-0.05 * square - 10 * viscosity * time * square)
    return np.fft.irfft2(spectrum, s=(size.grid, size.grid))[..., None].astype(np.float32)


def check(name: str, steps: int, folder: Path) -> None:
    from benchmarks.torch_family import Size, compare

    size = Size(grid=16, steps=steps, fine=steps // 2, samples=6, length=8, batch=8)
    found = compare(name, TINY[name], size, folder)
    assert found["outputs_apart"] < 1e-6
    assert found["bank"]["ccm"] == found["bank"]["torch"]
    assert found["bank_losses_apart"] < 1e-4
    assert found["continuous"]["lowest"]
    assert "anchor" in found["evaluate"] and str(folder) not in found["evaluate"]


NETWORKS = [pytest.param("unet", marks=pytest.mark.long), pytest.param("vit", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", NETWORKS)
def test_merge_and_coordinate_are_those_of_torch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.torch_family.trajectories", heat)
    check(name, 12, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_the_same_of_trajectories_of_the_solver(name: str, tmp_path: Path) -> None:
    check(name, 30, tmp_path)
