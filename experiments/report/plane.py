"""The report of an experiment on a plane of two parameters: maps of errors over the plane, and its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from ml_collections import ConfigDict
from rich.table import Table

from ccm_jax.io.atomic import finite, read_json, write_text
from ccm_jax.metrics import over
from experiments.pipeline.methods import METHODS
from experiments.pipeline.plane import PlaneStages
from experiments.pipeline.stages import Run
from experiments.pipeline.store import provenance, run_stage, write_json
from experiments.report.inline import inline_svg
from experiments.report.page import publish
from experiments.report.results import or_infinite, typeset
from experiments.runner.progress import finished
from experiments.runner.runtime import is_writer
from experiments.runner.workdir import put_aside

VERSION = 6
OUTPUTS = ("report.html", "results.json", "figures")
SHOWN = ("ccm_coord", "ccm_scale", "ccm_prefix", "best")
FIXED = ("window", "anchor")  # weights that are the same everywhere
CHARTS = {"corners": "four corners", "ends": "two and two ends"}


def label_of(method: str, config: Any) -> str:
    """The name of a method in figures and tables."""
    if method != "window":
        return METHODS[method].label
    return f"network that sees {config['model']['history'] + config['calibration']['frames']} frames"


def collect(config: ConfigDict, done: PlaneStages) -> dict[str, Any]:
    """All numbers of a run, JSON-able; errors that are infinite stay so until they are written as null."""
    charts = {name: read_json(stage.path / "evaluation.json") for name, stage in done.evaluations.items()}
    decided = {name: read_json(stage.path / "calibration.json") for name, stage in done.calibrations.items()}
    first = next(iter(charts.values()))
    regimes = {name: [row[name] for row in first] for name in ("value", "coordinate", "split")}
    window = [or_infinite(e) for e in read_json(done.window_evaluation.path / "evaluation.json")]
    errors = {"window": window, "anchor": [or_infinite(row["errors"]["anchor"]) for row in first]}
    found: dict[str, Any] = {
        "config": config.to_dict(),
        "seed": config.seed,
        "wall_seconds": {stage.path.name: round(stage.seconds, 2) for stage in done.listed()},
        "regimes": regimes,
        "errors": errors,
        "charts": {},
        "chart": min(decided, key=lambda name: or_infinite(decided[name]["score"])),
    }
    for name, rows in charts.items():
        of_chart = {method: [or_infinite(row["errors"][method]) for row in rows] for method in SHOWN}
        found["charts"][name] = {
            "errors": of_chart,
            "chosen": [row["chosen"] for row in rows],
            "validation": decided[name],
            "summary": summarise(of_chart, regimes["split"]),
        }
    found["summary"] = summarise(errors, regimes["split"])
    return found | {"provenance": provenance()}


def summarise(errors: dict[str, list[float]], split: list[str]) -> dict[str, dict[str, float]]:
    """Mean errors of each method: over the plane, inside the training range, outside; over the best in hindsight.

    Args:
        errors: by method, ``[R]``.
        split: of each regime, ``"id"`` or ``"ood"``.
    """
    ood = np.array(split) == "ood"
    sides = {"all": ood | True, "inside": ~ood, "outside": ood}
    sides = {name: side for name, side in sides.items() if side.any()}
    means = {m: {name: float(np.mean(np.array(e)[side])) for name, side in sides.items()} for m, e in errors.items()}
    if "best" in means:
        for row in means.values():
            row["over_best"] = over(row["all"], means["best"]["all"])
    return means


def report(run: Run, done: PlaneStages, workdir: Path) -> dict[str, Any]:
    """Makes the report if it is not there yet, puts it into ``workdir``, and returns its numbers."""

    def build(work: Path) -> None:
        if not is_writer():
            return
        results = finite(collect(run.config, done))
        write_json(work / "results.json", results)
        write_page(results, work)

    stage = run_stage(run.root, "report", {"name": run.config.name}, tuple(done.listed()), build, version=VERSION)
    if is_writer():
        put_aside(workdir, run.config)
    for name in OUTPUTS if is_writer() else ():
        publish(stage.path / name, workdir / name)
    finished(stage, "report.html, results.json, figures/")
    return read_json(stage.path / "results.json")


def write_page(results: dict[str, Any], folder: Path) -> None:
    """Draws the figures into ``folder / figures``, and the page that holds them."""
    from experiments.report import plane_figures  # matplotlib is slow to import, and only a fresh report needs it

    results = typeset(results)
    drawn = {"errors": plane_figures.errors(results), "coordinates": plane_figures.coordinates(results)}
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in drawn.items():
        for kind in ("png", "pdf"):
            figure.savefig(folder / "figures" / f"{name}.{kind}", dpi=150)
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("plane.html.j2")
    content = page.render(
        results=results,
        rows=table_rows(results),
        names=CHARTS,
        figures={name: inline_svg(figure, name) for name, figure in drawn.items()},
        headline=headline(results),
    )
    write_text(folder / "report.html", content)


def table_rows(results: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Chart, method and mean errors, a row for each."""
    config, found = results["config"], []
    for method in FIXED:
        found.append(("", label_of(method, config), results["summary"][method]))
    for chart, row in results["charts"].items():
        found += [(CHARTS[chart], label_of(method, config), row["summary"][method]) for method in SHOWN]
    return found


def terminal_table(results: dict[str, Any]) -> Table:
    """Mean errors over the plane, for the terminal."""
    title = "relative L2 error after the observed frames, mean over test regimes"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in ("experts at", "", "inside", "outside", "all", "over best"):
        table.add_column(heading, justify="left" if heading in ("experts at", "") else "right", no_wrap=True)
    for chart, method, means in table_rows(results):
        cells = [_cell(means[name]) if name in means else "" for name in ("inside", "outside", "all", "over_best")]
        table.add_row(chart, method, *cells)
    return table


def legend(results: dict[str, Any]) -> list[str]:
    """What is in :func:`terminal_table`, a line each."""
    said = {
        "inside": "test values in the box of the training range; outside: the others; all: both",
        "over best": "the error over that of the best coordinate in hindsight",
        METHODS["ccm_coord"].label: "the merge at the coordinates of the values",
        METHODS[
            "ccm_scale"
        ].label: "the merge at the coordinates that a map, fitted on validation values, gives to them",
        METHODS["ccm_prefix"].label: "the merge at the coordinates that the first frames give",
    }
    return [f"  {name:<10} {text}" for name, text in said.items()]


def _cell(value: float | None) -> str:
    return "inf" if value is None or not np.isfinite(value) else f"{value:.3f}"


def headline(results: dict[str, Any]) -> list[str]:
    """What the run says, in sentences."""
    chart, config = results["chart"], results["config"]
    means = results["charts"][chart]["summary"]
    lines = [f"Chart chosen on validation regimes: experts at {CHARTS[chart]}."]
    for method in SHOWN[:-1]:
        excess = means[method]["over_best"]
        told = "diverges in some regime" if excess is None else f"{excess:.3f} times the best coordinate in hindsight"
        lines.append(f"  {label_of(method, config):<12} {told}")
    window, best = results["summary"]["window"]["all"], means["ccm_prefix"]["all"]
    if window is not None and best is not None:
        lines.append(f"  {label_of('window', config)}: {window / best:.2f} times the error of CCM-Prefix")
    return lines
