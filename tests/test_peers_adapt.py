"""Fine-tuning on a prefix, codes, ceilings and the solver: their algebra, on tiny models."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax.models import make_model
from ccm_jax.rollout import make_rollout
from ccm_jax.train import make_loss
from experiments.configs import ns_ood, rd_ood, rdb_gravity
from experiments.peers import adapt, classical, codes
from experiments.peers.conditioned import weights_at
from experiments.peers.rows import ONE_SEED, SYSTEMS, needs, ordered, rows_of
from experiments.peers.trials import choose
from experiments.pipeline import data, plans
from experiments.pipeline.training import Diverged

MODEL = make_model("fno", out_channels=2, modes=(2, 2), width=4, depth=1)


def network(seed: int = 0) -> dict:
    return jax.jit(MODEL.init)(jax.random.key(seed), jnp.zeros((1, 1, 8, 8, 2)))


def frames(count: int = 2) -> jax.Array:
    decay = jnp.exp(-0.1 * jnp.arange(8.0))[None, :, None, None, None]
    return jax.random.normal(jax.random.key(1), (count, 1, 8, 8, 2)) * decay


def changed(before: dict, after: dict) -> set[str]:
    paths = jax.tree_util.tree_leaves_with_path(jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before, after))
    return {path[-2].key for path, differs in paths if differs}


@pytest.mark.parametrize("kind", ["all", "last", "low_rank"])
def test_an_update_starts_at_the_anchor_and_lowers_the_prefix_loss(kind: adapt.Kind) -> None:
    anchor, x, loss_fn = network(), frames()[0], jax.jit(make_loss(MODEL.apply))
    how = {"kind": kind, "loss_fn": loss_fn}
    same = adapt.adapted(anchor, x[:5], jnp.float32(1e-2), jnp.int32(0), **how)
    assert not changed(anchor, same)
    tuned = adapt.adapted(anchor, x[:5], jnp.float32(1e-3), jnp.int32(20), **how)
    pairs = adapt.pairs_of(x[:5], 1)
    assert pairs.shape == (4, 2, 8, 8, 2)
    assert loss_fn(tuned, pairs) < loss_fn(anchor, pairs)
    if kind == "last":
        assert changed(anchor, tuned) == {"project_0", "project_1"}


def test_a_low_rank_update_has_that_rank_and_leaves_biases() -> None:
    anchor = {"weight": jnp.zeros((3, 8, 8)), "bias": jnp.zeros(8)}
    tuned = adapt.start("low_rank", anchor)
    tuned["right"]["weight"] = jax.random.normal(jax.random.key(0), tuned["right"]["weight"].shape)
    after = adapt.updated(anchor, tuned)
    assert np.linalg.matrix_rank(np.asarray(after["weight"])).tolist() == [adapt.RANK] * 3
    assert not jnp.any(after["bias"])


def test_each_trajectory_is_tuned_for_itself_and_judged_on_frames_that_it_was_not_tuned_on() -> None:
    x = frames()
    tuning = adapt.Tuning("all", make_loss(MODEL.apply), make_rollout(MODEL.apply))
    at = (jnp.float32(1e-3), jnp.int32(2))
    errors = adapt.errors_adapted(network(), x, *at, tuning=tuning)
    assert errors.shape == (2, 3)
    np.testing.assert_allclose(errors[1:], adapt.errors_adapted(network(), x[1:], *at, tuning=tuning), rtol=1e-4)


def test_geps_has_slopes_of_rank_one_for_each_matrix_and_free_ones_for_biases() -> None:
    made = codes.start("geps", network(), jax.random.key(2), 5)
    slopes = codes.slopes_of(made)
    assert jax.tree.map(lambda s: s.shape[1:], slopes) == jax.tree.map(lambda b: b.shape, made["base"])
    spectral = next(s for p, s in jax.tree_util.tree_leaves_with_path(slopes) if "spectral" in p[-2].key)
    assert (np.linalg.matrix_rank(np.asarray(spectral)) <= 1).all()


@pytest.mark.parametrize("method", ["coda", "geps"])
def test_trained_codes_lie_within_one_on_the_chart_and_give_the_trained_weights(method: codes.Method) -> None:
    made = codes.start(method, network(), jax.random.key(2), 3)
    made["codes"] = jnp.array([[0.1, 0.0], [0.4, -0.2], [0.0, 0.3]])
    chart = codes.as_chart(made)
    middle = made["codes"].mean(axis=0, keepdims=True)
    scaled = (made["codes"] - middle) / jnp.abs(made["codes"] - middle).max(axis=0, keepdims=True)
    assert jnp.abs(scaled).max() == 1
    for code, c in zip(made["codes"], scaled, strict=True):
        trained = weights_at({"base": made["base"], "slopes": codes.slopes_of(made)}, code)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), chart(c), trained)


def test_groups_are_of_one_environment_and_every_sample_is_in_one() -> None:
    labels = np.array([0.5, -1.0] * 6, np.float32)
    x = np.broadcast_to(np.arange(12.0, dtype=np.float32)[:, None, None, None, None], (12, 3, 2, 2, 2)).copy()
    x[..., -1] = labels[:, None, None, None]
    groups, environments = codes.grouped(x[None], seed=0)
    assert groups.shape == (1, 2, 3, 4, 2, 2, 2) and environments == 2
    members = groups[0, :, 0, :, 0, 0, 0].astype(int)
    assert all(set(labels[row]) == {[-1.0, 0.5][i]} for i, row in enumerate(members))
    assert groups[0, :, 0, 0, 0, 0, -1].tolist() == [0, 1]


def test_the_loss_of_codes_is_that_of_each_environment_s_weights() -> None:
    made = codes.start("geps", network(), jax.random.key(2), 2)
    made["codes"] = jnp.array([[0.5, 0.0], [0.0, -0.5]])
    x = np.repeat(np.asarray(frames(8))[:, :2], 1, axis=0)
    label = np.repeat([-1.0, 1.0], 4).astype(np.float32)
    x = np.concatenate([x, np.broadcast_to(label[:, None, None, None, None], (*x.shape[:-1], 1))], axis=-1)
    groups, _ = codes.grouped(x[None], seed=0)
    tree = {"base": made["base"], "slopes": codes.slopes_of(made)}
    plain, loss = jax.jit(make_loss(MODEL.apply)), codes.codes_loss(MODEL.apply)
    parts = [plain(weights_at(tree, c), x[label == s][..., :-1]) for c, s in zip(made["codes"], (-1, 1), strict=True)]
    found = jax.jit(loss)(made, jnp.asarray(groups[0]))
    np.testing.assert_allclose(found, np.mean(parts) + codes.CODE_PENALTY * 0.25, rtol=1e-5)
    gradient = jax.jit(jax.grad(loss))(codes.start("coda", network(), jax.random.key(2), 2), groups[0])
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient)) and jnp.any(gradient["codes"] != 0)


def test_a_code_is_found_from_the_prefix() -> None:
    def apply(params: dict, window: jax.Array) -> jax.Array:
        return window[:, -1] * jnp.exp(params["rate"])

    made = {
        "base": {"rate": jnp.float32(-0.2)},
        "slopes": {"rate": jnp.array([0.1])},
        "codes": jnp.array([[1.0], [-1.0]]),
    }
    how = {"loss_fn": make_loss(apply)}
    found = codes.adapted_codes(codes.as_chart(made), frames(), jnp.float32(0.02), jnp.int32(200), **how)
    np.testing.assert_allclose(found, 1.0, atol=0.05)


@pytest.mark.parametrize("config", [rd_ood, ns_ood, rdb_gravity], ids=lambda c: c.__name__.rpartition(".")[2])
def test_the_solver_on_its_own_grid_goes_on_where_the_data_do(config: object) -> None:
    c = config.get_config("smoke")  # type: ignore[attr-defined]
    c.solver.update(grid=48, frames=7)
    c.data.update(grid=48)
    value = float(c.regimes.test[0])
    x = data.simulate(c, value, 2, "test")
    chart, s = classical.chart_of_value(c), data.coordinate_of(c, value)
    np.testing.assert_allclose(chart(s)["value"], value, rtol=1e-5)
    rolled = classical.solver_rollout(c, c.solver.substeps)(chart(s), x[:, 4:5], x.shape[1] - 5, x[:, 0], 5)
    np.testing.assert_allclose(rolled, x[:, 5:], atol=2e-3)


def test_a_logarithmic_axis_is_a_line_of_logarithms() -> None:
    c = rd_ood.get_config("smoke")
    c.axis.scale = "log"
    chart = classical.chart_of_value(c)
    np.testing.assert_allclose(jnp.exp(chart(1.0)["value"]), c.axis.high, rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(chart(0.0)["value"]), (c.axis.low * c.axis.high) ** 0.5, rtol=1e-5)


def test_a_ceiling_has_data_of_the_regimes_outside_and_none_that_is_tested() -> None:
    c = rd_ood.get_config()
    rows = plans.plan(c, "data_ceiling")
    assert [row.value for row in rows] == [0.5e-3, 3.5e-3, 4e-3]
    assert {(row.number, row.purpose) for row in rows} == {(c.data.endpoint, "ceiling")}
    assert data.PURPOSES["ceiling"] not in {v for k, v in data.PURPOSES.items() if k != "ceiling"}
    for stage in plans.RUN | plans.STUDY:
        assert all(name != "data_ceiling" for name, _ in plans.allocation(c, stage))
    assert [name for name, _ in plans.allocation(c, "data_ceiling")][-1] == "data_ceiling"


def test_a_trial_that_diverges_is_the_worst() -> None:
    def errors(trial: dict) -> list[float]:
        if trial["rate"] > 1:
            raise Diverged("fit: the loss is not finite")
        return [0.5]

    found = choose([{"rate": 2}, {"rate": 1}], errors, None)
    assert found["chosen"] == {"rate": 1} and found["trials"][0]["validation"] == float("inf")


def test_rows_of_one_seed_come_after_the_main_first_seeds_and_know_what_they_need() -> None:
    rows = rows_of("")
    single = [row for row in rows if row.kind in ONE_SEED.values()]
    assert len(single) == 15 and all(row.seeds == SYSTEMS[row.config][:1] for row in single)
    jobs = ordered(rows)
    first = [i for i, (row, _) in enumerate(jobs) if row in single]
    kinds = ("window", "conditioned")
    main = [i for i, (row, s) in enumerate(jobs) if row.kind.startswith(kinds) and s == 0 and row.config != "rd_dpot"]
    assert max(main) < min(first)
    ceiling = next(row for row in single if row.name == "ns_ood ceiling")
    (needed,) = needs(ceiling, 0)
    assert needed in jobs and needed[0].name == "ns_ood window 1"
