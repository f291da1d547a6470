"""Training of networks with convolutions avoids loops on CPU, where XLA runs their gradients slowly."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import train
from ccm_jax._convolutions import slow_in_loops


class Net(nn.Module):
    """A convolution, or a dense layer."""

    kind: str

    @nn.compact
    def __call__(self, window: jax.Array) -> jax.Array:
        x = window[:, -1]
        layer: Any = nn.Conv(2, (3,), padding="CIRCULAR") if self.kind == "conv" else nn.Dense(2)
        return x + layer(x)


X = jax.random.normal(jax.random.key(0), (4, 6, 8, 2))
on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have no such loops")


def start(net: Net, unroll: int) -> tuple[train.TrainState, dict[str, Any]]:
    how = {"loss_fn": train.make_loss(net.apply, unroll=unroll), "optimizer": train.make_optimizer(1e-2, 10)}
    return train.init_state(net.init(jax.random.key(1), X[:, :1]), how["optimizer"]), how | {"frames": unroll + 1}


@on_cpu
def test_convolutions_are_noticed_and_what_is_no_network_is_left_to_others() -> None:
    for kind in ("conv", "dense"):
        params = Net(kind).init(jax.random.key(1), X[:, :1])
        assert slow_in_loops(Net(kind).apply, params, X[:, :1]) == (kind == "conv")
    assert not slow_in_loops(Net("conv").apply, params, X[:, :1, :, :1]) and not slow_in_loops(lambda x: x, "text")


@on_cpu
@pytest.mark.parametrize("unroll", [1, 3])
def test_steps_without_a_loop_are_those_of_the_loop(unroll: int, monkeypatch: pytest.MonkeyPatch) -> None:
    order = train.batch_order(0, 0, 4, 4 * (6 - unroll), 2)
    state, how = start(Net("conv"), unroll)
    program = jax.make_jaxpr(jax.grad(how["loss_fn"]))(state.params, X[:, : unroll + 1])
    assert "conv_general_dilated" in str(program) and " scan[" not in str(program)
    state, losses = train.train_chunk(state, X, order, **how)
    for module in ("ccm_jax.train", "ccm_jax._convolutions"):
        monkeypatch.setattr(f"{module}.slow_in_loops", lambda *given: False)
    again, how = start(Net("conv"), unroll)
    assert " scan[" in str(jax.make_jaxpr(how["loss_fn"])(again.params, X[:, : unroll + 1]))
    again, looped = train.train_chunk(again, X, order, **how)
    np.testing.assert_allclose(losses, looped, rtol=1e-5)
    assert losses.shape == (4,) and int(state.step) == int(again.step) == 4
    difference = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), state.params, again.params)
    assert max(jax.tree.leaves(difference)) < 1e-5
