"""A merge written down: experts and their coordinates, features, and what single layers do otherwise."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ccm_jax._article import with_article
from ccm_jax._checks import as_number, as_numbers, counted
from ccm_jax._reasons import clean, meant
from ccm_jax.chart import FEATURES, Features, Gated, Polynomial
from ccm_jax.cli.units import Units, Where, as_units, near, place_of
from ccm_jax.expert_weights import expert_weights
from ccm_jax.io.save import name_of
from ccm_jax.io.yamltext import read_yaml

KEYS = (
    *("anchor", "experts", "coordinate", "value", "range", "scale"),
    *("features", "ridge", "filters", "method", "arguments"),
)

HIGHEST = 20  # degree of a polynomial; experts to determine more are never there


class Filter(NamedTuple):
    """Tensors whose name fits a pattern merge at another coordinate, or keep the anchor's weights."""

    pattern: str
    coordinate: tuple[float, ...] | None


class Recipe(NamedTuple):
    """A merge: a chart through experts, or another method by name.

    Attributes:
        anchor: its checkpoint.
        experts: theirs.
        coordinates: of the experts.
        coordinate: where to merge; empty if that is yet to be found.
        features: of the chart.
        ridge: of its fit.
        filters: tensors that merge elsewhere.
        method: ``"chart"``, or a method of others.
        arguments: of the method.
        value: the physical value that the coordinate stands for, if it was given as one.
        units: the experts' physical values, if they were given.
    """

    anchor: Path
    experts: tuple[Path, ...]
    coordinates: tuple[tuple[float, ...], ...]
    coordinate: tuple[float, ...]
    features: Features = Polynomial()
    ridge: float = 0.0
    filters: tuple[Filter, ...] = ()
    method: str = "chart"
    arguments: tuple[tuple[str, float], ...] = ()
    value: float | None = None
    units: Units | None = None

    @property
    def holds_experts(self) -> bool:
        """Whether each expert is a point of the chart, at its own coordinate."""
        if self.filters:
            return False
        count = len(self.experts)
        how: dict[str, Any] = {"features": self.features, "ridge": self.ridge}
        weights = [expert_weights(count, np.asarray(self.coordinates), np.asarray(c), **how) for c in self.coordinates]
        return np.allclose(weights, np.eye(count), atol=1e-6)

    @property
    def expert_names(self) -> tuple[str, ...]:
        """What the experts are called in the terminal: low and high, or by their files where they are others."""
        ends = [c[0] for c in self.coordinates if len(c) == 1]
        if len(self.coordinates) == len(ends) == 2 and ends[0] != ends[1]:
            return ("low expert", "high expert") if ends[0] < ends[1] else ("high expert", "low expert")
        return tuple(f"expert {name_of(path)}" for path in self.experts)


def read_recipe(path: Path, where: Where | None = None) -> Recipe:
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

    On one axis, experts and place may have physical values: ``range: [1e-3, 3e-3]`` (at -1 and +1), ``scale: log``,
    ``value: 4e-3``, and ``{path: low.safetensors, value: 1e-3}``.

    Args:
        path: the file.
        where: what the command line says of where to merge; None if nothing needs to.

    Raises:
        ValueError: for what is missing, unknown or of a wrong type, by name; or for experts that do not determine the
            features.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        held = "is empty" if content is None else f"holds {with_article(type(content).__name__)}"
        raise ValueError(f"{path} {held}, expected the keys {', '.join(KEYS)}.")
    _known(path, "", content, KEYS)
    if "anchor" not in content or not isinstance(content.get("experts"), list) or not content["experts"]:
        raise ValueError(f"{path}: anchor and a list of experts are needed.")
    experts = content["experts"]
    units = _units(path, content)
    coordinates = tuple(_expert_at(path, i, expert, units) for i, expert in enumerate(experts))
    for key, kind, name in (("filters", list, "a list"), ("arguments", dict, "names with numbers")):
        if not isinstance(content.get(key) or kind(), kind):
            raise ValueError(f"{path}: {key} are {content[key]!r}, expected {name}.")
    for name in content.get("arguments") or {}:
        if not isinstance(name, str):
            raise ValueError(f"{path}: arguments have the name {name!r}, expected text.")
    lengths = {len(c) for c in coordinates}
    if len(lengths) > 1:
        raise ValueError(f"{path}: experts have coordinates of {' and '.join(map(str, sorted(lengths)))} numbers.")
    place = _place(path, content, Where() if where is None else where, units)
    if not place.coordinate and where is not None and content.get("method", "chart") == "chart":
        raise ValueError(f"{path}: there is no coordinate; write one, or pass --coordinate.")
    recipe = Recipe(
        path.parent / str(content["anchor"]),
        tuple(path.parent / str(e["path"]) for e in experts),
        coordinates,
        place.coordinate,
        _features(path, content.get("features"), lengths.pop()),
        _ridge(content.get("ridge", 0.0), f"{path}: ridge"),
        tuple(_filter(path, i, f) for i, f in enumerate(content.get("filters") or ())),
        str(content.get("method", "chart")),
        tuple(sorted((k, as_number(v, f"{path}: arguments.{k}")) for k, v in (content.get("arguments") or {}).items())),
        place.value,
        place.units,
    )
    _check_axes(path, recipe)
    return recipe


def _units(path: Path, content: dict[str, Any]) -> Units | None:
    if "range" in content:
        return as_units(content["range"], content.get("scale", "linear"), f"{path}: range")
    valued = [f"experts[{i}].value" for i, e in enumerate(content["experts"]) if isinstance(e, dict) and "value" in e]
    needy = ["scale"] * ("scale" in content) + valued
    if needy:
        raise ValueError(f"{path}: {needy[0]} needs range: [LOW, HIGH], the physical values at coordinates -1 and +1.")
    return None


