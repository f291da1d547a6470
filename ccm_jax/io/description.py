"""Which model a checkpoint is of: its own metadata, a name, or a YAML file with ``model, history, args, mean, std``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ccm_jax._checks import as_numbers
from ccm_jax.io.boundary import reading
from ccm_jax.io.weights import Weights

FOREIGN = ("neuraloperator", "fno2d", "dpot-torch")
KEYS = ("model", "history", "args", "mean", "std")
HELP = (
    "What the weights are of: nothing for runs of this package; neuraloperator, fno2d or dpot-torch for PyTorch's; "
    "MODULE:NAME for a run with a network of your own; or a YAML file with model, history, args, mean, std."
)


def describe(weights: Weights, description: str | None) -> dict[str, Any]:
    """The keys ``model, history, args, mean, std``, from a description or from what the checkpoint says of itself.

    Raises:
        ValueError: if neither tells, or a key is unknown.
    """
    if description is None:
        with reading("describe", weights.path, "give --model"):
            return _of_run(weights)
    if description in FOREIGN:
        return {"model": description}
    path = Path(description)
    if ":" in description and not path.exists():
        return _facts(weights) | {"model": description}
    if not path.is_file():
        raise ValueError(f"--model {description}: no such file, and none of {', '.join(FOREIGN)}, or MODULE:NAME.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, dict) or "model" not in content:
        raise ValueError(f"{path}: there is no model; expected the keys {', '.join(KEYS)}.")
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        raise ValueError(f"{path}: {unknown[0]} is unknown; there are: {', '.join(KEYS)}.")
    if not isinstance(content.get("args") or {}, dict) or not isinstance(content.get("history", 1), int):
        raise ValueError(f"{path}: expected args as names with values, and history as a whole number.")
    for key in set(content) & {"mean", "std"}:
        content[key] = as_numbers(content[key], f"{path}: {key}")
        if key == "std" and min(content[key]) <= 0:
            raise ValueError(f"{path}: std is {list(content[key])}, expected positive numbers.")
    return content


def model_name(weights: Weights, description: str | None) -> str | None:
    """The model that a description names, or else the checkpoint itself; None if neither does."""
    if description is not None:
        return str(describe(weights, description)["model"])
    try:
        config = _metadata(weights, "config")
    except ValueError:  # a text of its own
        return None
    model = config.get("model") if isinstance(config, dict) else None
    return _trusted(weights, model.get("name")) if isinstance(model, dict) else None


def _trusted(weights: Weights, name: Any) -> Any:
    """The name of a model, unless it names a module: code runs on the user's word, not on a file's."""
    if ":" in str(name):
        raise ValueError(f"{weights.path} says that it is of {name}; if you trust that, give it as --model.")
    return name


def _metadata(weights: Weights, key: str) -> Any:
    value = weights.metadata.get(key)
    return json.loads(value) if isinstance(value, str) else value


def _of_run(weights: Weights) -> dict[str, Any]:
    said = _facts(weights)
    _trusted(weights, said["model"])
    return said


def _facts(weights: Weights) -> dict[str, Any]:
    """What the checkpoint of a run says of its model."""
    config, scale = _metadata(weights, "config"), _metadata(weights, "normalization")
    if not config or not scale:
        raise ValueError(f"{weights.path} does not say which model it is of; give --model. {HELP}")
    channels = len(scale["mean"])
    args = {"out_channels": channels} | config["model"]["args"]
    return {"model": config["model"]["name"], "history": config["model"]["history"], "args": args, **scale}
