"""The smallest run that passes through every stage."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

CHANGES: dict[str, Any] = {
    "data.support": 2,
    "data.endpoint": 2,
    "data.validation": 1,
    "data.test": 1,
    "data.grid": 8,
    "solver.grid": 16,
    "solver.frames": 6,
    "model.args.modes": (2, 2),
    "model.args.width": 4,
    "model.args.depth": 1,
    "train.steps": 6,
    "train.chunk": 2,
    "train.save_every": 2,
    "train.batch_size": 2,
    "finetune.steps": 4,
    "finetune.chunk": 2,
    "finetune.save_every": 2,
    "finetune.batch_size": 2,
    "regimes.test": (1e-3, 3.5e-3),
}
NAME = "rd_ood:smoke"


def tiny_config() -> ConfigDict:
    """The configuration."""
    from experiments.configs.rd_ood import get_config

    config = get_config("smoke")
    config.update_from_flattened_dict(CHANGES)
    return config


def arguments(**changes: Any) -> list[str]:
    """The same on the command line; dots of fields as two underscores."""
    overrides = CHANGES | {name.replace("__", "."): value for name, value in changes.items()}
    return [f"--config={NAME}", *(f"--config.{name}={value}" for name, value in overrides.items())]
