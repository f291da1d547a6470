"""Numbers as the report writes them, and what it concludes from them."""

from __future__ import annotations

import pytest

from experiments.report.numbers import by_regime, signed, too_often


def test_coordinates_have_true_minus_signs_and_zero_has_none() -> None:
    assert [signed(x) for x in (-1.5, 1, 0.0, -0.004)] == ["−1.50", "+1.00", "0.00", "0.00"]


def test_a_test_that_rejects_more_often_than_by_chance_is_named() -> None:
    assert too_often(7, 32, 0.05) and too_often(2, 2, 0.05)
    assert not too_often(3, 32, 0.05) and not too_often(0, 0, 0.05)


def test_each_regime_is_compared_with_the_anchor_that_is_better_there() -> None:
    def of(*regimes: tuple[float | None, float | None, float | None]) -> tuple[float, float] | None:
        names = ("anchor", "anchor_more", "ccm_prefix")
        rows = [{"split": "ood", "errors": dict(zip(names, errors, strict=True))} for errors in regimes]
        inside = {"split": "id", "errors": dict.fromkeys(names, 1.0)}
        return by_regime({"regimes": [inside, *rows]}, "ccm_prefix")

    assert of((0.4, 0.8, 0.2), (0.9, 0.6, 0.1)) == pytest.approx((2.0, 6.0))
    assert of((0.4, None, 0.2), (None, None, 0.1)) == (2.0, float("inf"))
    assert of((0.4, 0.8, None), (0.9, 0.6, 0.1)) == pytest.approx((0.0, 6.0))
    assert of((0.4, 0.8, 0.2)) is None and of((0.4, 0.8, 0.2), (None, None, None)) is None
