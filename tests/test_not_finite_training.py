"""What the core and the pipeline do with numbers gone bad: stopped with step, stage and checkpoint; deltas are wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_chart
from ccm_jax.normalize import fit_normalization
from experiments.pipeline.training import Diverged, _check_finite


def test_a_training_that_diverges_says_step_stage_and_checkpoint(tmp_path: Path) -> None:
    fine, spoilt = {"w": jnp.ones(3)}, {"w": jnp.array([1.0, jnp.nan])}
    _check_finite("anchor", np.ones(5), fine, tmp_path)
    with pytest.raises(Diverged, match=r"loss of anchor is not finite at step 3 of .*; there is no checkpoint before"):
        _check_finite("anchor", np.array([1, 1, 1, np.nan, np.nan]), spoilt, tmp_path)
    (tmp_path / "anchor-steps" / "00000400").mkdir(parents=True)
    told = "weights of anchor are not finite at step 5 of .*; the last good checkpoint is anchor-steps/00000400. Lower"
    with pytest.raises(Diverged, match=told):
        _check_finite("anchor", np.ones(5), spoilt, tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_data_without_a_finite_scale_are_refused(bad: float) -> None:
    x = np.ones((2, 3, 4, 2), np.float32)
    x[0, 0, 0, 1], x[1, ..., 0] = bad, 2.0
    with pytest.raises(ValueError, match="expected finite numbers; drop trajectories"):
        fit_normalization(jnp.asarray(x))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_charts_of_half_precision_meet_their_experts_exactly(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    trees = [{"w": jnp.asarray(rng.normal(size=200) * 100, dtype)} for _ in range(3)]
    # A basis in float16 would be infinite: the updates are divided by 1e-3.
    chart = fit_chart(trees[0], trees[1:], [-1e-3, 1e-3])
    for c, tree in zip((-1e-3, 1e-3), trees[1:], strict=True):
        assert chart(c)["w"].dtype == dtype
        np.testing.assert_array_equal(np.asarray(chart(c)["w"], np.float32), np.asarray(tree["w"], np.float32))
