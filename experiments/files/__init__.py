"""Trajectories in the files of others: opened lazily, with one small description whatever the layout."""

from __future__ import annotations

from experiments.files.opening import open_recording, open_recordings
from experiments.files.recording import Recording, common_parameter
from experiments.files.write import write_recording

__all__ = ["Recording", "common_parameter", "open_recording", "open_recordings", "write_recording"]
