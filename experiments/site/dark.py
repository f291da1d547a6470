"""Pictures for the dark: what lies on white is drawn on nothing, and fields keep their colours.

The site makes them when it is built, for pictures that have no version for the dark yet.
"""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Collection
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

INK = 0.87  # lightness of what was black
THICK = 7  # pixels; print and lines are thinner
PLAIN = 0.6  # share of one colour, at least, in a bar, a band or a shaded range; in a field, each covers less
SMALLEST = 0.002  # share of the picture that a field covers, at least
PICTURE = re.compile(r"!\[([^\]]*)\]\(([\w./-]+\.(?:png|svg))\)(?!\{)")


def dark(picture: bytes) -> bytes:
    """A picture, or an animation, as WebP without its white background.

    Args:
        picture: a file that Pillow reads, dark on white.

    Returns:
        the same in light colours on nothing; hues are kept, and fields with their colour bars are as they were.
    """
    image = Image.open(io.BytesIO(picture))
    frames = [_dark(frame) for frame in ImageSequence.Iterator(image)]
    pauses = [frame.info.get("duration", 0) for frame in ImageSequence.Iterator(image)]
    written = io.BytesIO()
    several: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": [int(p) for p in pauses]}
    frames[0].save(written, "WEBP", quality=88, **(several | {"loop": 0} if len(frames) > 1 else {}))
    return written.getvalue()


def _dark(frame: Image.Image) -> Image.Image:
    paper = Image.new("RGBA", frame.size, "white")
    shown = np.asarray(Image.alpha_composite(paper, frame.convert("RGBA")).convert("RGB")).astype(float)
    shown = np.minimum(shown + 255 - np.median(shown[[0, -1]], axis=(0, 1)), 255)  # a palette may lack pure white
    alpha = 255 - shown.min(axis=-1, keepdims=True)  # as if each colour were painted on white as thinly as it can be
    ink = (shown - (255 - alpha)) * 255 / np.maximum(alpha, 1)
    light = INK * (ink + 255 - ink.max(axis=-1, keepdims=True) - ink.min(axis=-1, keepdims=True))
    drawn = np.concatenate([light, alpha], axis=-1)
    field = np.concatenate([shown, np.full_like(alpha, 255)], axis=-1)
    return Image.fromarray(np.where(_fields(shown)[..., None], field, drawn).round().astype(np.uint8))


def _fields(shown: np.ndarray) -> np.ndarray:
    """Where fields and colour bars are: areas without white that are too thick for print, of many colours."""
    from scipy import ndimage

    thick = ndimage.maximum_filter(ndimage.minimum_filter(shown.min(axis=-1) < 254, THICK), THICK)
    areas, _ = ndimage.label(ndimage.binary_fill_holes(thick))
    colours = shown.astype(int) @ np.array([1 << 16, 1 << 8, 1])
    found = np.zeros(areas.shape, bool)
    for number, box in enumerate(ndimage.find_objects(areas), start=1):
        inside = areas[box] == number
        if inside.sum() > SMALLEST * areas.size:
            _, counts = np.unique(colours[box][inside], return_counts=True)
            found[box] |= inside & (counts.max() < PLAIN * inside.sum())
    return found


def dark_drawing(drawing: str) -> str:
    """A figure of Matplotlib's as SVG, without its white background, and with light print where no colour is given."""
    ink = f"#{round(255 * INK):02x}" + f"{round(255 * INK):02x}" * 2
    drawing = re.sub(r'(<path [^>]*style="fill: )#ffffff"', r'\1none"', drawing)
    drawing = drawing.replace("stroke: #000000", f"stroke: {ink}")
    return drawing.replace("</style>", f" text{{fill: {ink}}}</style>", 1)


def with_versions(markdown: str, folder: str, files: Collection[str], charts: Collection[str] = ()) -> str:
    """The Markdown of a page in which each picture has its versions for the dark and for a phone, and its class.

    Pages name only ``fields.png``, so that they look right on a repository's site too; ``fields_dark.webp`` beside it
    is shown in the dark, and ``overview_phone.svg`` on a phone.

    Args:
        markdown: of the page; pictures that have attributes are left as they are.
        folder: of the page, relative to that of the documentation.
        files: all files of the documentation.
        charts: those of them that consist of lines on white.
    """

    def versions(found: re.Match[str]) -> str:
        alt, path = found.groups()
        stem, end = posixpath.splitext(path)

        def there(name: str, among: Collection[str]) -> bool:
            return posixpath.normpath(posixpath.join(folder, name)) in among

        wide = there(f"{stem}_phone{end}", files)
        shown = []
        for suffix, device in (("", " .desktop"), ("_phone", " .phone")) if wide else (("", ""),):
            night = f"{stem}{suffix}_dark{'.svg' if end == '.svg' else '.webp'}"
            themes = [(f"{stem}{suffix}{end}", " .only-light"), (night, " .only-dark")]
            if not there(night, files):
                themes = [(themes[0][0], "")]
            shown += [f"![{alt}]({name}){{{theme}{device} }}" for name, theme in themes]
        if len(shown) == 1:
            return found[0] + "{ .chart }" * there(path, charts)
        return "\n".join(shown)

    return PICTURE.sub(versions, markdown)
