"""Which readings of a file's axes a network takes: one or two of them are possible, and the user need not guess."""

from __future__ import annotations

from ccm_jax._checks import counted
from ccm_jax.io.recordings import Recording, open_recording
from ccm_jax.io.weights import Weights
from ccm_jax.surrogate import surrogate_of

# Letters of --axes as files of others have them, the likely ones first; y before x has the same shapes.
READINGS = (
    *("NTXYC", "NTXC", "NTCXY", "NTCX", "NTXY", "NTX", "TXYC", "TXC", "TCXY", "TCX", "TXY"),
    *("NTXYZC", "NTCXYZ", "NTXYZ", "TXYZC", "TCXYZ", "TXYZ"),
)


def read_as(recording: Recording) -> str:
    """How a file is read, in words: samples, frames, grid and channels."""
    samples, frames, *space = recording.shape
    grid = "×".join(map(str, space))
    parts = counted(samples, "sample"), counted(frames, "frame"), f"grid {grid}"
    return f"read as {', '.join(parts)}, {counted(len(recording.fields), 'channel')}"


def readings_that_fit(weights: Weights, model: str | None, recording: Recording) -> list[str]:
    """The ``--axes`` under which a network takes the frames of a file; none where the file names its axes itself."""
    shown = (recording.shape, len(recording.fields))
    found = []
    for letters in READINGS:
        try:
            other = open_recording(recording.path, axes=letters)
            if (other.shape, len(other.fields)) == shown:
                continue
            surrogate = surrogate_of(weights, model, (*other.shape[2:], len(other.fields)))
        except (ValueError, OSError, RuntimeError):  # of a network of others, too
            continue
        if other.shape[1] > surrogate.history:
            found.append(letters)
    return found


def remedy_of(weights: Weights, model: str | None, recording: Recording) -> str:
    """What to do about frames that do not fit a network: the reading of their axes that does, if there is one."""
    fit = readings_that_fit(weights, model, recording)
    if not fit:
        return ""
    fits = f"only {fit[0]} fits" if len(fit) == 1 else f"{' and '.join(fit)} fit"
    name = model or "the network"
    return f"{recording.path} is {read_as(recording)}, and {fits} {name}: add --axes {' or '.join(fit)}"
