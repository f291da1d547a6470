"""The command to run next, with the files of the one that just ended filled in."""

from __future__ import annotations

import shlex
from pathlib import Path

from ccm_jax.cli.console import say
from ccm_jax.cli.recipe import Recipe

YOURS = "TRAJECTORIES"  # stands for a file that only the user knows


def follow(*words: str | Path | None) -> None:
    """Prints ``Next: ccm ...``; words that are None are left out."""
    say(f"Next: ccm {shlex.join(str(word) for word in words if word is not None)}")


def family(recipe: Recipe) -> list[str]:
    """The options that name an anchor and its experts; of more than two experts, the anchor alone."""
    ends = list(zip(("--low", "--high"), recipe.experts, strict=True)) if len(recipe.experts) == 2 else []
    return [str(word) for pair in [("--anchor", recipe.anchor), *ends] for word in pair]


def model_of(model: str | None) -> list[str]:
    """``--model``, where it was given."""
    return [] if model is None else ["--model", model]


def evaluate_next(recipe: Recipe, merged: Path, model: str | None) -> None:
    """After a merge: compare it with what it was made of."""
    follow("evaluate", *family(recipe), "--merged", merged, *model_of(model), "--trajectories", YOURS)
