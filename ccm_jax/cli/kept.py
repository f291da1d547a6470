"""What to run where the anchor is kept: the network that fits the frames best, or a look at frames that none fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ccm_jax.cli.beginning import words_for
from ccm_jax.cli.console import say
from ccm_jax.cli.following import family, follow, rollout_next
from ccm_jax.cli.frames import Layout
from ccm_jax.cli.prefix import Found
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.wanted import Options, words_of


def best_network(recipe: Recipe, found: Found) -> Path:
    """Where no merge is the answer: the anchor, or the expert that fits the frames better, which is said."""
    losses = found.expert_losses
    if len(losses) != len(recipe.experts) or not min(losses, default=np.inf) < found.anchor_loss:
        return recipe.anchor
    best = int(np.argmin(losses))
    say(f"The {recipe.expert_names[best]} fits these frames better than the anchor.")
    return recipe.experts[best] if recipe.experts[best].suffix == recipe.anchor.suffix else recipe.anchor


def calibrate_again(recipe: Recipe, source: Path | None, options: Options, output: str) -> None:
    """The calibration that was asked for, to be run again with an output."""
    files = family(recipe) if source is None else ["--recipe", str(source)]
    follow("calibrate", *files, *words_of(options), "-o", output)


def look_next(frames: Path, layout: Layout) -> None:
    """After frames that no point of the chart explains: how their file is read, and so what ``--axes`` may correct."""
    follow("data", "describe", frames, *layout.words())


def kept_next(
    recipe: Recipe,
    found: Found,
    source: Path | None,
    options: Options,
    sample: int,
    frames: int,
) -> None:
    """Suggests a rollout of the network that fits the frames best, or a look at frames that the chart cannot explain.

    Args:
        recipe: of the chart.
        found: where the anchor is kept.
        source: file of the recipe; None if there is none.
        options: of this run.
        sample: the first that was observed.
        frames: that its file has.
    """
    if found.sure is not None and found.sure.stranger:
        return look_next(options.prefix, options.layout)
    if found.clue:  # of another time step: no network runs on these frames as they are
        return None
    start = words_for(found.history + found.frames, frames)
    network = best_network(recipe, found)
    return rollout_next(network, options.model, options.prefix, sample, options.layout, start=start)
