"""Flags that several commands share; a command adopts them beside those of :mod:`experiments.command`."""

from __future__ import annotations

from pathlib import Path

from absl import flags

SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds to run.")
OUTPUT = flags.DEFINE_string("output", None, "File to write. Default: next to the run, named after the command.")


def output_path(root: Path, name: str) -> Path:
    """Where a command writes: to ``--output``, or else to ``name`` beside the folder ``root`` of stages."""
    return Path(OUTPUT.value) if OUTPUT.value else root.parent / name
