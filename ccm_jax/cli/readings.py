"""Which readings of a file's axes a network takes: one or two of them are possible, and the user need not guess."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import yaml

from ccm_jax._checks import counted
from ccm_jax.io.recordings import Recording, open_recording
from ccm_jax.io.weights import Weights
from ccm_jax.io.yamltext import read_yaml
from ccm_jax.surrogate import surrogate_of

# Letters of --axes as files of others have them, the likely ones first; y before x has the same shapes.
READINGS = (
    *("NTXYC", "NTXC", "NTCXY", "NTCX", "NTXY", "NTX", "TXYC", "TXC", "TCXY", "TCX", "TXY"),
    *("NTXYZC", "NTCXYZ", "NTXYZ", "TXYZC", "TCXYZ", "TXYZ"),
)

ASSUMED = re.compile(r"its axes \[[\d, ]+\] are taken for [^;]*?(?=, the last for)")
SHORT = 4  # points: an axis that is no longer is hardly one of space
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


def other_axes(weights: Weights, model: str | None, recording: Recording) -> str:
    """How the axes of a file are read where nobody says what they are, and a network takes them otherwise, too.

    Empty where the file or ``--axes`` tells the axes, or the network takes them in one way only.
    """
    read = next((found[0] for text in recording.assumed if (found := ASSUMED.match(text))), None)
    if read is None:
        return ""
    fit = [letters for letters in readings_that_fit(weights, model, recording) if _plausible(recording, letters)]
    return f"{read}, and the network also takes them as --axes {' or '.join(fit[:2])}" if fit else ""


def _plausible(recording: Recording, letters: str) -> bool:
    return min(open_recording(recording.path, axes=letters).shape[2:]) > SHORT


def dimension_of(weights: Weights, model: str | None, recording: Recording) -> int | None:
    """The number of space axes that a network takes, with the channels of a file; None if several or none fit."""
    size = max(LARGE, *recording.shape[2:])
    fit = []
    for dim in (1, 2, 3):
        with contextlib.suppress(ValueError, RuntimeError):  # a trial costs one traced step
            surrogate_of(weights, model, (*[size] * dim, len(recording.fields)))
            fit.append(dim)
    return fit[0] if len(fit) == 1 else None


def _superfluous(weights: Weights, model: str | None, recording: Recording) -> str:
    """The line of a description on channels without which a network takes the frames of a file; empty if none is."""
    if model is None or not Path(model).is_file() or "channels" not in (said := read_yaml(Path(model))):
        return ""
    word = f"channels: {said.pop('channels')}"
    if "static" in said:
        said["static"] = str((Path(model).parent / str(said["static"])).absolute())
    with tempfile.TemporaryDirectory() as folder:
        without = Path(folder) / "network.yaml"
        without.write_text(yaml.safe_dump(said), encoding="utf-8")
        try:
            surrogate_of(weights, str(without), (*recording.shape[2:], len(recording.fields)))
        except (ValueError, RuntimeError):
            return ""
    return word


def remedy_of(weights: Weights, model: str | None, recording: Recording) -> str:
    """What to do about frames that do not fit a network: the reading of their axes that does, if there is one."""
    fit = readings_that_fit(weights, model, recording)
    if word := _superfluous(weights, model, recording):
        axes = f"; or, if the file's axes are in another order, add --axes {' or '.join(fit)}" if fit else ""
        return f"{model} says '{word}', and without this line the network takes these frames: remove it{axes}"
    if not fit:
        dim, told = dimension_of(weights, model, recording), told_dimension(recording)
        if None in (dim, told) or dim == told:
            return ""
        return f"{recording.path} says that its frames are {told}-D, and this network is {dim}-D: give {dim}-D frames"
    fits = f"only {fit[0]} fits" if len(fit) == 1 else f"{' and '.join(fit)} fit"
    name = model or "the network"
    return f"{recording.path} is {read_as(recording)}, and {fits} {name}: add --axes {' or '.join(fit)}"
