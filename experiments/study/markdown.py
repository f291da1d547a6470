"""A study's page in the documentation: a template in Markdown, and figures that are the same bytes every time."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from ccm_jax.io.atomic import replacing

WIDTH = 126  # of prose
KEPT = ("|", "#", "!", "```", "<")  # how lines begin that are not prose
STABLE: Any = {"svg.hashsalt": "ccm_jax", "svg.fonttype": "none"}


def markdown(template: Path, **values: Any) -> str:
    """The text of a template; lines of its tables follow each other, whatever made them."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(template.parent), undefined=jinja2.StrictUndefined)
    text = environment.get_template(template.name).render(**values)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"\|\n\n(?=\|)", "|\n", text).strip() + "\n"


def wrapped(text: str) -> str:
    """Prose and bullets in lines of WIDTH; the text has no code of several lines.

    Example:
        >>> wrapped("# A heading\\n- one\\n  two\\n")
        '# A heading\\n- one two\\n'
    """
    blocks: list[str] = []
    for line in text.splitlines():
        if blocks and blocks[-1] and line and not blocks[-1].startswith(KEPT) and not line.startswith((*KEPT, "- ")):
            blocks[-1] += f" {line.strip()}"
        else:
            blocks.append(line)
    how: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    lines = [
        block
        if block.startswith(KEPT)
        else textwrap.fill(block, WIDTH, subsequent_indent="  " * block.startswith("- "), **how)
        for block in blocks
    ]
    return "\n".join(lines) + "\n"


def keep_figures(drawn: Mapping[str, Any], folder: Path) -> None:
    """Writes Matplotlib figures as ``folder/NAME.svg``."""
    import matplotlib

    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STABLE):
        for name, figure in drawn.items():
            with replacing(folder / f"{name}.svg") as partial:
                figure.savefig(partial, metadata={"Date": None, "Creator": None})
