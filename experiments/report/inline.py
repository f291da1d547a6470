"""Figures within a page: they take its colours, light or dark, and a narrow one stands in where the page is narrow."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

# Greys of figures, and the variables of style.css that stand for them; other colours of data stay as they are.
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
    "#0072b2": "--blue",  # of CCM-Coord: too dark on black
    "#7b4fa3": "--purple",  # of CCM-Scale
}
_GREY = re.compile("|".join(INKS))
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.S)
_PLACES = re.compile(r'(?<=[ \n])(?:d|x|y|points)="[^"]*"|translate\([^)]*\)')
_FRACTION = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_INDENT = re.compile(r"\n\s+")
_FONT = re.compile(r"font-family: [^;\"]*;? ?")  # letters are the page's
_CRISP = re.compile(r"image-rendering: ?[a-z-]+;? ?")
_TURNED = re.compile(r' transform="rotate\(-?0 [^)]*\)"')


def inline_svg(figure: Any, name: str = "figure") -> Markup:
    """The figure as inline SVG; bitmaps inside it are embedded, so the page stands alone.

    Args:
        figure: of matplotlib. Its background becomes transparent.
        name: other than that of each figure in the page, so that they do not share parts.
    """
    from matplotlib import rc_context

    text = io.StringIO()
    figure.patch.set_visible(False)
    smooth = [image for ax in figure.axes for image in ax.images if image.get_interpolation() == "bilinear"]
    for image in smooth:  # as small as it is: the browser smooths it
        image.set_interpolation("none")
    for ax in figure.axes:
        ax.patch.set_visible(False)
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = _INDENT.sub("\n", _PLACES.sub(_rounded, _METADATA.sub("", svg[svg.index("<svg") :])))
    svg = _TURNED.sub("", _FONT.sub("", _CRISP.sub("", svg) if smooth else svg))
    return Markup(_GREY.sub(lambda found: f"var({INKS[found[0]]})", svg))


def _rounded(found: re.Match[str]) -> str:
    """Places in hundredths of a point, finer than any screen, and paths without spaces that nobody needs."""
    short = _FRACTION.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), found[0])
    return re.sub(r"\s*\b([A-Z])\b\s*", r"\1", short) if short.startswith("d=") else short


def for_both_widths(draw: Callable[[bool], Any], name: str, said: str) -> Markup:
    """A figure for a screen, and another for a phone; the page shows the one that fits.

    Args:
        draw: ``narrow -> figure``.
        name: of the figure in the page.
        said: what it shows, for those who cannot see it.
    """
    parts = [(kind, inline_svg(draw(kind == "narrow"), f"{name}-{kind}")) for kind in ("wide", "narrow")]
    holder = Markup('<div class="for-{}" role="img" aria-label="{}">{}</div>')
    return Markup("").join(holder.format(kind, said, svg) for kind, svg in parts)
