"""Figures within a page: they take its colours, light or dark, and a narrow one stands in where the page is narrow."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

# Greys of figures, and the variables of style.css that stand for them; colours of data stay as they are.
INKS = {
    "#000000": "--ink",
    "#222222": "--ink",
    "#444444": "--soft",
    "#666666": "--soft",
    "#999999": "--soft",
    "#dddddd": "--line",
    "#eef2f6": "--shade",
    "#e4e9ee": "--shade",
    "#b9b9b9": "--legend",
}
_GREY = re.compile("|".join(INKS))


def inline_svg(figure: Any, name: str = "figure") -> Markup:
    """The figure as inline SVG; bitmaps inside it are embedded, so the page stands alone.

    Args:
        figure: of matplotlib. Its background becomes transparent.
        name: other than that of each figure in the page, so that they do not share parts.
    """
    from matplotlib import rc_context

    text = io.StringIO()
    figure.patch.set_visible(False)
    for ax in figure.axes:
        ax.patch.set_visible(False)
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return Markup(_GREY.sub(lambda found: f"var({INKS[found[0]]})", svg[svg.index("<svg") :]))


def for_both_widths(draw: Callable[[bool], Any], name: str) -> Markup:
    """A figure for a screen, and another for a phone; the page shows the one that fits.

    Args:
        draw: ``narrow -> figure``.
        name: of the figure in the page.
    """
    parts = [(kind, inline_svg(draw(kind == "narrow"), f"{name}-{kind}")) for kind in ("wide", "narrow")]
    return Markup("").join(Markup('<div class="for-{}">{}</div>').format(kind, svg) for kind, svg in parts)
