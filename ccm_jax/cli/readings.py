"""Which readings of a file's axes a network takes: one or two of them are possible, and the user need not guess."""

from __future__ import annotations

import contextlib

from ccm_jax._checks import counted
from ccm_jax.io.recordings import Recording, open_recording
from ccm_jax.io.weights import Weights
from ccm_jax.surrogate import surrogate_of

# Letters of --axes as files of others have them, the likely ones first; y before x has the same shapes.
READINGS = (
    *("NTXYC", "NTXC", "NTCXY", "NTCX", "NTXY", "NTX", "TXYC", "TXC", "TCXY", "TCX", "TXY"),
    *("NTXYZC", "NTCXYZ", "NTXYZ", "TXYZC", "TCXYZ", "TXYZ"),
)

LARGE = 16  # points along an axis that a network's Fourier modes fit on


def read_as(recording: Recording) -> str:
    """How a file is read, in words: samples, frames, grid and channels."""
    samples, frames, *space = recording.shape
    grid = "×".join(map(str, space))
    parts = counted(samples, "sample"), counted(frames, "frame"), f"grid {grid}"
    return f"read as {', '.join(parts)}, {counted(len(recording.fields), 'channel')}"


def told_dimension(recording: Recording) -> int | None:
    """The number of space axes that a file itself tells, without ``--axes``; None where its reader has to guess."""
    try:
        alone = open_recording(recording.path)
    except (ValueError, OSError):
        return None
    return None if any("axes" in text for text in alone.assumed) else len(alone.shape) - 2


def readings_that_fit(weights: Weights, model: str | None, recording: Recording) -> list[str]:
    """The ``--axes`` under which a network takes the frames of a file, of the dimension that the file tells."""
    shown, told = (recording.shape, len(recording.fields)), told_dimension(recording)
    found = []
    for letters in READINGS:
        try:
            other = open_recording(recording.path, axes=letters)
            if (other.shape, len(other.fields)) == shown or told not in (None, len(other.shape) - 2):
                continue
            surrogate = surrogate_of(weights, model, (*other.shape[2:], len(other.fields)))
        except (ValueError, OSError, RuntimeError):  # of a network of others, too
            continue
        if other.shape[1] > surrogate.history:
            found.append(letters)
    return found


def dimension_of(weights: Weights, model: str | None, recording: Recording) -> int | None:
    """The number of space axes that a network takes, with the channels of a file; None if several or none fit."""
    size = max(LARGE, *recording.shape[2:])
    fit = []
    for dim in (1, 2, 3):
        with contextlib.suppress(ValueError, RuntimeError):  # a trial costs one traced step
            surrogate_of(weights, model, (*[size] * dim, len(recording.fields)))
            fit.append(dim)
    return fit[0] if len(fit) == 1 else None


def remedy_of(weights: Weights, model: str | None, recording: Recording) -> str:
    """What to do about frames that do not fit a network: the reading of their axes that does, if there is one."""
    fit = readings_that_fit(weights, model, recording)
    if not fit:
        dim, told = dimension_of(weights, model, recording), told_dimension(recording)
        if None in (dim, told) or dim == told:
            return ""
        return f"{recording.path} says that its frames are {told}-D, and this network is {dim}-D: give {dim}-D frames"
    fits = f"only {fit[0]} fits" if len(fit) == 1 else f"{' and '.join(fit)} fit"
    name = model or "the network"
    return f"{recording.path} is {read_as(recording)}, and {fits} {name}: add --axes {' or '.join(fit)}"
