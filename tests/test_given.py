"""What a readout is given by mistake: each mistake is one line that says what was expected and what to do."""

import dataclasses
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ccm_jax
from ccm_jax import (
    Choices,
    Gated,
    choose_chart,
    example,
    fit_chart,
    fit_prefix_readout,
    fit_sequential,
    fit_uncertainty,
    make_rollout,
    predict_rollout,
)
from ccm_jax._stranger_doubts import warn_of_strangers
from ccm_jax._stride import Clue
from ccm_jax.evaluate import future_error, future_frames
from ccm_jax.hindsight import best_in_hindsight
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
            r"rollout_fn does not take .*\[1, 1, 8, 2\]; expected rollout_fn\(params, window, steps\), such as m.*"
            r"channels that the model was trained on \(these have 2 channels\)\. The model raised: ",
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
    with pytest.raises(ValueError, match="^(fit_prefix_readout|make_rollout): ") as caught:
        fit_prefix_readout(CHART, rollout_fn, [X])
    assert sum(str(caught.value).count(f"{name}: ") for name in ("fit_prefix_readout", "make_rollout")) == 1
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
        ValueError, match=r"fit_chart: leaf \['activation'\] of `anchor` is a SimpleNamespace.*eqx.partition"
    ):
        fit_chart(module, [module, module], [-1.0, 1.0])
    numbers = {"w": 1.0, "n": 3, "key": jax.random.key(0)}
    assert fit_chart(numbers, [numbers | {"w": 0.0}, numbers | {"w": 2.0}], [-1.0, 1.0])(0.0)["n"] == 3


def test_swapped_channels_are_noticed(readout):
    with pytest.warns(UserWarning, match="PrefixReadout: repeating the last frame has error .*order of channels"):
        swapped = readout(X[0, :, :, ::-1] * jnp.array([[[1.0, 10.0]]]))
    assert jnp.isfinite(swapped.coordinate).all()
    readout(X[0])  # nothing to warn of


@pytest.mark.parametrize("call", [fit_prefix_readout, fit_sequential, coordinate_from_prefix, best_in_hindsight])
def test_what_is_no_chart_or_no_rollout_is_named(call):
    given, name = () if call is fit_prefix_readout else ([X],), call.__name__
    with pytest.raises(ValueError, match=rf"^{name}: chart is a Rollout, .*arguments are \(chart, rollout_fn\)"):
        call(ROLL, CHART, *given)
    with pytest.raises(ValueError, match=rf"^{name}: chart is a list, expected a Chart of fit_chart\.$"):
        call([{"k": KERNEL}], ROLL, *given)
    with pytest.raises(ValueError, match=rf"^{name}: rollout_fn is a NoneType, expected a function"):
        call(CHART, None, *given)


def test_numbers_of_frames_may_be_of_numpy(readout):
    frames = fit_prefix_readout(CHART, ROLL, history=np.int32(1), frames=np.int64(4))(X[0])
    np.testing.assert_array_equal(frames.coordinate, readout(X[0]).coordinate)
    for name, count in (("frames", 2.0), ("frames", "4"), ("history", 0), ("history", True)):
        with pytest.raises(ValueError, match=f"fit_prefix_readout: {name} is .*, expected a whole number of at lea"):
            fit_prefix_readout(CHART, ROLL, **{name: count})


def test_a_network_that_returns_more_than_a_frame_is_told_so():
    def normalising(params, window):
        return convolved(params, window), {"mean": window.mean()}

    message = r"^make_rollout: apply returns a tuple, expected one frame .*= \[{}, 8, 2\]; return the frame only\.$"
    with pytest.raises(ValueError, match=message.format(1)):
        fit_prefix_readout(CHART, make_rollout(normalising))(X[0])
    with pytest.raises(ValueError, match=message.format(6)):
        fit_prefix_readout(CHART, make_rollout(normalising), [X])
    with pytest.raises(ValueError, match="^fit_prefix_readout: rollout_fn returns a tuple, expected frames"):
        fit_prefix_readout(CHART, lambda params, window, steps: (window, None), [X])


