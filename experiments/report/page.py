"""The report of a run: a page, its figures as files, and its numbers, redrawn from what the stages saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from ml_collections import ConfigDict

from ccm_jax.io import checkpoint
from ccm_jax.io.atomic import finite, read_json, remove, replacing, write_text
from ccm_jax.prefix import paper_bank
from experiments.pipeline.archive import most_within, write_frames
from experiments.pipeline.methods import ANCHORS, METHODS, deployable, headlines
from experiments.pipeline.stages import Run, Stages, load_trajectories
from experiments.pipeline.store import Stage, run_stage, write_json
from experiments.pipeline.systems import stored_channels
from experiments.report import explorer, head, peers
from experiments.report import sure as how_sure
from experiments.report.film import film
from experiments.report.inline import for_both_widths
from experiments.report.links import link
from experiments.report.numbers import by_regime, digits, plain, signed, too_often
from experiments.report.results import collect, observed, to_csv, typeset, verdict
from experiments.runner.progress import finished
from experiments.runner.repository import published
from experiments.runner.runtime import is_writer
from experiments.runner.workdir import put_aside

VERSION = 38
OUTPUTS = ("report.html", "results.json", "results.csv", "figures")
FOLDED = ("ccm_prefix_paper", "low", "high", "average", "wrong_sign")  # columns of the table that a reader asks for
WEIGHTS = "weights"  # folder of the run with anchor, low, high and the trajectories of VALIDATION
VALIDATION = "validation.npz"
PICTURES = {  # what the figures show, for those who cannot see them
    "error_by_regime": "Relative L2 error against the physical parameter, by method",
    "coordinate_sweep": "Error along the direction for every regime, with the coordinates that were chosen",
    "frames": "Last frame of truth, anchor and CCM-Prefix, with their errors",
    "growth": "Relative L2 error by frame, by method",
    "geometry": "Norms of both parts of the updates, and the cosine between the updates, by layer",
    "training": "Training loss by step",
    "sure": "Posterior of the value, forecast error at one point within its band, and errors by frame",
}


def report(run: Run, stages: Stages, workdir: Path) -> dict[str, Any]:
    """Makes the report if it is not there yet, puts it into ``workdir``, and returns its numbers."""

    def build(work: Path) -> None:
        weights = head.count(checkpoint.load(stages.anchor.path / "anchor"))  # by all processes: Orbax waits for each
        if not is_writer():
            return
        results = collect(run.config, stages) | {"sure": read_json(known.path / "sure.json")}
        write_json(work / "results.json", results)
        write_text(work / "results.csv", to_csv(results))
        write_page(results, stages, shown, work, weights)

    shown, known = explorer.explorer(run, stages), how_sure.sureness(run, stages)
    inputs = (*stages, shown, known)
    settings = {"name": run.config.name, "address": published()}
    stage = run_stage(run.root, "report", settings, inputs, build, version=VERSION)
    if is_writer():
        put_aside(workdir, run.config)
    for name in OUTPUTS if is_writer() else ():
        publish(stage.path / name, workdir / name)
    trained = (("anchor", stages.anchor), ("low", stages.endpoints), ("high", stages.endpoints))
    for name, of in trained if is_writer() else ():
        publish_weights(of.path / name, workdir / WEIGHTS / name)
    if is_writer():
        publish_validation(run.config, stages.validation, workdir / WEIGHTS / VALIDATION)
    finished(stage, "report.html, results.json, results.csv, figures/, weights/")
    return read_json(stage.path / "results.json")


def publish(source: Path, target: Path) -> None:
    """Copies a file over its target, or the files of a folder over those of its target: each is whole at any time."""
    if not source.is_dir():
        with replacing(target) as beside:
            shutil.copyfile(source, beside)
        return
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        publish(path, target / path.name)
    for path in target.iterdir():
        if not (source / path.name).exists():
            remove(path)


def publish_weights(source: Path, target: Path) -> None:
    """Copies a checkpoint as a whole: files of two runs never mix."""
    target.parent.mkdir(exist_ok=True)
    with replacing(target) as beside:
        shutil.copytree(source, beside)
        remove(target)


def publish_validation(config: ConfigDict, stage: Stage, target: Path) -> None:
    """Writes the trajectories of validation, or the first ones of each regime where all are too large."""
    x = load_trajectories(stage)
    write_frames(target, config, config.regimes.validation, x[:, : most_within(x.shape)])


def write_page(results: dict[str, Any], stages: Stages, shown: Stage, folder: Path, weights: int) -> None:
    """Draws all figures into ``folder / figures`` and the page that holds them; ``weights`` is their number."""
    results = typeset(finite(results))
    (folder / "figures").mkdir(exist_ok=True)
    arrays = dict(np.load(stages.evaluation.path / "evaluation.npz"))
    outside = [row["value"] for row in results["regimes"] if row["split"] == "ood"]
    curves, svg = peers.curves_of(results["config"], outside), {}
    for name, draw in drawings(results, stages, arrays, curves).items():
        figure = draw(False)
        for kind in ("png", "pdf"):
            figure.savefig(folder / "figures" / f"{name}.{kind}", dpi=150)
        svg[name] = for_both_widths(draw, name, PICTURES[name])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "ensure_ascii": False}
    environment.filters |= {"signed": signed, "plain": plain, "digits": digits}
    environment.filters |= {"too_narrow": how_sure.too_narrow, "mean": mean_of}
    rows = sorted(results["regimes"], key=lambda row: row["coordinate"])
    config, ours = results["config"], headlines(observed(results["config"]))
    space, channels = arrays["frames/truth"].shape[2:-1], stored_channels(ConfigDict(config))
    conditioned = peers.conditioned(config, curves, outside)
    certain = results["sure"]["regimes"]
    shown_sure = how_sure.two_of([row["coordinate"] for row in certain]) if certain else []
    small = _below(results["sure"]["regimes"], 0.05)
    content = environment.get_template("report.html.j2").render(
        version=VERSION,
        page=partial(link, address=published()),
        results=results,
        rows=rows,
        methods=in_order(results["summary"].get("better_anchor", "anchor"), list(ours)),
        ours=ours,
        labels={name: method.label for name, method in METHODS.items()},
        folded=FOLDED,
        validation=validation_of(stages.validation),
        own_settings=own_settings(config["calibration"]),
        deployable=deployable(),
        title=head.title(config, [row["value"] for row in rows]),
        setting=head.setting(config, space, weights),
        cards=head.cards(results, conditioned),
        alternative=head.alternative(conditioned),
        ranges={name: ends for name in ours if (ends := by_regime(results, name))},
        observed=observed(config),
        figures=svg,
        verdict=two_parts(verdict(results)),
        small=small,
        drawn_sure=[certain[i] for i in shown_sure],
        other_sure=[row for i, row in enumerate(certain) if i not in shown_sure],
        gated=results["calibration"]["prefix"]["free_gate"],
        held=held(results["sure"]["regimes"]),
        paper=[float(c) for c in paper_bank()[:, 0]],
        rejects=too_often(*small, level=0.05),
        explorer=explorer.content(results, arrays["sweep"], shown, channels[0]),
        film=film(results, arrays, channels[0]),
        peers={
            "count": len(curves),
            "windows": any("frame" in c["short"] for c in curves),
            "seeds": peers.seeds(curves),
            "conditioned": conditioned,
        },
        machine=read_json(stages.anchor.path / "stage.json"),
        channels=channels,
        shape=f"[T, {', '.join(str(n) for n in space)}, {len(channels)}]",
        horizon=arrays["frames/truth"].shape[1],
    )
    write_text(folder / "report.html", content)


def mean_of(coordinates: Any) -> float:
    """The mean of a readout's coordinates, one for each trajectory or one for all."""
    return float(np.nanmean(np.asarray(coordinates, float)))


