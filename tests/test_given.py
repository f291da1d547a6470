"""What a readout is given by mistake: each mistake is one line that says what was expected and what to do."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from ccm_jax import Gated, fit_chart, fit_prefix_readout, make_rollout
from ccm_jax.evaluate import future_error
from ccm_jax.prefix import coordinate_from_prefix

KERNEL = jnp.zeros((3, 2, 2)).at[1].set(jnp.diag(jnp.array([0.9, 0.6])))


def convolved(params, window):
    """Channel 0 decays to nine tenths, channel 1 to six tenths."""
    numbers = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(window[:, -1], params["k"], (1,), "SAME", dimension_numbers=numbers)


ROLL = make_rollout(convolved)
CHART = fit_chart({"k": KERNEL}, [{"k": KERNEL * 0.95}, {"k": KERNEL * 1.05}], [-1.0, 1.0], features=Gated())
START = jax.random.normal(jax.random.key(0), (6, 8, 2))
X = jnp.concatenate([START[:, None], ROLL({"k": KERNEL * 1.02}, START[:, None], 8)], axis=1)  # [6, 9, 8, 2]


@pytest.fixture(scope="module")
def readout():
    return fit_prefix_readout(CHART, ROLL)


def test_a_batch_needs_to_be_called_one(readout):
    with pytest.raises(ValueError, match=r"PrefixReadout: frames have shape \[6, 9, 8, 2\].*one trajectory.*'each'"):
        readout(X)
    with pytest.raises(ValueError, match=r"shape \[3, 9, 8, 2\].*T at least 5.*'each'"):
        readout(X[:3])
    with pytest.raises(ValueError, match=r"coordinate_from_prefix: frames have shape \[3, 9, 8, 2\].*'each'"):
        coordinate_from_prefix(CHART, ROLL, X[:3], jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="'each'"):
        jax.jit(readout)(X)
    assert readout(X, batch="each").coordinate.shape == (6, 2)


def test_one_trajectory_is_no_batch(readout):
    with pytest.raises(ValueError, match="expected a batch.*for one trajectory leave batch out"):
        readout(X[0], batch="each")


@pytest.mark.parametrize(
    ("rollout_fn", "said"),
    [
        (
            convolved,
            r"rollout_fn does not take .*\[1, 1, 8, 2\].*expected rollout_fn\(params, window, steps\), such as m",
        ),
        (make_rollout(lambda p, w: w), r"make_rollout: apply returns \[1, 1, 8, 2\].*expected one frame.*\[1, 8, 2\]"),
        (make_rollout(lambda w, p: p["k"]), "rollout_fn does not take"),
        (
            lambda p, w, steps: w[:, -1],
            r"rollout_fn returns \[1, 8, 2\].*expected.*\[1, 2, 8, 2\]; make it with make_ro",
        ),
    ],
    ids=["apply itself", "no axis of time", "arguments swapped", "one frame"],
)
def test_what_is_no_rollout_is_said_in_one_line(rollout_fn, said):
    with pytest.raises(ValueError, match=said) as caught:
        fit_prefix_readout(CHART, rollout_fn)(X[0])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="fit_prefix_readout: validation"):
        fit_prefix_readout(CHART, rollout_fn, [X])
    with pytest.raises(ValueError, match="rollout_fn|make_rollout"):
        future_error({"k": KERNEL}, rollout_fn, X)


def test_errors_of_a_device_pass_unchanged():
    def full(params, window, steps):
        raise RuntimeError("RESOURCE_EXHAUSTED")

    with pytest.raises(RuntimeError, match="EXHAUSTED"):
        future_error({"k": KERNEL}, full, X)


def test_weights_that_are_no_arrays_are_named():
    module = {"w": jnp.ones(2), "activation": SimpleNamespace()}
    with pytest.raises(
        ValueError, match=r"fit_chart: leaf \['activation'\] of `anchor` is a SimpleNamespace.*eqx.filter"
    ):
        fit_chart(module, [module, module], [-1.0, 1.0])
    numbers = {"w": 1.0, "n": 3, "key": jax.random.key(0)}
    assert fit_chart(numbers, [numbers | {"w": 0.0}, numbers | {"w": 2.0}], [-1.0, 1.0])(0.0)["n"] == 3


def test_swapped_channels_are_noticed(readout):
    with pytest.warns(UserWarning, match="PrefixReadout: repeating the last frame has error .*order of channels"):
        swapped = readout(X[0, :, :, ::-1] * jnp.array([[[1.0, 10.0]]]))
    assert jnp.isfinite(swapped.coordinate).all()
    readout(X[0])  # nothing to warn of
