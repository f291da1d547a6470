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
from ccm_jax.io.atomic import read_json
from experiments.pipeline import networks, stages
from experiments.pipeline.family import column, mean_error
from experiments.pipeline.stages import Run, Stages
from experiments.pipeline.store import Stage, run_stage
from experiments.report.colours import SIGNED, furthest, limits, palette
from experiments.report.panels import panels, upright
from experiments.report.results import found_best, observed
from experiments.runner.progress import finished
from experiments.runner.runtime import is_writer

VERSION = 4
TIMES = 4  # frames shown side by side
COLOURS = 65  # of the scale, odd for a white zero: more take more bytes; one is added for what is not finite
DIFFERENCES = 33  # the same for differences


def explorer(run: Run, done: Stages) -> Stage:
    """Errors and pictures at every candidate, and at the coordinates that the buttons go to.

    Stored: ``frames [R, 2 + n + 3, pictures, a, b]`` of the first test trajectory, of truth, anchor and every
    coordinate; and ``coordinates`` and ``errors`` of the buttons, ``[R, 3]``.
    """

    def build(work: Path) -> None:
        config = run.config
        family = networks.load_family(run.config, done.anchor, done.endpoints)
        line, bank = family.line, column(family.bank)
        buttons = np.stack([marks(row, bank) for row in read_json(done.evaluation.path / "evaluation.json")["regimes"]])
        shape = {"history": family.history, "frames": config.calibration.frames}
        tests = stages.load_trajectories(done.test)
        future = split_future(jnp.asarray(tests[0, :1]), **shape)[2].shape[1]
        at = np.unique(np.linspace(0, future - 1, TIMES).round().astype(int))

        def shown(params: Any, x: jax.Array) -> jax.Array:
            return panels(future_frames(params, family.rollout_fn, x, **shape)[0, ..., 0], at)

        @jax.jit
        def regime(coordinates: jax.Array, x: jax.Array) -> jax.Array:
            swept = jax.lax.map(lambda c: shown(line(c), x), coordinates)
            truth = panels(split_future(x, **shape)[2][0, ..., 0], at)
            return jnp.concatenate([truth[None], shown(family.anchor, x)[None], swept])

        every = [np.concatenate([bank, column(own)]) for own in buttons]
        frames = [np.asarray(regime(jnp.asarray(c), jnp.asarray(x[:1]))) for c, x in zip(every, tests, strict=True)]
        errors = [
            [mean_error(family.errors_of(line(float(c)), jnp.asarray(x))) for c in own]
            for own, x in zip(buttons, tests, strict=True)
        ]
        if is_writer():
            found = {"frames": np.stack(frames).astype(np.float32), "coordinates": buttons, "errors": np.array(errors)}
            np.savez(work / "explorer.npz", allow_pickle=False, times=at, **found)

    settings = stages.settings_of(run.config, "calibration", "axis", "model")
    inputs = (done.test, done.anchor, done.endpoints, done.evaluation)
    stage = run_stage(run.root, "explorer", settings, inputs, build, version=VERSION)
    finished(stage, "frames of every candidate, for the slider")
    return stage


def marks(row: dict[str, Any], bank: np.ndarray) -> np.ndarray:
    """The coordinates of the four buttons on a regime; 0 for one that is missing, not finite or outside the bank.

    Args:
        row: of the regime, as the evaluation gives it.
        bank: coordinates of the candidates.
    """
    chosen = row["chosen"]
    prefix = np.mean(np.asarray(chosen["ccm_prefix"], float))
    named = np.array([row["coordinate"], chosen.get("ccm_scale"), prefix, chosen["best"]], float)
    return np.where((named >= bank.min()) & (named <= bank.max()), named, 0.0)


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
        coordinates, first = np.unique(np.concatenate([bank, stored["coordinates"][i]]).round(6), return_index=True)
        errors = np.concatenate([sweep[i].mean(axis=-1), stored["errors"][i]])[first]
        shown = frames[i][np.concatenate([[0, 1], 2 + first])]
        row = {key: regimes[i][key] for key in ("value", "coordinate", "split")}
        best = regimes[i]["chosen"]["best"] if found_best(regimes[i]) else None
        row |= {"anchor": regimes[i]["errors"]["anchor"], "best": best, "scale": regimes[i]["chosen"].get("ccm_scale")}
        row |= {"prefix": float(np.mean(regimes[i]["chosen"]["ccm_prefix"]))}
        row |= {"bank": coordinates.tolist(), "sprite": sprite(shown), "differences": differences(shown)}
        rows.append(row | {"errors": [float(f"{e:.6g}") if np.isfinite(e) else None for e in errors]})
    height, width = frames.shape[-2:]
    times = [int(t) + before + 1 for t in stored["times"]]  # counted from 1
    heads = [f"frame {t}" for t in times]
    if frames.shape[2] == 1 < len(times):  # one picture of space and time
        heads = [f"frames {times[0]} to {times[-1]}, to the right"]
    axis = results["config"]["axis"]
    return {
        "rows": rows,
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
    error = frames[1] - frames[0]
    bound = np.full(len(error), furthest(error).max())
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
