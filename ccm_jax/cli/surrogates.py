"""The network of a checkpoint for a file of trajectories, with what was taken for granted of either."""

from __future__ import annotations

import contextlib
from typing import Any

from ccm_jax._checks import counted
from ccm_jax.cli.checkpoints import note
from ccm_jax.cli.frames import shorten
from ccm_jax.cli.readings import read_as, remedy_of
from ccm_jax.interop.own import are_numbered, find_own, named_leaves
from ccm_jax.interop.unsaid import unsaid
from ccm_jax.io.description import describe
from ccm_jax.io.recordings import Recording
from ccm_jax.io.weights import Weights
from ccm_jax.models import is_registered
from ccm_jax.surrogate import Surrogate, surrogate_of

MOST = 8  # channels that are tried


def _how_called(model: str, args: dict[str, Any], error: ValueError) -> str | None:
    """How a function of the user's is called, if it is that which failed; None for networks that are no function."""
    if not isinstance(error.__cause__, (TypeError, AttributeError, LookupError)) or ":" not in model:
        return None
    if is_registered(model) or find_own(model, args).kind != "function":
        return None
    more = "".join(f", {name}=…" for name in args)
    return f"the function of --model is called as apply(params, window{more})"


def channels_of(weights: Weights, model: str | None, recording: Recording) -> int | None:
    """How many channels a network takes on the grid of a file, if that is all that does not fit; None if unknown."""
    fit = []
    for channels in range(1, MOST + 1):
        with contextlib.suppress(ValueError, RuntimeError):  # a trial costs one traced step
            surrogate_of(weights, model, (*recording.shape[2:], channels))
            fit.append(channels)
    return fit[0] if len(fit) == 1 else None


def surrogate_for(weights: Weights, model: str | None, recording: Recording) -> Surrogate:
    """The model of a checkpoint for the frames of a file; a note says which of its options are assumed.

    Raises:
        ValueError: if it cannot take them, with what was assumed of the file and what was left out; or if a checkpoint
            tells options that the network has not here.
    """
    told = describe(weights, model)  # what is wrong with it has nothing to do with the frames
    try:
        found = surrogate_of(weights, model, (*recording.shape[2:], len(recording.fields)))
    except ValueError as error:
        if how := _how_called(str(told["model"]), told.get("args") or {}, error):
            raise ValueError(f"{str(error).rstrip('.')}; {how}.") from error
        of_frames = any(word in str(error) for word in ("does not fit", "channels"))
        if not of_frames:
            raise
        if "ScopeParamNotFound" in str(error):  # of Flax: then no frames fit
            names = shorten(tuple(weights.arrays))
            raise ValueError(f"{str(error).rstrip('.')}; {weights.path} has {names}.") from error
        if better := remedy_of(weights, model, recording):
            raise ValueError(f"{str(error).rstrip('.')}; {better}.") from error
        channels, takes = len(recording.fields), channels_of(weights, model, recording)
        if takes is not None:
            raise ValueError(
                f"{recording.path} has {counted(channels, 'channel')} ({shorten(recording.fields)}), and the network "
                f"of {weights.path} takes {takes}; choose them by --fields, or use a file like the training data."
            ) from error
        said = [*(recording.assumed or [read_as(recording)]), f"fields are {shorten(recording.fields)}"]
        said += [f"left out is {text}" for text in recording.left_out]
        raise ValueError(f"{str(error).rstrip('.')}. Of {recording.path}: {'; '.join(said)}.") from error
    line = unsaid(str(told["model"]), weights.metadata, told.get("args") or {}, weights.path)
    if line is not None:
        note(line)
    return found


def with_names(weights: Weights, model: str) -> Weights:
    """A checkpoint whose arrays are numbered, as Equinox stores them, under the paths of its network's leaves.

    Raises:
        ValueError: if the network cannot be built, or has another number of leaves.
    """
    told = describe(weights, model)
    if not are_numbered(weights.arrays) or ":" not in (name := str(told["model"])) or is_registered(name):
        return weights
    own = find_own(name, told.get("args") or {})
    if own.kind != "equinox":
        return weights
    return weights._replace(arrays=named_leaves(own.network, weights.arrays, str(weights.path)))
