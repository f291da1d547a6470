"""The network of a checkpoint for a file of trajectories, with what was taken for granted of either."""

from __future__ import annotations

from ccm_jax.cli.checkpoints import note
from ccm_jax.cli.frames import shorten
from ccm_jax.interop.unsaid import unsaid
from ccm_jax.io.description import describe
from ccm_jax.io.recordings import Recording
from ccm_jax.io.weights import Weights
from ccm_jax.surrogate import Surrogate, surrogate_of


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
        of_frames = any(word in str(error) for word in ("does not fit", "channels"))
        if not of_frames or not (recording.assumed or recording.left_out):
            raise
        said = [*recording.assumed, f"fields are {shorten(recording.fields)}"]
        said += [f"left out is {text}" for text in recording.left_out]
        raise ValueError(f"{str(error).rstrip('.')}. Of {recording.path}: {'; '.join(said)}.") from error
    line = unsaid(str(told["model"]), weights.metadata, told.get("args") or {}, weights.path)
    if line is not None:
        note(line)
    return found
