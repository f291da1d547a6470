"""Which readings of a file's axes a network takes: one or two of them are possible, and the user need not guess."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import Any

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


VARIANTS: tuple[dict[str, Any], ...] = (
    *({"batched": batched} for batched in (True, False)),
    *({"channels": channels} for channels in ("first", "last")),
    *({"batched": b, "channels": c} for b in (True, False) for c in ("first", "last")),
)


def _other_layout(weights: Weights, model: str | None, recording: Recording) -> str:
    """What a description would say for a user's network to take the frames of a file as they are; empty if unknown."""
    if model is None:
        return ""
    written = Path(model).is_file()
    said = read_yaml(Path(model)) if written else {"model": model}
    if ":" not in str(said.get("model")):
        return ""
    if "static" in said:
        said["static"] = str((Path(model).parent / str(said["static"])).absolute())
    if "channels" in said and _takes(weights, {k: v for k, v in said.items() if k != "channels"}, recording):
        word = f"channels: {said['channels']}"
        return f"{model} says '{word}', and without this line the network takes these frames: remove it"
    for more in VARIANTS:
        if _takes(weights, said | more, recording):
            lines = ", ".join(f"{name}: {str(value).lower()}" for name, value in more.items())
            where = (
                f"write {lines} into {model}" if written else f"pass a YAML file as --model: model: {model}, {lines}"
            )
            return f"the network takes these frames with {lines}: {where}"
    return ""


def _takes(weights: Weights, said: dict[str, Any], recording: Recording) -> bool:
    """Whether a network, as a description has it, takes the frames of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.yaml"
        path.write_text(yaml.safe_dump(said), encoding="utf-8")
        try:
            surrogate_of(weights, str(path), (*recording.shape[2:], len(recording.fields)))
        except (ValueError, RuntimeError):  # of a network of others, too
            return False
    return True


def remedy_of(weights: Weights, model: str | None, recording: Recording) -> str:
    """What to do about frames that do not fit a network: a layout of the network that does, or a reading of axes."""
    guessed = told_dimension(recording) is None  # then axes are looked at first, else the network
    if not guessed and (other := _other_layout(weights, model, recording)):
        return other
    fit = readings_that_fit(weights, model, recording)
    fit = [letters for letters in fit if not guessed or _plausible(recording, letters)]
    if not fit:
        dim, told = dimension_of(weights, model, recording), told_dimension(recording)
        samples, *frame = recording.shape
        if guessed and samples == 1 and dim == len(frame):
            whole, lower = [*frame, len(recording.fields)], f" or {dim - 1}-D frames" * (dim > 1)
            return (
                f"{recording.path} holds {whole}: one frame without a time axis{lower}; this network is {dim}-D: pass "
                f"several frames [T, {', '.join('XYZ'[:dim])}, C]"
            )
        if guessed and (other := _other_layout(weights, model, recording)):
            return other
        if None in (dim, told) or dim == told:
            return ""
        return f"{recording.path} says that its frames are {told}-D, and this network is {dim}-D: pass {dim}-D frames"
    fits = f"only {fit[0]} fits" if len(fit) == 1 else f"{' and '.join(fit)} fit"
    name = model or "the network"
    return f"{recording.path} is {read_as(recording)}, and {fits} {name}: add --axes {' or '.join(fit)}"
