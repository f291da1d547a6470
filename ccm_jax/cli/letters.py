"""Which ``--axes`` a file needs whose axes were guessed, where a second file tells the number of space axes."""

from __future__ import annotations

import re

STORED = re.compile(r"its axes \[([\d, ]+)\]")


def more_axes(path: object, assumed: str, dim: int, space: int) -> str:
    """What to do about a file that was read with another number of space axes than the one that says its own.

    Args:
        path: of the file.
        assumed: what was assumed of its axes, as ``"; its axes [16, 12, 1] are taken for ..."``.
        dim: space axes of the other file.
        space: space axes as this file was read.

    Example:
        >>> more_axes("seen.npy", "; its axes [16, 12, 1] are taken for time, x, channel", 2, 1)
        'seen.npy seems to hold a single frame [X, Y, C] = [16, 12, 1] without a time axis; pass frames [T, X, Y, C]'
    """
    letters = f"{'NT' if dim < space else 'T'}{'XYZ'[:dim]}C"
    found = STORED.search(assumed)
    stored = [int(n) for n in found[1].split(",")] if found else []
    if len(stored) == len(letters) - 1 and dim > space:
        frame = ", ".join("XYZ"[:dim])
        told = f"{path} seems to hold a single frame [{frame}, C] = {stored} without a time axis"
        no_channels = f"; if its axes are [T, {frame}], add --axes {letters[:-1]}" if stored[-1] > 1 else ""
        return f"{told}; pass frames [T, {frame}, C]{no_channels}"
    return f"if both are {dim}-D, add --axes {letters}{assumed}"
