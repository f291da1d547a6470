"""Networks of other packages, where they are installed, from their files to a merge that they load back."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tfno", "uno", "sfno", "codano", "pde_transformer"])
def test_a_planted_coordinate_is_found(name: str, tmp_path: Path) -> None:
    from benchmarks.tried_networks import try_network

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        try:
            found = try_network(name, tmp_path)
        except ImportError as error:
            pytest.skip(f"{error}")
    assert abs(found["coordinate"] - 0.7) < 0.02
    assert found["outputs_apart"] < 1e-5
