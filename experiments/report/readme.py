"""Writes the numbers and pictures of the README and of the pages of results and limits: none is typed by hand.

python -m experiments.report.readme
"""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from ccm_jax.io.atomic import write_text
from experiments.report import claims, fields, record
from experiments.report.record import ROOT

LIMITS = ROOT / "docs" / "limits.md"
WEBP = {"pil_kwargs": {"quality": 88, "method": 6}}
SHARP = ("rd_ood", "forecast", "forecast_phone")
SOFTWARE = {"Software": None}  # the same bytes whatever version drew them


def marks(name: str) -> tuple[str, str]:
    """The lines between which a part of a page is written."""
    return f"<!-- {name}: python -m experiments.report.readme -->", f"<!-- end of {name} -->"


def replace(text: str, name: str, part: str) -> str:
    """The text with what stands between the two marks of a part replaced."""
    begin, end = marks(name)
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not pattern.search(text):
        raise ValueError(f"replace: the page has no lines {begin} and {end}; put them back.")
    return pattern.sub(lambda _: f"{begin}\n{part}\n{end}", text)


def readme(text: str, folder: Path) -> str:
    """The README with its parts from the files of ``folder``."""
    return replace(replace(text, "when", claims.when(folder)), "beside", claims.measured(folder))


def results(text: str, folder: Path) -> str:
    """The page of results with its takeaway and its tables from the files of ``folder``."""
    text = replace(text, "takeaway", record.takeaway(folder))
    return replace(replace(text, "numbers", record.table(folder)), "systems", record.systems_table(folder))


def main() -> None:
    """Rewrites the pages and their figures."""
    write_text(LIMITS, claims.limits(ROOT / "results"))
    for path, write in ((ROOT / "README.md", readme), (ROOT / "docs" / "results.md", results)):
        write_text(path, write(path.read_text(encoding="utf-8"), ROOT / "results"))
    near = fields.case()
    pictures = {
        "rd_ood": record.figure(ROOT / "results"),
        "forecast": fields.strip(near),
        "forecast_phone": fields.strip(near, columns=2),
        "fields": fields.figure(near),
        "fields_far": fields.figure(fields.case(fields.FAR)),
    }
    for name, picture in pictures.items():
        target = ROOT / "docs" / f"{name}.png"
        picture.savefig(target, dpi=160 if name in SHARP else 120, metadata=SOFTWARE)
        if name != "rd_ood":  # smooth fields compress badly; 256 colours are enough for them
            Image.open(target).convert("RGB").quantize(256).save(target, optimize=True)
            picture = fields.for_dark_pages(picture)
            picture.savefig(target.with_name(f"{name}_dark.webp"), dpi=160 if name in SHARP else 120, **WEBP)


if __name__ == "__main__":
    main()
