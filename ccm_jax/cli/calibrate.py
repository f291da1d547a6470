"""``ccm calibrate``: the coordinate that observed frames ask for, with its loss curve, and the weights there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import jax.numpy as jnp
import numpy as np

from ccm_jax import coordinate_from_prefix, fit_chart
from ccm_jax.cli.console import console
from ccm_jax.cli.frames import read_frames
from ccm_jax.cli.merge import check_output, digest, family_options, merge, open_family
from ccm_jax.cli.pictures import draw_losses
from ccm_jax.cli.recipe import Recipe
from ccm_jax.io.atomic import write_json
from ccm_jax.io.description import HELP
from ccm_jax.surrogate import surrogate_of

BAR = 40  # characters of the longest bar in the terminal


def parse_bank(text: str) -> np.ndarray:
    """``"-2.5:2.5:0.25"`` as candidates, both ends included."""
    try:
        low, high, step = (float(part) for part in text.split(":"))
    except ValueError as error:
        raise ValueError(f"--bank {text}: expected LOW:HIGH:STEP, for instance -2.5:2.5:0.25.") from error
    if not (low < high and 0 < step <= high - low):
        raise ValueError(f"--bank {text}: expected LOW below HIGH, and a STEP between 0 and their distance.")
    return low + step * np.arange(round((high - low) / step) + 1)


def calibrate(recipe: Recipe, frames: np.ndarray, bank: np.ndarray, *, model: str | None, count: int) -> dict[str, Any]:
    """Scores every candidate on the first ``count`` frames after the window; JSON-able.

    The one coordinate is that of all trajectories together; each trajectory's own choice says how sure it is.
    """
    anchor, low, high = open_family(recipe)
    surrogate = surrogate_of(anchor, model, frames.shape[2:])
    trees = [surrogate.to_params(w.arrays) for w in (anchor, low, high)]
    chart, candidates = fit_chart(trees[0], trees[1:], [-1.0, 1.0]), jnp.asarray(bank, jnp.float32)[:, None]
    how: dict[str, Any] = {"history": surrogate.history, "frames": count}
    each = coordinate_from_prefix(chart, surrogate.rollout_fn, jnp.asarray(frames), candidates, batch="each", **how)
    losses = np.asarray(each.losses, float)  # [N, n]
    pooled = losses.mean(axis=0)
    if not np.isfinite(pooled).any():
        raise ValueError("calibrate: no candidate has a finite rollout on these frames; are they in the model's units?")
    best = int(np.where(np.isfinite(pooled), pooled, np.inf).argmin())
    choices = np.asarray(each.coordinate, float)[:, 0]
    # The anchor itself, which no coordinate of the line gives.
    unmerged = fit_chart(trees[0], [trees[0], trees[0]], [-1.0, 1.0])
    at_anchor = coordinate_from_prefix(
        unmerged, surrogate.rollout_fn, jnp.asarray(frames), jnp.zeros((1, 1)), batch="pooled", **how
    )
    return {
        "coordinate": float(bank[best]),
        "loss": float(pooled[best]),
        "anchor_loss": float(at_anchor.losses[0]),
        "choices": choices.tolist(),
        "spread": float(choices.std(ddof=1)) if len(choices) > 1 else None,
        "frames": count,
        "history": surrogate.history,
        "candidates": bank.tolist(),
        "losses": pooled.tolist(),
    }


def show(found: dict[str, Any]) -> None:
    """The loss curve in the terminal."""
    losses = np.asarray(found["losses"])
    top = np.max(losses[np.isfinite(losses)])
    for s, loss in zip(found["candidates"], losses, strict=True):
        mark = " <" if s == found["coordinate"] else ""
        bar = "█" * max(1, round(BAR * loss / top)) + f" {loss:.4f}" if np.isfinite(loss) else "diverges"
        console.print(f"  {s:+6.2f}  {bar}{mark}", markup=False, highlight=False)
    spread = "" if found["spread"] is None else f", ± {found['spread']:.2f} over {len(found['choices'])} trajectories"
    console.print(f"coordinate {found['coordinate']:+.2f}{spread}", markup=False)
    console.print(
        f"error on the observed frames: {found['loss']:.4f}, of the anchor {found['anchor_loss']:.4f}", markup=False
    )
    ends = found["candidates"][0], found["candidates"][-1]
    if found["coordinate"] in ends:
        console.print("The best candidate is the last of the bank: widen it with --bank.", markup=False)
    if found["loss"] > found["anchor_loss"]:
        console.print("The anchor fits these frames better than any merge: keep it.", markup=False)


@click.command("calibrate")
@family_options
@click.option("--model", help=HELP)
@click.option("--prefix", required=True, type=click.Path(path_type=Path), help="File with the observed frames.")
@click.option("--sample", help="Which trajectories of it: 0, or 0,3, or 0:8; all of them, if not given.")
@click.option("--frames", default=4, show_default=True, help="Frames to score after the model's window.")
@click.option("--bank", default="-2.5:2.5:0.25", show_default=True, help="Candidates, LOW:HIGH:STEP.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Merged checkpoint to write.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="NAME.json for the numbers, with a NAME.png; default: beside OUTPUT.",
)
def command(
    anchor: Path | None,
    low: Path | None,
    high: Path | None,
    model: str | None,
    prefix: Path,
    sample: str | None,
    frames: int,
    bank: str,
    output: Path | None,
    report: Path | None,
) -> None:
    """Find the coordinate that best continues observed frames, and write the weights there.

    \b
    ccm calibrate --anchor a.pt --low l.pt --high h.pt --model neuraloperator --prefix seen.npy -o merged.safetensors
    """
    if not (anchor and low and high):
        raise click.UsageError("--anchor, --low and --high are needed")
    if output is not None:
        check_output(output)
        report = report or output.with_name(f"{output.name.removesuffix('.safetensors')}.json")
    if report is not None and report.suffix != ".json":
        raise ValueError(f"--report is {report}, expected a name that ends in .json.")
    for path in (report, report and report.with_suffix(".png")):
        if path is not None and os.path.lexists(path):
            raise ValueError(f"{path} exists, and nothing is overwritten; choose a new path or remove it.")
    recipe = Recipe(anchor, (low, high), ((-1.0,), (1.0,)), (0.0,))
    found = calibrate(recipe, read_frames(prefix, sample), parse_bank(bank), model=model, count=frames)
    show(found)
    if output is not None:
        how = {"prefix": str(prefix), "prefix_sha256": digest(prefix), "samples": sample or "all", "model": model}
        how |= {key: found[key] for key in ("frames", "loss", "anchor_loss", "spread")} | {"bank": bank}
        merge(recipe._replace(coordinate=(found["coordinate"],)), output, found=how)
        console.print(f"{output} holds the weights at {found['coordinate']:+.2f}.", markup=False)
    if report is not None:
        write_json(report, found)
        draw_losses(found, report.with_suffix(".png"))
