"""The page of the study and its tables as files, written to new files and then moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import finite, write_text
from experiments.pipeline.methods import columns, reduced
from experiments.pipeline.store import provenance, write_json
from experiments.runner.progress import console
from experiments.study.html import html_page
from experiments.study.rows import Row
from experiments.study.tables import minutes, tables, to_csv

TEMPLATE = Path(__file__).parent / "study.html.j2"


def publish(rows: Sequence[Row], gathered: dict[str, Any], workdir: Path, output: Path | None, *, jobs: int) -> None:
    """Writes the page, its figures and the tables into the folder of the study, and the tables to ``output``."""
    found = tables(gathered)
    spent = sum(one.get("seconds", 0.0) for listed in gathered.values() for one in listed) / 60
    seeds = {row.name: [one["seed"] for one in gathered[row.name] if "found" in one] for row in rows}
    content = {
        **found,
        "process_minutes": spent,
        "jobs": jobs,
        "minutes": minutes(gathered, jobs),
        "seeds": seeds,
        **provenance(),
        # The commits that measured: what is tabled here may have been measured by several.
        "commits": sorted({one["git"] for listed in gathered.values() for one in listed if one.get("git")}),
    }
    write_json(workdir / "study.json", content)
    write_text(workdir / "study.csv", to_csv(found))
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, content)
        write_text(output.with_suffix(".csv"), to_csv(found))
    write_text(workdir / "study.html", page(finite(content), workdir / "figures"))
    for failure in found["failed"]:
        console.print(f"  FAILED {failure['row']}, seed {failure['seed']}: {failure['error']}", markup=False)
    console.print(f"{workdir / 'study.html'} is ready to be opened.", markup=False, soft_wrap=True)


def page(content: dict[str, Any], folder: Path) -> str:
    """The page; its figures are drawn into ``folder`` too."""
    return html_page(TEMPLATE, draw(content), folder, study=content, columns=columns(reduced()))


def draw(content: dict[str, Any]) -> dict[str, Any]:
    """All figures by name."""
    from experiments.study import figures  # matplotlib is slow to import

    drawn = {"published": figures.published(content["published"])}
    for name in ("merges", "controls"):
        drawn[name] = figures.over_anchor(content[name])
    measured = {"tuned": [row for row in content["tuned"] if row["gains"]["coord"] is not None]}
    for name in ("along", "layers", "tuned", "prefix"):
        if measured.get(name, content[name]):
            drawn[name] = getattr(figures, name)(content[name])
    if content["paths"]:
        drawn["path"] = figures.path(content["paths"])
    if content["transition_path"]:
        drawn["transition_path"] = figures.path([content["transition_path"]])
    return drawn
