"""Which model a checkpoint is of: its own metadata, a name, or a YAML file that describes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ccm_jax._checks import as_number, as_numbers
from ccm_jax.io.boundary import reading
from ccm_jax.io.weights import Weights

FOREIGN = ("neuraloperator", "fno2d", "dpot-torch")
# What a network of one's own takes and gives, and the words for it; see ccm_jax.interop.layout.
WORDS = {"channels": ("first", "last"), "window": ("merged", "axis"), "predicts": ("frame", "increment", "rate")}
PREDICTS = ("predicts", "time_step")  # of any network, also of one that is known here
LAYOUT = (*WORDS, "batched", "time_step", "static")
KEYS = ("model", "history", "args", "mean", "std", *LAYOUT)
HELP = (
    "What the weights are of: nothing for runs of this package; neuraloperator, fno2d or dpot-torch for networks that "
    "are known here; MODULE:NAME for one of your own, in PyTorch or JAX; or a YAML file with model, history, args, "
    "mean, std and more."
)


def describe(weights: Weights, description: str | None) -> dict[str, Any]:
    """The keys of ``KEYS`` that are told, by a description or by what the checkpoint says of itself.

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
        return (_facts(weights) if stored(weights, "config") else {}) | {"model": description}
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
    _check_layout(content, path)
    return content


def _check_layout(content: dict[str, Any], path: Path) -> None:
    """Raises ValueError for words that there are not; reads the file of static fields, whose path is relative."""
    for key in set(content) & set(WORDS):
        if content[key] not in WORDS[key]:
            raise ValueError(f"{path}: {key} is {content[key]!r}, expected {' or '.join(WORDS[key])}.")
    if not isinstance(content.get("batched", True), bool):
        raise ValueError(f"{path}: batched is {content['batched']!r}, expected true or false.")
    if "time_step" in content:
        content["time_step"] = as_number(content["time_step"], f"{path}: time_step")
        if content.get("predicts") != "rate":
            raise ValueError(f"{path}: time_step is that of a rate; say predicts: rate, or leave it out.")
    if "static" in content:
        there = path.parent / str(content["static"])
        try:
            content["static"] = np.load(there, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: static is {there}, expected a .npy file [*space, S]: {error}") from error


def model_name(weights: Weights, description: str | None) -> str | None:
    """The model that a description names, or else the checkpoint itself; None if neither does."""
    if description is not None:
        return str(describe(weights, description)["model"])
    try:
        config = stored(weights, "config")
    except ValueError:  # a text of its own
        return None
    model = config.get("model") if isinstance(config, dict) else None
    return _trusted(weights, model.get("name")) if isinstance(model, dict) else None


def _trusted(weights: Weights, name: Any) -> Any:
    """The name of a model, unless it names a module: code runs on the user's word, not on a file's."""
    if ":" in str(name):
        raise ValueError(f"{weights.path} says that it is of {name}; if you trust that, give it as --model.")
    return name


def stored(weights: Weights, key: str) -> Any:
    """What a checkpoint says of itself under a key; files of plain text hold it as JSON."""
    value = weights.metadata.get(key)
    return json.loads(value) if isinstance(value, str) else value


def _of_run(weights: Weights) -> dict[str, Any]:
    said = _facts(weights)
    _trusted(weights, said["model"])
    return said


def _facts(weights: Weights) -> dict[str, Any]:
    """What the checkpoint of a run says of its model."""
    config, scale = stored(weights, "config"), stored(weights, "normalization")
    if not config or not scale:
        raise ValueError(f"{weights.path} does not say which model it is of; give --model. {HELP}")
    channels = len(scale["mean"])
    args = {"out_channels": channels} | config["model"]["args"]
    return {"model": config["model"]["name"], "history": config["model"]["history"], "args": args, **scale}
