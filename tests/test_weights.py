"""Checkpoints are told by their content, and what is damaged is said in one way."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ccm_jax.io.weights import open_weights


def test_numpy_archives_are_read_and_damaged_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, w=np.arange(3.0))
    np.testing.assert_array_equal(open_weights(path).arrays["w"], [0, 1, 2])
    whole = path.read_bytes()
    place = whole.rindex(b"w.npy") - 46 + 10
    path.write_bytes(whole[:place] + b"\x63" + whole[place + 1 :])  # a compression that does not exist
    with pytest.raises(ValueError, match="^open_weights: .*a.npz cannot be read: .*numpy.savez"):
        open_weights(path)
    np.savez(path, w=np.array([{}], object))
    with pytest.raises(ValueError, match="^open_weights: .*a.npz cannot be read: .*numpy.savez"):
        open_weights(path)


def test_archives_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.pt", "w"):
        pass
    with pytest.raises(ValueError, match="no data.pkl"):
        open_weights(tmp_path / "empty.pt")
    content = (tmp_path / "empty.pt").read_bytes()
    (tmp_path / "odd.pt").write_bytes(content[:12] + b"\xff" * 8 + content[20:])  # a directory beyond the file
    with pytest.raises(ValueError, match="^open_weights|^open_torch"):
        open_weights(tmp_path / "odd.pt")