@pytest.mark.parametrize(
    ("frames", "batch", "said"),
    [
        (1.0, None, r"PrefixReadout: frames have shape \[\], expected \[T, \*space, C\]"),
        (jnp.ones((9, 2)), "each", r"PrefixReadout: frames have shape \[9, 2\].*expected \[N, T, \*space, C\]"),
        (X[0] * (1 + 0j), None, "PrefixReadout: frames are complex64, expected real numbers; .*two channels"),
        ([(-1.0, X)], None, "PrefixReadout: frames are a list, expected"),
    ],
    ids=["number", "no space", "complex", "labels beside"],
)
def test_frames_of_another_kind_are_refused(readout, frames, batch, said):
    with pytest.raises(ValueError, match=said):
        readout(frames, batch=batch)


def test_make_rollout_takes_no_context(readout):
    message = r"^make_rollout: it takes no context; write your own rollout_fn\(params, window, steps, context, start\)"
    with pytest.raises(ValueError, match=message):
        readout(X[0], context=jnp.ones(3))
    with pytest.raises(ValueError, match=message):
        fit_prefix_readout(CHART, ROLL, [X], contexts=[jnp.ones(6)])
    with pytest.raises(ValueError, match=r"expected rollout_fn\(params, window, steps, context, start\), and frame"):
        fit_prefix_readout(CHART, lambda params, window, steps: window, [X], contexts=[jnp.ones(6)])


@pytest.mark.parametrize(
    ("apply", "window", "steps", "said"),
    [
        (None, X[:, :1], 2, "apply is a NoneType, expected a function"),
        (convolved, jnp.ones((4, 1)), 2, r"window has shape \[4, 1\], expected \[N, history, \*space, C\]"),
        (convolved, X[:, :1], 2.0, "steps is 2.0, expected a whole number of at least 0"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(apply, window, steps, said):
    with pytest.raises(ValueError, match=f"^make_rollout: {said}"):
        make_rollout(apply)({"k": KERNEL}, window, steps)


@pytest.mark.parametrize("points", [8, 4])
def test_a_regime_of_one_trajectory_needs_its_batch_axis(points):
    with pytest.raises(ValueError, match=r"^fit_prefix_readout: validation\[0\] has .*no batch axis: pass x\[None\]"):
        fit_prefix_readout(CHART, ROLL, [X[0, :, :points], X[1, :, :points]])


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"begin": (0,)}, r"choices is a dict, expected Choices, such as Choices\(begin=\(0,\)\)"),
        (Choices(free_gate=True), r"choices.free_gate is True, expected a tuple, such as \(True,\)"),
        (Choices(begin=0), r"choices.begin is 0, expected a tuple"),
    ],
)
def test_choices_are_an_object_of_tuples(choices, said):
    with pytest.raises(ValueError, match=f"^fit_prefix_readout: {said}"):
        fit_prefix_readout(CHART, ROLL, [X], choices=choices)


def test_what_is_no_readout_is_named(readout):
    with pytest.raises(ValueError, match="^fit_uncertainty: readout is a NoneType, expected a PrefixReadout"):
        fit_uncertainty(None, [], [])
    with pytest.raises(ValueError, match="^predict_rollout: readout is a Chart, expected a PrefixReadout"):
        predict_rollout(CHART, X[0])
    for how, said in (
        ({"values": ["a", "b", "c"]}, "values are .*, expected real numbers"),
        ({"level": 90}, "level is 90, expected a share between 0 and 1"),
        ({"contexts": [None]}, "got 1 context for 3 regimes; expected one per regime"),
    ):
        with pytest.raises(ValueError, match=f"^fit_uncertainty: {said}"):
            fit_uncertainty(readout, [X] * 3, **{"values": [1.0, 2.0, 3.0]} | how)


def test_regimes_of_choose_chart_are_objects():
    experts = [{"k": 0.9 * KERNEL}, {"k": 1.1 * KERNEL}]
    message = r"^choose_chart: validation\[0\] is of type .*, expected Regime.*pass ccm_jax.Regime"
    with pytest.raises(ValueError, match=message):
        choose_chart({"k": KERNEL}, experts, [-1, 1], ROLL, [X])
    with pytest.raises(ValueError, match="^choose_chart: experts are numbers, .*swap the last two"):
        choose_chart({"k": KERNEL}, [-1, 1], experts)
    with pytest.raises(ValueError, match="^choose_chart: coordinates are .*low.*, expected real numbers"):
        choose_chart({"k": KERNEL}, experts, ["low", "high"])


def test_one_trajectory_without_its_batch_axis_is_told_so() -> None:
    family = example.load()
    with pytest.raises(ValueError, match=r"expected \[N, T, \*space, C\]; for one trajectory, pass x\[None\]"):
        future_error(family.anchor, family.rollout_fn, family.test[1][0])


