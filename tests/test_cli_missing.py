"""``ccm calibrate`` on frames with gaps: masks of files, NaN that means missing, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ccm_jax import example, fit_chart
from ccm_jax.cli.frames import read_observations
from ccm_jax.io.recordings import open_recording
from tests.terminal import ccm, make_slow_family, of

SHAPE = (3, 6, 4, 5)


def written(folder: Path, **arrays: Any) -> Path:
    """Frames of three samples, and masks beside them."""
    frames = np.random.default_rng(0).standard_normal((*SHAPE, 1))
    frames[2, 1, 0, 0] = np.nan
    np.savez(folder / "seen.npz", frames=frames, dim=2)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder / "seen.npz"


def test_masks_of_a_grid_of_frames_and_of_samples_are_read(tmp_path: Path) -> None:
    whole = np.random.default_rng(1).random(SHAPE) < 0.5
    whole[2, 1, 0, 0] = False
    path = open_recording(written(tmp_path, grid=whole[0, 0].astype(int), frames=whole[2], samples=whole))
    for name in ("frames", "samples"):
        frames, mask = read_observations(path, [2], "refuse", tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(mask, whole[2:])
        assert not frames[~whole[2:]].any() and np.isfinite(frames).all()
    _, mask = read_observations(path, [0, 1, 2], "nan", tmp_path / "grid.npy")
    assert mask is not None and mask.shape == SHAPE and mask[0].sum() == 6 * whole[0, 0].sum()
    _, mask = read_observations(path, [0, 1, 2], "nan", None)
    assert mask is not None and (~mask).sum() == 1 and not mask[2, 1, 0, 0]
    assert read_observations(path, [0, 1], "refuse", None)[1] is None


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "pass --missing nan if NaN marks what was not observed"),
        (np.ones((4, 5)), "where the mask says that it was observed"),
        (np.ones((5, 4)), "has shape [5, 4], expected that of the grid, [4, 5]"),
        (2 * np.ones((4, 5)), "zeros and ones"),
        (np.array(["a"]), "zeros and ones"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, mask: Any, message: str) -> None:
    path = open_recording(written(tmp_path) if mask is None else written(tmp_path, mask=mask))
    with pytest.raises(ValueError, match=re.escape(message)):
        read_observations(path, [0, 1, 2], "refuse", None if mask is None else tmp_path / "mask.npy")
    with pytest.raises(ValueError, match=r"expected a \.npy file"):
        read_observations(path, [0, 1, 2], "refuse", tmp_path / "none.npy")


def test_frames_with_gaps_calibrate(tmp_path: Path) -> None:
    slow = make_slow_family(tmp_path)
    frames = slow.frames(fit_chart(slow.trees[0], slow.trees[1:3], [-1.0, 1.0])(1.2))
    gaps = np.random.default_rng(2).random(frames.shape[:-1]) < 0.2
    gaps[:, 0] = False  # the states are white noise, which no fill restores
    np.savez(tmp_path / "seen.npz", frames=np.where(gaps[..., None], np.nan, frames), dim=2)
    how = ("--model", slow.folder / "model.yaml", "--prefix", tmp_path / "seen.npz", "--bank", "-2.4:2.4:0.6")
    refused = ccm("calibrate", *of(slow.folder), *how, "-o", tmp_path / "m.safetensors")
    assert refused.exit_code == 2 and "--missing nan" in refused.output and not (tmp_path / "m.safetensors").exists()
    done = ccm("calibrate", *of(slow.folder), *how, "--missing", "nan", "--report", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text())["readout"]
    assert found["fill"] == "spectral" and found["observed"] == pytest.approx(0.8, abs=0.1)
    assert "84 % of the points are observed; the others are filled in (spectral)." in done.output
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("Next: ccm calibrate") and "--missing nan" in last  # no rollout: it needs whole frames


@pytest.mark.long
def test_noisy_frames_calibrate_with_noisy_validation(tmp_path: Path) -> None:
    """Five per cent of noise: refused as it is, and the interval contains the value with ``--noise``."""
    with np.load(example.path("test-0.00075.npz")) as file:
        frames = file["frames"][:1].astype(np.float32)
    frames += 0.05 * frames.std() * np.random.default_rng(2).standard_normal(frames.shape).astype(np.float32)
    np.savez(tmp_path / "seen.npz", frames=frames)
    seen = ("--family", example.path(), "--prefix", tmp_path / "seen.npz")
    how = (*seen, "--validation", example.path("validation.npz"))
    plain = ccm("calibrate", *how, "-o", tmp_path / "plain.safetensors")
    assert plain.exit_code == 3 and "(ccm calibrate --noise)" in plain.output
    done = ccm("calibrate", *how, "--noise", 0.05, "-o", tmp_path / "noisy.safetensors")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "noisy.json").read_text())
    (axis,) = found["sure"]["axes"]
    assert found["noise"] == 0.05 and axis["interval"][0] < 0.00075 < axis["interval"][1]
    assert ccm("calibrate", *seen, "--noise", 0.05).exit_code == 2
