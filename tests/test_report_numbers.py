"""Numbers as the report writes them, and what it concludes from them."""

from __future__ import annotations

from experiments.report.numbers import signed, too_often


def test_coordinates_have_true_minus_signs_and_zero_has_none() -> None:
    assert [signed(x) for x in (-1.5, 1, 0.0, -0.004)] == ["−1.50", "+1.00", "0.00", "0.00"]


def test_a_test_that_rejects_more_often_than_by_chance_is_named() -> None:
    assert too_often(7, 32, 0.05) and too_often(2, 2, 0.05)
    assert not too_often(3, 32, 0.05) and not too_often(0, 0, 0.05)
