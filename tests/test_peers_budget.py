"""Budgets: adapters as experts, the pretrained backbone, and the cells."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ccm_jax import fit_chart
from ccm_jax.io import checkpoint
from ccm_jax.models import make_model
from ccm_jax.normalize import Normalization, normalized
from ccm_jax.rollout import make_rollout
from ccm_jax.train import init_state, make_optimizer, train_step
from experiments.peers import budget, conditioned, lora, pretrained
from experiments.peers.judge import by_metadata, by_value
from experiments.peers.rows import needs, rows_of

ARGS = {"modes": (2, 2), "width": 6, "depth": 1, "boundary": "padded"}


def weights_of(channels: int, seed: int = 0) -> tuple:
    model = make_model("fno", out_channels=channels, **ARGS)
    return model, jax.jit(model.init)(jax.random.key(seed), jnp.zeros((1, 1, 8, 8, channels)))


def close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance), a, b)


def test_an_adapter_starts_at_its_base_and_has_the_rank_it_says():
    _, base = weights_of(2)
    adapter = lora.start(base, jax.random.key(1), rank=2)
    close(lora.merged(adapter), base, 0)
    for w, a, b in zip(*(jax.tree.leaves(adapter[name]) for name in ("base", "a", "b")), strict=True):
        assert (a.ndim > 0) == (w.ndim > 1)
        assert w.ndim < 2 or (*a.shape[:-1], b.shape[-1]) == w.shape and a.shape[-1] == b.shape[-2] == 2


def test_what_is_trained_can_be_kept(tmp_path):
    _, base = weights_of(2)
    for name, tree in {
        "adapter": lora.start(base, jax.random.key(1)),
        "biases": conditioned.start(base, "biases"),
        "channel": conditioned.start(base, "channel"),
    }.items():
        checkpoint.save(tmp_path / name, tree)
        jax.tree.map(np.testing.assert_array_equal, checkpoint.load(tmp_path / name, like=tree), tree)


@pytest.mark.filterwarnings("ignore:fit_chart. experts.* trained independently")
def test_merged_adapters_are_the_chart_of_their_dense_updates():
    _, base = weights_of(2)
    low, high = (
        adapter | {"b": jax.tree.map(lambda b, k=k: jax.random.normal(jax.random.key(k), b.shape), adapter["b"])}
        for k, adapter in enumerate([lora.start(base, jax.random.key(1), rank=2)] * 2)
    )
    chart = fit_chart(base, [lora.merged(low), lora.merged(high)], [-1.0, 1.0])
    alpha = 1.7

    def by_hand(w, a_low, b_low, a_high, b_high):
        if not a_low.ndim:
            return w
        return w + (1 - alpha) / 2 * (a_low @ b_low) + (1 + alpha) / 2 * (a_high @ b_high)

    close(chart(alpha), jax.tree.map(by_hand, base, low["a"], low["b"], high["a"], high["b"]))


@pytest.mark.long
def test_training_an_adapter_leaves_its_base_exactly_as_it_was():
    model, base = weights_of(1)
    loss = lora.lora_loss(normalized(model.apply, Normalization(jnp.zeros(1), jnp.ones(1))))
    optimizer = make_optimizer(1e-2, 4)
    state = init_state(lora.start(base, jax.random.key(1)), optimizer)
    frames = jax.random.normal(jax.random.key(2), (4, 2, 8, 8, 1))
    step = jax.jit(lambda state: train_step(state, frames, loss_fn=loss, optimizer=optimizer)[0])
    for _ in range(3):
        state = step(state)
    jax.tree.map(np.testing.assert_array_equal, state.params["base"], base)
    assert optax.tree.norm(state.params["b"]) > 0


def test_the_pretraining_loss_does_not_look_at_padded_channels():
    model, weights = weights_of(2)
    own = make_model("fno", out_channels=1, **ARGS)
    x = jax.random.normal(jax.random.key(1), (3, 2, 8, 8, 1))
    frames = jnp.asarray(pretrained.filled(x, Normalization(jnp.zeros(1), jnp.ones(1))))
    loss = jax.jit(pretrained.pretraining_loss(model.apply))
    head = weights["project_1"]
    other = {"kernel": head["kernel"].at[:, 1].add(3.0), "bias": head["bias"].at[1].add(5.0)}
    changed = weights | {"project_1": other}
    assert float(loss(weights, frames)) == float(loss(changed, frames))
    gradient = jax.jit(jax.grad(loss))(weights, frames)["project_1"]["kernel"]
    assert np.abs(gradient[:, 0]).min() > 0 and not np.any(gradient[:, 1])
    # Without its padded channels it is the network of a system of one channel, and its loss is the same.
    narrow = pretrained.without_padding(weights, 1)
    shapes = jax.eval_shape(own.init, jax.random.key(0), x[:, :1])
    assert jax.tree.map(jnp.shape, narrow) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    close(jax.jit(own.apply)(narrow, x[:, :1]), jax.jit(model.apply)(weights, frames[:, :1])[..., :1])
    assert jax.tree.map(jnp.shape, pretrained.without_padding(weights, 2)) == jax.tree.map(jnp.shape, weights)


def test_both_real_channels_count_in_the_pretraining_loss():
    model, weights = weights_of(2)
    frames = jax.random.normal(jax.random.key(1), (3, 2, 8, 8, 2))
    gradient = jax.jit(jax.grad(pretrained.pretraining_loss(model.apply)))(weights, frames)["project_1"]["kernel"]
    assert np.abs(gradient).min() > 0


@pytest.mark.parametrize("size", ["", "smoke"])
def test_the_pretrained_rows_wait_for_the_backbone_of_both_seeds(size):
    rows = {row.name: row for row in rows_of(size)}
    row = rows["rd_ood budget pretrained"]
    backbone = rows["rd_ood backbone"]
    assert needs(row, 0) == [(backbone, 0)]
    if not size:
        assert needs(row, 2) == [(row, 0), (backbone, 0), (backbone, 2)]
        assert needs(rows["ns_ood budget pretrained conditioned"], 0) == [(backbone, 0)]


def test_the_middle_has_as_many_trajectories_of_each_system(tmp_path):
    from experiments.configs import rd_ood
    from experiments.pipeline.plans import plan
    from experiments.pipeline.stages import Run

    run = Run(rd_ood.get_config(), tmp_path)
    rows = [plan(pretrained.at_middle(run, name).config, "data_same_regime") for name in pretrained.SYSTEMS]
    assert [sum(row.number for row in each) for each in rows] == [240, 240, 240]
    assert [each[0].value for each in rows] == pytest.approx([2e-3, 1.5e-3, 1.0])


def test_a_training_that_diverges_has_infinite_errors_and_stops_nothing():
    from experiments.peers.judge import Judge
    from experiments.pipeline.training import Diverged

    def diverges():
        raise Diverged("fit: the loss is not finite")

    judge = Judge(None, None, 1, (), (None, None, None))  # type: ignore[arg-type]
    errors, fitted = budget._on_test(judge, "ccm", diverges)
    assert errors == {"ccm_coord": [np.inf] * 3, "ccm_scale": [np.inf] * 3} and fitted is None


def tiny_judge(tmp_path, apply):
    from experiments.configs import rd_ood
    from experiments.peers.judge import Judge
    from experiments.pipeline.stages import Run

    config = rd_ood.get_config("smoke")
    config.regimes.validation, config.regimes.test = (1.5e-3, 2e-3, 2.5e-3), (1e-3, 3.5e-3)
    frames = 2.0 ** np.arange(8.0).reshape(1, 8, 1, 1, 1) * np.ones((2, 8, 4, 4, 1))
    sets = [tuple(np.float32(s * frames) for s in range(1, 1 + n)) for n in (3, 2)]
    return Judge(Run(config, tmp_path), make_rollout(apply), 1, *sets)


def test_by_metadata_may_take_fewer_trajectories_and_is_what_by_value_finds(tmp_path):
    judge = tiny_judge(tmp_path, lambda params, window: params["w"] * window[:, -1])
    chart = fit_chart({"w": jnp.float32(1.5)}, [{"w": jnp.float32(1.0)}, {"w": jnp.float32(2.5)}], [-1.0, 1.0])
    whole, few = by_value(judge, chart), by_metadata(judge, chart, 1)
    assert few["map"]["kind"] == whole["map"]["kind"] and "hindsight" in whole
    np.testing.assert_allclose(few["scale"], whole["scale"], rtol=1e-5)  # the two trajectories are the same
    assert few["coord"] == whole["coord"]


def test_a_chart_that_diverges_everywhere_has_infinite_errors(tmp_path):
    judge = tiny_judge(tmp_path, lambda params, window: params["w"] * window[:, -1] / 0.0)
    chart = fit_chart({"w": jnp.float32(1.5)}, [{"w": jnp.float32(1.0)}, {"w": jnp.float32(2.5)}], [-1.0, 1.0])
    read = by_metadata(judge, chart, 1)
    assert read["coord"] == read["scale"] == [np.inf, np.inf]


def test_small_budgets_are_those_with_the_most_seeds_and_their_mean_is_over_cells_seed_by_seed():
    from experiments.peers.plane import small_budgets

    def cell(system, steps, conditioned, lora=(1.0, 1.0)):
        ratios = {"scale_over_conditioned": {"seeds": list(conditioned)}, "scale_over_lora": {"seeds": list(lora)}}
        return {"system": system, "start": "pretrained", "steps": steps, "trajectories": 16} | ratios

    plane = [cell("rd_ood", 100, (0.5, 0.4)), cell("rd_ood", 300, (0.5, 0.9)), cell("rd_ood", 1000, (9.0,), (9.0,))]
    found = small_budgets([*plane, cell("ns_ood", 100, (np.inf, 1.0)), cell("ns_ood", 300, (1.0, 1.0))])
    assert (found["fewest"], found["most"], found["seeds"], len(found["cells"])) == (100, 300, 2, 2)
    ratio = found["scale_over_conditioned"]
    np.testing.assert_allclose(ratio["rd_ood"]["seeds"], [0.5, 0.6], rtol=1e-6)
    assert "ns_ood" not in ratio and found["scale_over_lora"]["ns_ood"]["mean"] == pytest.approx(1.0)
