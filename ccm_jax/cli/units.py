"""Where to merge, as it is typed: a coordinate, or a physical value and the range of the experts."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import click

from ccm_jax._checks import FAR, as_numbers
from ccm_jax._doubts import BEYOND, is_far
from ccm_jax.coordinate import normalised_coordinate

LARGEST = 1e38  # what float32 holds


class Units(NamedTuple):
    """The physical values of the low expert, at coordinate -1, and of the high one, at +1."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"

    def coordinate(self, value: float, what: str) -> float:
        """The coordinate of a physical value, to six decimals; ``what`` names the place in errors."""
        largest = max(abs(self.low), abs(self.high), abs(value) if math.isfinite(value) else 0.0)
        if not largest < LARGEST:
            raise ValueError(f"{what}: {largest:g} is too large for single precision; use another unit.")
        if self.low < self.high and math.isfinite(value):  # what float32 cannot hold is no coordinate either
            near(max(abs(value), abs(self.low), abs(self.high)) / max(abs(self.high), abs(self.low)), what)
        try:
            found = normalised_coordinate(value, self.low, self.high, scale=self.scale)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
        return near(round(float(found), 6), f"{what}: the coordinate")

    def value(self, coordinate: float) -> float:
        """The physical value at a coordinate."""
        low, high = (math.log(v) if self.scale == "log" else v for v in (self.low, self.high))
        found = (low + high) / 2 + coordinate * (high - low) / 2
        return math.exp(found) if self.scale == "log" else found

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", log" if self.scale == "log" else "")


def as_units(given: Any, scale: Any, what: str) -> Units:
    """Units from ``"1e-3:3e-3"`` or a list of two numbers.

    Raises:
        ValueError: for something else, or a range that is not in rising order.
    """
    numbers = as_numbers(given.split(":") if isinstance(given, str) else given, what)
    if len(numbers) != 2:
        raise ValueError(f"{what} is {given!r}, expected LOW:HIGH, the values of the low and of the high expert.")
    units = Units(numbers[0], numbers[1], scale)
    units.coordinate(numbers[1], what)  # says what is wrong with the range or the scale
    return units


def units_of(given_range: str | None, log: bool) -> Units | None:
    """Those of ``--range LOW:HIGH`` and ``--log``; None where there is no range.

    Raises:
        ValueError: for something else, or ``--log`` alone.
    """
    if given_range is None:
        if log:
            raise ValueError("--log needs --range LOW:HIGH, the values of the low and of the high expert.")
        return None
    if given_range.count(":") != 1:
        raise ValueError(f"--range {given_range}: expected LOW:HIGH, the experts' values, as in --range 1e-3:3e-3.")
    return as_units(given_range, "log" if log else "linear", f"--range {given_range}")


def range_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what values the experts' ends have, as arguments ``range`` and ``log``."""
    for option in (
        click.option("--log", is_flag=True, help="The coordinate is linear in the logarithm of the value."),
        click.option("--range", metavar="LOW:HIGH", help="Physical values of the low and the high expert."),
    ):
        function = option(function)
    return function


def near(coordinate: float, what: str) -> float:
    """The coordinate, if it can be meant; ``what`` names it.

    Raises:
        ValueError: if it is not finite, or so large that weights would overflow.
    """
    if not abs(coordinate) <= FAR:
        raise ValueError(f"{what} is {coordinate:g}, expected within {FAR:g}; experts are at -1 and +1.")
    return coordinate


def place_of(value: float, units: Units, what: str) -> float:
    """The coordinate of a physical value to merge at; ``what`` names the value.

    0 is taken on a linear scale, as the limit of a parameter that vanishes.

    Raises:
        ValueError: for a value of another sign than both experts', or so far from theirs that its unit must be another.
    """
    found = units.coordinate(value, what)
    if min(value * units.low, value * units.high) < 0 < units.low * units.high:
        raise ValueError(
            f"{what}: expected {'above' if units.low > 0 else 'below'} 0, as both experts' values are ({units}): check "
            "its sign and --range; --coordinate merges at any coordinate."
        )
    if is_far(found):
        raise ValueError(
            f"{what} is at coordinate {found:+g}, far outside the experts' range {units}; expected at most {BEYOND:g} "
            "from 0: check its unit."
        )
    return found


class Where(NamedTuple):
    """What the command line says of where to merge; all of it may be missing."""

    coordinate: tuple[float, ...] = ()
    value: float | None = None
    units: Units | None = None


def where_of(coordinate: tuple[float, ...], value: float | None, given_range: str | None, log: bool) -> Where:
    """The options together.

    Raises:
        ValueError: for options that exclude or miss each other.
    """
    if coordinate and value is not None:
        raise ValueError("give --coordinate or --value, not both.")
    if given_range is not None and value is None:
        raise ValueError("--range needs --value, the physical value to merge at; a coordinate has no range.")
    units = units_of(given_range, log)
    numbers = as_numbers(list(coordinate), "--coordinate") if coordinate else ()
    return Where(tuple(near(number, "--coordinate") for number in numbers), value, units)


def where_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where to merge, as one argument ``where``."""

    @functools.wraps(function)
    def packed(*, coordinate: tuple[float, ...], value: float | None, range: str | None, log: bool, **rest: Any) -> Any:
        return function(where=where_of(coordinate, value, range, log), **rest)

    wrapped = range_options(packed)
    for option in (
        click.option("--value", type=float, metavar="NUMBER", help="Physical value to merge at; needs --range."),
        click.option(
            *("--coordinate", "-c"),
            type=float,
            metavar="NUMBER",
            multiple=True,
            help="Coordinate to merge at; repeat for each axis.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped
