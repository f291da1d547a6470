"""``ccm rollout``: a surrogate from an initial state to a file, a strip of frames and an animation."""

from __future__ import annotations

import os
from pathlib import Path

import click
import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax.metrics import relative_l2
from ccm_jax.weights import open_weights
from experiments.cli.frames import read_frames
from experiments.cli.surrogate import HELP, surrogate_of
from experiments.progress import console


def strip(predicted: np.ndarray, truth: np.ndarray | None, target: Path, columns: int = 6) -> None:
    """A few frames of the first channel in a row, over the truth if there is one; of a line, time over space."""
    from experiments.figures import new_figure

    rows = [predicted] if truth is None else [predicted, truth]
    if predicted.ndim == 3:
        figure = new_figure(5.6, 1.4 * len(rows) + 0.6)
        limit = np.nanpercentile(np.abs(rows[-1][..., 0]), 99.5)
        column = figure.subplots(len(rows), 1, squeeze=False, sharex=True)[:, 0]
        for ax, frames, label in zip(column, rows, ("surrogate", "truth"), strict=False):
            picture = ax.imshow(frames[..., 0].T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set_ylabel(label)
        column[-1].set_xlabel("frame")
        figure.colorbar(picture, ax=column, shrink=0.8)
        figure.savefig(target, dpi=150)
        return
    at = np.unique(np.linspace(0, len(predicted) - 1, columns).round().astype(int))
    figure = new_figure(1.5 * len(at) + 0.9, 1.6 * len(rows) + 0.3)
    axes = np.atleast_2d(figure.subplots(len(rows), len(at), squeeze=False))
    limit = np.nanpercentile(np.abs(rows[-1][..., 0]), 99.5)
    for row, frames, label in zip(axes, rows, ("surrogate", "truth"), strict=False):
        for ax, i in zip(row, at, strict=True):
            picture = ax.imshow(frames[i, ..., 0].T, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set_xticks([])
            ax.set_yticks([])
            if frames is rows[0]:
                ax.set_title(f"frame {i + 1}", fontsize=8)
        row[0].set_ylabel(label)
    figure.colorbar(picture, ax=axes, shrink=0.8)
    figure.savefig(target, dpi=150)


def draw(predicted: np.ndarray, truth: np.ndarray | None, output: Path) -> None:
    """The strip and the animation beside ``output``; of a box its middle plane, and a line has no animation."""
    if predicted.ndim == 5:
        middle = predicted.shape[3] // 2
        predicted, truth = predicted[..., middle, :], None if truth is None else truth[..., middle, :]
    strip(predicted, truth, output.with_suffix(".png"))
    if predicted.ndim == 4:
        animate(predicted, output.with_suffix(".gif"))


def animate(predicted: np.ndarray, target: Path) -> None:
    """The first channel as an animated GIF."""
    from matplotlib import colormaps
    from PIL import Image

    field = predicted[..., 0]
    limit = max(float(np.nanpercentile(np.abs(field), 99.5)), 1e-12)
    scaled = np.clip(np.nan_to_num(field) / limit, -1, 1) / 2 + 0.5
    zoom = max(1, 256 // field.shape[1])
    frames = [np.kron(frame.T[::-1], np.ones((zoom, zoom))) for frame in scaled]
    images = [Image.fromarray((255 * colormaps["RdBu_r"](frame)[..., :3]).astype(np.uint8)) for frame in frames]
    images[0].save(target, save_all=True, append_images=images[1:], duration=120, loop=0)


@click.command("rollout")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--model", help=HELP)
@click.option("--initial", required=True, type=click.Path(path_type=Path), help="File that begins with the window.")
@click.option("--sample", default=0, show_default=True, help="Which trajectory of it.")
@click.option("--steps", type=int, help="Frames to predict; default: as many as the file has after the window.")
@click.option("--truth", is_flag=True, help="The file goes on with the truth: say the error.")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="NAME.npz; NAME.png too, and NAME.gif."
)
def command(
    checkpoint: Path, model: str | None, initial: Path, sample: int, steps: int | None, truth: bool, output: Path
) -> None:
    """Run CHECKPOINT from the first frames of a file: OUTPUT.npz, a strip of frames and an animation.

    \b
    ccm rollout merged.safetensors --model neuraloperator --initial start.npy --steps 50 -o rollout.npz
    """
    if output.suffix != ".npz":
        raise ValueError(f"--output is {output}, expected a name that ends in .npz.")
    for path in (output, output.with_suffix(".png"), output.with_suffix(".gif")):
        if os.path.lexists(path):
            raise ValueError(f"{path} exists, and nothing is overwritten; choose a new path or remove it.")
    x = read_frames(initial, str(sample))
    weights = open_weights(checkpoint)
    surrogate = surrogate_of(weights, model, x.shape[2:])
    history, after = surrogate.history, x.shape[1] - surrogate.history
    count = after if steps is None else steps
    if after < 0 or count < 1 or (truth and after < count):
        needed = history + (count if truth else 0)
        raise ValueError(f"{initial} has {x.shape[1]} frames, expected at least {needed}; say how many with --steps.")
    run = jax.jit(surrogate.rollout_fn, static_argnums=2)
    predicted = np.asarray(run(surrogate.to_params(weights.arrays), jnp.asarray(x[:, :history]), count))[0]
    if not np.isfinite(predicted).all():
        first = int(np.argwhere(~np.isfinite(predicted))[0, 0])
        console.print(f"The rollout is not finite from frame {first + 1} on.", markup=False)
    real = x[0, history : history + count] if truth else None
    errors = {}
    if real is not None:
        per_frame = np.asarray(relative_l2(jnp.asarray(predicted)[None], jnp.asarray(real)[None]))[0]
        errors = {"errors": per_frame}
        console.print(f"relative L2 error: mean {per_frame.mean():.4f}, last frame {per_frame[-1]:.4f}", markup=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.stem}.partial.npz")
    np.savez(partial, allow_pickle=False, frames=predicted, dim=predicted.ndim - 2, **errors)
    os.replace(partial, output)
    draw(predicted, real, output)
    console.print(f"{output}: {count} frames of {list(predicted.shape[1:])}.", markup=False)
