"""``ccm rollout``: a surrogate from an initial state to a file, a strip of frames and an animation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

from ccm_jax import processor
from ccm_jax.cli.checkpoints import open_checkpoints
from ccm_jax.cli.console import say
from ccm_jax.cli.frames import Layout, layout_options, read_samples
from ccm_jax.cli.pictures import draw_rollout
from ccm_jax.cli.surrogates import surrogate_for
from ccm_jax.io.atomic import replacing
from ccm_jax.io.description import HELP
from ccm_jax.metrics import relative_l2


@click.command("rollout")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--model", help=HELP)
@click.option("--initial", required=True, type=click.Path(path_type=Path), help="File that begins with the window.")
@layout_options
@click.option("--sample", default=0, show_default=True, help="Which trajectory of it.")
@click.option(
    "--steps",
    type=click.IntRange(1, 10**6),
    help="Frames to predict; default: as many as the file has after the window.",
)
@click.option("--truth", is_flag=True, help="The file goes on with the truth: say the error.")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="NAME.npz; NAME.png too, and NAME.gif."
)
def command(
    checkpoint: Path, initial: Path, steps: int | None, output: Path, *, truth: bool, layout: Layout, **given: Any
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
    processor.prepare()
    model, sample = given["model"], given["sample"]
    recording = layout.open(initial)
    weights = open_checkpoints("rollout", [checkpoint])[0]
    surrogate = surrogate_for(weights, model, recording)
    history, after = surrogate.history, recording.shape[1] - surrogate.history
    count = after if steps is None else steps
    if after < 0 or count < 1 or (truth and after < count):
        needed = history + (count if truth else 0)
        raise ValueError(
            f"{initial} has {recording.shape[1]} frames, expected at least {needed}; say how many with --steps."
        )
    x = read_samples(recording, [sample], history + (count if truth else 0))
    run = jax.jit(surrogate.rollout_fn, static_argnums=2)
    predicted = np.asarray(run(surrogate.to_params(weights.arrays), jnp.asarray(x[:, :history]), count))[0]
    if not np.isfinite(predicted).all():
        first = int(np.argwhere(~np.isfinite(predicted))[0, 0])
        say(f"The rollout is not finite from frame {first + 1} on.")
    real = x[0, history : history + count] if truth else None
    errors = {}
    if real is not None:
        per_frame = np.asarray(relative_l2(jnp.asarray(predicted)[None], jnp.asarray(real)[None]))[0]
        errors = {"errors": per_frame}
        say(f"relative L2 error: mean {per_frame.mean():.4f}, last frame {per_frame[-1]:.4f}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as partial:
        np.savez(partial, allow_pickle=False, frames=predicted, dim=predicted.ndim - 2, **errors)
    draw_rollout(predicted, real, output)
    say(f"{output}: {count} frames of {list(predicted.shape[1:])}.")
