"""Trajectories in the files of others: opened lazily, with one small description whatever the layout."""

from __future__ import annotations

from ccm_jax.io.recordings.grouped import by_value
from ccm_jax.io.recordings.opening import files_of, open_recording, open_recordings
from ccm_jax.io.recordings.recording import Recording, common_parameter
from ccm_jax.io.recordings.registry import register_layout, suffixes
from ccm_jax.io.recordings.write import write_recording

__all__ = [
    "Recording",
    "by_value",
    "common_parameter",
    "files_of",
    "open_recording",
    "open_recordings",
    "register_layout",
    "suffixes",
    "write_recording",
]
