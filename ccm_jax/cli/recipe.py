"""A merge written down: experts and their coordinates, features, and what single layers do otherwise."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from ccm_jax._checks import as_numbers
from ccm_jax.chart import FEATURES, Features, Polynomial, expert_weights

KEYS = ("anchor", "experts", "coordinate", "features", "ridge", "filters", "method", "arguments")


class Filter(NamedTuple):
    """Tensors whose name fits a pattern merge at another coordinate, or keep the anchor's weights."""

    pattern: str
    coordinate: tuple[float, ...] | None


class Recipe(NamedTuple):
    """A merge: a chart through experts, or another method by name."""

    anchor: Path
    experts: tuple[Path, ...]
    coordinates: tuple[tuple[float, ...], ...]
    coordinate: tuple[float, ...]
    features: Features = Polynomial()
    ridge: float = 0.0
    filters: tuple[Filter, ...] = ()
    method: str = "chart"
    arguments: tuple[tuple[str, float], ...] = ()


def read_recipe(path: Path, coordinate: Sequence[float] = ()) -> Recipe:
    """Reads a recipe; paths in it are relative to its folder.

    \b
    anchor: anchor.safetensors
    experts:
      - {path: low.safetensors, coordinate: -1}
      - {path: high.safetensors, coordinate: 1}
    coordinate: 1.4                     # or --coordinate
    features: {name: Polynomial, degree: 1}
    filters:                            # the first that fits counts
      - {name: "projection.*", keep: anchor}
      - {name: "*norm*", coordinate: 0}

    Raises:
        ValueError: for what is missing, unknown or of a wrong type, by name.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected the keys {', '.join(KEYS)}.")
    _known(path, "", content, KEYS)
    if "anchor" not in content or not isinstance(content.get("experts"), list) or not content["experts"]:
        raise ValueError(f"{path}: anchor and a list of experts are needed.")
    experts = content["experts"]
    for i, expert in enumerate(experts):
        if not isinstance(expert, dict) or set(expert) != {"path", "coordinate"}:
            raise ValueError(f"{path}: experts[{i}] is {expert!r}, expected {{path: FILE, coordinate: NUMBER}}.")
    for key, kind, name in (("filters", list, "a list"), ("arguments", dict, "names with numbers")):
        if not isinstance(content.get(key) or kind(), kind):
            raise ValueError(f"{path}: {key} are {content[key]!r}, expected {name}.")
    given = (
        as_numbers(list(coordinate), "--coordinate")
        if coordinate
        else (as_numbers(content["coordinate"], f"{path}: coordinate") if "coordinate" in content else ())
    )
    lengths = {len(as_numbers(e["coordinate"], f"{path}: experts[{i}].coordinate")) for i, e in enumerate(experts)}
    if len(lengths) > 1:
        raise ValueError(f"{path}: experts have coordinates of {' and '.join(map(str, sorted(lengths)))} numbers.")
    if not given:
        raise ValueError(f"{path}: there is no coordinate; write one, or give --coordinate.")
    return Recipe(
        path.parent / str(content["anchor"]),
        tuple(path.parent / str(e["path"]) for e in experts),
        tuple(as_numbers(e["coordinate"], f"{path}: experts[{i}].coordinate") for i, e in enumerate(experts)),
        given,
        _features(path, content.get("features"), len(given)),
        as_numbers(content.get("ridge", 0.0), f"{path}: ridge")[0],
        tuple(_filter(path, i, f) for i, f in enumerate(content.get("filters") or ())),
        str(content.get("method", "chart")),
        tuple(
            sorted((k, as_numbers(v, f"{path}: arguments.{k}")[0]) for k, v in (content.get("arguments") or {}).items())
        ),
    )


def _known(path: Path, where: str, content: dict[str, Any], keys: Sequence[str]) -> None:
    unknown = [key for key in content if key not in keys]
    if unknown:
        raise ValueError(f"{path}: {where}{unknown[0]} is unknown; there are: {', '.join(keys)}.")


def _features(path: Path, content: Any, dim: int) -> Features:
    if content is None:
        return Polynomial(dim=dim)
    if not isinstance(content, dict) or content.get("name") not in FEATURES:
        raise ValueError(f"{path}: features are {content!r}, expected {{name: {' or '.join(FEATURES)}, ...}}.")
    try:
        arguments = {key: value for key, value in content.items() if key != "name"}
        if any(not isinstance(value, (int, bool)) for value in arguments.values()):
            raise TypeError(f"{arguments} are not all whole numbers or true and false")
        return FEATURES[content["name"]](**arguments)
    except TypeError as error:
        raise ValueError(f"{path}: features: {error}.") from error


def _filter(path: Path, i: int, content: Any) -> Filter:
    if not isinstance(content, dict) or "name" not in content or len(content) != 2:
        raise ValueError(f"{path}: filters[{i}] is {content!r}, expected a name and either coordinate or keep: anchor.")
    _known(path, f"filters[{i}].", content, ("name", "coordinate", "keep"))
    if content.get("keep", "anchor") != "anchor":
        raise ValueError(f"{path}: filters[{i}].keep is {content['keep']!r}, expected anchor.")
    at = content.get("coordinate")
    return Filter(str(content["name"]), None if at is None else as_numbers(at, f"{path}: filters[{i}].coordinate"))


def weights_by_name(recipe: Recipe, names: Sequence[str]) -> Callable[[str], np.ndarray]:
    """The weights of the experts' residuals for each tensor.

    Raises:
        ValueError: for a filter that fits no name, or coordinates that the features do not take.
    """
    for f in recipe.filters:
        if not fnmatch.filter(names, f.pattern):
            raise ValueError(f"filters: {f.pattern!r} fits no tensor; there are, for instance, {', '.join(names[:3])}.")

    def at(coordinate: tuple[float, ...] | None) -> np.ndarray:
        if coordinate is None:
            return np.zeros(len(recipe.experts))
        coordinates = np.asarray(recipe.coordinates, float)
        return expert_weights(
            len(recipe.experts), coordinates, np.asarray(coordinate), recipe.features, ridge=recipe.ridge
        )

    usual, others = at(recipe.coordinate), {f: at(f.coordinate) for f in recipe.filters}

    def weights(name: str) -> np.ndarray:
        return next((others[f] for f in recipe.filters if fnmatch.fnmatchcase(name, f.pattern)), usual)

    return weights
