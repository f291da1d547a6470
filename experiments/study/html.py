"""A study's page: its figures as files and inside of the page, and its template with what all templates share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from ccm_jax.io.atomic import replacing
from experiments.report.inline import inline_svg

STUDY = Path(__file__).parent
SHARED = (STUDY, STUDY.parent / "report")


def html_page(template: Path, drawn: Mapping[str, Any], folder: Path, **values: Any) -> str:
    """Renders a template with figures, which are kept as PNG and PDF too.

    Args:
        template: its file.
        drawn: Matplotlib figures by name; the template finds them as SVG in ``figures``.
        folder: where they are kept as ``NAME.png`` and ``NAME.pdf``.
        **values: what else the template names.

    Returns:
        HTML without references to other files.
    """
    folder.mkdir(exist_ok=True)
    svg = {}
    for name, figure in drawn.items():
        for kind in ("png", "pdf"):
            with replacing(folder / f"{name}.{kind}") as partial:
                figure.savefig(partial, dpi=150)
        svg[name] = inline_svg(figure, name)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, *SHARED]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template.name).render(figures=svg, **values)