def in_order(anchor: str, ours: list[str]) -> list[str]:
    """The methods as columns: what a reader compares first comes first, since a phone shows no more.

    Args:
        anchor: the better one.
        ours: methods that head the report.

    Example:
        >>> in_order("anchor", ["ccm_coord", "ccm_scale", "ccm_prefix"])[:5]
        ['anchor', 'ccm_prefix', 'ccm_scale', 'ccm_coord', 'anchor_more']
    """
    first = (anchor, "ccm_prefix", "ccm_scale", *ours, *ANCHORS)
    return sorted(METHODS, key=lambda name: first.index(name) if name in first else len(first))


def two_parts(said: str) -> tuple[str, str]:
    """A verdict as what holds outside the training range, and what holds inside it.

    Example:
        >>> two_parts("Outside it, use A. Inside the training range, B is better.")
        ('Outside it, use A.', 'Inside the training range, B is better.')
    """
    outside, mark, inside = said.replace(" times", "\N{NO-BREAK SPACE}times").partition(" Inside the training range,")
    return outside, (mark + inside).strip()


def validation_of(stage: Stage) -> dict[str, int]:
    """How many trajectories of each validation regime the folder of the run has, ``kept`` of ``made``."""
    shape = load_trajectories(stage).shape
    return {"kept": most_within(shape), "made": int(shape[1])}


def own_settings(calibration: dict[str, Any]) -> list[str]:
    """What a configuration says of the readout itself, so that validation does not choose it."""
    said = [name for name in ("begin", "skip", "free_gate", "pull") if calibration[name] is not None]
    return said + ["search"] * (calibration["search"] != "continuous")


def _below(regimes: list[dict[str, Any]], level: float) -> tuple[int, int]:
    """How many p-values lie below a level, and how many there are."""
    values = [p for row in regimes for p in row["p_values"] if p is not None]
    return sum(p < level for p in values), len(values)


def held(regimes: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """In how many trajectories the interval held the value, outside and inside the training range; the worst regime."""
    found: dict[str, dict[str, Any] | None] = {}
    for side, split in (("outside", "ood"), ("inside", "id")):
        rows = [row for row in regimes if row["split"] == split]
        count = sum(len(row["intervals"]) for row in rows)
        said = {"held": sum(row["held"] for row in rows), "count": count, "regimes": len(rows)}
        found[side] = said | {"worst": min(rows, key=lambda row: row["held"])} if rows else None
    return found


def drawings(
    results: dict[str, Any], stages: Stages, arrays: dict[str, np.ndarray], curves: list[dict[str, Any]]
) -> dict[str, Callable[[bool], Any]]:
    """All figures by name, as functions ``narrow -> figure``."""
    # matplotlib is slow to import, and only a fresh report needs it
    from experiments.report import figures, frame_figure, parameter_figure, sure_figures

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
    drawn: dict[str, Callable[[bool], Any]] = {
        "error_by_regime": partial(parameter_figure.error_by_regime, results, curves),
        "coordinate_sweep": partial(figures.coordinate_sweep, results, arrays["sweep"]),
        "frames": partial(frame_figure.frames, results, arrays, far, channels),
        "growth": partial(figures.growth, results, ends),
        "geometry": partial(figures.geometry, results),
        "training": partial(figures.training, losses),
    }
    if results["sure"]["regimes"]:
        drawn["sure"] = partial(sure_figures.sureness, results["sure"], results["config"], channels[0])
    return drawn
