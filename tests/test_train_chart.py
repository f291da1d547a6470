"""Training a chart: what is trained, what is kept, and that a conditioned network is one."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Chart, Gated, Interior, Polynomial, fit_chart
from ccm_jax.choose_chart import Regime
from ccm_jax.train_chart import Schedule, Trained, chart_loss, labelled, train_chart, weights_of
from experiments.peers import conditioned

# The low expert happens to be the anchor.
pytestmark = pytest.mark.filterwarnings("ignore:fit_chart. `anchor` and `experts.0.` have the same weights")


def apply(params: Any, window: jax.Array) -> jax.Array:
    return window[:, -1] * params["gain"] + params["shift"]


def gain(s: float) -> float:
    return 0.7 + 0.2 * s + 0.1 * max(0.0, 1 - s**2)


def regime(s: float) -> Regime:
    start = jax.random.normal(jax.random.key(0), (6, 1, 4, 1))
    return Regime(s, start * (gain(s) ** jnp.arange(4))[None, :, None, None])


def start(features: Any) -> Chart:
    anchor = {"gain": jnp.array(0.5), "shift": jnp.array(0.0), "steps": np.int64(3)}
    experts = [anchor | {"gain": jnp.float32(gain(s))} for s in (-1.0, 1.0)]
    line = fit_chart(anchor, experts, [-1.0, 1.0])
    more = len(features(jnp.zeros(features.dim))) - 2
    basis = jax.tree.map(lambda b: jnp.concatenate([b, jnp.zeros((more, *b.shape[1:]))]), line.basis)
    return Chart(anchor, basis, features)


def test_a_correction_is_trained_and_the_line_keeps_every_bit() -> None:
    begin = start(Gated(Interior()))
    trained = Trained(origin=False, features=(2,))
    regimes = [regime(s) for s in (-0.5, 0.0, 0.5)]
    found, losses = train_chart(begin, apply, regimes, Schedule(100, 0.03), trained=trained)
    assert losses.shape == (100,) and losses[-10:].mean() < 0.1 * losses[:10].mean()
    for s in (-2.0, -1.0, 1.5):
        jax.tree.map(np.testing.assert_array_equal, found(s), begin(s))
    assert float(found(0.5)["gain"]) == pytest.approx(gain(0.5), abs=0.01)
    jax.tree.map(np.testing.assert_array_equal, found.origin, begin.origin)


def test_a_basis_in_one_leaf_moves_nothing_else_with_the_coordinate() -> None:
    anchor = {"gain": jnp.array(0.5), "shift": jnp.array(0.0)}
    begin = fit_chart(anchor, [anchor, anchor], [-1.0, 1.0])
    only = Trained(leaves=lambda path, leaf: path[-1].key == "shift")
    found, _ = train_chart(begin, apply, [regime(-1.0), regime(1.0)], Schedule(40, 0.02), trained=only)
    assert float(jnp.abs(found.basis["gain"]).max()) == 0.0
    assert float(jnp.abs(found.basis["shift"]).max()) > 0.0
    assert float(found.origin["gain"]) != 0.5  # origin and basis are trained together


def test_a_conditioned_network_is_a_chart_without_a_constant() -> None:
    base = {"gain": jnp.array(0.4), "shift": jnp.array(0.1)}
    network = {"base": base, "slopes": {"gain": jnp.array([0.3]), "shift": jnp.array([-0.2])}}
    regimes = [Regime(s, regime(s).trajectories[:, :2]) for s in (-1.0, 0.5)]
    x = labelled(Polynomial(constant=False), regimes)
    theirs = conditioned.conditioned_loss(apply)(network, x)
    chart = conditioned.chart_of(network)
    ours = chart_loss(chart, apply)(weights_of(chart), x)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_what_cannot_be_trained_is_said() -> None:
    begin, schedule = start(Polynomial()), Schedule(2)
    with pytest.raises(ValueError, match="train_chart: regimes are empty"):
        train_chart(begin, apply, [], schedule)
    with pytest.raises(ValueError, match=r"regimes\[1\].trajectories have shape \(6, 3, 4, 1\)"):
        train_chart(begin, apply, [regime(0.0), Regime(1.0, regime(1.0).trajectories[:, :3])], schedule)
    with pytest.raises(ValueError, match="have 1 frames, expected 2 or more"):
        train_chart(begin, apply, [Regime(0.0, regime(0.0).trajectories[:, :1])], schedule)
    with pytest.raises(ValueError, match="loss is not finite at step 0; lower the schedule's learning_rate"):
        train_chart(begin, apply, [Regime(0.0, jnp.full((6, 4, 4, 1), jnp.nan))], schedule)
