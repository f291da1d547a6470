"""What is merged, as it is typed: an anchor and two experts, or a recipe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from ccm_jax._doubts import BEYOND
from ccm_jax.cli.checkpoints import note, warn
from ccm_jax.cli.recipe import Recipe, read_recipe
from ccm_jax.cli.units import Where, place_of
from ccm_jax.fit_readout import REACH
from ccm_jax.io.overwrite import is_read
from ccm_jax.io.parts import split_part

NAMES = ("anchor", "low", "high")
BESIDE = (".md", ".json", ".yaml", ".yml", ".png", ".gif", ".txt")  # what stands beside a checkpoint under its name
MIDDLE = 0.05  # |coordinate| below which the experts' average is all that is merged


class Source(NamedTuple):
    """The files on the command line."""

    anchor: Path | None
    low: Path | None
    high: Path | None
    recipe: Path | None

    def read(self, where: Where | None = None) -> Recipe:
        """The recipe, at a place; without one, its coordinate is what it says itself, or empty."""
        if self.recipe is not None:
            if self.anchor or self.low or self.high:
                raise click.UsageError("--recipe names the anchor and experts; omit --anchor, --low and --high")
            recipe = read_recipe(self.recipe, where)
            is_read(self.recipe, *(split_part(path)[0] for path in (recipe.anchor, *recipe.experts)))
            return recipe
        if not (self.anchor and self.low and self.high):
            raise click.UsageError("--anchor, --low and --high are needed, or --family, or --recipe")
        if self.low == self.high:
            raise ValueError(
                f"--high and --low are the same file, {self.high}, so there is no direction between them; pass two "
                "different experts."
            )
        if self.anchor in (self.low, self.high):
            same = "low" if self.anchor == self.low else "high"
            note(f"--{same} is the anchor itself, so only the other expert moves the weights.")
        plain = Recipe(self.anchor, (self.low, self.high), ((-1.0,), (1.0,)), ())
        if where is None:
            return plain
        if where.value is not None:
            if where.units is None:
                raise ValueError(f"--value {where.value:g} needs --range LOW:HIGH, the experts' values.")
            at = place_of(where.value, where.units, f"--value {where.value:g}")
            return plain._replace(coordinate=(at,), value=where.value, units=where.units)
        if len(where.coordinate) > 1:
            raise ValueError(
                f"--coordinate is given {len(where.coordinate)} times, expected once: two experts span one axis. For "
                "more experts, pass a --recipe."
            )
        return plain._replace(coordinate=where.coordinate)


def in_folder(folder: Path) -> list[Path]:
    """The checkpoints of a folder that are called anchor, low and high, with any ending.

    Raises:
        ValueError: if there is none, or more than one, of a name.
    """
    if not folder.is_dir():
        raise ValueError(f"--family: {folder} is not a folder; expected one with {', '.join(NAMES)}, with any ending.")
    found = []
    for name in NAMES:
        there = [path for path in sorted(folder.iterdir()) if role_in(path) == name]
        there = [p for p in there if p.suffix not in BESIDE or p.name.endswith(".index.json")]
        if len(there) != 1:
            what = f"{len(there)} files called {name} ({', '.join(p.name for p in there)})" if there else f"no {name}"
            raise ValueError(
                f"--family: {folder} has {what}, expected one; name the files by --anchor, --low and --high."
            )
        found += there
    return found


def files_of(family: Path | None, *files: Path | None) -> tuple[Path | None, ...]:
    """Anchor, low and high: those of a folder, or as they were given one by one, with a warning if names contradict.

    Raises:
        ValueError: for a folder without them.
    """
    if family is None:
        warn(*exchanged(*files))
        return files
    if any(files):
        raise click.UsageError("--family stands for --anchor, --low and --high; pass one or the other")
    return tuple(in_folder(family))


def role_in(path: Path) -> str | None:
    """Anchor, low or high, if a file is called so, with any ending."""
    stem = path.name.partition(".")[0]
    return stem if stem in NAMES else None


def exchanged(*files: Path | None) -> list[str]:
    """A line for each of anchor, low and high whose file has the name of another of these."""
    said = []
    for role, path in zip(NAMES, files, strict=True):
        called = None if path is None else role_in(path)
        if called not in (None, role):
            said.append(
                f"{path} is passed as {role}, but its name says {called}; check that the files are not swapped."
            )
    return said


def family_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name an anchor and its two experts, one by one or by their folder."""
    function = click.option(
        "--family",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Instead of these three: a folder with anchor, low and high, with any ending.",
    )(function)
    for name, what in (
        ("high", "Checkpoint of the expert at coordinate +1."),
        ("low", "Checkpoint of the expert at coordinate -1."),
        ("anchor", "Checkpoint of the anchor."),
    ):
        function = click.option(f"--{name}", type=click.Path(path_type=Path), help=what)(function)
    return function


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name what is merged, as one argument ``source``."""

    @functools.wraps(function)
    def packed(*, family: Path | None, recipe: Path | None, **rest: Any) -> Any:
        if family is not None and recipe is not None:
            raise click.UsageError("--family stands for --anchor, --low and --high; pass one or the other")
        anchor, low, high = files_of(family, *(rest.pop(name) for name in NAMES))
        is_read(*(split_part(path)[0] for path in (anchor, low, high) if path is not None))
        return function(source=Source(anchor, low, high, recipe), **rest)

    packed = click.option(
        "--recipe", type=click.Path(path_type=Path, exists=True), help="YAML file with experts, features and filters."
    )(packed)
    return family_options(packed)


def remarks(recipe: Recipe, *, typed: bool = True) -> list[str]:
    """What is doubtful about the places of a merge: far outside the experts, or a physical value typed for one.

    Args:
        recipe: where all is merged, and what its filters merge elsewhere.
        typed: whether somebody typed the coordinate, who may have meant a value.
    """
    return list(dict.fromkeys(line for place in _places(recipe) for line in _remarks(recipe, place, typed)))


def check_near(recipe: Recipe) -> None:
    """Raises ValueError for a place, that of a filter included, so far out that no merge can be useful."""
    for place in _places(recipe):
        for c, (low, high) in zip(place, _ends(recipe), strict=False):
            distance = _half_ranges(c, low, high)
            if distance > BEYOND:
                value = f"; if {c:g} is a physical value, pass --value {c:g} --range LOW:HIGH" * (len(place) == 1)
                most = BEYOND * (high - low) / 2
                raise ValueError(
                    f"coordinate {c:+g} is far outside the experts' range, {low:+g} to {high:+g}; expected at most "
                    f"{most:g} from their midpoint{value}."
                )


def _places(recipe: Recipe) -> list[tuple[float, ...]]:
    return [recipe.coordinate, *(f.coordinate for f in recipe.filters if f.coordinate is not None)]


def _ends(recipe: Recipe) -> list[tuple[float, float]]:
    return [(min(axis), max(axis)) for axis in zip(*recipe.coordinates, strict=True)]


def _half_ranges(c: float, low: float, high: float) -> float:
    """How far a coordinate is from the middle of the experts' ends, in halves of their distance."""
    return abs(c - (low + high) / 2) / ((high - low) / 2) if high > low else 0.0


