"""The report of a run: a page, its figures as files, and its numbers, redrawn from what the stages saved."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from ml_collections import ConfigDict

from ccm_jax.io.atomic import finite, read_json, remove, replacing, write_text
from experiments.pipeline.methods import METHODS, deployable, headlines
from experiments.pipeline.stages import Run, Stages
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.pipeline.systems import stored_channels
from experiments.report import explorer
from experiments.report import sure as how_sure
from experiments.report.results import collect, headline, to_csv
from experiments.runner.progress import finished
from experiments.runner.runtime import is_writer

VERSION = 5
OUTPUTS = ("report.html", "results.json", "results.csv", "figures")


def report(run: Run, stages: Stages, workdir: Path) -> dict[str, Any]:
    """Makes the report if it is not there yet, puts it into ``workdir``, and returns its numbers."""

    def build(work: Path) -> None:
        if not is_writer():
            return
        results = collect(run.config, stages) | {"sure": read_json(known.path / "sure.json")}
        write_json(work / "results.json", results)
        write_text(work / "results.csv", to_csv(results))
        write_page(results, stages, shown, work)

    shown, known = explorer.explorer(run, stages), how_sure.sureness(run, stages)
    inputs = (*stages, shown, known)
    stage = run_stage(run.root, "report", {"name": run.config.name}, inputs, build, version=VERSION)
    for name in OUTPUTS if is_writer() else ():
        publish(stage.path / name, workdir / name)
    finished(stage, "report.html, results.json, results.csv, figures/")
    return read_json(stage.path / "results.json")


def publish(source: Path, target: Path) -> None:
    """Copies a file over its target, or the files of a folder over those of its target: each is whole at any time."""
    if not source.is_dir():
        with replacing(target) as partial:
            shutil.copyfile(source, partial)
        return
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        publish(path, target / path.name)
    for path in target.iterdir():
        if not (source / path.name).exists():
            remove(path)


def write_page(results: dict[str, Any], stages: Stages, shown: Stage, folder: Path) -> None:
    """Draws all figures into ``folder / figures`` and the page that holds them."""
    results = finite(results)
    drawn = draw(results, stages)
    (folder / "figures").mkdir(exist_ok=True)
    svg = {}
    for name, figure in drawn.items():
        for kind in ("png", "pdf"):
            figure.savefig(folder / "figures" / f"{name}.{kind}", dpi=150)
        svg[name] = inline_svg(figure)
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    ).get_template("report.html.j2")
    rows = sorted(results["regimes"], key=lambda row: row["coordinate"])
    sweep = np.load(stages.evaluation.path / "evaluation.npz")["sweep"]
    moving = explorer.content(results, sweep, shown)
    content = page.render(
        results=results,
        rows=rows,
        methods=tuple(METHODS),
        deployable=deployable(),
        cards=headlines(results["config"]["calibration"]["frames"]),
        figures=svg,
        headline=headline(results),
        explorer=moving,
    )
    write_text(folder / "report.html", content)


def draw(results: dict[str, Any], stages: Stages) -> dict[str, Any]:
    """All figures by name."""
    # matplotlib is slow to import, and only a fresh report needs it
    from experiments.report import figures, sure_figures

    arrays = np.load(stages.evaluation.path / "evaluation.npz")
    regimes = results["regimes"]
    order = sorted(range(len(regimes)), key=lambda i: regimes[i]["coordinate"])
    ends = [order[0], order[-1]] if len(order) > 1 else order
    losses = {
        name: np.load(stage.path / f"{name}-losses.npy")
        for stage, name in (
            (stages.anchor, "anchor"),
            (stages.anchor_more, "anchor_more"),
            (stages.endpoints, "low"),
            (stages.endpoints, "high"),
        )
    }
    channels = stored_channels(ConfigDict(results["config"]))
    far = max(order, key=lambda i: abs(regimes[i]["coordinate"]))
    more = {}
    if results["sure"]["regimes"]:
        more["sure"] = sure_figures.sureness(results["sure"], results["config"])
    return more | {
        "error_by_regime": figures.error_by_regime(results),
        "coordinate_sweep": figures.coordinate_sweep(results, arrays["sweep"]),
        "frames": figures.frames(results, arrays, far, channels),
        "growth": figures.growth(results, ends),
        "geometry": figures.geometry(results),
        "training": figures.training(losses),
    }


def inline_svg(figure: Any) -> Markup:
    """The figure as inline SVG; bitmaps inside it are embedded, so the page stands alone."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return Markup(svg[svg.index("<svg") :])
