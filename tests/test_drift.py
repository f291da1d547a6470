"""Drifts: their paths, their simulation beside that of constant regimes, their keys, and how trackers are judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import fit_chart, make_rollout, rollout_along
from experiments.beyond.rows import ROWS
from experiments.beyond.study import MEASURES
from experiments.configs import ns_drift, ns_ood
from experiments.pipeline import data
from experiments.pipeline.checks import check_config
from experiments.pipeline.drifts import drifts_of
from experiments.pipeline.family import Family
from experiments.pipeline.plans import RUN, plan, value_of
from experiments.pipeline.stages import settings_of
from experiments.pipeline.tracking import follow
from solvers.burgers import make_step
from solvers.drift import rollout_drift

FIELD = 5


def test_paths_stay_where_they_should_and_validation_has_others_than_the_test() -> None:
    config = ns_drift.get_config()
    for split, reach in (("validation", 1.25), ("test", 2.0)):
        paths = drifts_of(config, split)
        assert paths.shape == (len(config.drift[split]), config.solver.frames)
        assert np.abs(paths).max() <= reach
    ramp, step = drifts_of(config, "test")[1], drifts_of(config, "test")[6]
    np.testing.assert_allclose(ramp[[0, -1]], [-1.425, 1.425])  # in the middles of the first and the last interval
    assert set(step) == {-1.0, 1.2} and (step == -1.0).sum() == 8


def test_the_family_is_that_of_constant_regimes() -> None:
    drift, plain = ns_drift.get_config(), ns_ood.get_config()
    assert data.specification(drift) == data.specification(plain)
    assert all(plan(drift, stage) == plan(plain, stage) for stage in RUN)
    fields = ("model", "train", "finetune", "calibration", "axis", "seed")
    assert settings_of(drift, *fields) == settings_of(plain, *fields)
    rows = plan(drift, "data_drift_test")
    assert [row.purpose for row in rows] == ["drift_test"] * 8 and len(rows[0].value) == 20
    assert rows[0].value[0] == pytest.approx(value_of(drift, -0.75))
    with pytest.raises(ValueError, match="no data stage 'data_drift_test'"):
        plan(plain, "data_drift_test")
    assert {row.config for row in ROWS if row.kind == "drift"} == {"ns_drift"} and "drift" in MEASURES


def test_a_drift_is_made_of_steps_of_constant_regimes() -> None:
    values, start = jnp.array([1e-2, 3e-2]), jnp.sin(2 * jnp.pi * jnp.arange(32) / 32)[:, None]
    frames = rollout_drift(lambda v: make_step(dt=0.1, substeps=4, viscosity=v), values, start)
    np.testing.assert_array_equal(frames[0], start)
    first = make_step(dt=0.1, substeps=4, viscosity=1e-2)(start)
    np.testing.assert_allclose(frames[1], first, atol=1e-6)
    np.testing.assert_allclose(frames[2], make_step(dt=0.1, substeps=4, viscosity=3e-2)(first), atol=1e-6)
    config = ns_drift.get_config("smoke")
    config.solver.frames = 3
    still, same = (data.simulate(config, value, 1, "drift_test") for value in (1e-3, (1e-3,) * 3))
    np.testing.assert_allclose(same[0], still[0], atol=1e-5)
    moved = data.simulate(config, (1e-3, 1e-3, 2e-3), 1, "drift_test")[0]
    np.testing.assert_allclose(moved[:3], still[0, :3], atol=1e-5)
    assert np.abs(moved[3] - still[0, 3]).max() > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": (("ramp", -1.0, 2.5),)}, r"drift.test is .*, expected paths within \|s\| <= 2.0"),
        ({"validation": (("ramp", -1.5, 1.5),)}, r"drift.validation is .*, expected paths within \|s\| <= 1.25"),
        ({"test": (("wave", 1.0),)}, "expected paths such as"),
        ({"test": (("ramp", 1.0),)}, "expected paths such as"),
        ({"test": (("ramp", -1.0, 1.0),)}, "what is tested must not be tuned on"),
        ({"test": ()}, "at least one path"),
        ({"trajectories": 0}, "at least 1"),
    ],
)
def test_drifts_that_cannot_work_are_refused(change: dict[str, Any], message: str) -> None:
    config = ns_drift.get_config()
    config.drift.update(change)
    with pytest.raises(ValueError, match=message):
        check_config(config)


def test_a_viscosity_below_zero_and_recorded_data_are_refused(tmp_path: Path) -> None:
    config = ns_drift.get_config()
    config.axis.low, config.axis.high = 1e-4, 2e-3  # s = -1.2 would be below zero
    config.regimes.validation, config.regimes.test = (1e-3, 1.2e-3), (1.1e-3,)
    with pytest.raises(ValueError, match="regimes that navier_stokes has"):
        check_config(config)
    config = ns_drift.get_config()
    config.data.path = str(tmp_path)
    with pytest.raises(ValueError, match="drifts are simulated"):
        check_config(config)


def rollout_family() -> Family:
    def apply(params: Any, window: jax.Array) -> jax.Array:
        frame = jnp.einsum("ij,nxjc->nxic", params["m"], window[:, -1])
        return frame / jnp.sqrt(jnp.mean(frame**2, axis=(1, 2, 3), keepdims=True))

    keys = jax.random.split(jax.random.key(1), 2)
    skew = jnp.triu(jnp.full((FIELD, FIELD), 0.3), 1)
    middle = jax.scipy.linalg.expm(skew - skew.T)
    direction, aside = (0.1 * jax.random.normal(key, (FIELD, FIELD)) for key in keys)
    weights = ({"m": middle + 0.2 * aside}, {"m": middle - direction}, {"m": middle + direction})
    return Family(weights[0], weights[1:], make_rollout(apply), 1, 4, np.linspace(-2.5, 2.5, 21))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:PrefixReadout. the error on these frames")  # one coordinate does not fit a drift
def test_the_filter_is_judged_beside_weights_that_know_the_path() -> None:
    family, config = rollout_family(), ns_drift.get_config("smoke")
    config.regimes.validation = (1.1e-3, 1.9e-3)
    line = fit_chart(family.anchor, [family.low, family.high], [-1.0, 1.0])
    step = jax.jit(lambda start, path: rollout_along(line, family.rollout_fn, start, path))

    def observe(path: Any, seed: int) -> np.ndarray:
        start = jax.random.normal(jax.random.key(seed), (2, 1, 1, FIELD, 1))
        frames = [step(one, jnp.asarray(path, jnp.float32)[:, None]) for one in start]
        x = jnp.concatenate([start, jnp.stack(frames)], axis=1)
        return np.asarray(x + 0.01 * jax.random.normal(jax.random.key(seed + 1), x.shape))

    still = [np.full(config.solver.frames, data.coordinate_of(config, v)) for v in config.regimes.validation]
    validation = np.stack([observe(path, i) for i, path in enumerate(still)])
    drifts = {
        split: np.stack([observe(path, 10 + i) for i, path in enumerate(drifts_of(config, split))])
        for split in ("validation", "test")
    }
    found = follow(config, family, validation, drifts)
    ratios = found["errors_over_known"]
    assert ratios["known"] == 1.0 < ratios["filter"] < min(ratios[name] for name in ("window", "first", "anchor"))
    assert set(found["forecast_over_known"]) == {"known", "linear", "constant", "first", "anchor"}
    assert 0 <= found["coverage"] <= 1 and json.loads(json.dumps(found)) == found
    for row in found["paths"]:
        assert len(row["s"]) == len(row["known"]) == len(row["filtered"]) == len(row["std"]) == 10
    from experiments.report.tracking import FORECASTS, HEADINGS, figure, table

    assert len(figure(found).axes) == 2
    shown = table(found, "errors", HEADINGS, "errors"), table(found, "forecast", FORECASTS, "forecasts")
    assert all(len(one.columns) == 6 and one.row_count == 2 for one in shown)