@pytest.mark.long
def test_what_makes_an_estimate_doubtful_is_said() -> None:
    """Swapped experts, frames of another grid, another time step; and when the anchor is kept."""
    family = example.load()
    chart = fit_chart(family.anchor, [family.high, family.low], [-1.0, 1.0], features=Gated())
    one = Choices(free_gate=(False,), begin=(3,), pull=(0.0,))
    readout = fit_prefix_readout(chart, family.rollout_fn, family.validation, choices=one)
    with pytest.warns(UserWarning, match="the coordinate falls as the value rises on axis 0"):
        readout = fit_uncertainty(readout, family.validation, family.validation_values)
    flow = family.test[1][0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = readout(flow[:5])
    assert not found.keeps_anchor and "keeps_anchor" not in repr(found)
    with pytest.warns(UserWarning, match="no point of the chart explains these frames"):
        readout(flow[:10:2])
    with pytest.warns(UserWarning, match=r"frames have shape \[16, 16, 1\], and those of validation"):
        dataclasses.replace(readout, uncertainty=None)(flow[:5, ::2, ::2])
    kept = readout(np.asarray(future_frames(family.anchor, family.rollout_fn, flow[None], frames=0))[0, :5])
    assert bool(kept.keeps_anchor) and repr(kept).startswith("Estimate(keeps_anchor=True")


def test_a_model_that_would_take_other_arguments_is_told_which() -> None:
    family = example.load()
    x = family.test[1]
    with pytest.raises(ValueError, match=r"window \[1, 32, 32, 1\].*; for one trajectory, pass window\[None\]"):
        family.rollout_fn(family.anchor, x[0, :1], 3)
    with pytest.raises(ValueError, match=r"the arguments of apply are \(params, window\), in this order"):
        make_rollout(lambda window, params: family.apply(params, window))(family.anchor, x[:, :1], 3)
    two = jnp.concatenate([x, x], axis=-1)
    with pytest.raises(ValueError, match=r"window \[.*, 2\]: the frames have 2 channels, and the model takes 1; pass"):
        family.rollout_fn(family.anchor, two[:, :1], 3)
    with pytest.raises(ValueError, match="the frames have 2 channels, and the model takes 1"):
        future_error(family.anchor, family.rollout_fn, two)
    with pytest.raises(ValueError, match=r"expected channels last, .*; pass jnp.moveaxis\(window, 2, -1\)"):
        family.rollout_fn(family.anchor, jnp.moveaxis(x[:, :1], -1, 2), 3)
    dense = make_rollout(lambda w, window: jnp.moveaxis(window, 1, -1).reshape(len(window), 8, 8, 6) @ w)
    with pytest.raises(ValueError, match=r"the window has 1 frame, and the model takes 3 \(history=3\)"):
        dense(jnp.ones((6, 2)), jnp.ones((1, 1, 8, 8, 2)), 1)
    with pytest.raises(ValueError, match=r"the arguments are \(params, rollout_fn, trajectories\)"):
        future_error(family.rollout_fn, family.anchor, x)


def test_one_checkpoint_given_twice_is_said() -> None:
    with pytest.warns(UserWarning, match=r"`experts\[0\]` and `experts\[1\]` have the same weights"):
        fit_chart({"w": jnp.zeros(3)}, [{"w": jnp.ones(3)}, {"w": jnp.ones(3)}], [-1.0, 1.0])


def test_a_name_that_does_not_exist_has_a_suggestion() -> None:
    with pytest.raises(AttributeError, match="did you mean fit_prefix_readout"):
        ccm_jax.fit_prefix  # noqa: B018


@pytest.mark.parametrize(
    ("p", "skipped", "said"),
    [
        (
            0.0043,
            2,
            "explains these frames worse than most of validation (p = 0.0043); 2 steps of the network per frame",
        ),
        (0.0043, 1, ""),  # one frame in twenty of the family itself has such a p-value
        (0.2, 2, ""),
    ],
)
def test_another_time_step_is_told_where_the_p_value_is_small(readout, p, skipped, said):
    frames = ROLL({"k": KERNEL}, START[:1, None], 9)[:, ::skipped]
    clue = Clue(dataclasses.replace(readout, growth=None), frames)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = SimpleNamespace(p_value=jnp.array([p]))
        assert not warn_of_strangers("PrefixReadout", found, clue, gaps=False)
    told = " ".join(str(one.message) for one in caught)
    assert said in told and bool(told) == bool(said)
