"""A study's page in the documentation: a template in Markdown, and figures that are the same bytes every time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from ccm_jax.io.atomic import replacing

STABLE: Any = {"svg.hashsalt": "ccm_jax", "svg.fonttype": "none"}


def markdown(template: Path, **values: Any) -> str:
    """The text of a template; lines of its tables follow each other, whatever made them."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(template.parent), undefined=jinja2.StrictUndefined)
    text = environment.get_template(template.name).render(**values)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return re.sub(r"\|\n\n(?=\|)", "|\n", text).strip() + "\n"


def keep_figures(drawn: Mapping[str, Any], folder: Path) -> None:
    """Writes Matplotlib figures as ``folder/NAME.svg``."""
    import matplotlib

    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STABLE):
        for name, figure in drawn.items():
            with replacing(folder / f"{name}.svg") as partial:
                figure.savefig(partial, metadata={"Date": None, "Creator": None})
