"""Names at the ends of curves: none over another, each near its curve, in the order of the curves."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments.report.ends import Curve, label_ends, spread


@pytest.mark.parametrize("places", [[0.5, 0.5, 0.5], [0.0, 0.02, 1.0], [0.1, 0.9, 0.88, 0.99], [0.3, 0.7]])
def test_names_do_not_overlap_stay_inside_and_keep_their_order(places: list[float]) -> None:
    at, heights = np.array(places), np.linspace(0.1, 0.2, len(places))
    found = spread(at, heights)
    order = np.argsort(at, kind="stable")
    gaps = np.diff(found[order]) - (heights[order][1:] + heights[order][:-1]) / 2
    assert (gaps > -1e-12).all()
    assert (found - heights / 2 > -1e-12).all() and (found + heights / 2 < 1 + 1e-12).all()


def test_names_that_have_room_stay_where_they_are() -> None:
    at = np.array([0.8, 0.2, 0.5])
    np.testing.assert_allclose(spread(at, np.full(3, 0.1)), at)


def test_every_curve_has_its_name_and_one_that_diverges_says_so() -> None:
    figure = Figure(figsize=(4, 4))
    ax = figure.subplots()
    x, y = np.arange(3.0), np.array([0.1, 0.2, 0.3])
    curves = [Curve(name, "#0072B2", x, y) for name in ("first", "second")]
    curves.append(Curve("third", "#0072B2", x, np.array([0.1, np.nan, np.inf])))
    curves.append(Curve("fourth", "#0072B2", x, np.full(3, np.nan)))
    for curve in curves:
        ax.plot(curve.x, curve.y)
    ax.set_yscale("log")
    label_ends(ax, curves, 250, columns=20, size=8)
    figure.draw_without_rendering()
    texts = {text.get_text(): Text.get_window_extent(text) for text in ax.texts}
    assert list(texts) == ["first", "second", "third", "fourth (diverges)"]
    boxes = sorted(texts.values(), key=lambda box: box.y0)
    assert all(lower.y1 < upper.y0 for lower, upper in zip(boxes, boxes[1:], strict=False))
