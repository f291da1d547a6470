"""Which model a checkpoint is of: its own metadata, a name, or a YAML file that describes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax._checks import as_number, as_numbers
from ccm_jax._reasons import clean
from ccm_jax.io.boundary import reading
from ccm_jax.io.tensors import plain
from ccm_jax.io.weights import Weights
from ccm_jax.io.yamltext import read_yaml

FOREIGN = ("neuraloperator", "fno2d", "dpot-torch")
# What a network of one's own takes and gives, and the words for it; see ccm_jax.interop.layout.
WORDS = {"channels": ("first", "last"), "window": ("merged", "axis"), "predicts": ("frame", "increment", "rate")}
PREDICTS = ("predicts", "time_step")  # of any network, also of one that is known here
LAYOUT = (*WORDS, "batched", "time_step", "static")
DESCRIBED = "ccm_description"  # under which a merge keeps what it was told of its network
KEYS = ("model", "history", "args", "mean", "std", *LAYOUT)
NAMES = (
    "neuraloperator, fno2d or dpot-torch; MODULE:NAME for your own network in PyTorch or JAX; or a YAML file with "
    "model, history, args, mean, std and more"
)
HELP = f"The network. Not needed for runs of this package. Otherwise: {NAMES}."


def describe(weights: Weights, description: str | None) -> dict[str, Any]:
    """The keys of ``KEYS`` that are told, by a description or by what the checkpoint says of itself.

    What a merge was told (:func:`portable`) stands in its file, and counts wherever the same network is named again.

    Raises:
        ValueError: if neither tells, a key is unknown, or description and file contradict each other.
    """
    with reading("describe", weights.path, "pass --model"):
        told = stored(weights, DESCRIBED) or {}
        if description is None:
            return _with_static(_trust(weights, told) if told else _of_run(weights), weights)
    if description in FOREIGN:
        if stored(weights, "normalization") and isinstance(stored(weights, "config"), dict):
            raise ValueError(f"--model {description}: {weights.path} already describes its network; omit --model.")
        return _together({"model": description}, told, weights)
    path = Path(description)
    if ":" in description and not path.exists():
        if not all(part.strip() for part in description.rpartition(":")[::2]):
            raise ValueError(f"--model {description}: expected MODULE:NAME, two names of Python.")
        run = _facts(weights) if stored(weights, "config") else {}
        return _together({"model": description}, told, weights) if told else run | {"model": description}
    if not path.is_file():
        raise ValueError(
            f"--model {description}: no such file, and none of {', '.join(FOREIGN)}, or MODULE:NAME{_meant(path)}."
        )
    if path.suffix == ".py":
        raise ValueError(
            f"--model {description}: expected {path.stem}:NAME, with NAME of what in this module is the network or "
            "builds it, and its folder on PYTHONPATH."
        )
    return _together(_read(path), told, weights, path)


def _meant(path: Path) -> str:
    """The module that a name without a colon may stand for, as ``net`` or ``net.build`` do beside ``net.py``."""
    for module, name in ((path, "NAME"), (path.with_suffix(""), path.suffix[1:])):
        if name and module.with_name(f"{module.name}.py").is_file():
            return f", such as {module.name}:{name}"
    return ""


def portable(said: Mapping[str, Any]) -> dict[str, Any]:
    """A description as text can hold it, for the file of a merge; of static fields their SHA-256."""
    kept = {key: value for key, value in said.items() if key != "static"}
    if "static" in said:
        kept["static"] = _digest(said["static"])
    return plain(kept)


def _digest(fields: Any) -> str:
    return fields if isinstance(fields, str) else hashlib.sha256(np.ascontiguousarray(fields).tobytes()).hexdigest()


def _together(
    given: dict[str, Any], told: Mapping[str, Any], weights: Weights, path: Path | None = None
) -> dict[str, Any]:
    """What the user gives and what the file was told, if it is of the same network."""
    if told.get("model") != given["model"]:
        return given
    flat, known = ({**part, **{f"args {k}": v for k, v in (part.get("args") or {}).items()}} for part in (given, told))
    for key in sorted(set(flat) & set(known) - {"args"}):
        a, b = (_digest(v) if key == "static" else plain(v) for v in (flat[key], known[key]))
        if a != b:
            raise ValueError(
                f"{path}: {key} is {a}, and {weights.path} was made with {b}; a network has only one. Correct the "
                "description, or leave that out."
            )
    args = {**(told.get("args") or {}), **(given.get("args") or {})}
    return _with_static({**told, **given} | ({"args": args} if args else {}), weights)


def _with_static(said: dict[str, Any], weights: Weights) -> dict[str, Any]:
    """The same, unless it takes static fields that nobody gives."""
    if isinstance(said.get("static"), str):
        raise ValueError(
            f"{weights.path} was made with static fields, which it does not hold; pass the YAML description that names "
            "them as --model."
        )
    return said


def _read(path: Path) -> dict[str, Any]:
    """A description in YAML, checked."""
    content = read_yaml(path)
    if not isinstance(content, dict) or "model" not in content:
        raise ValueError(f"{path}: there is no model; expected the keys {', '.join(KEYS)}.")
    unknown = [key for key in content if key not in KEYS]
    if unknown:
        raise ValueError(f"{path}: {clean(unknown[0])} is unknown; there are: {', '.join(KEYS)}.")
    if not isinstance(content.get("args") or {}, dict):
        raise ValueError(f"{path}: args is {clean(content['args'])}, expected names with values.")
    history = content.get("history", 1)
    if type(history) is not int or history < 1:
        raise ValueError(f"{path}: history is {clean(history)}, expected the frames in a window, 1 or more.")
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
        if content["time_step"] <= 0:
            raise ValueError(f"{path}: time_step is {content['time_step']:g}, expected the time between two frames.")
        if content.get("predicts") != "rate":
            raise ValueError(f"{path}: time_step is that of a rate; say predicts: rate, or leave it out.")
    if "static" in content:
        there = path.parent / str(content["static"])
        try:
            content["static"] = np.load(there, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: static is {clean(there)}, expected a .npy file [*space, S]: {error}") from error


def model_name(weights: Weights, description: str | None) -> str | None:
    """The model that a description names, or else the checkpoint itself; None if neither does."""
    if description is not None:
        return str(describe(weights, description)["model"])
    try:
        told, config = stored(weights, DESCRIBED), stored(weights, "config")
    except ValueError:  # a text of its own
        return None
    if isinstance(told, dict) and "model" in told:
        return _trusted(weights, told["model"])
    model = config.get("model") if isinstance(config, dict) else None
    return _trusted(weights, model.get("name")) if isinstance(model, dict) else None


def _trusted(weights: Weights, name: Any) -> Any:
    """The name of a model, unless it names a module: code runs on the user's word, not on a file's."""
    if ":" in str(name):
        raise ValueError(f"{weights.path} says that its network is {name}; if you trust that, pass it as --model.")
    return name


def stored(weights: Weights, key: str) -> Any:
    """What a checkpoint says of itself under a key; files of plain text hold it as JSON."""
    value = weights.metadata.get(key)
    return json.loads(value) if isinstance(value, str) else value


def _of_run(weights: Weights) -> dict[str, Any]:
    return _trust(weights, _facts(weights))


def _trust(weights: Weights, said: Any) -> dict[str, Any]:
    """What a file says of its network, unless it names a module, or says what no description does."""
    if not isinstance(said, dict) or "model" not in said or not set(said) <= set(KEYS):
        raise ValueError(f"it does not say which model it is of, but {str(said)[:100]}")
    _trusted(weights, said["model"])
    return said


def _facts(weights: Weights) -> dict[str, Any]:
    """What the checkpoint of a run says of its model."""
    config, scale = stored(weights, "config"), stored(weights, "normalization")
    if not config or not scale:
        raise ValueError(f"{weights.path} does not record its network; pass --model: {NAMES}.")
    channels = len(scale["mean"])
    args = {"out_channels": channels} | config["model"]["args"]
    return {"model": config["model"]["name"], "history": config["model"]["history"], "args": args, **scale}
