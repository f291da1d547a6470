"""Pictures of the site: their versions for the dark and for a phone, and the Markdown that names them."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fno_figure import draw
from experiments.site import dark, notebooks

ROOT = Path(__file__).parent.parent


def picture_of(*parts: tuple[tuple[int, int, int, int], np.ndarray]) -> bytes:
    """A white picture of 200 x 100 pixels with parts (left, top, right, bottom) in their colours."""
    pixels = np.full((100, 200, 3), 255, np.uint8)
    for (left, top, right, bottom), colours in parts:
        pixels[top:bottom, left:right] = colours
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def test_a_picture_for_the_dark_keeps_its_fields_and_loses_its_paper() -> None:
    shades = np.linspace(0, 255, 40).astype(np.uint8)
    field = np.stack(np.broadcast_arrays(shades[:, None], shades[None], 128), axis=-1)  # with white-ish corners
    black, blue = np.array([0, 0, 0]), np.array([0, 0, 200])
    drawn = picture_of(((10, 10, 50, 50), field), ((100, 10, 103, 60), black), ((120, 10, 160, 60), blue))
    shown = np.asarray(Image.open(io.BytesIO(dark.dark(drawn))).convert("RGBA")).astype(int)
    assert shown[90, 90, 3] == 0  # the paper
    assert np.abs(shown[15:45, 15:45, :3] - field[5:35, 5:35]).mean() < 6 and (shown[15:45, 15:45, 3] == 255).all()
    assert shown[30, 101, :3].min() > 180 and shown[30, 101, 3] > 200  # print is light
    assert shown[30, 140, 2] > shown[30, 140, 0] + 100  # a bar of one colour keeps its hue
    assert shown[30, 140, :3].sum() > 200  # and gets lighter


def test_a_page_names_one_picture_and_shows_its_versions() -> None:
    files = {"fields.png", "fields_dark.webp", "beyond/plane.svg", "beyond/plane_dark.svg", "peers/o.svg"}
    files |= {"peers/o_phone.svg", "a.png", "film.webp", "film_dark.webp"}

    def shown(text: str, folder: str = "") -> str:
        return dark.with_versions(text, folder, files, {"a.png"})

    pair = "![f](fields.png){ .only-light }\n![f](fields_dark.webp){ .only-dark }"
    assert shown("![f](fields.png)") == pair
    assert shown("![f](../fields.png)", "how-to") == pair.replace("](", "](../")
    assert shown("![p](plane.svg)", "beyond").endswith("![p](plane_dark.svg){ .only-dark }")
    both = "![o](o.png){ .only-light .desktop }\n![o](o_dark.webp){ .only-dark .desktop }\n"
    both += "![o](o_phone.png){ .only-light .phone }\n![o](o_phone_dark.webp){ .only-dark .phone }"
    files |= {f"o{version}" for version in ("_dark.webp", "_phone.png", "_phone_dark.webp")}
    assert shown("![o](o.png)") == both
    assert shown("![o](peers/o.svg)") == "![o](peers/o.svg){ .desktop }\n![o](peers/o_phone.svg){ .phone }"
    assert shown("![a](a.png)") == "![a](a.png){ .chart }"
    for same in ("![film](film.webp)", "![b](b.png)", "![f](fields.png){ .own }"):
        assert shown(same) == same


def test_a_drawing_for_the_dark_has_light_print_and_no_paper() -> None:
    text = dark.dark_drawing((ROOT / "docs" / "beyond" / "plane.svg").read_text(encoding="utf-8"))
    assert 'style="fill: #ffffff"' not in "".join(re.findall(r"<path [^>]*>", text)) and "#000000" not in text
    assert text.count("text{fill:") == 1 and "fill: #ffffff" in text  # numbers on dark cells


def test_pages_show_no_attributes_where_a_repository_shows_them() -> None:
    """There, attribute lists are text, and a picture for the dark is a second picture."""
    for path in (ROOT / "docs").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\)\{ ?\.|#only-|_dark\.|_phone\.", text), path


def test_the_times_of_the_fno_are_drawn_for_a_screen_and_for_a_phone(tmp_path: Path) -> None:
    rows = json.loads((ROOT / "docs" / "performance" / "fno.json").read_text(encoding="utf-8"))["rows"]
    draw(rows, tmp_path)
    screen, phone = (
        Image.open(io.BytesIO((tmp_path / name).read_bytes())).size for name in ("fno.png", "fno_phone.png")
    )
    assert screen[0] > screen[1] and phone[1] > phone[0]
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in (ROOT / "docs/performance").glob("*.png")}


def test_lines_on_white_are_a_chart_and_fields_are_none() -> None:
    pages = notebooks.pages(ROOT / "notebooks", None)
    for number, expected in ((2, True), (0, False), (1, False)):  # a sweep, an animation, fields
        picture = pages[f"01_merge_in_five_minutes/{number}.png"]
        assert isinstance(picture, bytes) and notebooks.is_chart(picture) is expected
    assert not notebooks.is_chart(b"no picture")
    assert "](01_merge_in_five_minutes/2.png){ .chart }" in str(pages["01_merge_in_five_minutes.md"])
