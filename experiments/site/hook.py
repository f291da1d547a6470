"""What the site adds to mkdocs: formulas as MathML, notebooks as pages, and the repository's address from one place.

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

from experiments.runner.repository import published  # noqa: E402
from experiments.site.notebooks import pages  # noqa: E402

NOTEBOOK = re.compile(r"\]\(\.\./((?:\.\./)*)notebooks/(\w+)\.ipynb\)")
PROJECT = {"changes.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}  # pages that are files of the repository
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)


def on_config(config: Any) -> Any:
    """Links the repository, once there is one."""
    config.repo_url = published()
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds a page for each notebook, with its stored outputs, and those on the project."""
    from mkdocs.structure.files import File

    for path, content in pages(ROOT / "notebooks", published()).items():
        files.append(File.generated(config, f"notebooks/{path}", content=content))
    for page, name in PROJECT.items():
        content = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to notebooks, which lead to the files on GitHub, lead to their pages here."""
    return NOTEBOOK.sub(r"](\1notebooks/\2.md)", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas that pymdownx.arithmatex has marked, as MathML, which browsers set by themselves."""
    return FORMULA.sub(_mathml, html)


def _mathml(found: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    display = "block" if found[2] == "[" else "inline"
    return convert(unescape(found[3]), display=display)
