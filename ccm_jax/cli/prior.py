"""``--prior``: what is known of the physical value beside the frames, checked before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence

import click
import jax.numpy as jnp
import numpy as np

from ccm_jax._checks import as_numbers, counted
from ccm_jax.cli.frames import Regimes
from ccm_jax.cli.parameters import MORE, values_of
from ccm_jax.cli.sure import Known
from ccm_jax.posterior import Prior
from ccm_jax.readout import PrefixReadout


def prior_option(function: click.decorators.FC) -> click.decorators.FC:
    """The option for metadata that are themselves uncertain."""
    return click.option(
        "--prior",
        multiple=True,
        metavar="VALUE:DEVIATION",
        help="Prior mean and standard deviation of the parameter; repeat for each axis.",
    )(function)


def parse_prior(given: Sequence[str]) -> list[tuple[float, float]]:
    """``"VALUE:DEVIATION"`` for each axis, as numbers; checked before anything is fitted.

    Raises:
        ValueError: for a text of another form, or a deviation that is not above 0.
    """
    rows = []
    for text in given:
        numbers = as_numbers(text.split(":"), f"--prior {text}")
        if len(numbers) != 2 or not numbers[1] > 0:
            raise ValueError(
                f"--prior {text}: expected VALUE:DEVIATION with a deviation above 0; a value that is known for certain "
                "needs no calibration: ccm merge --value."
            )
        rows.append((numbers[0], numbers[1]))
    return rows


def check_named(given: Sequence[str], validation: Regimes | None, parameters: Sequence[str], axes: int) -> None:
    """Checks parameters and priors against those that validation knows, before anything is fitted.

    Args:
        given: texts of ``--prior``.
        validation: the regimes, or None.
        parameters: names that ``--parameter`` gives.
        axes: of the chart.

    Raises:
        ValueError: for a name that validation does not have, or priors that no interval can follow from.
    """
    names: tuple[str, ...] = ()
    why = f"pass --validation FILE; {MORE}."
    if validation is not None:
        names, _, why = values_of(validation, parameters, axes)
        why = why and f"--validation {why}"
    if given and why:
        raise ValueError(f"--prior needs intervals, and there are none: {why}")
    if given and len(given) != len(names):
        raise ValueError(
            f"--prior is given {counted(len(given), 'time')}, expected once for each of {', '.join(names)}."
        )


def as_prior(given: Sequence[str], readout: PrefixReadout, known: Known, unsure: str) -> Prior | None:
    """``"VALUE:DEVIATION"`` for each axis as a prior of the readout's values; None if none is given.

    Raises:
        ValueError: for a value far from all that the readout thinks possible, or a readout without intervals.
    """
    if not given:
        return None
    if readout.uncertainty is None:
        raise ValueError(f"--prior needs intervals, and there are none: {unsure}")
    rows = parse_prior(given)
    for text, (value, _), name, grid in zip(
        given, rows, known.names, np.asarray(readout.uncertainty.values), strict=True
    ):
        if not grid[0] <= value <= grid[-1]:
            raise ValueError(
                f"--prior {text}: {value:g} is beyond the values of {name} that validation reaches, "
                f"{grid[0]:.4g} to {grid[-1]:.4g}; check its unit, or pass validation regimes nearer to it."
            )
    values, deviations = np.array(rows, np.float32).T
    # Narrower than the grid is the same as one cell of it, and would leave no probability between two.
    spacing = np.diff(np.asarray(readout.uncertainty.values)[:, :2])[:, 0]
    return Prior(jnp.asarray(values), jnp.asarray(np.maximum(deviations, spacing / 2)))