def _of_value(recipe: Recipe, place: tuple[float, ...]) -> str | None:
    """What is said of a place beyond what calibration reaches, if a value told it."""
    if recipe.value is None or place != recipe.coordinate:
        return None
    return (
        f"value {recipe.value:g} is at coordinate {place[0]:+g}, far outside the experts' range {recipe.units}: check "
        f"its unit; calibration searches no further than {REACH:g}."
    )


def _remarks(recipe: Recipe, place: tuple[float, ...], typed: bool) -> list[str]:
    said, value = [], " Pass a physical value by --value and --range." if typed else ""
    for c, (low, high) in zip(place, _ends(recipe), strict=False):
        if low == high:
            continue
        distance = _half_ranges(c, low, high)
        if distance > REACH:
            far = _of_value(recipe, place) or (
                f"coordinate {c:+g} is far outside the experts' range, {low:+g} to {high:+g}; calibration searches no "
                f"further than {REACH:g}.{value}"
            )
            said.append(f"{far} Compare the merge with the anchor on held-out frames (ccm evaluate).")
        elif typed and recipe.value is None and (low, high) == (-1, 1) and 0 < abs(c) < MIDDLE:
            said.append(
                f"coordinate {c:+g} is nearly the average of the experts, which are at -1 and +1; if {c:g} is a "
                f"physical value, pass --value {c:g} --range LOW:HIGH."
            )
    return said
