"""The last frame repeated, and zeros: yardsticks that every network beats, unless its input is wrong."""

from __future__ import annotations

import click

from ccm_jax._trivial import trivial, worse_than_trivial
from ccm_jax.cli.predicts import Reading


def persistence_option(function: click.decorators.FC) -> click.decorators.FC:
    """The option that goes on where repeating the last frame is best."""
    return click.option(
        "--accept-persistence",
        is_flag=True,
        help="Continue even if no network beats repeating the last frame; for states that hardly change.",
    )(function)


def check_persistence(
    verb: str,
    persistence: float,
    best: float,
    *,
    accept: bool,
    axes: str = "",
    unit: str = "",
    reading: Reading = Reading(),  # noqa: B008
) -> None:
    """Raises ValueError unless the best network has a smaller error than the last frame repeated, and than zeros.

    Args:
        verb: for the message.
        persistence: error of the last frame repeated.
        best: smallest error of a network, infinite if all diverge.
        accept: whether that is known, and wanted.
        axes: how the file's axes are read, where the network takes them otherwise, too.
        reading: what is known of how the network's output is read; if another reading is better, it is to blame.
        unit: that the frames seem to have another unit than validation, where they do: then nothing else is to blame.
    """
    if accept or not worse_than_trivial(best, persistence):
        return
    what, error = trivial(persistence)
    if unit:
        raise ValueError(f"{unit}. (Here {what} has error {error:.4g}, and every network at least {best:.4g}.)")
    said = f"{verb}: {what} has error {error:.4g}, and every network at least {best:.4g}: "
    if reading.better:
        raise ValueError(f"{said}{reading.better}.")
    raise ValueError(
        said
        + (f"{axes}; " if axes else "")
        + f"check units, the order of channels, and {what_to_check(reading)} of --model. If states hardly change, add "
        "--accept-persistence."
    )


def what_to_check(reading: Reading) -> str:
    """What a description of a network says of its output."""
    return "the mean, std and predicts (frame or increment)" if reading.own else "the mean and std"