def _expert_at(path: Path, i: int, expert: Any, units: Units | None) -> tuple[float, ...]:
    if not isinstance(expert, dict) or set(expert) not in ({"path", "coordinate"}, {"path", "value"}):
        raise ValueError(
            f"{path}: experts[{i}] is {expert!r}, expected {{path: FILE, coordinate: NUMBER}}, or a value and a range."
        )
    if "coordinate" in expert or units is None:
        return _coordinate(expert["coordinate"], f"{path}: experts[{i}].coordinate")
    what = f"{path}: experts[{i}].value"
    return (units.coordinate(as_number(expert["value"], what), what),)


def _place(path: Path, content: dict[str, Any], where: Where, units: Units | None) -> Where:
    """Where to merge, with the coordinate of a value; what is typed goes before what the file says."""
    if where.units is not None and units is not None:
        raise ValueError(f"--range is given, and {path} has a range; leave one out.")
    units = where.units or units
    if where.coordinate:
        return Where(where.coordinate, None, units)
    if where.value is None and "coordinate" in content:
        if "value" in content:
            raise ValueError(f"{path}: give coordinate or value, not both.")
        return Where(_coordinate(content["coordinate"], f"{path}: coordinate"), None, units)
    what, value = f"--value {where.value}", where.value
    if value is None:
        if "value" not in content:
            return Where((), None, units)
        what = f"{path}: value"
        value = as_number(content["value"], what)
    if units is None:
        raise ValueError(f"{what} needs a range, the physical values at coordinates -1 and +1: --range LOW:HIGH.")
    return Where((place_of(value, units, what),), value, units)


def _check_axes(path: Path, recipe: Recipe) -> None:
    """Raises ValueError for coordinates of other lengths than the chart's, or experts that do not determine it."""
    if recipe.method != "chart":
        return
    features = recipe.features
    gated = isinstance(features, Gated)
    for what, c in (("coordinate", recipe.coordinate), ("experts[0].coordinate", recipe.coordinates[0])):
        if c and len(c) not in {features.dim, features.dim - gated}:
            raise ValueError(
                f"{path}: {what} has {counted(len(c), 'number')}, expected {features.dim - gated}, one for each axis "
                f"of {features}" + (", and a gate if it is not 1." if gated else ".")
            )
    try:
        at = recipe.coordinate or recipe.coordinates[0]
        expert_weights(
            len(recipe.experts), np.asarray(recipe.coordinates), np.asarray(at), features, ridge=recipe.ridge
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}{_twice(recipe.coordinates)}") from error


def _twice(coordinates: Sequence[tuple[float, ...]]) -> str:
    """Which of the experts are at one coordinate, if not all; two of them may be, where others determine the chart."""
    for i, c in enumerate(coordinates):
        if c in coordinates[:i] and len(set(coordinates)) > 1:
            return f" experts[{coordinates.index(c)}] and experts[{i}] are both at {list(c)}: correct one."
    return ""


def _coordinate(value: Any, what: str) -> tuple[float, ...]:
    return tuple(near(number, what) for number in as_numbers(value, what))


def _ridge(value: Any, what: str) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{what} is {value!r}, expected a number.")
    ridge = as_number(value, what)
    if ridge < 0:
        raise ValueError(f"{what} is {ridge:g}, expected at least 0.")
    return ridge


def _known(path: Path, where: str, content: dict[str, Any], keys: Sequence[str]) -> None:
    unknown = [key for key in content if key not in keys]
    if unknown:
        raise ValueError(f"{path}: {where}{clean(unknown[0])} is unknown; there are: {', '.join(keys)}.")


def _features(path: Path, content: Any, dim: int) -> Features:
    if content is None:
        return Polynomial(dim=dim)
    if not isinstance(content, dict) or content.get("name") not in list(FEATURES):  # a list has no hash
        raise ValueError(f"{path}: features are {content!r}, expected {{name: {' or '.join(FEATURES)}, ...}}.")
    degree = content.get("degree", 1)
    if isinstance(degree, bool) or degree not in range(1, HIGHEST + 1):
        raise ValueError(f"{path}: features: degree is {degree!r}, expected a whole number from 1 to {HIGHEST}.")
    arguments = {key: value for key, value in content.items() if key not in ("name", "inner")}
    takes = [each.name for each in dataclasses.fields(FEATURES[content["name"]])]
    if unknown := sorted(set(arguments) - set(takes)):
        said = f"{content['name']} has no {unknown[0]}, only {', '.join(takes)}"
        raise ValueError(f"{path}: features: {said}{meant(unknown[0], takes) or '.'}")
    if "inner" in content:  # of Gated
        inner = content["inner"] or {}
        arguments["inner"] = _features(path, {"name": "Polynomial"} | inner if isinstance(inner, dict) else inner, dim)
    try:
        if any(not isinstance(value, (int, bool, *FEATURES.values())) for value in arguments.values()):
            raise TypeError(f"{arguments} are not all whole numbers or true and false")
        return FEATURES[content["name"]](**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: features: {error}.") from error


def _filter(path: Path, i: int, content: Any) -> Filter:
    if not isinstance(content, dict) or "name" not in content or len(content) != 2:
        raise ValueError(f"{path}: filters[{i}] is {content!r}, expected a name and either coordinate or keep: anchor.")
    _known(path, f"filters[{i}].", content, ("name", "coordinate", "keep"))
    if content.get("keep", "anchor") != "anchor":
        raise ValueError(f"{path}: filters[{i}].keep is {content['keep']!r}, expected anchor.")
    at = content.get("coordinate")
    return Filter(str(content["name"]), None if at is None else _coordinate(at, f"{path}: filters[{i}].coordinate"))


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
