"""The last frame repeated, and zeros: yardsticks that every network beats, unless its input is wrong."""

from __future__ import annotations

import click

from ccm_jax._given import trivial, worse_than_trivial


def persistence_option(function: click.decorators.FC) -> click.decorators.FC:
    """The option that goes on where repeating the last frame is best."""
    return click.option(
        "--accept-persistence",
        is_flag=True,
        help="Continue even if repeating the last frame has the smallest error; for states that hardly change.",
    )(function)


def check_persistence(
    verb: str, persistence: float, best: float, *, accept: bool, axes: str = "", unit: str = ""
) -> None:
    """Raises ValueError unless the best network has a smaller error than the last frame repeated, and than zeros.

    Args:
        verb: for the message.
        persistence: error of the last frame repeated.
        best: smallest error of a network, infinite if all diverge.
        accept: whether that is known, and wanted.
        axes: what is assumed of the file's axes, after a semicolon.
        unit: that the frames seem to have another unit than validation, where they do: then nothing else is to blame.
    """
    if accept or not worse_than_trivial(best, persistence):
        return
    what, error = trivial(persistence)
    if unit:
        raise ValueError(f"{unit}. (Here {what} has error {error:.4g}, and every network at least {best:.4g}.)")
    raise ValueError(
        f"{verb}: {what} has error {error:.4g}, and every network at least {best:.4g}; check that channels come in the "
        "order of the training data and in its units, and that --model gives the network's mean and std. For states "
        f"that hardly change, add --accept-persistence{axes}."
    )
