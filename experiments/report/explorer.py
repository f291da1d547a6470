"""What the slider of the report shows: every candidate's error and frames on every test regime, computed beforehand."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.evaluate import future_frames, split_future
from experiments.pipeline import networks, stages
from experiments.pipeline.family import column
from experiments.pipeline.stages import Run, Stages
from experiments.pipeline.store import Stage, run_stage
from experiments.report.colours import SIGNED, furthest, limits, palette
from experiments.report.panels import panels, upright
from experiments.report.results import found_best, observed
from experiments.runner.progress import finished
from experiments.runner.runtime import is_writer

VERSION = 2
TIMES = 4  # frames shown side by side
COLOURS = 65  # of the scale, odd for a white zero: more take more bytes; one is added for what is not finite
DIFFERENCES = 33  # the same for differences


def explorer(run: Run, done: Stages) -> Stage:
    """Pictures of the first test trajectory, of truth, anchor and every candidate: ``[R, 2 + n, pictures, a, b]``."""

    def build(work: Path) -> None:
        config = run.config
        family = networks.load_family(run.config, done.anchor, done.endpoints)
        line, bank = family.line, jnp.asarray(column(family.bank))
        shape = {"history": family.history, "prefix": config.calibration.frames}
        tests = stages.load_trajectories(done.test)
        future = split_future(jnp.asarray(tests[0, :1]), **shape)[2].shape[1]
        at = np.unique(np.linspace(0, future - 1, TIMES).round().astype(int))

        def shown(params: Any, x: jax.Array) -> jax.Array:
            return panels(future_frames(params, family.rollout_fn, x, **shape)[0, ..., 0], at)

        @jax.jit
        def regime(x: jax.Array) -> jax.Array:
            swept = jax.lax.map(lambda c: shown(line(c), x), bank)
            truth = panels(split_future(x, **shape)[2][0, ..., 0], at)
            return jnp.concatenate([truth[None], shown(family.anchor, x)[None], swept])

        frames = np.stack([np.asarray(regime(jnp.asarray(x[:1]))) for x in tests])
        if is_writer():
            np.savez(work / "explorer.npz", allow_pickle=False, frames=frames.astype(np.float32), times=at)

    settings = stages.settings_of(run.config, "calibration", "axis", "model")
    stage = run_stage(run.root, "explorer", settings, (done.test, done.anchor, done.endpoints), build, version=VERSION)
    finished(stage, "frames of every candidate, for the slider")
    return stage


def content(results: dict[str, Any], sweep: np.ndarray, stage: Stage, channel: str) -> dict[str, Any]:
    """What the page needs, JSON-able: curves of the error, and for each regime bitmaps of all frames and differences.

    Args:
        results: of the run.
        sweep: errors ``[R, n, N]`` of every candidate.
        stage: of :func:`explorer`.
        channel: name of the field that is shown.
    """
    stored, regimes = np.load(stage.path / "explorer.npz"), results["regimes"]
    frames, bank = stored["frames"], results["bank"]
    before = observed(results["config"])
    rows = []
    for i in sorted(range(len(regimes)), key=lambda i: regimes[i]["coordinate"]):
        errors = sweep[i].mean(axis=-1)
        row = {key: regimes[i][key] for key in ("value", "coordinate", "split")}
        best = regimes[i]["chosen"]["best"] if found_best(regimes[i]) else None
        row |= {"anchor": regimes[i]["errors"]["anchor"], "best": best}
        row |= {"prefix": float(np.mean(regimes[i]["chosen"]["ccm_prefix"]))}
        row |= {"sprite": sprite(frames[i]), "differences": differences(frames[i])}
        rows.append(row | {"errors": [float(f"{e:.6g}") if np.isfinite(e) else None for e in errors]})
    height, width = frames.shape[-2:]
    times = [int(t) + before + 1 for t in stored["times"]]  # counted from 1
    heads = [f"frame {t}" for t in times]
    if frames.shape[2] == 1 < len(times):  # one picture of space and time
        heads = [f"frames {times[0]} to {times[-1]}, to the right"]
    axis = results["config"]["axis"]
    return {
        "rows": rows,
        "bank": bank,
        "height": height,
        "width": width,
        "heads": heads,
        "axis": f"{axis['label']} ({axis['unit']})",
        "channel": channel,
        "observed": before,
    }


def sprite(frames: np.ndarray) -> str:
    """Pictures ``[rows, times, H, W]`` as one bitmap, each column in the colours of its truth, row 0."""
    colours = palette(frames[0])
    return bitmap(frames, limits(frames[0], colours == SIGNED), colours, COLOURS)


def differences(frames: np.ndarray) -> str:
    """Candidates ``[2 + n, times, H, W]`` minus the truth, row 0; full red is the largest error of row 1."""
    bound = furthest(frames[1] - frames[0])
    return bitmap(frames[2:] - frames[0], (-bound, bound), SIGNED, DIFFERENCES)


def bitmap(frames: np.ndarray, ends: tuple[np.ndarray, np.ndarray], colours: str, count: int) -> str:
    """Pictures ``[rows, times, H, W]`` as one bitmap in a data URI.

    Args:
        frames: the pictures.
        ends: the values at both ends of the colours, ``[times]`` each.
        colours: matplotlib's name of the colours.
        count: how many of them.
    """
    from matplotlib import colormaps
    from PIL import Image

    low, high = (end[:, None, None] for end in ends)
    scaled = np.clip((frames - low) / np.maximum(high - low, 1e-12), 0, 1) * (count - 1)
    index = np.where(np.isfinite(frames), np.nan_to_num(scaled), count).round().astype(np.uint8)
    rows, times, height, width = index.shape
    sheet = upright(index)[:, :, ::-1].transpose(0, 2, 1, 3).reshape(rows * width, times * height)
    scale = (255 * colormaps[colours](np.linspace(0, 1, count))[:, :3]).astype(np.uint8)
    shades = np.concatenate([scale, np.full((1, 3), 128, np.uint8)])
    stream = io.BytesIO()
    Image.fromarray(shades[sheet]).save(stream, format="webp", lossless=True, quality=100, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
