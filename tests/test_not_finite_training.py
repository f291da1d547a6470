"""What the core and the pipeline do with numbers gone bad: stopped with step, stage and checkpoint; deltas are wide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_chart, merge_pytree
from ccm_jax.baselines import BASELINES
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
@pytest.mark.filterwarnings("ignore:fit_chart. experts are at")
def test_charts_of_half_precision_meet_their_experts_exactly(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    trees = [{"w": jnp.asarray(rng.normal(size=200) * 100, dtype)} for _ in range(3)]
    # A basis in float16 would be infinite: the updates are divided by 1e-3.
    chart = fit_chart(trees[0], trees[1:], [-1e-3, 1e-3])
    for c, tree in zip((-1e-3, 1e-3), trees[1:], strict=True):
        assert chart(c)["w"].dtype == dtype
        np.testing.assert_array_equal(np.asarray(chart(c)["w"], np.float32), np.asarray(tree["w"], np.float32))


@pytest.mark.parametrize("leaf", ["text", np.array(["a"]), np.array([object()]), None])
def test_what_holds_no_numbers_is_named(leaf: Any) -> None:
    tree, low, high = ({"w": np.full(2, value, np.float32), "note": leaf} for value in (1, 0, 3))
    if leaf is None:  # is no leaf
        assert fit_chart(tree, [low, high], [-1.0, 1.0])(0.5)["note"] is None
        return
    with pytest.raises(ValueError, match=r"leaf \['note'\] of `anchor` is an? .*, expected numbers; leave it out"):
        fit_chart(tree, [low, high], [-1.0, 1.0])


@pytest.mark.parametrize("method", [name for name, baseline in BASELINES.items() if not baseline.needs])
def test_plain_numbers_and_leaves_of_none_merge_by_other_methods(method: str) -> None:
    trees: list[Any] = [{"a": 1.0 + i, "b": np.zeros((0, 3), np.float32)} for i in range(3)]
    merged = BASELINES[method].merge(trees[0], trees[1:], [-1.0, 1.0], 0.5)
    assert np.shape(merged["b"]) == (0, 3) and np.isfinite(float(merged["a"]))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model.history", 0, "config.model.history is 0, expected at least 1"),
        ("model.history", -1, "config.model.history is -1, expected at least 1"),
        ("calibration.skip", [[1]], "config.calibration.skip is .*, expected a whole number, or None"),
    ],
)
def test_what_fuzzing_found_of_configurations(field: str, value: Any, message: str) -> None:
    from experiments.configs.rd_ood import get_config
    from experiments.pipeline.checks import check_config

    config = get_config("smoke").copy_and_resolve_references()
    part, _, name = field.partition(".")
    config[part][name] = value
    with pytest.raises(ValueError, match=message):
        check_config(config)


def test_infinities_that_all_share_stay() -> None:
    """A mask of attention is no update, and not diverged training; other infinities are named."""
    mask = np.array([0.0, -np.inf], np.float32)
    anchor, low, high = ({"w": np.full(2, value, np.float32), "mask": mask} for value in (1, 0, 3))
    chart = fit_chart(anchor, [low, high], [-1.0, 1.0])
    for merged in (chart(0.5), merge_pytree(anchor, low, high, 0.5)):
        np.testing.assert_array_equal(merged["mask"], mask)
        np.testing.assert_allclose(merged["w"], 2.25)
    low["mask"] = -mask
    with pytest.raises(
        ValueError, match=r"leaf \['mask'\] of `anchor` is not finite; .* the same infinities everywhere"
    ):
        fit_chart(anchor, [low, high], [-1.0, 1.0])
    with pytest.warns(UserWarning, match=r"merge_pytree: leaf \['mask'\] of `anchor` is not finite"):
        merge_pytree(anchor, low, high, 0.5)
