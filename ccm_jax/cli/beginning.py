"""Where a rollout begins in a file of frames, as it is typed and as the commands to run next say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ccm_jax._checks import counted

AHEAD = 20  # frames that a suggested forecast predicts where the file has no more


class Start(click.ParamType):
    """``first``, ``last``, or how many frames of the file are observed."""

    name = "start"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """What stands for it in the help."""
        return "[first|last|N]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """The word, or the number of frames."""
        if value in ("first", "last"):
            return str(value)
        try:
            count = int(value)
        except ValueError:
            count = 0
        if count < 1:
            self.fail(f"{value!r} is not first, last or a number of frames, at least 1", param, ctx)
        return count


def place_in(path: Path, frames: int, history: int, given: dict[str, Any]) -> tuple[int, int]:
    """How many frames come before the forecast, and how many are predicted.

    Args:
        path: the file, for errors.
        frames: in the file.
        history: frames in the model's window.
        given: ``start``, ``steps`` and ``truth`` as they were typed.

    Raises:
        ValueError: for a start before the window ends or after the file does, or a file that is too short.
    """
    start, steps, truth = given["start"], given["steps"], given["truth"]
    if start == "last":
        if truth or steps is None:
            raise ValueError("rollout: --start last begins after the last frame; pass --steps, and omit --truth.")
        observed = frames
    else:
        observed = history if start == "first" else start
    if observed < history:
        given_as = f"{path} has {counted(frames, 'frame')}" if start == "last" else f"--start is {start}"
        raise ValueError(f"{given_as}, expected at least {history}, the frames in the model's window.")
    if start not in ("first", "last") and observed > frames:
        raise ValueError(
            f"--start is {start}, and {path} has {counted(frames, 'frame')}; expected {history} to {frames}."
        )
    after = frames - observed
    count = after if steps is None else steps
    if after < 0 or count < 1 or (truth and after < count):
        if truth and 0 < after < count:
            raise ValueError(
                f"--steps is {steps}, and {path} has {counted(after, 'frame')} after the {observed} that the forecast "
                f"starts from: with --truth, predict at most {after}."
            )
        needed = observed + (1 if steps is None else count if truth else 0)
        raise ValueError(
            f"{path} has {counted(frames, 'frame')}, expected at least {needed}; say how many to predict with --steps"
            f"{', without --truth' * truth}."
        )
    return observed, count


def words_for(observed: int, frames: int) -> tuple[str, ...]:
    """The options of a forecast after the observed frames: compared with the rest of the file, if there is any."""
    if frames > observed:
        return ("--start", str(observed), "--truth")
    return ("--start", "last", "--steps", str(AHEAD))
