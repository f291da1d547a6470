"""What the site adds to mkdocs: MathML, notebooks as pages, pictures for the dark, links, the repository's address.

mkdocs calls these functions; ``mkdocs.yml`` names this file under ``hooks``. Nothing is requested from other servers.
"""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
if str(ROOT) not in sys.path:  # mkdocs does not put its own folder there
    sys.path.insert(0, str(ROOT))

from experiments.report.links import for_site  # noqa: E402
from experiments.runner.repository import published  # noqa: E402
from experiments.site.dark import dark, dark_drawing, with_versions  # noqa: E402
from experiments.site.notebooks import is_chart, pages  # noqa: E402
from experiments.site.tables import for_phone  # noqa: E402

NOTEBOOK = re.compile(r"\]\(\.\./((?:\.\./)*)notebooks/(\w+)\.ipynb\)")
REPORT = "report.html"  # the sample
PROJECT = {"changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}  # pages that are files of the repository
MAPS = (
    "beyond/plane.svg",
    "beyond/plane_phone.svg",
)  # drawings whose colours stand for numbers; a dark page inverts the others
OUTSIDE = {"choices.md": "Measurements"}  # pages that the menu leaves out, with the section that they show
CHARTS: set[str] = set()  # pictures that consist of lines on white
PICTURE = re.compile(r'<img (?!class="twemoji)[^>]*>')
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_config(config: Any) -> Any:
    """Links the repository, once there is one."""
    config.repo_url = published()
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for each notebook, with its stored outputs, those on the project, and pictures for the dark.

    The links of the sample report lead to pages: with index.html, so that they also work without a server.
    """
    from mkdocs.structure.files import File

    for path, content in pages(ROOT / "notebooks", published()).items():
        files.append(File.generated(config, f"notebooks/{path}", content=content))
    for page, name in PROJECT.items():
        content = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=content))
    report = files.get_file_from_path(REPORT)
    report.content_string = for_site(report.content_string, lambda name: files.get_file_from_path(name).dest_uri)
    for path, content in _for_the_dark(files).items():
        files.append(File.generated(config, path, content=content))
    return files


def _for_the_dark(files: Any) -> dict[str, str | bytes]:
    """The versions for the dark that the documentation lacks; not of charts, which style.css inverts, nor of stills."""
    made: dict[str, str | bytes] = {}
    for file in list(files):
        stem, _, end = file.src_uri.rpartition(".")
        if file.src_uri in MAPS:
            made[f"{stem}_dark.svg"] = dark_drawing(file.content_string)
        elif end == "png" and is_chart(file.content_bytes):
            CHARTS.add(file.src_uri)
        elif end == "png" and not any(files.get_file_from_path(f"{stem}{other}") for other in (".webp", "_dark.webp")):
            made[f"{stem}_dark.webp"] = dark(file.content_bytes)
    return made


def on_nav(nav: Any, config: Any, files: Any) -> Any:
    """A page outside the menu shows the menu of its section."""
    for name, title in OUTSIDE.items():
        files.get_file_from_path(name).page.parent = next(part for part in nav.items if part.title == title)
    return nav


def on_page_markdown(markdown: str, page: Any = None, files: Any = (), **_: Any) -> str:
    """Links to notebooks, which lead to the files on GitHub, lead to their pages here; pictures get their versions."""
    markdown = NOTEBOOK.sub(r"](\1notebooks/\2.md)", markdown)
    folder = page.file.src_uri.rpartition("/")[0] if page else ""
    return with_versions(markdown, folder, {file.src_uri for file in files}, CHARTS)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas that pymdownx.arithmatex has marked, as MathML; pictures each in a frame; tables for a phone."""
    return PICTURE.sub(r'<span class="figure">\g<0></span>', FORMULA.sub(_mathml, for_phone(html)))


def _mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    display = "block" if found[2] == "[" else "inline"
    return convert(unescape(found[3]), display=display)
