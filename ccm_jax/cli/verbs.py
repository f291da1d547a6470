"""The verbs of ``ccm``, and what each does."""

from __future__ import annotations

# Verb -> what it does; its module is imported when it is asked for, so that --help answers at once.
VERBS = {
    "example": "copy a small family of checkpoints and trajectories to try",
    "inspect": "show a checkpoint, or compare experts with their anchor",
    "merge": "write the weights at a coordinate or a physical value",
    "calibrate": "find the coordinate from observed frames, and merge there",
    "evaluate": "compare anchor, experts and merged weights on held-out trajectories",
    "rollout": "run a network from an initial state",
    "data": "describe files of trajectories",
}
