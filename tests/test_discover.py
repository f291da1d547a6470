"""Coordinates without labels, and the choice of a curve."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ccm_jax import Gated, Multilinear, Polynomial, fit_chart, make_rollout
from ccm_jax.choose_chart import Regime, choose_chart
from ccm_jax.discover import discover_coordinates, update_products, values_from_labels
from ccm_jax.interior import Interior
from ccm_jax.io import checkpoint


def experts_at(points: Any, *, noise: float = 0.0, size: int = 400) -> tuple[Any, list[Any]]:
    """Experts on an affine family, each with fine-tuning noise of its own; one leaf never merges."""
    rng = np.random.default_rng(0)
    points = np.atleast_2d(np.asarray(points, float).T).T
    shared, axes = rng.standard_normal(size), rng.standard_normal((points.shape[1], size))

    def tree(update: np.ndarray) -> Any:
        return {"w": update[: size // 2], "c": update[size // 2 :] * (1 + 1j), "step": np.int32(3)}

    updates = [shared + p @ axes + noise * rng.standard_normal(size) for p in points]
    return tree(np.zeros(size)), [tree(update) for update in updates]


def test_products_count_complex_numbers_as_pairs() -> None:
    anchor, experts = experts_at([0.0, 1.0, 2.0])
    flat = [np.concatenate([e["w"], e["c"].real, e["c"].imag]) for e in experts]
    np.testing.assert_allclose(update_products(anchor, experts), np.stack(flat) @ np.stack(flat).T)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_five_experts_on_a_line_are_found_up_to_an_affine_map(noise: float) -> None:
    s = np.array([-1.0, -0.6, 0.1, 0.5, 1.0])
    found = discover_coordinates(*experts_at(s, noise=noise))
    assert found.dimension == 1
    assert abs(np.corrcoef(found.coordinates[:, 0], s)[0, 1]) > 0.99
    assert found.spectrum[0] > 0.75 and found.spectrum.sum() == pytest.approx(1.0)
    values = values_from_labels(found.coordinates, {0: 10.0, 4: 30.0})
    np.testing.assert_allclose(values, 20.0 + 10.0 * s, atol=0.05 if noise == 0 else 1.5)


def test_two_axes_are_two_dimensions() -> None:
    points = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1], [0.3, 0.2]], float)
    found = discover_coordinates(*experts_at(points, noise=0.1))
    assert found.dimension == 2
    values = values_from_labels(found.coordinates, {0: -1.0, 1: -1.0, 2: 1.0})
    np.testing.assert_allclose(values, points[:, 0], atol=0.1)
    anchor, experts = experts_at(points)
    with pytest.raises(ValueError, match="dimension is 3, expected 1 to 2"):
        discover_coordinates(anchor, experts, dimension=3)


def test_what_cannot_be_discovered_is_said() -> None:
    anchor, experts = experts_at([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="all experts are the same"):
        discover_coordinates(anchor, experts)
    with pytest.raises(ValueError, match="2 experts, expected three or more"):
        discover_coordinates(anchor, experts[:2])
    with pytest.raises(ValueError, match="1 label cannot determine an affine map of 1 coordinate; label 2 experts"):
        values_from_labels(np.array([[-1.0], [1.0]]), {0: 1.0})
    with pytest.raises(ValueError, match="2 labels cannot determine"):
        values_from_labels(np.array([[-1.0], [-1.0], [1.0]]), {0: 1.0, 1: 2.0})
    with pytest.raises(ValueError, match=r"experts \[7\], expected numbers below 2"):
        values_from_labels(np.array([[-1.0], [1.0]]), {7: 1.0})


def family(bend: float, jump: float = 0.0) -> tuple[Any, list[Any], list[float]]:
    """A decay whose rate is a line in s, with a correction inside, and with a bend that goes on outside."""
    points = [-1.0, -0.5, 0.0, 0.5, 1.0]
    return {"rate": jnp.array([-1.0])}, [{"rate": rate(s, bend, jump)} for s in points], points


def rate(s: float, bend: float, jump: float) -> Any:
    return jnp.array([-1.0 + 0.3 * s + bend * (s**2 - 1) + jump * max(0.0, 1 - s**2)])


rollout_fn = make_rollout(lambda params, window: window[:, -1] * jnp.exp(0.1 * params["rate"][0]))


def regime(s: float, bend: float, jump: float) -> Regime:
    frames = jnp.exp(0.1 * rate(s, bend, jump)[0] * jnp.arange(12.0))
    return Regime(s, frames[None, :, None, None] * jnp.ones((2, 12, 8, 1)))


@pytest.mark.parametrize(
    "bend, jump, name", [(0.0, 0.0, "line through the ends"), (0.0, 0.1, "interior"), (0.1, 0.0, "quadratic")]
)
def test_validation_on_both_sides_finds_the_curve(bend: float, jump: float, name: str) -> None:
    anchor, experts, points = family(bend, jump)
    regimes = [regime(s, bend, jump) for s in (-1.25, -0.75, -0.25, 0.25, 0.75, 1.25)]
    found = choose_chart(anchor, experts, points, rollout_fn, regimes)
    assert found.name == name
    assert len(found.tried) == 5 and found.chart.features.dim == 2


def test_without_regimes_outside_the_line_stays_what_it_is_there() -> None:
    anchor, experts, points = family(0.1)
    found = choose_chart(anchor, experts, points, rollout_fn, [regime(s, 0.1, 0.0) for s in (-0.5, 0.25)])
    assert found.name == "interior"
    line = fit_chart(anchor, [experts[0], experts[-1]], [-1.0, 1.0], features=Gated())
    np.testing.assert_allclose(found.chart(2.0)["rate"], line(2.0)["rate"], rtol=1e-5)


def test_experts_between_do_not_move_the_ends_of_a_correction() -> None:
    anchor, experts, points = family(0.0, 0.1)
    experts[1] = {"rate": experts[1]["rate"] + 0.07}  # fine-tuning noise
    tried = {one.name: one.chart for one in choose_chart(anchor, experts, points).tried}
    line = tried["line through the ends"]
    for name in ("interior", "leaning interior"):
        for s in (-2.0, -1.0, 1.0, 1.5):
            np.testing.assert_allclose(tried[name](s)["rate"], line(s)["rate"], rtol=1e-6)
        assert abs(float(tried[name](0.0)["rate"][0] - line(0.0)["rate"][0])) > 0.05
    with pytest.raises(ValueError, match=r"fit_chart: weights are \[1.0, -1.0\], expected 2 finite numbers above 0"):
        fit_chart(anchor, experts[:2], [-1.0, 1.0], weights=[1.0, -1.0])


def test_without_validation_left_out_experts_decide_and_no_curve_leaves_the_range() -> None:
    anchor, experts, points = family(0.1)
    found = choose_chart(anchor, experts, points)
    assert found.name == "interior"  # a quadratic predicts them as well, and would bend on
    left_out = {one.name: one.left_out for one in found.tried}
    assert left_out["quadratic"] == pytest.approx(0.0, abs=1e-4) and left_out["line"] is not None
    off = [abs(float((experts[i]["rate"] - (-1.0 + 0.3 * points[i]))[0])) for i in (1, 2, 3)]
    update = [abs(float((experts[i]["rate"] - anchor["rate"])[0])) for i in (1, 2, 3)]
    expected = np.sqrt(np.mean([(a / u) ** 2 for a, u in zip(off, update, strict=True)]))
    assert left_out["line through the ends"] == pytest.approx(expected, rel=1e-4)
    three = choose_chart(anchor, [experts[i] for i in (0, 2, 4)], [-1.0, 0.0, 1.0])
    assert three.name == "line through the ends"  # one expert inside cannot be left out of a correction through it


def test_predictions_ignore_noise_that_they_do_not_depend_on() -> None:
    rng, s = np.random.default_rng(1), np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    anchor = {"seen": np.zeros(4), "unseen": np.zeros(2000)}
    noise = np.array([1.0, 9.0, 2.0, 4.0, 1.0])  # of some experts more than of others, which turns the axis
    experts = [
        {"seen": np.full(4, c), "unseen": 0.2 * n * rng.standard_normal(2000)} for c, n in zip(s, noise, strict=True)
    ]

    def apply(params: Any, window: Any) -> Any:
        return window[:, -1] * (1 + params["seen"][0])

    windows = rng.standard_normal((6, 1, 8, 1))
    by_weights = discover_coordinates(anchor, experts, dimension=1)
    found = discover_coordinates(anchor, experts, dimension=1, apply=apply, windows=windows)
    np.testing.assert_allclose(found.coordinates[:, 0], s, atol=1e-3)
    assert abs(np.corrcoef(by_weights.coordinates[:, 0], s)[0, 1]) < 0.9
    with pytest.raises(ValueError, match="apply and windows go together"):
        discover_coordinates(anchor, experts, apply=apply)


def test_two_experts_have_their_line() -> None:
    anchor, experts, points = family(0.0)
    found = choose_chart(anchor, [experts[0], experts[-1]], [-1.0, 1.0])
    assert found.name == "line through the ends" and len(found.tried) == 1


def test_bad_experts_are_named() -> None:
    anchor, experts, points = family(0.0)
    with pytest.raises(ValueError, match="each at its own"):
        choose_chart(anchor, experts[:2], [1.0, 1.0])
    with pytest.raises(ValueError, match="coordinates span 0 to 2, expected -1 to 1"):
        choose_chart(anchor, experts[:2], [0.0, 2.0])
    with pytest.raises(ValueError, match="validation regimes need rollout_fn"):
        choose_chart(anchor, experts, points, None, [regime(0.0, 0.0, 0.0)])


def test_four_corners_have_an_interaction_and_two_pairs_of_ends_have_none() -> None:
    def weights(a: float, b: float) -> Any:
        return {"w": jnp.array([1.0 + a, b + 0.5 * a * b])}

    corners = [(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    anchor = {"w": jnp.full(2, 0.3)}
    chart = fit_chart(anchor, [weights(*c) for c in corners], corners, features=Gated(Multilinear()))
    np.testing.assert_allclose(chart([2.0, 1.5])["w"], weights(2.0, 1.5)["w"], rtol=1e-5)
    ends = [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)]
    chart = fit_chart(anchor, [weights(*c) for c in ends], ends, features=Polynomial(dim=2))
    np.testing.assert_allclose(chart([2.0, 1.5])["w"], [3.0, 1.5], rtol=1e-5)
    with pytest.raises(ValueError, match="determine 2 of the 4 features"):
        same = [(a, 1.0) for a in (-1.0, -0.5, 0.5, 1.0)]
        fit_chart(anchor, [weights(*c) for c in same], same, features=Multilinear())


def test_a_chart_with_a_correction_inside_is_stored(tmp_path: Any) -> None:
    anchor, experts, points = family(0.0, 0.1)
    chart = fit_chart(anchor, experts, points, features=Gated(Interior()))
    checkpoint.save_chart(tmp_path / "chart", chart)
    again = checkpoint.load_chart(tmp_path / "chart")
    np.testing.assert_allclose(again(0.4)["rate"], chart(0.4)["rate"])
    np.testing.assert_allclose(chart(0.0)["rate"], rate(0.0, 0.0, 0.1), rtol=1e-5)
