"""The page of the study beyond the paper, its figures and its numbers as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccm_jax.io.atomic import finite, write_text
from experiments.beyond.summary import NUMBERS, summary_of
from experiments.pipeline.store import provenance, write_json
from experiments.runner.progress import console
from experiments.runner.sources import changed
from experiments.study.html import html_page
from experiments.study.rows import Row
from experiments.study.tables import NOT_RUN

TEMPLATE = Path(__file__).parent / "beyond.html.j2"

# Each figure: its heading, and the page of the documentation that says how to do it.
HEADINGS = {
    "value": ("Inferred values and their uncertainty", "how-to/how-sure.md"),
    "strangers": ("Out-of-family frames", "how-to/how-sure.md"),
    "noise": ("Noise, missing pixels and sensors", "how-to/missing-data.md"),
    "plane": ("Two parameters", "how-to/two-parameters.md"),
    "experts": ("More experts with the same total steps", "how-to/more-experts.md"),
    "unlabelled": ("Experts without labels", "how-to/unlabelled-experts.md"),
    "drift": ("A parameter that drifts", "how-to/drift.md"),
    "equations": ("Other equations", "how-to/own-equation.md"),
}

# Each number in words, with the goal that it was given.
WORDS = {
    "value_error_inside": (
        "median error of the value inside, relative to the gap between the experts' values",
        "at most 0.03",
    ),
    "value_error_outside": (
        "median error of the value outside, relative to the gap between the experts' values",
        "at most 0.08",
    ),
    "value_error_noise": ("median error of the value with 10 % noise and half of the points missing", "at most 0.10"),
    "coverage_inside": ("coverage of 90 % intervals for the value, inside", "0.85 to 0.95"),
    "coverage_outside": ("coverage of 90 % intervals for the value, outside", "at least 0.85"),
    "width_ratio": ("mean interval width, outside relative to inside", "at most 3"),
    "forecast_coverage_inside": ("coverage of 90 % intervals for forecasts, inside", "0.85 to 0.95"),
    "forecast_coverage_outside": ("coverage of 90 % intervals for forecasts, outside", "at least 0.85"),
    "flagged": ("fraction of out-of-family frames flagged when they double the error, worst kind", "at least 0.95"),
    "false_alarms": ("fraction of the family's own frames flagged, inside", "at most 0.05"),
    "false_alarms_outside": (
        "fraction of the family's own frames flagged, outside up to coordinates of ±2",
        "at most 0.10",
    ),
    "plane_over_best": ("two parameters: CCM-Prefix relative to the oracle", "at most 1.10"),
    "unlabelled_correlation": ("correlation of discovered and true coordinates", "at least 0.98"),
    "drift_over_known": ("drift: one-step error of the filter relative to the known path", "at most 1.3"),
}


def content_of(rows: Sequence[Row], gathered: dict[str, Any], jobs: int) -> dict[str, Any]:
    """All that is written down: the summary, what every row found, what failed, what is missing, what is stale."""
    listed = [(row.name, one) for row in rows for one in gathered[row.name]]
    done = [(name, one) for name, one in listed if "found" in one]
    stale = [
        {"row": name, "seed": one["seed"], "changed": modules}
        for name, one in done
        if (modules := changed(one["found"].get("sources", {})))
    ]
    missing = [f"{name}, seed {one['seed']}" for name, one in listed if one.get("error") == NOT_RUN]
    failed = [
        {"row": name, "seed": one["seed"], "error": one["error"]}
        for name, one in listed
        if "error" in one and one["error"] != NOT_RUN
    ]
    return {
        "summary": summary_of(gathered),
        "rows": {
            name: {
                one["seed"]: {key: value for key, value in one["found"].items() if key != "sources"}
                for one in gathered[name]
                if "found" in one
            }
            for name in gathered
        },
        "failed": failed,
        "not_run": missing,
        "stale": stale,
        "done": len(done),
        "process_minutes": sum(one.get("seconds", 0.0) for _, one in done) / 60,
        "jobs": jobs,
        **provenance(),
        "commits": sorted({one["git"] for _, one in done if one.get("git")}),
    }


def publish(rows: Sequence[Row], gathered: dict[str, Any], workdir: Path, output: Path | None, *, jobs: int) -> None:
    """Writes the page and its figures into the folder of the study, and the numbers to ``output``."""
    content = content_of(rows, gathered, jobs)
    write_json(workdir / "beyond.json", content)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(output, content)
    write_text(workdir / "beyond.html", page(content, gathered, workdir / "figures"))
    for failure in content["failed"]:
        console.print(f"  FAILED {failure['row']}, seed {failure['seed']}: {failure['error']}", markup=False)
    console.print(f"{workdir / 'beyond.html'} is ready to be opened.", markup=False, soft_wrap=True)


def page(content: dict[str, Any], gathered: dict[str, Any], folder: Path) -> str:
    """The page; its figures are drawn into ``folder`` too."""
    from experiments.beyond.figures import draw  # matplotlib is slow to import

    shown = finite({key: value for key, value in content.items() if key != "rows"})
    numbers = [(name, *WORDS[name]) for name, *_ in NUMBERS]
    return html_page(TEMPLATE, draw(gathered), folder, beyond=shown, numbers=numbers, headings=HEADINGS)
