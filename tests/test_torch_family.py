"""A U-Net and a ViT of PyTorch through the command line, beside PyTorch's own merge and choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors.torch")

TINY: dict[str, dict[str, Any]] = {
    "unet": {"width": 8},
    "vit": {"grid": 16, "width": 16, "depth": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_merge_and_coordinate_are_those_of_torch(name: str, tmp_path: Path) -> None:
    from benchmarks.torch_family import Size, compare

    size = Size(grid=16, steps=30, fine=20, samples=6, length=8, batch=8)
    found = compare(name, TINY[name], size, tmp_path)
    assert found["outputs_apart"] < 1e-6
    assert found["bank"]["ccm"] == found["bank"]["torch"]
    assert found["bank_losses_apart"] < 1e-4
    assert found["continuous"]["lowest"]
    assert "anchor" in found["evaluate"]
