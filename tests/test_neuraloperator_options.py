"""Every argument of neuraloperator's FNO: the same numbers here, or a refusal that names it.

The files are those that its own code wrote (``tests/references/make_neuraloperator.py``), so that nothing is skipped
where it is not installed; where it is, they are written anew and checked likewise.
"""

from __future__ import annotations

import io
import lzma
import warnings
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.interop import fno_from_neuraloperator
from ccm_jax.io.torchfile import open_torch
from ccm_jax.models import make_model

STORED = Path(__file__).parent / "references" / "neuraloperator.npz.xz"
with np.load(io.BytesIO(lzma.decompress(STORED.read_bytes()))) as stored:
    FILES: dict[str, Any] = dict(stored)
CASES = [name.removesuffix("/file") for name in FILES if name.endswith("/file")]
SAME = [name for name in CASES if f"{name}/y" in FILES]
REFUSED = [name for name in CASES if f"{name}/y" not in FILES]


def write(name: str, path: Path) -> Path:
    path.write_bytes(FILES[f"{name}/file"].tobytes())
    return path


def check_same(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    """``x`` and ``y`` with channels first, as the module has them."""
    settings, params = fno_from_neuraloperator(open_torch(path))
    window = jnp.asarray(np.moveaxis(x, 1, -1))[:, None]
    got = np.moveaxis(np.asarray(make_model("fno", **settings).apply(params, window)), -1, 1)
    np.testing.assert_allclose(got, y, atol=1e-5 * np.abs(y).max())


def test_no_argument_is_left_out() -> None:
    assert set(FILES["arguments"].tolist()) == {name.partition("=")[0] for name in CASES}
    assert len(SAME) > 15 and len(REFUSED) > 20


@pytest.mark.parametrize("name", SAME)
def test_the_same_numbers(name: str, tmp_path: Path) -> None:
    check_same(write(name, tmp_path / "net.pt"), FILES[f"{name}/x"], FILES[f"{name}/y"])


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=name.partition("=")[0]):
        fno_from_neuraloperator(open_torch(write(name, tmp_path / "net.pt")))


def test_the_installed_version_has_these_arguments_and_numbers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("neuralop.models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        from tests.references import make_neuraloperator

        assert make_neuraloperator.arguments() == FILES["arguments"].tolist()
        for argument, case in make_neuraloperator.cases():
            path = tmp_path / "net.pt"
            path.write_bytes(case.file)
            if case.x is not None and case.y is not None:
                check_same(path, case.x, case.y)
            else:
                with pytest.raises(ValueError, match=argument):
                    fno_from_neuraloperator(open_torch(path))
