"""The command to run next, with the files of the one that just ended filled in."""

from __future__ import annotations

import shlex
from pathlib import Path

from ccm_jax.cli.console import say
from ccm_jax.cli.recipe import Recipe
from ccm_jax.cli.source import in_folder
from ccm_jax.io.description import model_name
from ccm_jax.io.weights import open_weights

YOURS = "TRAJECTORIES"  # stands for a file that only the user knows


def follow(*words: str | Path | None) -> None:
    """Prints ``Next: ccm ...``; words that are None are left out."""
    say(f"Next: ccm {shlex.join(str(word) for word in words if word is not None)}")


def family(recipe: Recipe) -> list[str]:
    """The options that name an anchor and its experts; of more than two experts, the anchor alone."""
    return named(recipe.anchor, *recipe.experts) if len(recipe.experts) == 2 else ["--anchor", str(recipe.anchor)]


def named(*files: Path) -> list[str]:
    """The options that name an anchor, a low and a high expert: by their folder, if it holds them under these names."""
    folder = files[0].parent
    try:
        if in_folder(folder) == list(files):
            return ["--family", str(folder)]
    except (ValueError, OSError):
        pass
    return [str(word) for pair in zip(("--anchor", "--low", "--high"), files, strict=True) for word in pair]


def family_beside(trajectories: Path) -> list[str]:
    """The options that name the family in the folder of a file of trajectories; places for them where there is none."""
    folder = trajectories.parent
    try:
        anchor = in_folder(folder)[0]
    except (ValueError, OSError):
        return ["--anchor", "ANCHOR", "--low", "LOW", "--high", "HIGH", "--model", "MODEL"]
    return ["--family", str(folder), *model_of(None, anchor)]


def model_of(model: str | None, checkpoint: Path) -> list[str]:
    """``--model`` as it was given; a place for it where a checkpoint does not say which network it is of."""
    try:
        known = model is not None or model_name(open_weights(checkpoint), None) is not None
    except (ValueError, OSError):  # whatever is wrong with it, its own command says
        known = True
    return ["--model", model or "MODEL"] if model is not None or not known else []


def evaluate_next(recipe: Recipe, merged: Path, model: str | None) -> None:
    """After a merge: compare it with what it was made of."""
    follow("evaluate", *family(recipe), "--merged", merged, *model_of(model, recipe.anchor), "--trajectories", YOURS)


def rollout_next(checkpoint: Path, model: str | None) -> None:
    """After a choice: run the network that was chosen."""
    follow("rollout", checkpoint, *model_of(model, checkpoint), "--initial", "FRAMES", "-o", "rollout.npz")
